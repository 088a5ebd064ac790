"""Frames as text, marked with where they come from or what became of them, without being parsed.

Standard library only, so that the engine can write results of 100,000 frames without loading ASE.
"""

from __future__ import annotations

from typing import Any

from hpcflow.structures import comment as comment_line

REFERENCE = ("REF_energy", "REF_forces", "REF_stress", "REF_virials")
"""Names of the reference quantities; a frame that failed has none of them."""


def tag(frame: bytes, **info: Any) -> bytes:
    """Set entries of the comment line of one frame; None removes an entry.

    Parameters
    ----------
    frame
        One frame of extended or plain XYZ.
    info
        Numbers, texts, lists or dicts of these.
    """
    head, _, rest = frame.partition(b"\n")
    line, _, atoms = rest.partition(b"\n")
    text = line.decode().strip()
    if "=" not in text:  # plain XYZ: the line is a remark
        text = comment_line.pair("comment", text) if text else ""
    kept = comment_line.drop(text, info) if text else ""
    added = [comment_line.pair(key, item) for key, item in info.items() if item is not None]
    return b"%s\n%s\n%s" % (head, " ".join([*filter(None, [kept]), *added]).encode(), atoms)


def is_labelled(frame: bytes) -> bool:
    """Tell whether one frame has ``REF_energy`` and, unless it is an isolated atom, ``REF_forces``."""
    head, comment, _ = frame.split(b"\n", 2)
    entries = comment_line.split(comment.decode()) if b"=" in comment else {}
    if "REF_energy" not in entries:
        return False
    isolated = int(head) == 1 and entries.get("config_type") == "IsolatedAtom"
    return isolated or "REF_forces" in entries.get("Properties", "").split(":")[::3]


def failed(frame: bytes, reason: str, message: str = "") -> bytes:
    """Mark a frame whose reference calculation gave nothing, so that nobody takes old numbers for new ones.

    The frame gets ``REF_status="failed: REASON"`` and the message, and loses every reference
    quantity that it may have had from an earlier calculation.
    """
    columns = [name for name in REFERENCE if b":" + name.encode() + b":" in frame]
    if columns:
        from hpcflow.structures.extxyz import format, parse

        atoms = parse(frame)[0]
        for name in columns:
            del atoms.arrays[name]
        frame = format([atoms])
    entries: dict[str, Any] = dict.fromkeys(REFERENCE)
    return tag(frame, **entries, REF_status=f"failed: {reason}", REF_message=message or None)

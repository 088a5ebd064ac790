"""Steps that compute something else than the array they have: what differs, and what is to be done about it."""

from __future__ import annotations

import json
import os
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hpcflow.database.arrays import ArraySpec, describe
from hpcflow.database.files import digest_bytes
from hpcflow.database.inputs import encode_item, nameless
from hpcflow.database.state import ArrayState
from hpcflow.engine.width import queued_elements, running_elements
from hpcflow.functions import CELL, identity_of
from hpcflow.session import NotReady

if TYPE_CHECKING:
    from hpcflow.engine.session import ReplaySession

KEEP, RERUN = "keep", "rerun"


class Changed(NotReady):
    """A step computes something else than before, and the user has not said what to do about it."""


@dataclass
class Change:
    """What differs between an array and what its step would compute now."""

    function: str
    """Digest of the old and the new function; empty if it is the same."""
    parameters: list[str]
    """Digest of the old and the new value of each parameter that differs."""
    inputs: bool
    what: list[str]
    """Each thing that differs, in words."""
    values: list[str]
    """The old and the new value of each, where they are short."""

    @property
    def parts(self) -> list[str]:
        """Digests of all that differs but the inputs: a later step may change in the same way."""
        return [*([self.function] if self.function else []), *self.parameters]

    def words(self, files: str = "") -> str:
        """``its parameter power changed from 2 to 3``."""
        files = f" ({files})" if files else ""
        if len(self.what) == 1:
            return f"its {self.what[0]} changed{self.values[0] and ' ' + self.values[0]}{files}"
        named = [f"{what} ({value})" if value else what for what, value in zip(self.what, self.values, strict=True)]
        if all(what.startswith("parameter ") for what in self.what):
            named = ["parameters " + named[0].removeprefix("parameter ")] + [
                n.removeprefix("parameter ") for n in named[1:]
            ]
        return f"its {', '.join(named[:-1])} and {named[-1]} changed{files}"


def compare(before: dict[str, Any], existing: ArrayState, now: ArraySpec) -> Change:
    """What differs between an array, described by ``before``, and what its step would compute now."""
    inputs = existing.fingerprint != digest_bytes(f"{existing.what} {now.inputs.digest}".encode())
    change = Change("", [], inputs, [], [])
    old, new = identity_of(before["function"]), identity_of(now.function)
    if old != new:
        change.function = digest_bytes(encode_item([old, new]))
        what, value = _function_words(old, new)
        change.what.append(what)
        change.values.append(value)
    for name in sorted({*before["parameters"], *now.parameters}):
        was, is_now = (nameless(parameters.get(name)) for parameters in (before["parameters"], now.parameters))
        if was != is_now:
            change.parameters.append(digest_bytes(encode_item([name, was, is_now])))
            change.what.append(f"parameter {name}")
            change.values.append(_from_to(was, is_now))
    if inputs:
        change.what.append("inputs")
        change.values.append("")
    return change


def _function_words(old: dict[str, Any], new: dict[str, Any]) -> tuple[str, str]:
    if old["kind"] != new["kind"]:
        return "kind", f"from a {old['kind']} to a {new['kind']} function".replace("a command function", "a command")
    if new["kind"] == "command":
        return ("command" if old["command"] != new["command"] else "list of files to keep"), ""
    was, is_now = (f"{f['name']}" if f["module"].startswith(CELL) else f"{f['module']}.{f['name']}" for f in (old, new))
    if was != is_now:
        return "function", f"from {was} to {is_now}"
    if old.get("version") != new.get("version"):
        return f"function {new['name']}", ""
    return "list of files to keep", ""


def _from_to(was: Any, is_now: Any) -> str:
    shown = []
    for value in (was, is_now):
        if isinstance(value, (dict, list)):
            return ""
        shown.append(json.dumps(value, ensure_ascii=False)[:60])
    return f"from {shown[0]} to {shown[1]}"


def settle(session: ReplaySession, existing: ArrayState, spec: ArraySpec) -> str:
    """``keep`` or ``rerun``: what the user said of this change, or what follows from that.

    Raises
    ------
    Changed
        If nobody has said anything yet.
    """
    engine = session.engine
    change = compare(describe(engine.path(existing)), existing, spec)
    session.changes[spec.key] = [spec.fingerprint, *change.parts]
    answer = engine.state.campaign.answers.get(spec.key)
    if answer is not None and answer[0] == spec.fingerprint:
        return answer[1]
    if _answered_before(session, existing, change):
        return KEEP
    files = changed_files(session)
    if not _to_be_computed(session, existing, change, files):
        if not _nothing_to_lose(session, existing):
            _ask(session, spec, change.words(files))
        engine.say(f"{spec.key}: {change.words(files)}; nothing had been computed, so it begins anew")
    engine.record("answer", key=spec.key, fingerprint=spec.fingerprint, answer=RERUN)
    return RERUN


def _answers(session: ReplaySession, existing: ArrayState, parts: list[str]) -> list[str]:
    """What was said of the same changes where other steps met them; empty where nothing was."""
    answered = session.engine.state.campaign.answered
    found = [answered.get(part, ("", 0)) for part in parts]
    # An answer is about the arrays that were there when it was given.
    return [answer if existing.number <= newest else "" for answer, newest in found]


def _answered_before(session: ReplaySession, existing: ArrayState, change: Change) -> bool:
    """Whether another step changed in the same way and was kept."""
    answers = _answers(session, existing, change.parts)
    return bool(answers) and not change.inputs and set(answers) == {KEEP}


def _to_be_computed(session: ReplaySession, existing: ArrayState, change: Change, files: str) -> bool:
    """Whether everything that differs was answered elsewhere: the same change, or one in a step before this one."""
    follows = session.replaced > existing.number and not files
    if change.function and _answers(session, existing, [change.function]) != [RERUN]:
        return False
    if change.inputs and not (follows or session.accept_growth):
        return False
    return all(answer == RERUN or follows for answer in _answers(session, existing, change.parameters))


def _nothing_to_lose(session: ReplaySession, existing: ArrayState) -> bool:
    """Whether an array has neither results, nor checkpoints, nor jobs that wait or run."""
    if existing.succeeded or any(loose.source for loose in existing.loose.values()):
        return False
    for job in session.engine.state.campaign.jobs.values():
        if job.array == existing.number and not job.ended and not existing.done:
            workers = [worker for worker in existing.workers.values() if worker.job == job.token]
            if queued_elements(session.engine, job, workers) or running_elements(workers):
                return False
    return True


def _ask(session: ReplaySession, spec: ArraySpec, words: str) -> None:
    """Name the change and end the replay here."""
    engine = session.engine
    campaign = engine.state.campaign
    session.asked.add(spec.key)
    known = campaign.attention.get(f"changed {spec.key}")
    if known is not None and campaign.changes.get(spec.key, [""])[0] == spec.fingerprint:
        raise Changed([], known)
    key = shlex.quote(spec.key)
    message = (
        f"{spec.key}: {words} since it was submitted. Its running jobs go on as they were, and no more are submitted. "
        "Type\n"
        f"  hpcflow submit --rerun {key}   to compute it anew (results that still apply are taken over)\n"
        f"  hpcflow submit --keep {key}    to go on with what there is\n"
        "The answer also holds for other steps that changed in the same way."
    )
    fingerprint, *parts = session.changes[spec.key]
    engine.attention(f"changed {spec.key}", message, step=spec.key, fingerprint=fingerprint, change=parts)
    raise Changed([], message)


def changed_files(session: ReplaySession) -> str:
    """Files that are not as the replay before saw them: the likely cause of a change."""
    before = session.engine.state.campaign.replayed
    changed = [path for path, stamp in sorted(session.read_files.items()) if before.get(path, stamp) != stamp]
    names = [os.path.relpath(path, session.campaign) for path in changed]
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")

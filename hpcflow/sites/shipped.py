"""Where the site files and templates that come with hpcflow are."""

from __future__ import annotations

import os
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent.parent


def shipped(kind: str) -> Path:
    """Return the directory of the shipped ``sites``, ``templates`` or ``containers``.

    In an installed package they lie inside of it; in a checkout, at its top.
    """
    inside = _PACKAGE / "_shipped" / kind
    return inside if inside.is_dir() else _PACKAGE.parent / kind


def user(kind: str) -> Path:
    """Return the user's own directory of ``sites`` or ``templates``; it need not exist."""
    home = os.environ.get("XDG_CONFIG_HOME") or os.path.join(os.path.expanduser("~"), ".config")
    return Path(home) / "hpcflow" / kind

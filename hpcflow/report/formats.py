"""Numbers, times and counts as a person reads them."""

from __future__ import annotations

import math
import time

THIN = "\u202f"
"""A narrow space that does not break: between digits and their unit, and between groups of digits."""

MINUS = "\u2212"


def count(number: int) -> str:
    """``1234567`` as ``1 234 567``; four digits stay together."""
    return str(number) if abs(number) < 10_000 else f"{number:,}".replace(",", THIN)


def number(value: float | None, digits: int = 3) -> str:
    """A measured number with so many significant digits, without an exponent where it can be read without."""
    if value is None:
        return "–"
    if not math.isfinite(value):
        return "not finite"
    if value == 0:
        return "0"
    size = math.floor(math.log10(abs(float(f"{value:.{digits - 1}e}"))))
    if not -5 < size < 9:
        return f"{value:.{digits - 1}e}".replace("-", MINUS)
    text = f"{value:.{max(0, digits - 1 - size)}f}"
    whole, point, rest = text.partition(".")
    text = count(int(whole)) + point + rest if abs(value) >= 10_000 else text
    return text.replace("-", MINUS)


def plain(value: float | None) -> str:
    """A number that somebody chose, as it was written: ``0.05``."""
    return "–" if value is None else f"{value:.4g}".replace("-", MINUS)


def core_time(seconds: float) -> tuple[str, float]:
    """The unit in which so many core-seconds are told, and its length in seconds."""
    return ("core-hours", 3600.0) if seconds >= 360 else ("core-seconds", 1.0)


def hours(seconds: float | None) -> str:
    """Seconds in hours, without digits that do not matter."""
    if seconds is not None and 0 < seconds < 1.8:
        return "<0.001"
    return number(None if seconds is None else seconds / 3600)


def percent(fraction: float | None) -> str:
    """A fraction in percent; what is there but small is not rounded to nothing."""
    if fraction is None or not math.isfinite(fraction):
        return "–"
    if 0 < fraction < 0.001:
        return f"<0.1{THIN}%"
    return f"{100 * fraction:.{1 if fraction < 0.0995 else 0}f}{THIN}%"


def duration(seconds: float | None, digits: int = 3) -> str:
    """A time in the largest unit of which there is at least one."""
    if seconds is None or not math.isfinite(seconds):
        return "–"
    for unit, length in (("d", 86400.0), ("h", 3600.0), ("min", 60.0), ("s", 1.0), ("ms", 1e-3)):
        if seconds >= length:
            return f"{number(seconds / length, digits)}{THIN}{unit}"
    return f"{number(seconds * 1e6, digits)}{THIN}µs" if seconds > 0 else f"0{THIN}s"


def date(moment: float) -> str:
    """A moment (seconds since the epoch) as local date and time, with the zone."""
    local = time.localtime(moment)
    return f"{local.tm_mday} {time.strftime('%B %Y, %H:%M %Z', local)}"


def plural(amount: int, word: str) -> str:
    """``1 frame``, ``2 frames``."""
    return f"{count(amount)} {word}{'' if amount == 1 else 's'}"


def sentence(parts: list[str]) -> str:
    """``a, b and c``."""
    return ", ".join(parts[:-1]) + " and " + parts[-1] if len(parts) > 1 else "".join(parts)

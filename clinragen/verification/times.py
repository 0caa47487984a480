"""Times in text: the hours that a statement is about, by the patterns of ``configs/verify/times.yaml``."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache, partial
from typing import NamedTuple

from clinragen.verification.cues import patterns
from clinragen.verification.masked import Masked, Meaning, Reading
from clinragen.verification.numerals import spoken
from clinragen.verification.statements import ROUGHLY, Hour

_FOREVER = float("inf")


class HourWindow(NamedTuple):
    """Hours from intime that a statement is about; ``hours``: length of a stretch that may lie anywhere within."""

    start: float
    end: float
    hours: float | None = None


#: The cue (kind, value) for the ``means`` of an entry, given its numbers n and m; None for a time without a meaning.
_MEANINGS: dict[str, Callable[[float, float], Reading | None]] = {
    "first hours": lambda n, m: ("window", HourWindow(0.0, n)),
    "first day": lambda n, m: ("window", HourWindow(0.0, 24.0)),
    "second day": lambda n, m: ("window", HourWindow(24.0, 48.0)),
    "last hours": lambda n, m: ("window", HourWindow(-n, _FOREVER)),
    "hours from to": lambda n, m: ("window", HourWindow(n, m)) if m > n else None,
    "hours from": lambda n, m: ("window", HourWindow(n, _FOREVER)),
    "hours until": lambda n, m: ("window", HourWindow(0.0, n or m)),
    "day": lambda n, m: ("window", HourWindow(24.0 * (n - 1), 24.0 * n)) if n else None,
    "stretch": lambda n, m: ("window", HourWindow(0.0, _FOREVER, n)),
    "total": lambda n, m: ("total", None),
    "about hour": lambda n, m: ("hour", Hour(n or m, ROUGHLY)),
    "hour": lambda n, m: ("hour", Hour(n)),
    "a time": lambda n, m: None,
    "moment first": lambda n, m: ("moment", "first"),
    "moment last": lambda n, m: ("moment", "last"),
}


def find(sentence: Masked) -> None:
    """Read every time."""
    for pattern, meaning in _table():
        sentence.read(pattern, meaning)


@cache
def _table() -> tuple[tuple[re.Pattern[str], Meaning], ...]:
    return tuple(
        (entry.pattern, partial(_time, meaning=_MEANINGS[entry.means])) for entry in patterns("times", "times")
    )


def _time(match: re.Match[str], meaning: Callable[[float, float], Reading | None]) -> Reading | None:
    n, m = (spoken(match.groupdict().get(name) or "0") for name in "nm")
    if n is None or m is None:
        return None  # "first few hours"
    return meaning(n, m) or ("", None)

"""How often and by how much, in text, by the patterns of ``configs/verify/amounts.yaml``."""

from __future__ import annotations

import re
from collections import defaultdict
from functools import cache, partial
from typing import Literal, NamedTuple

from clinragen.verification import units
from clinragen.verification.cues import PatternEntry, patterns
from clinragen.verification.masked import Masked, Reading
from clinragen.verification.numerals import NUMERALS
from clinragen.verification.statements import ChangeSize, Count, Frequency, TrendWord

_FOREVER = float("inf")
_MORE, _LESS = ("more than", "over", "at least"), ("less than", "fewer than", "up to")
#: "More than 39" excludes 39 and "at least 39" includes it, in spite of floating-point rounding.
_HAIR = 1e-6
_NEARLY = ("nearly", "almost")
#: A share named by a word, and the range that it may mean.
_SHARES = {
    "half": (0.42, 0.58), "a half": (0.42, 0.58), "one half": (0.42, 0.58), "a third": (0.28, 0.39),
    "one third": (0.28, 0.39), "one-third": (0.28, 0.39), "two thirds": (0.6, 0.73), "two-thirds": (0.6, 0.73),
    "a quarter": (0.2, 0.3), "one quarter": (0.2, 0.3), "three quarters": (0.7, 0.8),
}  # fmt: skip
_WAYS: dict[str, TrendWord] = {"up": "rising", "down": "falling"}
_FACTORS = {"doubl": 2.0, "tripl": 3.0, "quadrupl": 4.0}
#: "Doubled" may also mean a little less or a little more than twice.
_FACTOR_LOW, _FACTOR_HIGH = 0.87, 1.2
#: Least share of the measurements that is "nearly all".
_NEARLY_ALL = 0.85
#: People round a share to ten points, a percentage to five points, and a count to about a seventh.
_SHARE_SLACK, _PERCENT_SLACK, _COUNT_SLACK = 0.1, 0.05, 0.15


class WrittenAmount(NamedTuple):
    """A stated amount of change, as written, until its variable is known: "by more than 2.1 mg/dL"."""

    number: str
    unit: str | None
    how: Literal["more", "least", "less", "about", "exact"] = "exact"
    bare: bool = False  # "rose 18": by 18, or to 18

    def bounds(self, low: float, high: float) -> tuple[float, float]:
        """The range of the amount, given the range left by rounding; a stated bound is exact."""
        return _bounds(self.how, (low + high) / 2) or (low, high)


def find_counts(sentence: Masked) -> None:
    """Read frequencies. This runs before the times are read, because of "most of the stay"."""
    for entry in _table("counts"):
        sentence.read(entry.pattern, partial(_often, means=entry.means), entry.reads)


def find_changes(sentence: Masked) -> None:
    """Read amounts of change. This runs after the times are read: the 24 of "fell over 24 hours" is no amount."""
    for entry in _table("changes"):
        sentence.read(entry.pattern, _change, entry.reads)


@cache
def _table(section: str) -> tuple[PatternEntry, ...]:
    parts = {"numerals": "|".join(NUMERALS), "shares": "|".join(_SHARES), "unit": units.PATTERN}
    return patterns("amounts", section, **parts)


def _often(match: re.Match[str], means: str) -> Reading:
    groups = match.groupdict()
    return "often", _frequency(means, (groups.get("how") or "").lower(), (groups.get("n") or "").lower())


def _frequency(means: str, how: str, n: str) -> Frequency:
    """The frequency meant by a count or share: "most", "3 times", "about 40 % of"."""
    match means:
        case "most":
            return "mostly"
        case "nearly all":
            return Count(_NEARLY_ALL, 1.0, "share")
        case "always":
            return Count(_NEARLY_ALL, 1.0, "share") if how in _NEARLY else "always"
        case "share" | "half":
            share = 0.5 if means == "half" else float(n) / 100
            if how in _MORE:
                return Count(share - 1e-9, 1.0, "share")
            low = 1e-9 if how in _LESS else share - _SHARE_SLACK - 1e-9
            return Count(low, share if how in _LESS else min(1.0, share + _SHARE_SLACK), "share")
    count = float({"once": "1", "twice": "2", "a single": "1"}.get(n) or NUMERALS.get(n) or n)
    if how in _MORE:
        return Count(count + (how != "at least"), _FOREVER, "count")
    if how in _LESS:
        return Count(1, count - (how != "up to"), "count")
    slack = max(1.0, _COUNT_SLACK * count) if how in ("about", "around", "roughly", *_NEARLY) else 0.0
    return Count(count - slack, count + slack, "count")


def _change(match: re.Match[str]) -> Reading | None:
    """The trend that the word itself tells, and the change; an amount stays as written until its variable is known."""
    groups: dict[str, str | None] = defaultdict(lambda: None, match.groupdict())
    how = (groups["cmp"] or "").strip().lower()
    verb = (groups["verb"] or "").lower()
    trend = _WAYS.get((groups["way"] or "").lower())
    if groups["part"] or verb == "halv":
        return "change", ("falling" if verb else None, _part(how, (groups["part"] or "half").lower()))
    if groups["percent"]:
        return "change", (trend, _percent(how, float(groups["percent"]) / 100))
    fold = (groups["fold"] or "").lower()
    if verb or fold:
        factor = _FACTORS[verb] if verb else float(NUMERALS.get(fold, fold))
        if not factor:
            return "", None  # "0-fold"
        return "change", ("rising" if verb else None, _factor(how, factor))
    number = groups["amount"] or groups["points"] or groups["plain"] or groups["bare"]
    if number is None:
        return None
    return "change", (trend, WrittenAmount(number, groups["unit"], _compared(how), bool(groups["bare"])))


def _compared(how: str) -> Literal["more", "least", "less", "about", "exact"]:
    if how in _MORE:
        return "least" if how == "at least" else "more"
    return "less" if how == "less than" else "about" if how else "exact"


def _bounds(how: str, amount: float) -> tuple[float, float] | None:
    """The range of an amount with a comparison ("more than"); None without one."""
    match how:
        case "more":
            return amount + _HAIR, _FOREVER
        case "least":
            return amount - _HAIR, _FOREVER
        case "less":
            return 0.0, amount - _HAIR
    return None


def _part(how: str, share: str) -> ChangeSize:
    low, high = _SHARES[share]
    if how in _NEARLY:  # "nearly" means a little less, by up to a tenth
        return ChangeSize(low - 0.1, high - 0.02, "part")
    return ChangeSize(*(_bounds(_compared(how), (low + high) / 2) or (low, high)), "part")


def _percent(how: str, share: float) -> ChangeSize:
    slack = max(_PERCENT_SLACK, 0.1 * share)
    return ChangeSize(*(_bounds(_compared(how), share) or (share - slack, share + slack)), "percent")


def _factor(how: str, factor: float) -> ChangeSize:
    bounds = _bounds(_compared(how), factor)
    if bounds is not None:
        return ChangeSize(*bounds, "factor")
    if how in _NEARLY:
        return ChangeSize(0.75 * factor, factor, "factor")
    return ChangeSize(_FACTOR_LOW * factor, _FACTOR_HIGH * factor, "factor")

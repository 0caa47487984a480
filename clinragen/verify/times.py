"""Times, counts and amounts of change in text: how long, how often, by how much."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable
from typing import NamedTuple

from clinragen.verify import units
from clinragen.verify.figures import NUMERALS, UNIT
from clinragen.verify.masked import Masked
from clinragen.verify.statements import ROUGHLY, ChangeSize, Count, Hour

_FOREVER = float("inf")
_H = r"(?:(?-i:h|hrs?)|hours?)\b"  # in "5.8 H" and "39.6 HR 131" it is no hour
_N = r"(?<!\d)(?P<n>\d{1,30}(?:\.\d{1,3})?)(?!\d)"
_M = r"(?<!\d)(?P<m>\d{1,30}(?:\.\d{1,3})?)(?!\d)"
_IN = r"(?:within|in|during|over|on|by|for|throughout|across)"
_UNITS_OF_TIME = rf"{_H}|days?\b|weeks?\b|months?\b|min(?:ute)?s?\b|years?\b|yo\b|y/o\b"
_CHECK = r"(?:check|sample|measurement|reading|value|draw|lab)\b"
_CHECKS = r"(?:time|readings|measurements|values|stay|hours|checks|samples)"


Cued = tuple[str, object] | None


class WrittenAmount(NamedTuple):
    """A stated amount of change, as written: "by more than 2.1 mg/dL"."""

    number: str
    unit: str | None
    more: bool
    less: bool
    bare: bool = False  # "rose 18": by 18, or to 18
    about: bool = False


class Window(NamedTuple):
    """Hours from intime that a statement is about; ``hours``: of a stretch that may lie anywhere within."""

    start: float
    end: float
    hours: float | None = None


#: Pattern -> what its groups mean: (kind of cue, value), or None where the number is of a time and no more is known.
_TIMES: tuple[tuple[str, Callable[[float, float], tuple[str, object] | None]], ...] = (
    (
        rf"{_IN}?\s?(?:the\s)?(?:first|initial)\s(?P<n>\d{{1,6}}|[a-z]{{3,8}})\s?-?\s?{_H}",
        lambda n, m: ("window", Window(0.0, n)),
    ),
    (
        rf"{_IN}?\s?(?:the\s)?(?:first\s(?:hospital\s|ICU\s)?day|day\s(?:one|1)\b)",
        lambda n, m: ("window", Window(0.0, 24.0)),
    ),
    (
        rf"{_IN}?\s?(?:the\s)?(?:second\s(?:hospital\s|ICU\s)?day|day\s(?:two|2)\b)",
        lambda n, m: ("window", Window(24.0, 48.0)),
    ),
    (rf"{_IN}?\s?(?:the\s)?(?:last|final)\s{_N}\s?{_H}", lambda n, m: ("window", Window(-n, _FOREVER))),
    (
        rf"(?:(?:between|from)\shours?|hours)\s?{_N}\s?(?:and|to|-|–|until|through)\s?(?:hour\s?)?{_M}",
        lambda n, m: ("window", Window(n, m)),
    ),
    (
        rf"\bhour\s{_N}\s?(?:to|-|–|until|through|and hour)\s?(?:hour\s?)?{_M}(?!\.)",
        lambda n, m: ("window", Window(n, m)) if m > n else None,
    ),
    (
        rf"(?:from|after|since|beyond|following|past)\shour\s{_N}(?:\s(?:on\b|onwards?|onward))?",
        lambda n, m: ("window", Window(n, _FOREVER)),
    ),
    (rf"hour\s{_N}\s(?:on\b|onwards?)", lambda n, m: ("window", Window(n, _FOREVER))),
    (rf"(?:before|until|prior to|up to)\shour\s{_N}", lambda n, m: ("window", Window(0.0, n))),
    (rf"(?:by|within)\s(?:hour\s{_N}|{_M}\s?{_H})", lambda n, m: ("window", Window(0.0, n or m))),
    (rf"\bday\s{_N}", lambda n, m: ("window", Window(24.0 * (n - 1), 24.0 * n)) if n else None),
    (
        rf"(?:(?:over|during|across|for|throughout|in)\s|/\s?|per\s)(?:the\s|a\s)?"
        rf"(?:next\s|following\s|subsequent\s)?(?:period of\s)?{_N}(?:\s|-)?{_H}(?:\speriod)?",
        lambda n, m: ("window", Window(0.0, _FOREVER, n)),
    ),
    (
        r"\b(?:total|cumulative)(?=\s(?:urine|urinary|output|UOP))|\b(?:in total|a total of|total(?:l?ing|l?ed))\b",
        lambda n, m: ("total", None),
    ),
    (rf"{_N}(?:\s|-)?{_H}(?=\s(?:urine|urinary|total|output|UOP))", lambda n, m: ("window", Window(0.0, _FOREVER, n))),
    (
        rf"(?:at\s|by\s)?(?:around|near|about|approximately)\s(?:hour\s{_N}|{_M}\s?{_H})",
        lambda n, m: ("hour", Hour(n or m, ROUGHLY)),
    ),
    (rf"(?:at|on|by)?\s?\bhour\s{_N}", lambda n, m: ("hour", Hour(n))),
    (rf"(?:at\s)?\bT\s?\+\s?{_N}\s?{_H}", lambda n, m: ("hour", Hour(n))),
    (rf"(?:at)\s{_N}\s?{_H}", lambda n, m: ("hour", Hour(n))),
    (rf"\(\s?(?:h|hr|t\s?=)\s?{_N}\s?h?\s?\)", lambda n, m: ("hour", Hour(n))),
    (
        rf"{_N}\s?{_H}\s(?:after|into|post|from|since)\s(?:ICU\s|hospital\s)?(?:admission|arrival|the stay)",
        lambda n, m: ("hour", Hour(n)),
    ),
    (rf"(?:every|each|q)\s?{_N}(?:\s?-\s?\d{{1,2}})?\s?{_H}", lambda n, m: None),
    (
        rf"(?:for|over|during)\s{_N}\s?(?:-|–|to)\s?\d{{1,4}}\s?(?:-\s?)?{_H}",
        lambda n, m: ("window", Window(0.0, _FOREVER, n)),
    ),
    (rf"{_N}\s?(?:-|–|to)\s?\d{{1,4}}\s?(?:-\s?)?(?:{_UNITS_OF_TIME})", lambda n, m: None),
    (rf"{_N}\s?(?:-\s?)?(?:{_UNITS_OF_TIME})", lambda n, m: None),
    (
        r"\b(?:on|at|upon)\s(?:admission|arrival|presentation|baseline|first)\b|\binitial(?:ly)?\b|"
        r"\bat the (?:start|outset|beginning)\b|\b(?:on|at|in)\s(?:the\s)?(?:first|initial)\s" + _CHECK + "|"
        r"\bearly(?: on)?\b|\badmission\b|\bpresenting\b|\bfirst\b",
        lambda n, m: ("moment", "first"),
    ),
    (
        r"\bstill\b|\bat the end\b|\bby the end\b|\b(?:most recent|latest|final(?:ly)?|currently|at last check)\b|"
        r"\blast\b|\bnow\b|\bmost recently\b|\bat (?:the )?last (?:check|measurement)\b|\bended at\b",
        lambda n, m: ("moment", "last"),
    ),
)

_COMPILED = tuple((re.compile(pattern, re.I), meaning) for pattern, meaning in _TIMES)
_COUNT = rf"(?:\d{{1,4}}|{'|'.join(NUMERALS)}|once|twice|a single)"
_ABOUT = (
    r"(?P<about>about|around|roughly|nearly|almost|at least|more than|over|only|just|exactly|less than|"
    r"fewer than|up to)"
)
_OFTEN = re.compile(
    rf"\b(?:(?:on|in|at|for|during)\s)?{_ABOUT}?\s?"
    rf"(?:(?P<n>{_COUNT})\s?(?:(?:out\s)?of\s(?:the\s|all\s)?(?:\d{{1,4}}|{'|'.join(NUMERALS)})\s?)?"
    r"(?:(?:consecutive|separate|different|available|of the)\s)?"
    r"(?P<what>occasions?|times?|measurements?|readings?|values?|checks?|samples?|instances?|episodes?|draws?|"
    r"outputs?)\b"
    r"(?!\s?(?:the\s)?(?:upper|normal|higher|ULN))"
    r"|(?P<word>once|twice)\b(?!\s(?:the\s)?(?:upper|normal|ULN|baseline))"
    rf"|(?P<pct>\d{{1,3}})\s?(?:%|percent)\sof\s(?:the\s|all\s|its\s)?{_CHECKS}"
    rf"|(?P<half>half)\s(?:of\s)?(?:the\s|all\s)?(?:of\sthe\s)?{_CHECKS}"
    r"|(?P<all>all|every|each|both)\s(?:of\s)?(?:the\s)?(?:two\s|three\s|four\s|five\s|\d{1,4}\s)?"
    r"(?:occasions?|measurements?|readings?|values?|checks?|samples?|determinations?|draws?))",
    re.I,
)
_MOST = re.compile(
    r"\b(?:in|on|for|at|during)?\s?(?P<almost>nearly all|almost all|virtually all)?"
    r"(?P<most>most(?: of)?|the majority of|a majority of)?\s(?:the\s)?"
    r"(?:readings|measurements|values|time|checks|samples|occasions|stay)\b",
    re.I,
)

_PARTS = {
    "half": (0.42, 0.58), "a half": (0.42, 0.58), "one half": (0.42, 0.58), "a third": (0.28, 0.39),
    "one third": (0.28, 0.39), "one-third": (0.28, 0.39), "two thirds": (0.6, 0.73), "two-thirds": (0.6, 0.73),
    "a quarter": (0.2, 0.3), "one quarter": (0.2, 0.3), "three quarters": (0.7, 0.8),
}  # fmt: skip
_FACTORS = {"doubl": 2.0, "tripl": 3.0, "quadrupl": 4.0}
_NEAR = r"nearly |almost |more than |less than |over |approximately |about |roughly "
_PCT = r"\d{1,4}(?:\.\d{1,3})?"
_AMOUNT = r"\d{1,6}(?:[.,]\d{1,3})?(?![\d/])"
_ENDS = r"(?!\s?(?:to|->|→|=>|-|–)\s?\d)"  # "dropped 10.4 g/dL to 8.2" states two values
_NOUN = r"(?:drop|fall|decrease|decline|reduction|rise|increase|jump|gain|loss)\b"
_CHANGE = re.compile(
    r"\b(?:(?P<way>up|down)\s)?by\s"
    r"(?P<cmp>more than|over|at least|less than|about|around|approximately|roughly|nearly|almost|~)?\s?"
    rf"(?:(?P<part>{'|'.join(_PARTS)})\b|(?P<pct>{_PCT})\s?(?:%|percent)|(?P<amount>{_AMOUNT}){UNIT('u')})"
    rf"|(?P<near>{_NEAR})?(?P<verb>halv|doubl|tripl|quadrupl)(?:ed|ing|es|e)?\b"
    rf"|(?P<near2>{_NEAR})?(?P<fold>{_PCT}|two|three|four|five|ten)[- ]?fold\b"
    r"(?!\s(?:above|over|higher|the|upper|normal))"
    rf"|\b(?P<pct2>{_PCT})\s?(?:%|percent)\s(?={_NOUN})"
    rf"|(?<![\w.,])(?P<amount2>{_AMOUNT})-?{UNIT('u2')}\s(?={_NOUN})",
    re.I,
)
#: "fell 35 points", "dropped 2.2 g/dL": an amount, where a unit or "points" follows; "rose 18" may mean to 18.
_MOVED = re.compile(
    r"\b(?:fell|fallen|falls?|drop(?:ped|s)?|decreased?s?|declined?s?|rose|risen|rises?|increased?s?|climbed|"
    rf"(?:went )?(?P<way>up|down)|(?P<noun>{_NOUN} of))\s(?P<cmp>{_NEAR})?(?P<whole>"
    rf"(?:(?P<pct>{_PCT})\s?(?:%|percent)|(?P<amount>{_AMOUNT})\s?-?(?P<u>{units.PATTERN})(?![A-Za-z])){_ENDS}"
    rf"|(?P<points>{_AMOUNT})\s?points?\b"
    rf"|(?P<bare>{_AMOUNT})(?![\w%/'’]|[.,]\d|\s?(?:{units.PATTERN})(?![A-Za-z])){_ENDS}|(?(noun)(?P<plain>{_AMOUNT})(?!\s?%)|(?!)))",
    re.I,
)


def find(sentence: Masked) -> None:
    """Read every time, count and change."""
    for pattern in (_MOST, _OFTEN):
        sentence.read(pattern, _often)
    for pattern, meaning in _COMPILED:
        sentence.read(pattern, lambda match, meaning=meaning: _time(match, meaning))
    sentence.read(_CHANGE, _change)
    sentence.read(_MOVED, _change, "whole")


def _time(match: re.Match[str], meaning: Callable[[float, float], Cued]) -> Cued:
    n, m = (_number(match.groupdict().get(name)) for name in "nm")
    if n is None or m is None:
        return None
    return meaning(n, m) or ("", None)


def _number(written: str | None) -> float | None:
    """0 where the group is absent, None where it is no number ("first few hours")."""
    stated = NUMERALS.get((written or "0").lower(), written or "0")
    return float(stated) if re.fullmatch(r"\d{1,30}(?:\.\d{1,9})?", stated) else None


def _often(match: re.Match[str]) -> Cued:
    often = _how_often(match.groupdict())
    return None if often is None else ("often", often)


def _how_often(found: dict[str, str | None]) -> Count | str | None:
    if found.get("almost"):
        return Count(0.85, 1.0, "share")
    if found.get("most"):
        return "mostly"
    if "n" not in found:
        return None
    about = (found["about"] or "").lower()
    if found["all"]:
        return "always"
    if found["half"] or found["pct"]:
        share = float(found["pct"] or 50) / 100
        more = about in ("more than", "over", "at least")
        return Count(share - (0.0 if more else 0.1) - 1e-9, 1.0 if more else min(1.0, share + 0.1), "share")
    word = (found["word"] or found["n"] or "").lower()
    count = float({"once": "1", "twice": "2", "a single": "1"}.get(word) or NUMERALS.get(word) or word)
    if about in ("more than", "over", "at least"):
        return Count(count + (about != "at least"), _FOREVER, "count")
    if about in ("less than", "fewer than", "up to"):
        return Count(1, count - (about != "up to"), "count")
    slack = max(1.0, 0.15 * count) if about in ("about", "around", "roughly", "nearly", "almost") else 0.0
    return Count(count - slack, count + slack, "count")


def _change(match: re.Match[str]) -> Cued:
    """The trend that the word itself tells, and the change; an amount stays as written until its variable is known."""
    found = defaultdict(lambda: None, match.groupdict())
    how = (found["cmp"] or found["near"] or found["near2"] or "").strip().lower()
    more, less = how in ("more than", "over", "at least"), how == "less than"
    verb = (found["verb"] or "").lower()
    percent = found["pct"] or found["pct2"]
    trend = {"up": "rising", "down": "falling"}.get((found["way"] or "").lower())
    if found["part"] or verb == "halv":
        low, high = _PARTS[(found["part"] or "half").lower()]
        if more:
            low, high = (low + high) / 2, 1.0
        elif less:
            low, high = 0.0, (low + high) / 2
        elif how in ("nearly", "almost"):
            low, high = low - 0.1, high - 0.02
        return "change", ("falling" if verb else None, ChangeSize(low, high, "part"))
    if percent:
        share = float(percent) / 100
        slack = max(0.05, 0.1 * share)
        high = _FOREVER if more else share + slack
        return "change", (trend, ChangeSize(share - (0 if more else slack), high, "percent"))
    fold = found["fold"] or ""
    if verb or fold:
        factor = _FACTORS[verb] if verb else float(NUMERALS.get(fold.lower(), fold))
        if not factor:
            return "", None
        low, high = 0.87 * factor, 1.2 * factor
        if more or less:
            low, high = (factor, _FOREVER) if more else (1.0, factor)
        elif how in ("nearly", "almost"):
            low, high = 0.75 * factor, factor
        return "change", ("rising" if verb else None, ChangeSize(low, high, "factor"))
    written = found["amount"] or found["amount2"] or found["points"] or found["plain"] or found["bare"]
    if written is None:
        return None
    about = bool(how) and not (more or less)
    return "change", (trend, WrittenAmount(written, found["u"] or found["u2"], more, less, bool(found["bare"]), about))

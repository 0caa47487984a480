"""Text -> statements about the series. Rule based and forgiving in wording; what is not understood makes no claim.

A sentence becomes a row of cues: heads (variables, and terms such as hypotension), states, trends, numbers, times,
quantifiers, separators. The words between two heads are shared out at the last separator; what follows a head is cut
into statements at commas and conjunctions; heads joined by "and" share their words.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from clinragen.catalog import variables
from clinragen.verify import figures, times
from clinragen.verify.claims import Change, Number, SeriesClaim
from clinragen.verify.figures import Written
from clinragen.verify.lexicon import Cue, Head, Lexicon

_SENTENCE = re.compile(
    r"(?<=[.!?])(?<!\bi\.e\.)(?<!\be\.g\.)(?<!\bvs\.)(?<!\bapprox\.)(?<!\bmax\.)(?<!\bmin\.)\s+(?=[A-Z0-9(>~-])|;|\n+"
)
_SEPARATOR = re.compile(
    r",(?=\s|$)|[():]|\b(?:and|but|with|while|whereas|then|before|after which|although|though|despite|yet|plus|or|nor|"
    r"along with|alongside|accompanied by|as well as|in addition to|followed by|i\.e\.|later|subsequently|thereafter|"
    r"besides|when|as)\b|\s[-–—]\s|/(?=\s)|&"
)  # fmt: skip
_JOINS = frozenset((",", "and", "or", "nor", "/", "&", "plus", "as well as", "along with"))
#: Separators at which what follows a head is cut into statements of their own.
_CUTS = frozenset((",", "and", "but", "then", "before", "after which", "yet", "later", "subsequently")) | frozenset(
    ("thereafter", "followed by", "although", "though", "while", "whereas", "with", "when")
)
_ABOUT = re.compile(r"\b(?:about|around)\b", re.I)
_LATER = frozenset(("then", "later", "subsequently", "thereafter"))
_JOINED = re.compile(
    r"(?:\s|,|\band\b|\bor\b|\bnor\b|/|&|\bplus\b|\bas well as\b|\balong with\b|\bboth\b|\bthe\b|\beither\b)*"
)
_PAST = re.compile(
    r"\b(?:history of|h/o|hx of|risk (?:of|for)|known|chronic|prior|family|treated for|prevent|to avoid)\s+"
    r"(?:\w+\s+)?$",
    re.I,
)
_WORSE = {"worsening": ("rising", "falling"), "improving": ("falling", "rising")}
_ADJECTIVAL = {"increased": "high", "decreased": "low", "increases": "high", "decreases": "low"}
_TIMES = ("window", "moment", "hour")


@dataclass
class _Group:
    """Heads that share their words: what stands before them, and what follows."""

    heads: list[Cue]
    before: list[Cue]
    after: list[Cue]


class SeriesReader:
    """Reads series claims by a lexicon."""

    def __init__(self, lexicon: Lexicon) -> None:
        self._lexicon = lexicon

    def read(self, text: str, diagnoses: Sequence[tuple[int, int]] = ()) -> list[SeriesClaim]:
        """Claims in reading order.

        Args:
            diagnoses: spans in which a diagnosis is named; a term inside one is no claim when it is concluded on.
        """
        claims: list[SeriesClaim] = []
        for start, end in sentences(text):
            cues = self._cues(text, start, end)
            for group in _groups(text, _heads(text, cues, diagnoses)):
                claims += _statements(text, group)
        return sorted(claims, key=lambda claim: (claim.start, claim.end))

    def _cues(self, text: str, start: int, end: int) -> list[Cue]:
        sentence = text[start:end]
        found = _quantities(sentence)
        taken = [(cue.start, cue.end) for cue in found]
        found += self._lexicon.scan(sentence, taken)
        taken += [(cue.start, cue.end) for cue in found]
        for match in _SEPARATOR.finditer(sentence):
            if not any(a < match.end() and match.start() < b for a, b in taken):
                found.append(Cue("sep", match.start(), match.end(), match[0].strip().lower()))
        found.sort(key=lambda cue: (cue.start, cue.end))
        return [cue._replace(start=cue.start + start, end=cue.end + start) for cue in found]


def sentences(text: str) -> list[tuple[int, int]]:
    """Spans of sentences; a semicolon or a line break ends one too.

    >>> text = "Cr 1.2. HR 90; approx. 5 more."
    >>> [text[a:b].strip() for a, b in sentences(text)]
    ['Cr 1.2.', 'HR 90', 'approx. 5 more.']
    """
    spans, start = [], 0
    for match in _SENTENCE.finditer(text):
        spans.append((start, match.start()))
        start = match.end()
    return [(a, b) for a, b in [*spans, (start, len(text))] if b > a]


def _quantities(text: str) -> list[Cue]:
    """Times, counts, changes and numbers. Each is masked when found: the 24 of "24 hours" is no value."""
    cues: list[Cue] = []
    masked = text

    def take(start: int, end: int, kind: str | None, value: object) -> str:
        nonlocal masked
        if kind is not None:
            cues.append(Cue(kind, start, end, value))
        masked = masked[:start] + "\0" * (end - start) + masked[end:]
        return masked

    figures.find(times.find(text, take), take)
    return cues


def _heads(text: str, cues: list[Cue], diagnoses: Sequence[tuple[int, int]]) -> list[Cue]:
    """Cues without heads that name a diagnosis or the past, and without a second name of the head before."""
    kept: list[Cue] = []
    concluding = False
    last: Cue | None = None
    for cue in cues:
        if cue.kind == "linking":
            concluding = True
        if cue.kind == "head":
            inside = [span for span in diagnoses if span[0] <= cue.start and cue.end <= span[1]]
            if any(concluding or (b - a) > (cue.end - cue.start) for a, b in inside):
                continue
            if cue.value.directions and _PAST.search(text[max(0, cue.start - 30) : cue.start]):
                continue
            if last is not None and _renamed(text, last, cue, kept):
                continue
            last = cue
        kept.append(cue)
    return kept


def _renamed(text: str, last: Cue, cue: Cue, kept: list[Cue]) -> bool:
    """Whether a head names the one before again: "hemoglobin (Hgb)", "BP 96 systolic". The better name stays."""
    between = text[last.end : cue.start]
    if cue.value.variables == last.value.variables and not cue.value.directions and between.strip() == "(":
        return True
    bare = not last.value.directions and not any(other.kind == "sep" for other in kept[kept.index(last) :])
    narrower = "mean_bp" in last.value.variables and cue.value.variables in (("systolic_bp",), ("diastolic_bp",))
    if narrower and bare and between.strip():
        kept[kept.index(last)] = last._replace(value=cue.value)
        return True
    return False


def _groups(text: str, cues: list[Cue]) -> Iterator[_Group]:
    places = [position for position, cue in enumerate(cues) if cue.kind == "head"]
    if not places:
        return
    group = _Group([cues[places[0]]], _leading(cues[: places[0]]), [])
    for here, there in pairwise(places):
        region = cues[here + 1 : there]
        between = text[cues[here].end : cues[there].start]
        joined = bool(region) and all(cue.kind == "sep" and cue.value in _JOINS for cue in region)
        alike = bool(cues[here].value.directions) == bool(cues[there].value.directions)
        if joined and alike and _JOINED.fullmatch(between):
            group.heads.append(cues[there])
            continue
        group.after, before = _shared(text, region, cues[there])
        yield group
        group = _Group([cues[there]], before, [])
    rest = cues[places[-1] + 1 :]
    stop = next((position for position, cue in enumerate(rest) if cue.kind == "linking"), len(rest))
    group.after = rest[:stop]
    yield group


def _leading(cues: list[Cue]) -> list[Cue]:
    """Of the cues before the first head: those of its own clause, and times from anywhere."""
    last = max((position for position, cue in enumerate(cues) if cue.kind in ("sep", "linking")), default=-1)
    return [cue for position, cue in enumerate(cues) if position > last or cue.kind in _TIMES]


def _shared(text: str, region: list[Cue], head: Cue) -> tuple[list[Cue], list[Cue]]:
    """What of the words between two heads belongs to the first, and what to the second."""
    links = [position for position, cue in enumerate(region) if cue.kind == "linking"]
    if links:
        return region[: links[0]], [cue for cue in region[links[0] + 1 :] if cue.kind != "sep"]
    seps = [position for position, cue in enumerate(region) if cue.kind == "sep"]
    if seps:
        return region[: seps[-1]], region[seps[-1] + 1 :]
    if len(region) > 1 and region[-1].kind == "number" and region[-1].end + 1 >= head.start:
        return region[:-1], region[-1:]  # "SpO2 96% on 40% FiO2"
    if region and region[-1].kind in ("state", "trend", "severity", "denied", "often", "how"):
        tight = region[-1].end + 1 >= head.start
        if tight and not any(cue.kind == "number" for cue in region):
            return [], region
    return region, []


def _statements(text: str, group: _Group) -> Iterator[SeriesClaim]:
    segments = _segments(group.after)
    heads = group.heads
    numbers = [cue for cue in group.after if cue.kind in ("number", "change")]
    if (
        len(heads) > 1
        and len(numbers) == len(heads)
        and all(cue.value.form == "one" for cue in numbers if cue.kind == "number")
    ):
        shared = [cue for cue in group.after if cue not in numbers and cue.kind != "sep"]
        for head, number in zip(heads, numbers, strict=True):
            yield from _claims(text, head, group.before, [*shared, number], whole=head is heads[0])
        return
    for position, head in enumerate(heads):
        for order, segment in enumerate(segments or [[]]):
            cues = segment
            last = position == len(heads) - 1
            if not last:  # "ALT and AST above 1000" is said of both, "BUN and creatinine of 3.2" of the last
                cues = [c for c in segment if c.kind not in ("number", "change") or _broad(segment, head)]
            yield from _claims(text, head, group.before if order == 0 else [], cues, whole=order == 0)


def _broad(segment: list[Cue], head: Cue) -> bool:
    return not head.value.directions and any(
        c.kind == "how" and c.value in ("above", "below", "at_least", "at_most") for c in segment
    )


def _segments(cues: list[Cue]) -> list[list[Cue]]:
    segments: list[list[Cue]] = [[]]
    for cue in cues:
        if cue.kind == "sep":
            if cue.value in _CUTS:
                segments.append([])
            if cue.value in _LATER:
                segments[-1].append(Cue("moment", cue.start, cue.end, "later"))
        elif cue.kind != "linking":
            segments[-1].append(cue)
    kept = [segment for segment in segments if segment]
    merged: list[list[Cue]] = []
    for segment in kept:  # a time or a quantifier alone belongs to the statement before it
        if merged and not any(cue.kind in ("state", "trend", "number", "change", "how") for cue in segment):
            merged[-1] += [cue for cue in segment if cue.kind != "denied"]
        elif merged and not any(cue.kind in ("state", "trend", "number", "change", "how") for cue in merged[-1]):
            merged[-1] += segment
        else:
            merged.append(segment)
    return merged


def _claims(text: str, head: Cue, before: list[Cue], after: list[Cue], *, whole: bool) -> Iterator[SeriesClaim]:
    of: Head = head.value
    cues = [*before, *after]
    start = min([head.start if whole else 10**9, *(cue.start for cue in cues)])
    end = max([head.end if whole else 0, *(cue.end for cue in cues)])
    claim = SeriesClaim(start, end, of.variables)
    claim = _qualified(claim, cues)
    claim = _stated(text, claim, of, before, after, whole=whole)
    pair = next((cue.value for cue in cues if cue.kind == "number" and cue.value.form == "pair"), None)
    if pair is not None:
        if "systolic_bp" in of.variables or "mean_bp" in of.variables:
            for key, part in zip(("systolic_bp", "diastolic_bp"), pair.parts, strict=True):
                number = figures.number(part, "at", variables()[key])
                yield replace(claim, variables=(key,), numbers=(number,), direction=None)
        return
    claim = _numbered(text, claim, of, before, after)
    if of.bound is not None and not claim.numbers:
        claim = replace(claim, numbers=(Number(of.bound[1], of.bound[1], of.bound[0] + "_event"),))
    if not whole and not any(cue.kind in ("state", "trend", "number", "change", "how") for cue in after):
        return
    if any((claim.direction, claim.trend, claim.numbers, claim.change)):
        yield claim


def _qualified(claim: SeriesClaim, cues: list[Cue]) -> SeriesClaim:
    """Times, quantifiers and severity."""
    often = [cue.value for cue in cues if cue.kind == "often"]
    counted = [value for value in often if not isinstance(value, str)]
    windows = [cue.value for cue in cues if cue.kind == "window"]
    return replace(
        claim,
        often=(counted or often or [None])[0],
        severity=next((cue.value for cue in cues if cue.kind == "severity"), None),
        window=windows[0] if windows else None,
        moment=next((cue.value for cue in cues if cue.kind == "moment"), None),
        hour=next((cue.value for cue in cues if cue.kind == "hour"), None),
    )


def _stated(
    text: str, claim: SeriesClaim, of: Head, before: list[Cue], after: list[Cue], *, whole: bool
) -> SeriesClaim:
    """Direction, trend and negation."""
    states, trends = [], []
    for cue in (*before, *after):
        word = text[cue.start : cue.end].lower()
        if cue.kind == "trend" and cue in before and word in _ADJECTIVAL:
            states.append(_ADJECTIVAL[word])
        elif cue.kind == "state":
            states.append(cue.value)
        elif cue.kind == "trend":
            trends.append(cue.value)
        elif cue.kind == "change" and cue.value[0]:
            trends.append(cue.value[0])
    if len(states) > 1 and states[-1] == "normal":
        states = ["normal"]  # "low-normal"
    direction = states[0] if states else None
    negated = any(cue.kind == "denied" for cue in (*before, *after))
    if direction is None and of.directions and (whole or trends or any(c.kind == "number" for c in after)):
        direction = of.directions[0] if len(of.directions) == 1 else "normal"
        if of.absent and len(of.directions) == 1:
            negated = not negated
    order = ("resolved", "rising", "falling", "improving", "worsening", "stable")
    trend = min(trends, key=order.index, default=None)
    if trend in _WORSE and len(of.directions) == 1:
        trend = _WORSE[trend][of.directions[0] == "low"]
    return replace(claim, direction=direction, trend=trend, negated=negated)


def _numbered(text: str, claim: SeriesClaim, of: Head, before: list[Cue], after: list[Cue]) -> SeriesClaim:
    """Numbers, with the words that say what they are."""
    spec = variables()[of.variables[0]]
    hows = [cue for cue in (*before, *after) if cue.kind == "how"]
    if of.how:
        hows.append(Cue("how", -1, -1, of.how))
    numbers: list[Number] = []
    first: Number | None = None
    change: Change | None = None
    moving = claim.trend is not None and claim.trend != "stable"
    stated = [cue for cue in (*before, *after) if cue.kind == "number" and cue.value.form != "pair"]
    for place, cue in enumerate(stated):
        written: Written = cue.value
        about = any(c.kind == "about" and 0 <= cue.start - c.end <= 12 for c in (*before, *after))
        about = about or _ABOUT.search(text[cue.start : cue.end]) is not None
        previous = stated[place - 1].end if place else -2
        mine = [how for how in hows if previous < how.end <= cue.start]
        trailing = [how for how in hows if how.start >= cue.end and place == len(stated) - 1]
        how = (mine or trailing or [Cue("how", 0, 0, None)])[-1].value
        if any(part[1] in ("%", "percent") for part in written.parts) and spec.unit != "%":
            continue  # the "on 40 % oxygen" after another variable
        made = [figures.number(part, "at", spec, about=about) for part in written.parts]
        if len(made) == 3 and written.form != "sequence":
            made[1:] = [Number(made[1].low, made[2].high, "at")]
        if written.form == "one":
            numbers.append(_bounded(made[0], how, claim, decade=written.parts[0][2]))
        elif (
            written.form in ("sequence", "from", "up", "down")
            or (moving and written.form == "range")
            or _backward(made)
        ):
            first, numbers = made[0], [*numbers, *made[1:]]
        else:
            form = "ranged" if written.extremes else "decades" if written.parts[1][2] else "within"
            numbers.append(Number(made[0].low, made[1].high, form))
    if (
        not stated
        and claim.trend is None
        and claim.hour is not None
        and hows
        and hows[0].value in ("highest", "lowest")
    ):
        numbers.append(Number(float("-inf"), float("inf"), hows[0].value))
    if not stated and claim.moment and hows and hows[0].value in ("highest", "lowest"):
        numbers.append(Number(float("-inf"), float("inf"), hows[0].value))
    for cue in after + before:
        if cue.kind == "change":
            change = cue.value[1] if isinstance(cue.value[1], Change) else _amount(cue.value[1], spec)
    ways = {"up": "rising", "down": "falling"}
    for cue in stated:  # "from 38 up to 278" may give the extremes; "from 38 down to 278" is a fall, and wrong
        if claim.trend is None and cue.value.form in ways and (_backward(made) or cue.value.form == "down"):
            claim = replace(claim, trend=ways[cue.value.form])
    return replace(claim, numbers=tuple(numbers), first=first, change=change)


def _backward(made: list[Number]) -> bool:
    """A range is written from low to high; "1.4 to 1.2" is a change."""
    return made[0].low > made[1].low


def _bounded(number: Number, how: str | None, claim: SeriesClaim, *, decade: bool) -> Number:
    middle = (number.low + number.high) / 2
    if how in ("above", "above_event"):
        return Number(middle, middle, how)
    if how in ("below", "below_event"):
        return Number(middle, middle, how)
    if how == "at_least":
        return Number(number.low, number.low, "above")
    if how == "at_most":
        return Number(number.high, number.high, "below")
    if how in ("highest", "lowest", "mean"):
        return number._replace(how=how)
    if decade and how is None and claim.trend is None:
        return number._replace(how="decade")
    return number._replace(how="at")


def _amount(stated: tuple[str, str | None], spec: object) -> Change:
    written, unit = stated
    part = figures.number((written, unit, False), "at", spec)  # type: ignore[arg-type]
    slack = max(part.high - part.low, 0.1 * abs(part.low))
    return Change(part.low - slack, part.high + slack, "amount")

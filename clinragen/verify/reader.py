"""Text -> statements about the series. Rule based and forgiving in wording; what is not understood makes no claim.

A sentence becomes a row of cues: heads (variables, and terms such as hypotension), states, trends, numbers, times,
quantifiers, separators. The words between two heads are shared out at the last separator; what follows a head is cut
into statements at commas and conjunctions; heads joined by "and" share their words.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import pairwise

from clinragen.knowledge.graph import ConceptGraph
from clinragen.verify import amounts, assembly, figures, times
from clinragen.verify.claims import SeriesClaim
from clinragen.verify.cue_phrases import CuePhrases, Head
from clinragen.verify.cues import words
from clinragen.verify.masked import Cue, Masked

_SENTENCE = re.compile(
    r"(?<=[.!?])(?<!\bi\.e\.)(?<!\be\.g\.)(?<!\bvs\.)(?<!\bapprox\.)(?<!\bmax\.)(?<!\bmin\.)\s(?=[A-Z0-9(>~-])|;|\n"
)
_BLANKS = re.compile(r"\s{2,}|[^\S \n]")
#: No sentence is longer, in characters; one without end is cut at a blank.
_LONGEST = 2000
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
_LATER = frozenset(("then", "later", "subsequently", "thereafter"))
_JOINED = re.compile(
    r"(?:\s|,|\band\b|\bor\b|\bnor\b|/|&|\bplus\b|\bas well as\b|\balong with\b|\bboth\b|\bthe\b|\beither\b)*"
)
_PAST = re.compile(
    r"\b(?:history of|h/o|hx of|risk (?:of|for)|known|chronic|prior|family|treated for|prevent|to avoid)\s"
    r"(?:\w{1,20}\s)?$",
    re.I,
)
_TIMES = ("window", "moment", "hour")
#: A word that may name something: adverbs do not.
_NAMING = re.compile(r"\b(?!\w{1,20}ly\b)(?:[A-Za-z][\w+]+|[B-HJ-Z]\b)")


@cache
def _elsewhere() -> tuple[re.Pattern[str], re.Pattern[str], re.Pattern[str]]:
    """Words before a variable, before a blood gas, and after a variable that make it another measurement."""
    before, before_gas, after = (
        "|".join(re.escape(word) for word in sorted(entry.words, key=len, reverse=True)) for entry in words("elsewhere")
    )
    return (
        re.compile(rf"\b(?:{before})(?:'s)?\s$", re.I),
        re.compile(rf"\b(?:{before_gas})(?:'s)?\s$", re.I),
        re.compile(rf"\s(?:{after})\b", re.I),
    )


@dataclass
class _Group:
    """Heads that share their words: what stands before them, and what follows."""

    heads: list[Cue]
    before: list[Cue]
    after: list[Cue]


class SeriesReader:
    """Reads series claims by the names of a concept graph. Building one takes some tenths of a second; reuse it."""

    def __init__(self, graph: ConceptGraph) -> None:
        self._phrases = CuePhrases(graph)

    def read(self, text: str, diagnoses: Sequence[tuple[int, int]] = ()) -> list[SeriesClaim]:
        """Claims in reading order. Any text is read, in time proportional to its length.

        Args:
            diagnoses: spans in which a diagnosis is named; a term inside one is no claim when it is concluded on.
        """
        squeezed, places = _squeezed(text)
        spans = sorted((bisect_left(places, start), bisect_left(places, end)) for start, end in diagnoses)
        claims: list[SeriesClaim] = []
        for start, end in sentences(squeezed):
            inside = (
                [(a - start, b - start) for a, b in spans[bisect_left(spans, (start, 0)) :] if b <= end]
                if spans
                else []
            )
            for claim in self._sentence(squeezed[start:end], inside):
                claims.append(replace(claim, start=places[start + claim.start], end=places[start + claim.end - 1] + 1))
        return sorted(claims, key=lambda claim: (claim.start, claim.end))

    def _sentence(self, text: str, diagnoses: Sequence[tuple[int, int]]) -> Iterator[SeriesClaim]:
        for group in _groups(text, _heads(text, self._cues(text), diagnoses)):
            yield from _statements(text, group)

    def _cues(self, text: str) -> list[Cue]:
        sentence = Masked(text)
        amounts.find_counts(sentence)
        times.find(sentence)
        amounts.find_changes(sentence)
        figures.find(sentence)
        phrases = list(self._phrases.scan(sentence.text))
        found = [*sentence.cues, *phrases]
        free = list(sentence.text)
        for cue in phrases:
            free[cue.start : cue.end] = "\0" * (cue.end - cue.start)
        for match in _SEPARATOR.finditer("".join(free)):
            found.append(Cue("sep", match.start(), match.end(), match[0].strip().lower()))
        found.sort(key=lambda cue: (cue.start, cue.end))
        return _owned(text, found)


def _squeezed(text: str) -> tuple[str, Sequence[int]]:
    """Text with one blank, or line break, for each row of them, and where its characters stood.

    Patterns then meet a single blank at most, and none can go over the same blanks again and again.
    """
    if _BLANKS.search(text) is None:
        return text, range(len(text) + 1)
    parts, places, last = [], [], 0
    for match in _BLANKS.finditer(text):
        parts += [text[last : match.start()], "\n" if "\n" in match[0] else " "]
        places += [*range(last, match.start()), match.start()]
        last = match.end()
    return "".join([*parts, text[last:]]), [*places, *range(last, len(text) + 1)]


def sentences(text: str) -> list[tuple[int, int]]:
    """Spans of sentences; a semicolon or a line break ends one too.

    >>> text = "Cr 1.2. HR 90; approx. 5 more."
    >>> [text[a:b].strip() for a, b in sentences(text)]
    ['Cr 1.2.', 'HR 90', 'approx. 5 more.']
    """
    spans, start = [], 0
    for match in _SENTENCE.finditer(text):
        spans += _cut(text, start, match.start())
        start = match.end()
    return [(a, b) for a, b in [*spans, *_cut(text, start, len(text))] if b > a]


def _cut(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    while end - start > _LONGEST:
        blank = text.rfind(" ", start + 1, start + _LONGEST)
        stop = blank if blank > 0 else start + _LONGEST
        yield start, stop
        start = stop
    yield start, end


def _owned(text: str, cues: list[Cue]) -> list[Cue]:
    """Cues without those of something that the lexicon does not name: "creatinine 2.1, procalcitonin 12".

    After a comma or "and", an unknown word before a number, state or trend is taken for the name of something else.
    """
    kept: list[Cue] = []
    strange = False
    for previous, cue in pairwise([Cue("", 0, 0, None), *cues]):
        if previous.kind == "sep" and previous.value in _CUTS:
            strange = False
        between = text[previous.end : cue.start]
        if cue.kind == "head":
            strange = False
        elif kept and any(word.lower() not in _fillers() for word in _NAMING.findall(between)):
            strange = strange or (previous.kind == "sep" and previous.value in _CUTS)
        if not (strange and cue.kind in assembly.STATING):
            kept.append(cue)
    return kept


@cache
def _fillers() -> frozenset[str]:
    return frozenset(word.lower() for entry in words("fillers") for word in entry.words)


def _heads(text: str, cues: list[Cue], diagnoses: Sequence[tuple[int, int]]) -> list[Cue]:
    """Cues without heads that name a diagnosis or the past, and without a second name of the head before."""
    kept: list[Cue] = []
    concluding = False
    last: int | None = None  # where the last head stands in `kept`
    for cue in cues:
        if cue.kind == "linking":
            concluding = True
        if cue.kind == "head":
            inside = [span for span in diagnoses if span[0] <= cue.start and cue.end <= span[1]]
            if any(concluding or (b - a) > (cue.end - cue.start) for a, b in inside):
                continue
            if cue.value.sides and _PAST.search(text[max(0, cue.start - 45) : cue.start]):
                continue
            cue = _placed(text, cue)
            if last is not None and _renamed(text, last, cue, kept):
                continue
            last = len(kept)
        kept.append(cue)
    return kept


def _placed(text: str, cue: Cue) -> Cue:
    """A head that words beside it make another measurement (urine sodium, lactate clearance) is of no variable."""
    before, of_gases, after = _elsewhere()
    words = text[max(0, cue.start - 30) : cue.start]
    gas = bool({"ph", "pao2", "paco2", "spo2"} & set(cue.value.variables))
    if before.search(words) or (gas and of_gases.search(words)) or after.match(text, cue.end):
        return cue._replace(value=Head(()))
    return cue


def _renamed(text: str, place: int, cue: Cue, kept: list[Cue]) -> bool:
    """Whether a head names the one before again: "hemoglobin (Hgb)", "BP 96 systolic". The better name stays."""
    last = kept[place]
    between = text[last.end : cue.start]
    if cue.value.variables == last.value.variables and not cue.value.sides and between.strip() == "(":
        return True
    narrower = "mean_bp" in last.value.variables and cue.value.variables in (("systolic_bp",), ("diastolic_bp",))
    bare = not last.value.sides and not any(other.kind == "sep" for other in kept[place:])
    if narrower and bare and between.strip():
        kept[place] = last._replace(value=cue.value)
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
        alike = bool(cues[here].value.sides) == bool(cues[there].value.sides)
        if between == "/" or (joined and alike and _JOINED.fullmatch(between)):
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
            yield from assembly.claims(text, head, group.before, [*shared, number], whole=head is heads[0])
        return
    if len(heads) == 2 and len(numbers) == 1 and numbers[0].kind == "number" and numbers[0].value.second:
        for place, head in enumerate(heads):  # "BUN/Cr 52/3.1"
            part = numbers[0]._replace(value=numbers[0].value.component(place))
            yield from assembly.claims(
                text, head, group.before, [part if c is numbers[0] else c for c in group.after], whole=True
            )
        return
    for position, head in enumerate(heads):
        for order, segment in enumerate(segments or [[]]):
            cues = segment
            last = position == len(heads) - 1
            if not last:  # "ALT and AST above 1000" is said of both, "BUN and creatinine of 3.2" of the last
                cues = [c for c in segment if c.kind not in ("number", "change") or _broad(segment, head)]
            yield from assembly.claims(text, head, group.before if order == 0 else [], cues, whole=order == 0)


def _broad(segment: list[Cue], head: Cue) -> bool:
    return not head.value.sides and any(
        c.kind == "how" and c.value in ("above", "below", "at_least", "at_most") for c in segment
    )


def _unnumbered_change(segment: list[Cue]) -> bool:
    kinds = {cue.kind for cue in segment}
    return bool(kinds & {"trend", "change"}) and "number" not in kinds


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
        if merged and not any(cue.kind in assembly.STATING for cue in segment):
            merged[-1] += [cue for cue in segment if cue.kind != "denied"]
        elif merged and not any(cue.kind in assembly.STATING for cue in merged[-1]):
            merged[-1] += segment
        elif merged and _unnumbered_change(merged[-1]) and {cue.kind for cue in segment} == {"number"}:
            merged[-1] += segment  # "more than tripled, 1.8 to 5.6"
        else:
            merged.append(segment)
    return merged

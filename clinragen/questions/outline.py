"""The outline of a question: its words, with places for what it names and for its numbers; and the queries it can mean.

    "What was the highest BUN between hours 6 and 18?"    what was the highest X between hours A and B
    "highest bun 6-18"                                    highest X A-B

What the linker finds in a question (a variable, a concept, a diagnosis) is the subject of a query, and the numbers are
its hours. A language model has only to choose the kind and how the hours are meant, along a small grammar; it writes
no name and no number. So it can be asked about variables and concepts that it has not seen in training. (Placeholders
of this kind are usual in semantic parsing: Dong and Lapata 2016, "Language to Logical Form with Neural Attention".)

The query before a question, from which it may go on, is put before its words, in capitals and with places of its own:

    "and the lowest?" after "highest bun 6-18"            HIGHEST Z E-F >> and the lowest
    "lowest bun 6-18"                                     lowest Z E-F
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from clinragen.catalog import variables
from clinragen.knowledge.graph import ConceptGraph
from clinragen.knowledge.linker import Linker
from clinragen.questions.followups import finding_of
from clinragen.questions.query import FORMS, KINDS, LONGEST, Query, Window, written_hour
from clinragen.questions.templates import ORDINALS, Names
from clinragen.verification.numerals import SPELT, decimal

#: Stands in ``Outline.following`` for the end of a query.
END = ""
#: The whole stay, where two windows are compared.
_WHOLE = "all"
_SUBJECTS, _NUMBERS = "XYZ", "ABCDEFGH"
#: All letters that stand for something in an outline.
PLACES = _SUBJECTS + _NUMBERS
#: The places of the query before a question; those before these are then the question's.
_LAST_SUBJECT, _LAST_NUMBERS = "Z", "EFGH"
#: Stands between the query before and the words of a question.
FOLLOWS = " >> "
_DAY = 24
_NUMBER = re.compile(
    r"(?<![\d.])\d{1,5}(?:\.\d{1,2})?(?![\d.]*\d)"
    rf"|\b(?:{'|'.join(ORDINALS)})\b(?=\s+(?:(?:icu|hospital|full|whole)\s+)?(?:day|24\s*h))"
    rf"|\b(?:{SPELT})\b(?=[\s-]+(?:hours?|hrs?|h|days?)\b)|(?<=\bhour\s)(?:{SPELT})\b|(?<=\bday\s)(?:{SPELT})\b",
    re.IGNORECASE,
)
#: "hr" beside a number is the hour, where the question names something else.
_HOUR = re.compile(r"hrs?", re.IGNORECASE)
_DIGIT_BEFORE, _DIGIT_AHEAD = re.compile(r"\d\s*$"), re.compile(r"\s*\d")


class Subject(NamedTuple):
    """What a place in a question may stand for, as each kind of query names it; None where it is none of that kind."""

    variable: str | None = None
    concept: str | None = None
    label: str | None = None


@dataclass(frozen=True)
class Outline:
    """A question in outline, and the grammar of the queries that it can mean.

    Attributes:
        text: the question in lower case, with X, Y, Z for subjects and A, B, C, ... for numbers; after the query before
            it, if there is one.
        subjects: what each subject's place stands for.
        hours: the number at each place, as it is written in a query.
        windows: windows between the numbers by their outlines ("A-B", "0-A", "A-", "last:A", "day:A"), as they are
            written in a query; also those of the query before, and those that count from them ("before", "before:A",
            "after", "after:A").
    """

    text: str
    subjects: Mapping[str, Subject]
    hours: Mapping[str, str]
    windows: Mapping[str, str]

    def following(self, words: Sequence[str]) -> tuple[str, ...]:
        """The words that may follow the first words of a query's outline; ``END`` among them where it may end.

        >>> outline = Outline("X in the last A h", {"X": Subject("lactate")}, {"A": "6"}, {"last:A": "last:6"})
        >>> [outline.following(words) for words in (["value"], ["value", "first"], ["value", "first", "X"])]
        [('first', 'last', 'at'), ('X',), ('', 'last:A')]
        """
        if not words:
            return tuple(kind for kind in KINDS if self._places(kind))
        form = FORMS[words[0]]  # type: ignore[index]
        before = 1 + bool(form.which)
        if len(words) < before:
            return tuple(which for which in form.which if which != "at" or self.hours)
        at = len(words) > 1 and words[1] == "at"  # no subject's slot is called so
        if at and len(words) == before:
            return tuple(self.hours)
        windows = len(words) - before - at - 1
        if windows < 0:
            return self._places(words[0])
        if form.windows == 2:
            return (_WHOLE, *self.windows) if windows < 2 else (END,)
        return (END, *self.windows) if windows < form.windows and not at else (END,)

    def fill(self, words: Sequence[str]) -> Query:
        """The query of an outline that this grammar allows."""
        subject = next(word for word in words[1:] if word in self.subjects)
        named = getattr(self.subjects[subject], FORMS[words[0]].subject)  # type: ignore[index]
        texts = {subject: named, _WHOLE: "0-", **self.hours, **self.windows}
        return Query.parse(" ".join(texts.get(word, word) for word in words))

    def outlines(self, query: Query) -> Iterator[list[str]]:
        """The outlines that fill to a query, the plainest first; none where the question lacks what it needs."""
        form = FORMS[query.kind]
        places = [
            slot for slot in self._places(query.kind) if getattr(self.subjects[slot], form.subject) == query.subject
        ]
        hours = [[]] if query.hour is None else [[slot] for slot in self._at(written_hour(query.hour))]
        windows = [self._spans(window, named=form.windows == 2) for window in (query.window, query.other) if window]
        for slot in places:
            for hour in hours:
                for first in windows[0]:
                    for second in windows[1] if len(windows) > 1 else [[]]:
                        yield [*query.head.split(), *hour, slot, *first, *second]

    def _places(self, kind: str) -> tuple[str, ...]:
        """The places whose subject a kind of query can be about."""
        subject = FORMS[kind].subject  # type: ignore[index]
        return tuple(slot for slot, one in self.subjects.items() if getattr(one, subject) is not None)

    def _at(self, hour: str) -> list[str]:
        return [slot for slot, number in self.hours.items() if number == hour]

    def _spans(self, window: Window, *, named: bool) -> list[list[str]]:
        if window.whole:
            return [[_WHOLE] if named else []]
        return [[outline] for outline, text in self.windows.items() if text == str(window)]


class Outliner:
    """Makes outlines of questions. Making one takes a second or two.

    Args:
        graph: its concepts and labels, and names of variables.
        linker: finds its concepts, if there is one already.
    """

    def __init__(self, graph: ConceptGraph, linker: Linker | None = None) -> None:
        self._concepts, self._variables = linker or Linker(graph), Linker(graph, kinds=("variable",))
        self._graph, self._labels = graph, graph.labels
        names = Names.of(graph)
        named: dict[str, Subject] = {}
        for node, form in names.concepts.items():
            if _askable(node):
                named[form.casefold()] = self._concept(node)
        for key, form in names.labels.items():
            named[form.casefold()] = named.get(form.casefold(), Subject())._replace(label=key)
        for key, forms in names.variables.items():
            named[forms[0].casefold()] = Subject(variable=key)
        self._named = named
        longest_first = sorted(named, key=len, reverse=True)
        self._pattern = re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, longest_first))})(?!\w)", re.IGNORECASE)

    def of(self, question: str, last: Query | None = None) -> Outline:
        """The outline of a question. It has no subject where nothing is named that the graph knows.

        Args:
            question: as it was asked.
            last: the query before, from which it may go on.
        """
        letters, numbers = (_SUBJECTS, _NUMBERS) if last is None else (_SUBJECTS[:-1], _NUMBERS[: -len(_LAST_NUMBERS)])
        spans = self._subjects(question)[: len(letters)]
        subjects = {slot: subject for slot, (_, _, subject) in zip(letters, spans, strict=False)}
        pieces = [(start, end, slot) for slot, (start, end, _) in zip(letters, spans, strict=False)]
        hours: dict[str, str] = {}
        for match in _NUMBER.finditer(question):
            free = all(match.end() <= start or end <= match.start() for start, end, _ in spans)
            if free and len(hours) < len(numbers) and _hours(match[0]) <= LONGEST:
                slot = numbers[len(hours)]
                hours[slot] = written_hour(_hours(match[0]))
                pieces.append((*match.span(), slot))
        text, position = "", 0
        for start, end, slot in sorted(pieces):
            text += f"{question[position:start].lower()} {slot} "
            position = end
        text = " ".join((text + question[position:].lower()).split()).rstrip("?.! ")
        outline = Outline(text, subjects, hours, _windows(hours))
        return outline if last is None else self._after(last, outline)

    def _after(self, last: Query, outline: Outline) -> Outline:
        """The outline of a question after a query: it may mean what either names."""
        subjects = {**outline.subjects, _LAST_SUBJECT: self._again(last)}
        at = [] if last.hour is None else [written_hour(last.hour)]
        bounds = [bound for window in _windows_of(last) for bound in (window.start, window.end) if bound]
        numbers = dict.fromkeys([*at, *(written_hour(abs(bound)) for bound in bounds)])
        places = dict(zip(numbers, _LAST_NUMBERS, strict=False))
        hours = {**outline.hours, **{places[hour]: hour for hour in at}}
        spans = {_named(window, places): str(window) for window in _windows_of(last) if not window.whole}
        windows = {**outline.windows, **spans, **_beside(last.window, outline.hours)}
        spelt = " ".join([*last.head.split(), *(places[hour] for hour in at), _LAST_SUBJECT, *spans])
        return Outline(f"{spelt.upper()}{FOLLOWS}{outline.text}", subjects, hours, windows)

    def _again(self, last: Query) -> Subject:
        """What the subject of a query may stand for, as each kind of query names it."""
        if last.kind == "why":
            concept = f"phenotype:{last.subject}"
            return Subject(concept=concept if concept in self._graph.nodes else None, label=last.subject)
        if last.kind == "note":
            key = last.subject.split(":")[1]  # of a finding, its variable
            return self._concept(last.subject)._replace(variable=key if key in variables() else None)
        return Subject(variable=last.subject, concept=finding_of(last, self._graph))

    def _subjects(self, question: str) -> list[tuple[int, int, Subject]]:
        """Where a question names something, in order: longest first, but a variable within a finding stands alone."""
        measured = [
            (one.start, one.end, Subject(variable=one.concept.removeprefix("variable:")))
            for one in self._variables.link(question)
        ]
        others = [
            (one.start, one.end, self._concept(one.concept))
            for one in self._concepts.link(question)
            if _askable(one.concept)
        ]
        others += [(*match.span(), self._named[match[0].casefold()]) for match in self._pattern.finditer(question)]
        spans: list[tuple[int, int, Subject]] = []
        for start, end, subject in sorted([*measured, *others], key=_precedence):
            within = next((row for row, (a, b, _) in enumerate(spans) if start < b and a < end), None)
            if within is None:
                spans.append((start, end, subject))
            else:
                a, b, before = spans[within]
                spans[within] = (a, b, Subject(*(one or other for one, other in zip(before, subject, strict=True))))
        return sorted(_without_hours(question, spans), key=lambda span: span[:2])

    def _concept(self, node: str) -> Subject:
        label = node.removeprefix("phenotype:")
        return Subject(concept=node, label=label if label != node and label in self._labels else None)


def _precedence(span: tuple[int, int, Subject]) -> tuple[bool, int, int]:
    """Variables first: "high lactate" is also a finding, and "high" must stay. Then the longest, the earliest."""
    start, end, subject = span
    return subject.variable is None, start - end, start


def _without_hours(question: str, spans: list[tuple[int, int, Subject]]) -> list[tuple[int, int, Subject]]:
    """The subjects of a question but for what is a unit of its hours; one subject at least is left."""
    hours = [
        span
        for span in spans
        if _HOUR.fullmatch(question, *span[:2])
        and (_DIGIT_BEFORE.search(question, 0, span[0]) or _DIGIT_AHEAD.match(question, span[1]))
    ]
    return [span for span in spans if span not in hours] or spans


def _hours(number: str) -> float:
    word = number.lower()
    return float(ORDINALS.index(word) + 1 if word in ORDINALS else decimal(word))


def _windows(hours: Mapping[str, str]) -> dict[str, str]:
    """Windows between the numbers, neighbours first; from zero, on from one, up to the prediction time; days."""
    places = list(hours)
    pairs = sorted(
        ((a, b) for number, a in enumerate(places) for b in places[number + 1 :]),
        key=lambda pair: (places.index(pair[1]) - places.index(pair[0]), places.index(pair[0])),
    )
    windows = {f"{a}-{b}": f"{hours[a]}-{hours[b]}" for a, b in pairs if float(hours[a]) < float(hours[b])}
    for slot, hour in hours.items():
        number = float(hour)
        if number:
            windows |= {f"0-{slot}": f"0-{hour}", f"{slot}-": f"{hour}-", f"last:{slot}": f"last:{hour}"}
        if number.is_integer() and 1 <= number <= len(ORDINALS):
            windows[f"day:{slot}"] = f"{written_hour(_DAY * (number - 1))}-{written_hour(_DAY * number)}"
    return windows


def _windows_of(query: Query) -> list[Window]:
    return [window for window in (query.window, query.other) if window is not None]


def _named(window: Window, places: Mapping[str, str]) -> str:
    """A window by the places of its numbers."""
    start, end = (places.get(written_hour(abs(bound)), "0") if bound else "0" for bound in (window.start, window.end))
    if window.start < 0:
        return f"last:{start}"
    return f"{start}-{'' if window.end is None else end}"


def _beside(window: Window, hours: Mapping[str, str]) -> dict[str, str]:
    """The windows right before and after one, all hours or as many as a place says."""
    windows = {"before": window.before(), "after": window.after()}
    for slot, number in hours.items():
        if float(number):
            windows |= {f"before:{slot}": window.before(float(number)), f"after:{slot}": window.after(float(number))}
    return {outline: str(beside) for outline, beside in windows.items() if beside is not None}


def _askable(node: str) -> bool:
    return not node.startswith(("variable:", "circumstance:"))

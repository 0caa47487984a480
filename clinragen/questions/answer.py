"""The answer to a query, computed from the chart: a sentence, a value, and the places in the chart that show it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from typing import Literal

import numpy as np

from clinragen.catalog import Variable, variables
from clinragen.chart.findings import trend
from clinragen.chart.measurements import Measurements
from clinragen.chart.note_evidence import NoteEvidence
from clinragen.chart.note_mentions import NoteMention
from clinragen.chart.series_statements import name
from clinragen.chart.wording import listed
from clinragen.cohort.sections import section_title
from clinragen.errors import unknown_choice
from clinragen.knowledge.graph import ConceptGraph
from clinragen.questions.query import Kind, Query, Window, written_hour
from clinragen.questions.stay_chart import StayChart

#: "At hour 12" means the measurement nearest to it, at most so many hours away.
NEAREST = 2.0
#: Signs that are named as the reasons of a diagnosis.
MOST_REASONS = 3
_TRENDS = {1: "rising", -1: "falling", 0: "stable"}
_OPPOSITE = {"above": "highest", "below": "lowest"}

Status = Literal["answered", "not_in_chart"]


@dataclass(frozen=True)
class Answer:
    """What the chart says to a query.

    Attributes:
        status: ``not_in_chart`` where the chart does not show what was asked for.
        text: the answer in one or two sentences.
        value: the same for programs: a number in the canonical unit as it is written, an hour, a count, or a word;
            None if it is not in the chart.
        evidence: where the chart shows it: variable, hour and value of each measurement that the answer rests on; or
            section, start, end and concept of each phrase.
        searched: what was searched: the variable, the hours and how many measurements they hold, or the sections.
    """

    status: Status
    text: str
    value: float | str | None
    evidence: tuple[dict[str, object], ...] = field(hash=False)
    searched: str

    def as_json(self) -> dict[str, object]:
        """The answer as an object of JSON."""
        return {
            "status": self.status,
            "text": self.text,
            "value": self.value,
            "evidence": list(self.evidence),
            "searched": self.searched,
        }


def answer(query: Query, chart: StayChart) -> Answer:
    """The chart's answer to a query. Nothing from the prediction time on is read.

    Raises:
        UserError: the graph has no such concept or label.
    """
    if query.kind == "note":
        return _note(query.subject, chart)
    if query.kind == "why":
        return _why(query.subject, chart)
    if query.other is not None:
        return _compare(_Stretch.of(query, query.window, chart), _Stretch.of(query, query.other, chart))
    stretch = _Stretch.of(query, query.window, chart)
    if not stretch.any_hours or (not len(stretch.values) and query.kind != "count"):
        return stretch.without()
    return _ANSWERS[query.kind](query, stretch)


@dataclass(frozen=True)
class _Stretch:
    """The measurements of one variable in a window.

    Attributes:
        spec: the variable.
        start, end: hours of the window, up to the prediction time; no hour if start is not before end.
        requested_end: the end that was asked for.
        hours, values: of the measurements; hours ascend.
        elsewhere: number of measurements outside the window.
    """

    spec: Variable
    start: float
    end: float
    requested_end: float
    hours: np.ndarray
    values: np.ndarray
    elsewhere: int

    @classmethod
    def of(cls, query: Query, window: Window, chart: StayChart) -> _Stretch:
        """The measurements of a query's variable in a window."""
        start = window.start if window.start >= 0 else max(0.0, chart.end + window.start)
        requested = chart.end if window.end is None else window.end
        end = min(requested, chart.end)
        every = chart.series.get(query.subject, _NOTHING)
        inside = (every.hours >= start) & (every.hours < end)
        values = every.values[inside]
        return cls(
            variables()[query.subject],
            start,
            end,
            requested,
            every.hours[inside],
            values,
            len(every.values) - len(values),
        )

    @property
    def any_hours(self) -> bool:
        """Whether the window begins before the prediction time."""
        return self.start < self.end

    @property
    def name(self) -> str:
        """The variable in a sentence."""
        return name(self.spec.key)

    @property
    def span(self) -> str:
        """The hours in words."""
        if not self.any_hours:
            return f"from hour {written_hour(self.start)} on"
        clipped = " (the prediction time)" if self.requested_end > self.end else ""
        return f"in hours {written_hour(self.start)} to {written_hour(self.end)}{clipped}"

    @property
    def counted(self) -> str:
        """How many measurements there are, in words."""
        return _count(len(self.values))

    @property
    def searched(self) -> str:
        """What was searched, in words."""
        return f"{self.name} {self.span}: {self.counted}"

    def at(self, position: int) -> str:
        """One measurement in words.

        "92 bpm, at hour 3"
        """
        return f"{self.written(position)}, at hour {written_hour(self.hours[position])}"

    def written(self, position: int) -> str:
        """One value as the chart writes it."""
        return self.spec.format(self.values[position])

    def number(self, value: float) -> float:
        """A number of the variable as it is written."""
        return self.spec.written(float(value)) + 0.0  # no -0.0

    def evidence(self, positions: np.ndarray | None = None) -> tuple[dict[str, object], ...]:
        """Measurements as evidence; None: all."""
        rows = range(len(self.values)) if positions is None else positions.tolist()
        return tuple(
            {"variable": self.spec.key, "hour": float(self.hours[row]), "value": self.number(self.values[row])}
            for row in rows
        )

    def sides(self) -> np.ndarray:
        """Of each measurement, as written: -1 below, 0 within, 1 above the reference range; int64 [n]."""
        return np.array([self.spec.direction(self.spec.written(value)) for value in self.values.tolist()], dtype=int)

    def extreme(self, which: str) -> np.ndarray:
        """Positions of the highest or lowest value, earliest first; int64 [n]."""
        return np.flatnonzero(self.values == (self.values.max() if which == "highest" else self.values.min()))

    def answered(self, text: str, value: float | str, positions: np.ndarray | None = None) -> Answer:
        """An answer that rests on some of the measurements; None: on all."""
        return Answer("answered", text, value, self.evidence(positions), self.searched)

    def without(self, what: str | None = None) -> Answer:
        """The answer that the chart does not show it."""
        if not self.any_hours:
            end = f"it ends at hour {written_hour(self.end)}, the prediction time"
            text = f"The chart does not show {self.name} {self.span}: {end}."
        else:
            elsewhere = f"; it has {_count(self.elsewhere)} at other hours" if self.elsewhere else ""
            text = f"The chart does not show {what or self.name} {self.span}: searched {self.counted}{elsewhere}."
        return Answer("not_in_chart", text, None, (), self.searched)


_NOTHING = Measurements(np.zeros(0), np.zeros(0))


def _value(query: Query, stretch: _Stretch) -> Answer:
    """The first or last measurement, or the one nearest to an hour; of two as near, the earlier one."""
    if query.hour is None:
        position = 0 if query.which == "first" else len(stretch.values) - 1
        text = f"The {query.which} {stretch.name} {stretch.span} is {stretch.at(position)}."
    else:
        distance = np.abs(stretch.hours - query.hour)
        position = int(distance.argmin())
        around = f"within {written_hour(NEAREST)} hours of hour {written_hour(query.hour)}"
        if distance[position] > NEAREST:
            return stretch.without(f"{stretch.name} {around}")
        text = f"The {stretch.name} nearest to hour {written_hour(query.hour)} is {stretch.at(position)}."
    return stretch.answered(text, stretch.number(stretch.values[position]), np.array([position]))


def _extreme(query: Query, stretch: _Stretch) -> Answer:
    positions = stretch.extreme(query.kind)
    more = f" and {_times(len(positions) - 1)} later" if len(positions) > 1 else ""
    text = f"The {query.kind} {stretch.name} {stretch.span} is {stretch.at(positions[0])}{more}."
    return stretch.answered(text, stretch.number(float(stretch.values[positions[0]])), positions)


def _mean(query: Query, stretch: _Stretch) -> Answer:
    mean = stretch.values.mean()
    text = f"The mean {stretch.name} {stretch.span} is {stretch.spec.format(mean)} ({stretch.counted})."
    return stretch.answered(text, stretch.number(mean))


def _trend(query: Query, stretch: _Stretch) -> Answer:
    if len(stretch.values) < 2:
        return stretch.without(f"a trend of {stretch.name}")
    first, last = float(stretch.values[0]), float(stretch.values[-1])
    word = _TRENDS[trend(stretch.spec, first, last)]
    ends = f"{stretch.at(0)}, to {stretch.at(len(stretch.values) - 1)}"
    text = f"The {stretch.name} {stretch.span} is {word}: from {ends}."
    return stretch.answered(text, word, np.array([0, len(stretch.values) - 1]))


def _time(query: Query, stretch: _Stretch) -> Answer:
    which = query.which or ""
    if which.startswith("first_"):
        return _first_outside(which.removeprefix("first_"), stretch)
    if which in ("first", "last"):
        positions = np.array([0 if which == "first" else len(stretch.values) - 1])
        what = f"{stretch.name} was {which} measured"
    else:
        positions = stretch.extreme(which)
        what = f"{stretch.name} was {which}"
    hour = float(stretch.hours[positions[0]])
    more = f" and {_times(len(positions) - 1)} later" if len(positions) > 1 else ""
    text = f"The {what} {stretch.span} at hour {written_hour(hour)}, with {stretch.written(positions[0])}{more}."
    return stretch.answered(text, hour, positions)


def _first_outside(side: str, stretch: _Stretch) -> Answer:
    if _bound(side, stretch.spec) is None:
        return _unbounded(side, stretch)
    positions = _outside(side, stretch)
    bound = f"{side} {stretch.spec.format(_bound(side, stretch.spec) or 0.0)}"
    if not len(positions):
        text = f"Never: none of {stretch.counted} of {stretch.name} {stretch.span} lies {bound}."
        return stretch.answered(text, "never")
    hour, written = float(stretch.hours[positions[0]]), stretch.written(positions[0])
    text = f"The {stretch.name} was first {bound} {stretch.span} at hour {written_hour(hour)}, with {written}."
    return stretch.answered(text, hour, positions[:1])


def _range(query: Query, stretch: _Stretch) -> Answer:
    side = query.which or ""
    if (bound := _bound(side, stretch.spec)) is None:
        return _unbounded(side, stretch)
    positions = _outside(side, stretch)
    extreme = f"the {_OPPOSITE[side]} is {stretch.at(stretch.extreme(_OPPOSITE[side])[0])}"
    limit = f"{side} {stretch.spec.format(bound)}"
    if len(positions):
        text = f"Yes: {len(positions)} of {stretch.counted} of {stretch.name} {stretch.span} lie {limit}; {extreme}."
        return stretch.answered(text, "yes", positions)
    return stretch.answered(
        f"No: none of {stretch.counted} of {stretch.name} {stretch.span} lies {limit}; {extreme}.", "no"
    )


def _outside(side: str, stretch: _Stretch) -> np.ndarray:
    return np.flatnonzero(stretch.sides() == (1 if side == "above" else -1))


def _bound(side: str, spec: Variable) -> float | None:
    return spec.high if side == "above" else spec.low


def _unbounded(side: str, stretch: _Stretch) -> Answer:
    end = "upper" if side == "above" else "lower"
    missing = f"whether {stretch.name} is {side} its reference range"
    text = f"The chart does not show {missing}: the range has no {end} bound."
    return Answer("not_in_chart", text, None, (), stretch.searched)


def _counts(query: Query, stretch: _Stretch) -> Answer:
    text = f"The chart shows {stretch.counted} of {stretch.name} {stretch.span}."
    return stretch.answered(text, float(len(stretch.values)))


def _compare(one: _Stretch, other: _Stretch) -> Answer:
    """The mean of one window against that of another, both as written."""
    for stretch in (one, other):
        if not stretch.any_hours or not len(stretch.values):
            return replace(stretch.without(), searched=f"{one.searched}; {other.searched}")
    means = one.number(one.values.mean()), other.number(other.values.mean())
    word = "equal" if means[0] == means[1] else "higher" if means[0] > means[1] else "lower"
    held = "equal in both" if word == "equal" else f"{word} in the first of the two"
    text = (
        f"The mean {one.name} is {one.spec.format(means[0])} {one.span} ({one.counted}) and "
        f"{one.spec.format(means[1])} {other.span} ({other.counted}): {held}."
    )
    evidence = (*one.evidence(), *other.evidence())
    return Answer("answered", text, word, evidence, f"{one.searched}; {other.searched}")


_ANSWERS: dict[Kind, Callable[[Query, _Stretch], Answer]] = {
    "value": _value,
    "highest": _extreme,
    "lowest": _extreme,
    "mean": _mean,
    "trend": _trend,
    "time": _time,
    "count": _counts,
    "range": _range,
}


def _note(concept: str, chart: StayChart) -> Answer:
    """Whether the note affirms, denies or leaves open a concept, or one that is a kind of it.

    That a note denies one kind of a disease does not deny the disease.
    """
    if concept not in chart.graph.nodes:
        near = get_close_matches(concept, chart.graph.nodes, n=5)
        raise unknown_choice("concept", concept, near or ["those that clinragen graph show names"])
    kinds, searched = _kinds_of(concept, chart.graph), _sections(chart)
    called = chart.graph.name(concept)
    affirmed = [one for one in chart.signs.note if one.concept in kinds]
    affirmed.sort(key=lambda one: one.concept != concept)  # the concept itself before its kinds
    if affirmed:
        one = affirmed[0]
        past = " as history" if one.past else ""
        text = f"Yes: the note affirms {called}{past}: “{one.phrase}” in {_titled(one.section)}."
        return Answer("answered", text, "affirmed", (one.as_json(),), searched)
    mentions = [one for one in chart.mentions if one.mention.concept in kinds]
    denied = [one for one in mentions if one.standing == "denied" and one.mention.concept == concept]
    if denied:
        text = f"No: the note denies {called}, in {_titled(denied[0].section)}."
        return Answer("answered", text, "denied", (_places(denied[0]),), searched)
    left_open = [one for one in mentions if one.standing != "denied"]
    left_open.sort(key=lambda one: one.mention.concept != concept)
    if left_open:
        where = _titled(left_open[0].section)
        text = f"The note names {called} in {where}, and neither affirms nor denies it of the patient."
        return Answer("answered", text, "open", (_places(left_open[0]),), searched)
    return Answer("not_in_chart", f"The chart does not show {called}: searched {searched}.", None, (), searched)


def _kinds_of(concept: str, graph: ConceptGraph) -> frozenset[str]:
    """A concept and all that are kinds of it, however far down."""
    kinds, fresh = {concept}, [concept]
    while fresh:
        below = [link.node for link in graph.into(fresh.pop(), ("is_a",)) if link.node not in kinds]
        kinds.update(below)
        fresh += below
    return frozenset(kinds)


def _places(one: NoteMention) -> dict[str, object]:
    mention = one.mention
    return NoteEvidence(mention.concept, one.section, mention.start, mention.end, "", past=False).as_json()


def _why(label: str, chart: StayChart) -> Answer:
    """The signs of a diagnosis that the chart shows, if the diagnosis is listed."""
    labels = chart.graph.labels
    if label not in labels:
        raise unknown_choice("label", label, labels)
    called = labels[label].name
    searched = f"{_sections(chart)}; {len(chart.series)} measured variables"
    if label not in chart.labels:
        text = f"The chart does not show {called} among the diagnoses of this stay."
        return Answer("not_in_chart", text, None, (), searched)
    signs = chart.signs.of(label, chart.graph, most=MOST_REASONS)
    if not signs:
        text = f"The chart does not show a sign of {called}: searched {searched}."
        return Answer("not_in_chart", text, None, (), searched)
    reasons = listed([sign.words for sign in signs])
    text = f"The chart shows {reasons}, which {'points' if len(signs) == 1 else 'point'} to {called}."
    return Answer("answered", text, reasons, tuple(sign.evidence for sign in signs), searched)


def _sections(chart: StayChart) -> str:
    names = list(dict.fromkeys(_titled(section) for section, _ in chart.sections))
    if not names:
        return "no note"
    return f"{len(names)} section{'s' if len(names) > 1 else ''} of the note ({', '.join(names)})"


def _titled(section: str) -> str:
    return section_title(section).lower()


def _count(number: int) -> str:
    return f"{number or 'no'} measurement{'' if number == 1 else 's'}"


def _times(number: int) -> str:
    return "once" if number == 1 else f"{number} times"

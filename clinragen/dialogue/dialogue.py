"""Questions about one stay, one after the other: each is judged, read and answered; the next may go on from it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol

from clinragen.dialogue import cues
from clinragen.dialogue.gate import sound
from clinragen.dialogue.names import Names
from clinragen.dialogue.queries import Subjects
from clinragen.dialogue.reading import Reading
from clinragen.dialogue.scope import Class, Scope
from clinragen.errors import UserError
from clinragen.questions.answer import Answer, answer
from clinragen.questions.query import Query
from clinragen.questions.stay_chart import StayChart

Outcome = Literal["answered", "not_in_chart", "refused", "unclear"]

_UNCLEAR = (
    "It is not clear what is asked for. Name a variable (potassium, heart rate, ...), a symptom, disease or drug of "
    "the note, or a diagnosis."
)
_WHICH_HOURS = (
    "It is not clear which hours are meant. Say it as in: first 6 hours, hours 6 to 12, after hour 24, last 12 hours, "
    "day 2, at hour 6."
)
_UNLISTED = "The chart does not show this: no variable that was searched for measures it."
_UNKNOWN = (
    "The chart does not show this: the question names no symptom, disease or drug that the note was searched for."
)
_WITHHELD = "The answer is withheld: a number or a place in it is not in the chart."
_NOT_FOLLOWED = "Instructions in a question are not followed. "
_LONG_NUMBER = re.compile(r"\d{5,}")  # shorter ones may be hours
_SIDES = {"above": "Above the reference range? ", "below": "Below the reference range? "}


class Router(Protocol):
    """Chooses a query where the rules find none, or in their place; it never words an answer."""

    def __call__(self, question: str, last: Query | None, /) -> Query | None:
        """The query that a question means; None where none is meant.

        Args:
            question: without identifiers of the stay.
            last: the query that was answered before, from which it may go on.
        """
        ...


@dataclass(frozen=True)
class Turn:
    """A question and what came of it.

    Attributes:
        name: class of the question.
        outcome: ``refused`` for what is not in the field, ``unclear`` for what cannot be read.
        text: the answer or refusal.
        queries: what was understood.
        answers: of each query.
        read_by: ``rules``, or the name of what chose the queries.
        rules_read: what the rules understood, where a router chose another query in their place.
    """

    name: Class
    outcome: Outcome
    text: str
    queries: tuple[Query, ...] = ()
    answers: tuple[Answer, ...] = ()
    read_by: str = "rules"
    rules_read: tuple[Query, ...] = ()

    def as_json(self) -> dict[str, object]:
        """The turn as an object of JSON. The question is not repeated."""
        other = {"rules_read": [query.text() for query in self.rules_read]} if self.rules_read else {}
        return {
            "class": self.name,
            "outcome": self.outcome,
            "text": self.text,
            "queries": [query.text() for query in self.queries],
            "answers": [one.as_json() for one in self.answers],
            "read_by": self.read_by,
            **other,
        }


@dataclass
class Dialogue:
    """A dialogue about one stay.

    Attributes:
        chart: of the stay; nothing else is read.
        names: finds names; may serve several stays.
        router: chooses a query where the rules find none.
        router_name: what it is called in a turn.
        own: identifiers that mean this stay, beside its id.
        always: whether the router reads every question in the field, in place of the rules, where it finds a query.
        last: the query that was answered last.
        hour: of the one measurement that its answer rests on; None where there is no such one.
    """

    chart: StayChart
    names: Names
    router: Router | None = None
    router_name: str = ""
    own: frozenset[str] = frozenset()
    always: bool = False
    last: Query | None = field(default=None, init=False)
    hour: float | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self._own = self.own | {str(self.chart.stay_id)}
        self._scope = Scope(self.names, self._own, self.chart.end)
        self._subjects = Subjects(self.chart.graph, frozenset(self.chart.series))

    def begin(self) -> None:
        """Begin a new dialogue about the stay: the next question goes on from none."""
        self.last = self.hour = None

    def ask(self, question: str) -> Turn:
        """Answer a question. Any text can be asked, and none changes what is answered to another."""
        around = None if self.last is None else self.last.window
        judged = self._scope.judge(question, follows=self.last is not None, around=around)
        before = _NOT_FOLLOWED if judged.instructed else ""
        if judged.name != "in_field":
            return Turn(judged.name, "refused", before + cues.refusals()[judged.name])
        queries = self._subjects.queries(judged.reading, self.last, self.hour)
        routed = None if judged.instructed else self._routed(question, queries)
        if routed is not None and routed not in queries:
            turn = self._answered([routed], judged.reading, before, self.router_name)
            return replace(turn, rules_read=tuple(queries))
        return self._answered(queries, judged.reading, before, "rules")

    def _routed(self, question: str, queries: list[Query]) -> Query | None:
        """The query that the router chooses, where it is asked. It sees no long identifier of the stay."""
        if self.router is None or (queries and not self.always):
            return None
        plain = _LONG_NUMBER.sub(lambda match: "this stay" if match[0] in self._own else match[0], question)
        return self.router(plain, self.last)

    def _answered(self, queries: list[Query], reading: Reading, before: str, read_by: str) -> Turn:
        pairs: list[tuple[Query, Answer]] = []
        for query in queries:
            try:
                pairs.append((query, answer(query, self.chart)))
            except UserError:  # a concept or label that this graph does not have
                continue
        if not pairs:
            return _unread(reading, before)
        self.last = pairs[0][0]
        self.hour = _hour(pairs[0][1])
        answered = tuple(query for query, _ in pairs)
        if not sound(pairs, self.chart):
            return Turn("in_field", "not_in_chart", before + _WITHHELD, answered, read_by=read_by)
        answers = tuple(one for _, one in pairs)
        outcome = "answered" if any(one.status == "answered" for one in answers) else "not_in_chart"
        return Turn("in_field", outcome, before + _worded(pairs, reading), answered, answers, read_by)


def _hour(given: Answer) -> float | None:
    """The hour of the measurement that an answer rests on; None if it rests on none, or on several."""
    hours = {one.get("hour") for one in given.evidence}
    hour = hours.pop() if len(hours) == 1 else None
    return float(hour) if isinstance(hour, int | float) else None


def _worded(pairs: Sequence[tuple[Query, Answer]], reading: Reading) -> str:
    """The answers in one text; that nothing is above is no answer to "is it normal" without its question."""
    leads = [
        _SIDES[query.which] if reading.side == "either" and query.kind == "range" and query.which else ""
        for query, _ in pairs
    ]
    return " ".join(lead + one.text for lead, (_, one) in zip(leads, pairs, strict=True))


def _unread(reading: Reading, before: str) -> Turn:
    """The turn of a question in the field that cannot be read."""
    if any(name.group == "unlisted" for name in reading.names):
        return Turn("in_field", "not_in_chart", before + _UNLISTED)
    if reading.kind == "note" and not reading.names:
        return Turn("in_field", "not_in_chart", before + _UNKNOWN)
    if reading.hours_unread or reading.hour is not None:
        return Turn("in_field", "unclear", before + _WHICH_HOURS)
    return Turn("in_field", "unclear", before + _UNCLEAR)

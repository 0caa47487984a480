"""What a rationale can claim, and how a claim can stand to the chart."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple


class Verdict(StrEnum):
    """How a claim stands to the chart."""

    SUPPORTED = "supported"
    CONTRADICTED = "contradicted"
    NOT_IN_CHART = "not in the chart"


#: How a claim stands that is true but gives no reason: it states that nothing speaks for something.
ABSENCE = "absence"
#: Everything a claim can count as.
STANDINGS = (*map(str, Verdict), ABSENCE)


class Number(NamedTuple):
    """A number as stated, in the variable's canonical unit: what it may mean lies from ``low`` to ``high``.

    ``how``: at (it occurs), highest, lowest, above, below, mean, within (all lie there), ranged (extremes lie at the
    ends), total (of a stretch of hours), or an event that happened at least once: above_event, below_event, event.
    """

    low: float
    high: float
    how: str


class Change(NamedTuple):
    """A stated amount of change, as a part of the start (0.5: by half), a factor (2: doubled) or in the unit itself.

    Percent is a part; of a variable that is itself in percent, it may be meant in points.
    """

    low: float
    high: float
    kind: str  # part, percent, factor or amount
    end: Number | None = None  # of "rose 18", which may also mean to 18


class Often(NamedTuple):
    """A number of measurements, or a share of them, that a statement holds for."""

    low: float
    high: float
    kind: str  # count or share


@dataclass(frozen=True)
class SeriesClaim:
    """A statement about one variable, written at ``text[start:end]``: every part that is set must hold.

    Attributes:
        variables: catalogue keys; more than one where the word fits several (hypotension: systolic or mean pressure).
        direction: high, low, normal or abnormal, against the reference range.
        trend: rising, falling, stable, improving, worsening or resolved.
        numbers: each must hold; after a trend the last one is where it ends.
        first: the number that a change starts from.
        often: always, mostly, persistently, repeatedly, sometimes, or a count or share.
        severity: mild or marked.
        window: hours from intime that the statement is about, both ends included.
        length: hours of a stretch that may lie anywhere within the window: of a total, "over 6 hours".
        moment: first, later or last, where the statement is about a part of the measurements.
        hour: hours from intime of the number, or of the extreme, and by how much it may be off.
        negated: the statement is denied.
    """

    start: int
    end: int
    variables: tuple[str, ...]
    direction: str | None = None
    trend: str | None = None
    numbers: tuple[Number, ...] = ()
    first: Number | None = None
    change: Change | None = None
    often: str | Often | None = None
    severity: str | None = None
    window: tuple[float, float] | None = None
    length: float | None = None
    moment: str | None = None
    hour: tuple[float, float] | None = None
    negated: bool = False


@dataclass(frozen=True)
class NoteClaim:
    """A concept that the text affirms or denies: ``text[start:end]``. ``kind``: finding (of the note) or diagnosis."""

    concept: str
    start: int
    end: int
    negated: bool
    kind: str


class Place(NamedTuple):
    """A sentence of the note: ``text[start:end]`` of the section with this index among those given."""

    section: int
    name: str
    start: int
    end: int


@dataclass(frozen=True)
class Checked:
    """A claim of a rationale with its verdict: ``text[start:end]``.

    Attributes:
        kind: series, finding (of the note), diagnosis, or absence (words that deny and claim nothing besides).
        about: the variables, joined by commas, or the concept; empty for an absence.
        negated: the rationale denies it.
        measured: of a series claim, the measurements it was held against: (variable, hour, value), the telling ones.
        places: of a note claim, the sentences that mention the concept.
        absence: it states that nothing speaks for something, or that nothing is abnormal.
    """

    start: int
    end: int
    kind: str
    about: str
    verdict: Verdict
    negated: bool = False
    measured: tuple[tuple[str, float, float], ...] = field(default=())
    places: tuple[Place, ...] = field(default=())
    absence: bool = False

    @property
    def standing(self) -> str:
        """What it counts as: its verdict, but ``absence`` where it is true by giving no reason."""
        return ABSENCE if self.absence and self.verdict == Verdict.SUPPORTED else str(self.verdict)

    def as_json(self) -> dict[str, object]:
        """Everything but the words, which are in the rationale and the note."""
        made: dict[str, object] = {
            "start": self.start,
            "end": self.end,
            "kind": self.kind,
            "about": self.about,
            "verdict": self.standing,
        }
        if self.negated:
            made["negated"] = True
        if self.measured:
            made["measured"] = [list(row) for row in self.measured]
        if self.places:
            made["places"] = [{"section": p.name, "start": p.start, "end": p.end} for p in self.places]
        return made

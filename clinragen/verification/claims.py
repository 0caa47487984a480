"""Claims of a rationale, and their possible verdicts."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from clinragen.verification.statements import Scope, Statement


class Verdict(StrEnum):
    """The verdict of a claim against the chart."""

    SUPPORTED = "supported"
    CONTRADICTED = "contradicted"
    NOT_IN_CHART = "not in the chart"


#: Standing of a statement that is true but gives no reason: it says that nothing supports something.
ABSENCE = "absence"
#: All standings.
STANDINGS = (*map(str, Verdict), ABSENCE)


@dataclass(frozen=True)
class SeriesClaim:
    """Statements about one variable, written at ``text[start:end]``: each must hold.

    Attributes:
        variables: catalogue keys; more than one where the word fits several (hypotension: systolic or mean pressure).
        statements: what is said of the variable; at least one.
        scope: the measurements that they are about.
        negated: the text denies that all statements hold.
        of_each: they must hold for each of the variables ("normal"), not just for one of them ("hypotension").
    """

    start: int
    end: int
    variables: tuple[str, ...]
    statements: tuple[Statement, ...]
    scope: Scope = field(default_factory=Scope)
    negated: bool = False
    of_each: bool = False

    @property
    def denies_all(self) -> bool:
        """Whether the claim says that nothing is abnormal: "no abnormal creatinine"."""
        return self.negated and any(getattr(one, "side", None) == "abnormal" for one in self.statements)

    def __str__(self) -> str:
        """The reading in the notation of the examples of ``configs/verify``."""
        statements = " & ".join(map(str, self.statements))
        scope = str(self.scope)
        return (
            f"{'/'.join(self.variables)}: {'not ' if self.negated else ''}{statements}{f' [{scope}]' if scope else ''}"
        )


@dataclass(frozen=True)
class NoteClaim:
    """A concept that the text affirms or denies: ``text[start:end]``. ``kind``: finding (of the note), diagnosis, or
    rebuttal (a diagnosis that the clause argues against);
    ``value``: the number of years, of an age."""

    concept: str
    start: int
    end: int
    negated: bool
    kind: str
    value: int | None = None


class NotePassage(NamedTuple):
    """A sentence of the note: ``text[start:end]`` of the section with this index among those given."""

    section: int
    name: str
    start: int
    end: int


@dataclass(frozen=True)
class Checked:
    """A claim of a rationale with its verdict: ``text[start:end]``.

    Attributes:
        kind: series, finding (of the note), diagnosis, rebuttal (a diagnosis that the clause argues against), or
            absence (words that deny and claim nothing besides).
        about: the variables, joined by commas, or the concept; empty for an absence.
        negated: the rationale denies it.
        measured: of a series claim, the measurements that decide it: (variable, hour, value).
        places: of a note claim, the sentences that mention the concept.
        absence: it states that nothing supports something, or that nothing is abnormal.
    """

    start: int
    end: int
    kind: str
    about: str
    verdict: Verdict
    negated: bool = False
    measured: tuple[tuple[str, float, float], ...] = field(default=())
    places: tuple[NotePassage, ...] = field(default=())
    absence: bool = False

    @property
    def standing(self) -> str:
        """Its verdict, or ``absence`` where it is true but gives no reason."""
        return ABSENCE if self.absence and self.verdict == Verdict.SUPPORTED else str(self.verdict)

    def as_json(self) -> dict[str, object]:
        """All fields except the text itself, which is in the rationale and the note."""
        record: dict[str, object] = {
            "start": self.start,
            "end": self.end,
            "kind": self.kind,
            "about": self.about,
            "verdict": self.standing,
        }
        if self.negated:
            record["negated"] = True
        if self.measured:
            record["measured"] = [list(row) for row in self.measured]
        if self.places:
            record["places"] = [{"section": p.name, "start": p.start, "end": p.end} for p in self.places]
        return record

"""Content of the pages as plain values, without file access or HTML."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any

from clinragen.catalog import variables
from clinragen.reporting.cases import Case
from clinragen.reporting.diagnoses import Diagnosis, Implausible
from clinragen.reporting.figures import Figure
from clinragen.reporting.notes import NotePart
from clinragen.reporting.questions import QuestionView
from clinragen.reporting.similar import CaseView
from clinragen.reporting.verdicts import ClaimText, Marked
from clinragen.schema import RationaleKind
from clinragen.verification.claims import ABSENCE, Verdict

TITLES: dict[RationaleKind, str] = {"note": "From the notes", "series": "From the series"}
_DEEPEST, _LONGEST = 6, 2000  # most levels, and characters of a value, in the provenance table
SHOWN = 5  # most concepts, and blocks of hours, shown per attribution


@dataclass(frozen=True)
class Carried:
    """Occlusion attribution of one diagnosis: drops of the logit without a concept, and without some hours."""

    concepts: list[tuple[str, float]]  # name, drop
    hours: list[tuple[str, str, float]]  # variable, hours, drop


@dataclass(frozen=True)
class Rationale:
    """A generated rationale with the teacher's."""

    title: str
    segments: list[Marked]
    claims: list[ClaimText]
    teacher: str | None

    def count(self, verdict: str) -> int:
        """Number of claims with this verdict."""
        return sum(claim.verdict == verdict for claim in self.claims)

    @property
    def absences(self) -> int:
        """Number of statements of absence, which are no claims."""
        return self.count(ABSENCE)

    @property
    def affirmed(self) -> int:
        """Number of supported claims that cite nothing: they name a diagnosis of the output."""
        return sum(claim.verdict == Verdict.SUPPORTED and not claim.number for claim in self.claims)

    @property
    def summary(self) -> list[tuple[str, bool]]:
        """Number of claims by verdict and of statements of absence, as text, and whether any claim is unsupported."""
        claims = len(self.claims) - self.absences
        counts = [(f"{self.count(v)} {v}", v == Verdict.CONTRADICTED) for v in Verdict if self.count(v)]
        if self.absences:
            counts.append((f"{self.absences} statement{'s' if self.absences > 1 else ''} of absence", False))
        return [(f"{claims} claim{'s' if claims > 1 else ''}" if claims else "No claim", False), *counts]


@dataclass(frozen=True)
class StayView:
    """Everything on the page of one stay."""

    stay_id: int
    age: str
    sex: str
    split: str
    intime: datetime
    outtime: datetime
    prediction_time: datetime
    parsed: bool
    abstains: list[str]
    possible_from: float | None
    complaint: str
    diagnoses: list[Diagnosis]
    implausible: list[Implausible]
    rationales: list[Rationale]
    sections: list[tuple[str, list[NotePart]]]
    figures: list[Figure]
    carried: dict[str, Carried]  # by key of the diagnosis
    cases: list[Case]
    asked: list[QuestionView] = field(default_factory=list)
    similar: list[CaseView] = field(default_factory=list)

    def count(self, verdict: str) -> int:
        """Number of labels with this verdict."""
        return sum(d.verdict == verdict for d in self.diagnoses)

    @cached_property
    def called(self) -> list[tuple[Diagnosis, Case | None]]:
        """What the output lists or the probability calls, with its case."""
        cases = {case.key: case for case in self.cases}
        return [(d, cases.get(d.key)) for d in self.diagnoses if d.written or d.likely]

    @cached_property
    def near(self) -> list[tuple[Diagnosis, Case]]:
        """What is not called, but nearly, or argued against, with its case."""
        called = {d.key for d, _ in self.called}
        cases = {case.key: case for case in self.cases if case.key not in called and case.told}
        return [(d, cases[d.key]) for d in self.diagnoses if d.key in cases]

    @cached_property
    def others(self) -> list[Diagnosis]:
        """The labels that are neither called nor nearly."""
        shown = {d.key for d, _ in self.called} | {d.key for d, _ in self.near}
        return [d for d in self.diagnoses if d.key not in shown]

    @cached_property
    def open_diagnoses(self) -> list[str]:
        """Names of the labels that the set of possible ones holds beside those called."""
        return [d.name for d in self.diagnoses if d.possible and not d.likely and not d.written]

    @cached_property
    def coded(self) -> bool:
        """Whether it is known which diagnoses were recorded."""
        return all(d.recorded is not None for d in self.diagnoses)

    def claims(self, verdict: str | None = None) -> int:
        """Number of claims in both rationales, of one verdict or of all; statements of absence are none."""
        return sum(len(r.claims) - r.absences if verdict is None else r.count(verdict) for r in self.rationales)

    @cached_property
    def written(self) -> int:
        """Number of diagnoses that the output lists."""
        return sum(d.written for d in self.diagnoses)

    @cached_property
    def grounded(self) -> int:
        """Number of those with a supported ground."""
        return sum(d.grounded for d in self.diagnoses)

    @property
    def coverage(self) -> str:
        """Both numbers as text."""
        if not self.written:
            return "none listed"
        noun = "diagnosis" if self.written == 1 else "diagnoses"
        return f"{self.grounded} of {self.written} listed {noun} with a stated ground"

    @property
    def answered(self) -> int:
        """Number of questions that the chart answers."""
        return sum(one.outcome == "answered" for one in self.asked)

    @property
    def marks_note(self) -> bool:
        """Whether a claim rests on any words of the note."""
        return any(part.within for _, parts in self.sections for part in parts)

    @property
    def leaves_unread(self) -> bool:
        """Whether any words of the note are unreadable."""
        return any(part.unread for _, parts in self.sections for part in parts)

    @property
    def f1(self) -> float:
        """F1 of the listed diagnoses of this stay; 1 if none is recorded and none listed."""
        hits, wrong = self.count("agrees"), self.count("extra") + self.count("missed")
        return 2 * hits / (2 * hits + wrong) if hits + wrong else 1.0

    @property
    def hours_in_unit(self) -> float:
        """Length of stay in the unit, hours."""
        return (self.outtime - self.intime).total_seconds() / 3600

    @property
    def window(self) -> float:
        """Hours that the model reads."""
        return (self.prediction_time - self.intime).total_seconds() / 3600


def age_text(age: float) -> str:
    """Years; ages above 89 are masked at the source and shown as such.

    >>> age_text(64.0), age_text(91.4)
    ('64', 'over 89')
    """
    return "over 89" if age > 89 else f"{age:.0f}"


def sex_text(sex: str | None) -> str:
    """``F`` and ``M`` in words."""
    return {"F": "female", "M": "male"}.get(sex or "", "not recorded")


def carried_of(
    explained: Sequence[Mapping[str, Any]], label_name: Callable[[str], str], nodes: Mapping[str, Mapping[str, Any]]
) -> tuple[dict[str, Carried], dict[str, list[tuple[float, float, str]]]]:
    """Attributions of each diagnosis of a stay, and the hours to mark in the plot of each variable.

    Args:
        explained: the diagnoses of one stay as ``clinragen predict --explain`` wrote them.
        label_name: the readable name of a phenotype key.
        nodes: attributes of the concept graph's nodes by id; other names are derived from the id.
    """
    rows: dict[str, Carried] = {}
    spans: dict[str, dict[tuple[float, float], list[str]]] = {}
    for row in explained:
        name, parts = label_name(row["diagnosis"]), row["occlusion"]
        hours = []
        for entry in parts["hours"][:SHOWN]:
            start, end = entry["from_hour"], entry["to_hour"]
            hours.append((variables()[entry["variable"]].label, f"{start:g}\u2013{end:g} h", entry["score"]))
            spans.setdefault(entry["variable"], {}).setdefault((start, end), []).append(name)
        concepts = [
            (str(nodes.get(entry["concept"], {}).get("name") or concept_name(entry["concept"])), entry["score"])
            for entry in parts["concepts"][:SHOWN]
        ]
        rows[row["diagnosis"]] = Carried(concepts, hours)
    marked = {
        variable: [(start, end, ", ".join(names)) for (start, end), names in sorted(blocks.items())]
        for variable, blocks in spans.items()
    }
    return rows, marked


def concept_name(identifier: str) -> str:
    """A readable name derived from a concept id.

    >>> concept_name("finding:wbc:high"), concept_name("symptom:shortness_of_breath")
    ('white blood cell count high', 'shortness of breath')
    """
    parts = identifier.split(":")[1:] or [identifier]
    catalogue = variables()
    return " ".join(catalogue[part].label if part in catalogue else re.sub(r"[_-]+", " ", part) for part in parts)


def flatten(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Nested values as dotted keys with text, for the provenance table.

    >>> flatten({"seed": 7, "stage": {"lr": 0.001, "names": ["a", "b"]}})
    [('seed', '7'), ('stage.lr', '0.001'), ('stage.names', 'a, b')]
    """
    rows: list[tuple[str, str]] = []
    for key, value in values.items():
        if isinstance(value, Mapping) and prefix.count(".") < _DEEPEST:
            rows += flatten(value, f"{prefix}{key}.")
        elif isinstance(value, list | tuple):
            rows.append((f"{prefix}{key}", ", ".join(map(_brief, value))))
        else:
            rows.append((f"{prefix}{key}", "not set" if value is None else _brief(value)))
    return rows


def _brief(value: Any) -> str:
    """Text of a value, truncated."""
    try:
        text = str(value)
    except (RecursionError, ValueError):  # too deeply nested, or a number with thousands of digits
        return "…"
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"

"""Content of the pages as plain values, without file access or HTML."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
from markupsafe import Markup

from clinragen.catalog import Variable, variables
from clinragen.cohort.sections import section_title
from clinragen.knowledge.readable import readable, unreadable
from clinragen.reporting import charts
from clinragen.reporting.cases import Case
from clinragen.reporting.evidence import Segments, mark_shared
from clinragen.reporting.verdicts import ClaimText, Marked, claim_text, marked
from clinragen.schema import RATIONALE_KINDS, RationaleKind
from clinragen.verification.claims import ABSENCE, Checked, Verdict

_TITLES: dict[RationaleKind, str] = {"note": "From the notes", "series": "From the series"}
GROUPS = {
    "vital": "Vital signs",
    "coma": "Glasgow coma scale",
    "ventilation": "Ventilation",
    "gas": "Blood gases",
    "lab": "Laboratory",
    "output": "Output",
    "body": "Body size",
}
_DEEPEST, _LONGEST = 6, 2000  # most levels, and characters of a value, in the provenance table
SHOWN = 5  # most concepts, and blocks of hours, shown per attribution
Series = Mapping[str, tuple[Sequence[float], Sequence[float]]]  # variable -> hours, values


@dataclass(frozen=True)
class Diagnosis:
    """One label of one stay."""

    index: int
    name: str
    probability: float
    threshold: float
    written: bool
    recorded: bool | None  # None where the stay is not coded
    grounded: bool  # listed, with a supported ground in a rationale
    bar: Markup

    @property
    def likely(self) -> bool:
        """The probability reaches the threshold."""
        return self.probability >= self.threshold

    @property
    def verdict(self) -> str:
        """Agreement with the labels: ``agrees``, ``extra``, ``missed``, or empty; ``uncoded`` if unknown."""
        if self.recorded is None:
            return "uncoded" if self.written else ""
        return {(True, True): "agrees", (True, False): "extra", (False, True): "missed"}.get(
            (self.written, self.recorded), ""
        )


@dataclass(frozen=True)
class Chart:
    """One measured variable."""

    key: str
    label: str
    reference: str
    last: Markup
    high: int  # values above the reference range
    low: int  # values below it
    values: Markup
    svg: Markup


@dataclass(frozen=True)
class ChartGroup:
    """Variables of one kind: charts of the measured ones, and names of the others."""

    title: str
    charts: list[Chart]
    missing: list[str]


@dataclass(frozen=True)
class Concept:
    """A concept with its attention weight."""

    name: str
    kind: str
    definition: str
    weight: float
    bar: Markup


@dataclass(frozen=True)
class Carried:
    """Occlusion attribution of one diagnosis: concepts with bars, and blocks of hours as text."""

    name: str
    probability: float
    concepts: list[Concept]
    hours: list[tuple[str, str, float]]  # variable, hours, drop of the logit


@dataclass(frozen=True)
class NotePart:
    """Words of a note: whether the rationale shares them, and why they are unreadable (empty if readable)."""

    text: str
    shared: bool = False
    unread: str = ""


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
    rationales: list[Rationale]
    sections: list[tuple[str, list[NotePart]]]
    groups: list[ChartGroup]
    concepts: list[Concept]
    carried: list[Carried]
    cases: list[Case]

    def count(self, verdict: str) -> int:
        """Number of labels with this verdict."""
        return sum(d.verdict == verdict for d in self.diagnoses)

    @property
    def open_diagnoses(self) -> list[str]:
        """Names of the labels that the set of possible ones holds beside those called."""
        if self.possible_from is None:
            return []
        return [
            d.name for d in self.diagnoses if d.probability >= self.possible_from and not d.likely and not d.written
        ]

    @property
    def coded(self) -> bool:
        """Whether it is known which diagnoses were recorded."""
        return all(d.recorded is not None for d in self.diagnoses)

    def claims(self, verdict: str | None = None) -> int:
        """Number of claims in both rationales, of one verdict or of all; statements of absence are none."""
        return sum(len(r.claims) - r.absences if verdict is None else r.count(verdict) for r in self.rationales)

    @property
    def written(self) -> int:
        """Number of diagnoses that the output lists."""
        return sum(d.written for d in self.diagnoses)

    @property
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
    def marks_note(self) -> bool:
        """Whether any words of the note are marked."""
        return any(part.shared for _, parts in self.sections for part in parts)

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


def diagnoses_of(
    names: list[str],
    probabilities: np.ndarray,
    thresholds: np.ndarray,
    written: np.ndarray,
    recorded: np.ndarray | None,
    grounded: np.ndarray | None = None,
) -> list[Diagnosis]:
    """All labels of a stay, most probable first; every array is [L]."""
    order = np.argsort(-probabilities, kind="stable")
    return [
        Diagnosis(
            index=int(i),
            name=names[int(i)],
            probability=float(probabilities[i]),
            threshold=float(thresholds[i]),
            written=bool(written[i]),
            recorded=None if recorded is None else bool(recorded[i]),
            grounded=grounded is not None and bool(grounded[i]),
            bar=charts.probability_bar(float(probabilities[i]), float(thresholds[i]), names[int(i)]),
        )
        for i in order
    ]


def chart_groups(
    series: Series, window: float, carried: Mapping[str, Sequence[tuple[float, float, str]]] | None = None
) -> list[ChartGroup]:
    """The catalogue's variables by kind; hours on the time axis are whole.

    Args:
        series: the stay's measurements.
        window: hours that the model reads.
        carried: hours by variable that a diagnosis rests on, as for :func:`charts.series_chart`.
    """
    hours_shown = max(float(np.ceil(window)), 1.0)
    groups = []
    by_kind: dict[str, list[Variable]] = {}
    for variable in variables().values():
        by_kind.setdefault(variable.kind, []).append(variable)
    for kind in sorted(by_kind, key=lambda k: (list(GROUPS).index(k) if k in GROUPS else len(GROUPS), k)):
        title = GROUPS.get(kind, section_title(kind))
        names = {v.key: v.label.removeprefix(f"{title}, ") for v in by_kind[kind]}
        drawings = [
            _chart(charts.Measured(v, *series[v.key]), names[v.key], hours_shown, (carried or {}).get(v.key, ()))
            for v in by_kind[kind]
            if v.key in series
        ]
        missing = [names[v.key] for v in by_kind[kind] if v.key not in series]
        groups.append(ChartGroup(title, drawings, missing))
    return groups


def _chart(measured: charts.Measured, label: str, window: float, carried: Sequence[tuple[float, float, str]]) -> Chart:
    return Chart(
        key=measured.variable.key,
        label=label,
        reference=charts.range_text(measured.variable),
        last=Markup(measured.texts[-1]),
        high=measured.sides.count(1),
        low=measured.sides.count(-1),
        values=charts.value_list(measured),
        svg=charts.series_chart(measured, window, carried),
    )


def concepts_of(weighed: Sequence[tuple[str, float]], nodes: Mapping[str, Mapping[str, Any]]) -> list[Concept]:
    """Concepts with readable names.

    Args:
        weighed: (concept id, attention weight), highest first.
        nodes: attributes of the concept graph's nodes by id; other names are derived from the id.
    """
    heaviest = max((weight for _, weight in weighed), default=0.0)
    concepts = []
    for identifier, weight in weighed:
        node = nodes.get(identifier, {})
        concepts.append(
            Concept(
                name=str(node.get("name") or concept_name(identifier)),
                kind=str(node.get("kind") or identifier.partition(":")[0]),
                definition=str(node.get("definition") or ""),
                weight=weight,
                bar=charts.weight_bar(weight, heaviest),
            )
        )
    return concepts


def carried_of(
    explained: Sequence[Mapping[str, Any]], label_name: Callable[[str], str], nodes: Mapping[str, Mapping[str, Any]]
) -> tuple[list[Carried], dict[str, list[tuple[float, float, str]]]]:
    """Attributions of each diagnosis of a stay, and the hours to mark in the chart of each variable.

    Args:
        explained: the diagnoses of one stay as ``clinragen predict --explain`` wrote them.
        label_name: the readable name of a phenotype key.
        nodes: attributes of the concept graph's nodes by id.
    """
    rows, spans = [], {}
    for row in explained:
        name, parts = label_name(row["diagnosis"]), row["occlusion"]
        weighed = [(entry["concept"], entry["score"]) for entry in parts["concepts"][:SHOWN]]
        hours = []
        for entry in parts["hours"][:SHOWN]:
            start, end = entry["from_hour"], entry["to_hour"]
            hours.append((variables()[entry["variable"]].label, f"{start}–{end} h", entry["score"]))
            spans.setdefault(entry["variable"], {}).setdefault((start, end), []).append(name)
        rows.append(Carried(name, row["probability"], concepts_of(weighed, nodes), hours))
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


def rationales_of(
    texts: Mapping[str, str],
    claims: Mapping[RationaleKind, Sequence[Checked]],
    sections: Sequence[tuple[str, str]],
    teacher: Mapping[str, str | None],
    names: Mapping[str, Mapping[str, Any]],
) -> tuple[list[Rationale], list[tuple[str, list[NotePart]]]]:
    """The two rationales, split at their claims, and the note's sections, split at shared phrases and unreadable parts.

    Args:
        texts: the rationales by kind, note and series.
        claims: claims of each rationale, by kind.
        sections: (key, text) of the note's sections.
        teacher: the teacher's rationales by kind; None without one.
        names: attributes of the concept graph's nodes by id.
    """
    _, shared = mark_shared(texts["note"], [readable(text, key) for key, text in sections])
    parts = [note_parts(key, text, segments) for (key, text), segments in zip(sections, shared, strict=True)]
    titles = [section_title(key) for key, _ in sections]
    rationales = []
    for kind in RATIONALE_KINDS:
        spoken = [claim_text(claim, sections, titles, names) for claim in claims[kind]]
        rationales.append(Rationale(_TITLES[kind], marked(texts[kind], spoken), spoken, teacher.get(kind)))
    return rationales, list(zip(titles, parts, strict=True))


def note_parts(section: str, text: str, segments: Segments) -> list[NotePart]:
    """A section of the note split at shared phrases and unreadable parts.

    Args:
        section: the key of the section.
        text: the section as written.
        segments: segments of the text with unreadable parts replaced by blanks.
    """
    spans = unreadable(text, section)
    parts: list[NotePart] = []
    start = 0
    for words, shared in segments:
        end = start + len(words)
        for span in spans:
            if start < span.end and span.start < end:
                parts += [NotePart(text[start : max(start, span.start)], shared)]
                parts += [NotePart(text[max(start, span.start) : min(end, span.end)], unread=span.reason)]
                start = min(end, span.end)
        parts.append(NotePart(text[start:end], shared))
        start = end
    return [part for part in parts if part.text]


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

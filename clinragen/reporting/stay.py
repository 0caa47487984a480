"""What the page of each stay shows, put together from predictions, claims and cohort."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl

from clinragen.cohort.sections import section_title, sections_by_stay
from clinragen.evaluation import faithfulness
from clinragen.evaluation.faithfulness import StayCharts, StayClaims
from clinragen.evaluation.inputs import Predictions, Truth, teacher_rationales
from clinragen.evaluation.prediction_columns import Contribution
from clinragen.evaluation.rows import EvaluationFile
from clinragen.knowledge.graph import ConceptGraph
from clinragen.questions.answered import Answered, StoredAnswers
from clinragen.reporting import views
from clinragen.reporting.cases import Case, CaseFile
from clinragen.reporting.citations import Citations
from clinragen.reporting.diagnoses import Columns, Pairs
from clinragen.reporting.figures import figures_of
from clinragen.reporting.notes import section_parts
from clinragen.reporting.places import Places
from clinragen.reporting.questions import question_views
from clinragen.reporting.similar import case_views
from clinragen.reporting.verdicts import ClaimText, claim_text, marked
from clinragen.schema import RationaleKind
from clinragen.verification.claims import Checked

#: Part of an estimate from which a variable is shown among those that matter.
_MATTERS = 0.05


@dataclass(frozen=True)
class ReportInput:
    """Input of a report.

    Attributes:
        predictions: of ``n`` stays.
        truth: the cohort's rows for them.
        claims: those of each prediction; None if the pages are to read them.
        nodes: attributes of the graph's nodes by id.
        evaluation: of these predictions, if there is one.
        teacher: the rationale set to show beside them.
        graph: gives the warrants of grounds, and is left out for a report without cases.
        questions: that were asked about stays, with their answers.
        similar: cases that are like each stay, by its id, as ``clinragen similar --json`` gives them.
    """

    predictions: Predictions
    truth: Truth
    claims: list[StayClaims] | None
    nodes: Mapping[str, Mapping[str, Any]]
    evaluation: EvaluationFile | None
    teacher: str | None
    graph: ConceptGraph | None = None
    questions: StoredAnswers | None = None
    similar: Mapping[int, Sequence[Mapping[str, Any]]] = field(default_factory=dict)

    def of_rows(self, rows: Sequence[int]) -> ReportInput:
        """The part of the report with some of the predictions."""
        predictions = self.predictions.take(rows)
        claims = None if self.claims is None else [self.claims[row] for row in rows]
        truth = self.truth.take(rows, predictions.stay_ids)
        questions = self.questions and self.questions.of_stays(predictions.stay_ids.tolist())
        similar = {stay: self.similar[stay] for stay in predictions.stay_ids.tolist() if stay in self.similar}
        return replace(self, predictions=predictions, truth=truth, claims=claims, questions=questions, similar=similar)

    @property
    def claims_read(self) -> list[StayClaims]:
        """The claims, which must have been read."""
        assert self.claims is not None
        return self.claims


class StayViews:
    """The content of the pages.

    Args:
        report: of ``n`` stays.
        charts: of these stays.
    """

    def __init__(self, report: ReportInput, charts: StayCharts) -> None:
        predictions, cohort = report.predictions, report.truth.cohort
        self._report, self._charts = report, charts
        notes = cohort.notes.filter(pl.col("stay_id").is_in(pl.Series(predictions.stay_ids).implode()))
        self._notes = sections_by_stay(notes, layout=True, whole=True)
        self._teacher: dict[RationaleKind, list[str | None]] = (
            teacher_rationales(cohort, report.teacher, predictions.stay_ids) if report.teacher else {}
        )
        self._task = predictions.task
        self._rows = report.truth.stays.rows(named=True)
        self._grounded = faithfulness.grounded(predictions, report.claims_read)
        self._pairs = Pairs(report.truth.training) if report.truth.labelled else None

    def __iter__(self) -> Iterator[views.StayView]:
        """In the order of stay_id."""
        for row in sorted(range(len(self._rows)), key=lambda row: self._rows[row]["stay_id"]):
            yield self.view(row)

    def view(self, row: int) -> views.StayView:
        """The content of the page of one prediction.

        Args:
            row: of the predictions.
        """
        predictions, stay = self._report.predictions, self._rows[row]
        sections = self._notes.get(stay["stay_id"], [])
        claims = self._report.claims_read[row]
        citations = Citations.of(claims)
        cells = self._charts.cells.get(stay["stay_id"], {})
        places = Places(sections, cells, citations.last)
        questions = question_views(self._asked(stay["stay_id"]), places, stay["stay_id"])
        read = [text for _, text in self._charts.sections.get(stay["stay_id"], [])]
        texts = _Texts(sections, read, citations, places, self._report)
        names = predictions.labels.names
        diagnoses = self._columns(row).diagnoses(names)
        explained = predictions.attributions.get(stay["stay_id"], [])
        carried, hours = views.carried_of(explained, names.__getitem__, self._report.nodes)
        return views.StayView(
            stay_id=stay["stay_id"],
            age=views.age_text(stay["age"]),
            sex=views.sex_text(stay["sex"]),
            split=stay["split"],
            intime=stay["intime"],
            outtime=stay["outtime"],
            prediction_time=stay["prediction_time"],
            parsed=bool(predictions.parsed[row]),
            possible_from=predictions.manifest.possible_from,
            abstains=predictions.abstains[row] if predictions.abstains else [],
            complaint=next((" ".join(text.split()) for key, text in sections if key == "chief_complaint"), ""),
            diagnoses=diagnoses,
            implausible=self._pairs.implausible(diagnoses) if self._pairs and self._task.argued else [],
            rationales=self._rationales(row, claims, texts),
            sections=texts.note(),
            figures=figures_of(cells, citations.hours, self._shares(row), hours, places.hours),
            carried=carried,
            cases=self._cases(row, texts),
            asked=questions,
            similar=case_views(self._report.similar.get(stay["stay_id"], ())),
        )

    def _asked(self, stay_id: int) -> Sequence[Answered]:
        return self._report.questions.rows.get(stay_id, ()) if self._report.questions is not None else ()

    def _columns(self, row: int) -> Columns:
        predictions, truth = self._report.predictions, self._report.truth
        system = predictions.system
        coded = truth.labelled and bool(truth.eligible[row].all())
        intervals = getattr(predictions, "intervals", None)
        return Columns(
            probabilities=system.probabilities[row],
            thresholds=system.thresholds,
            written=system.listed[row],
            grounded=self._grounded[row],
            recorded=truth.gold[row] if coded else None,
            intervals=None if intervals is None else intervals[row],
            possible_from=predictions.manifest.possible_from,
        )

    def _rationales(self, row: int, claims: StayClaims, texts: _Texts) -> list[views.Rationale]:
        rationales = []
        for kind, text in self._report.predictions.rationales(row).items():
            shown = [texts.claim(kind, claim) for claim in claims[kind]]
            teacher = self._teacher[kind][row] if kind in self._teacher else None
            rationales.append(views.Rationale(views.TITLES[kind], marked(text, shown), shown, teacher))
        return rationales

    def _contributions(self, row: int) -> Sequence[Contribution]:
        held = self._report.predictions.contributions
        return held[row] if held else ()

    def _shares(self, row: int) -> dict[str, float]:
        """The largest share of each variable that an estimate rests on."""
        shares: dict[str, float] = {}
        for one in self._contributions(row):
            kind, _, name = one["evidence"].partition(":")
            if kind == "variable" and one["share"] >= _MATTERS:
                shares[name] = max(one["share"], shares.get(name, 0.0))
        return shares

    def _cases(self, row: int, texts: _Texts) -> list[Case]:
        """The case for each diagnosis of a stay; none for tasks without diagnoses."""
        predictions, system = self._report.predictions, self._report.predictions.system
        if self._report.graph is None or not self._task.argued:
            return []
        keys = list(predictions.labels)
        by_diagnosis: dict[str, list[Contribution]] = {}
        for one in self._contributions(row):
            by_diagnosis.setdefault(one["diagnosis"], []).append(one)
        return CaseFile(
            texts=predictions.rationales(row),
            claims=self._report.claims_read[row],
            as_text=texts.claim,
            contributions=by_diagnosis,
            graph=self._report.graph,
        ).cases(
            dict(zip(keys, system.probabilities[row].tolist(), strict=True)),
            dict(zip(keys, system.thresholds.tolist(), strict=True)),
            [keys[column] for column in np.flatnonzero(system.listed[row])],
            [key for key in by_diagnosis if key in predictions.labels],
        )


@dataclass(frozen=True)
class _Texts:
    """The note of a stay and its claims as text."""

    sections: Sequence[tuple[str, str]]
    read: Sequence[str]  # the text of each section, blanks in place of what no model reads
    citations: Citations
    places: Places  # of the answers to questions
    report: ReportInput
    told: dict[tuple[RationaleKind, Checked], ClaimText] = field(default_factory=dict)  # once for all parts of the page

    @cached_property
    def titles(self) -> list[str]:
        """Of the sections."""
        return [section_title(key) for key, _ in self.sections]

    def claim(self, kind: RationaleKind, claim: Checked) -> ClaimText:
        text = self.told.get((kind, claim))
        if text is None:
            number = self.citations.numbers[kind].get(claim, 0)
            text = self.told[kind, claim] = claim_text(claim, self.sections, self.titles, self.report.nodes, number)
        return text

    def note(self) -> list[tuple[str, list[views.NotePart]]]:
        """Title and parts of each section."""
        passages = {passage: list(numbers) for passage, numbers in self.citations.passages.items()}
        for passage, numbers in self.places.passages.items():
            passages.setdefault(passage, []).extend(numbers)
        return section_parts(self.sections, self.read, passages, self.report.truth.cohort.label_set)

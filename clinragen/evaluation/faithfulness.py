"""Whether generated rationales are true to the chart, and give reasons: the verdicts of their claims, and coverage.

Both are counted with intervals by patient. A diagnosis is held against those that the same output lists: agreement with
the labels is scored elsewhere. Statements of absence are counted apart, as they give no reason; coverage says how many
of the listed diagnoses have a stated ground.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from clinragen.artifacts import write_text
from clinragen.chart.measurements import Cells, cells_by_stay, measurements
from clinragen.choices import RationaleKind
from clinragen.cohort.folder import Cohort
from clinragen.cohort.sections import sections_by_stay
from clinragen.evaluation.diagnosis import patient_bootstrap, ratio_interval
from clinragen.evaluation.inputs import Predictions, Truth
from clinragen.evaluation.rows import CLAIM_ROWS, Average, ClaimsRow, Coverage, Interval
from clinragen.knowledge.graph import ConceptGraph
from clinragen.schema import RATIONALE_KINDS
from clinragen.verification.claims import ABSENCE, Checked, Verdict
from clinragen.verification.grounds import grounded_diagnoses, marked_diagnoses, with_absences
from clinragen.verification.rationale import Verifier

VERDICTS = tuple(Verdict)

#: Claims of one stay's rationales, by kind of rationale.
StayClaims = dict[RationaleKind, list[Checked]]


@dataclass(frozen=True)
class StayCharts:
    """Notes and measurements of some stays, by stay.

    Attributes:
        sections: (section, text) of the note, blanks in place of what no model reads.
        cells: the measurements, by ascending hour.
    """

    sections: Mapping[int, list[tuple[str, str]]]
    cells: Mapping[int, Cells]

    @classmethod
    def of(cls, cohort: Cohort, stay_ids: np.ndarray) -> StayCharts:
        """The charts of these stays, [n]."""
        chosen = pl.col("stay_id").is_in(pl.Series(stay_ids).implode())
        sections = sections_by_stay(cohort.notes.filter(chosen), labels=cohort.label_set, layout=True)
        return cls(sections, cells_by_stay(cohort.series.filter(chosen).sort("stay_id", "hour")))


class ClaimChecker:
    """The charts of the predicted stays, and the reader of claims, for holding rationales against them.

    Args:
        predictions: of ``n`` stays.
        truth: the cohort's rows for them.
        graph: by which claims are read.
        verifier: of that graph, if one is at hand: to make one takes some tenths of a second.
        charts: of these stays, if they are at hand.
    """

    def __init__(
        self,
        predictions: Predictions,
        truth: Truth,
        graph: ConceptGraph,
        verifier: Verifier | None = None,
        charts: StayCharts | None = None,
    ) -> None:
        self._predictions = predictions
        self._verifier = verifier or Verifier(graph)
        self._charts = charts or StayCharts.of(truth.cohort, predictions.stay_ids)
        self._affirmable = _affirmable(predictions, truth, graph)

    def check(
        self, authors: Sequence[int] | None = None, progress: Callable[[], None] = lambda: None
    ) -> list[StayClaims]:
        """The claims of every prediction with their verdicts, in the order of the predictions.

        Args:
            authors: for each stay the row whose rationales are held against its chart; its own by default.
            progress: called after each stay.
        """
        checked = []
        for row, stay in enumerate(self._predictions.stay_ids.tolist()):
            sections, chart = self._charts.sections.get(stay, []), measurements(self._charts.cells.get(stay, {}))
            texts = self._predictions.rationales(row if authors is None else authors[row])
            claims = {
                kind: self._verifier.check(text, kind, sections, chart, self._affirmable[row])
                for kind, text in texts.items()
            }
            checked.append({kind: with_absences(text, claims[kind]) for kind, text in texts.items()})
            progress()
        return checked


def check(
    predictions: Predictions, truth: Truth, graph: ConceptGraph, progress: Callable[[], None] = lambda: None
) -> list[StayClaims]:
    """The claims of the predictions, once: ``ClaimChecker`` holds other rationales against the same charts."""
    return ClaimChecker(predictions, truth, graph).check(progress=progress)


def _affirmable(predictions: Predictions, truth: Truth, graph: ConceptGraph) -> list[list[str]]:
    """The diagnoses that the rationales of each stay may affirm.

    Those that are listed with them; for a task whose labels are no diagnoses, those that the stay was coded with.
    """
    keys, called = list(predictions.labels), predictions.system.listed
    if graph.labels.keys().isdisjoint(keys):
        keys = list(truth.cohort.label_set)
        if not truth.cohort.labelled:
            return [keys for _ in predictions.stay_ids]
        called = truth.cohort.label_matrix(predictions.stay_ids)
    return [[keys[i] for i in np.flatnonzero(row)] for row in called]


def summarize(
    claims: list[StayClaims], patients: np.ndarray, replicates: int, seed: int
) -> dict[str, dict[str, ClaimsRow]]:
    """Shares of verdicts, claims per rationale, and rationales of which every claim is supported.

    Statements of absence are no claims: their number stands beside, as ``absences``.

    Args:
        claims: of ``n`` stays.
        patients: [n] patient ids; stays of one patient are drawn together.
        replicates: number of bootstrap replicates for the intervals.
        seed: of the bootstrap.

    Returns:
        rationale -> kind of claim -> counts, and scores with 95 % intervals (None where there is no claim).
        ``wholly_supported`` is a share of the rationales that make any claim.
    """
    weights = np.array([np.ones(len(claims)), *patient_bootstrap(patients, replicates, seed)])
    summary: dict[str, dict[str, ClaimsRow]] = {kind: {} for kind in RATIONALE_KINDS}
    rows: list[tuple[RationaleKind, str]] = [(kind, about) for kind in RATIONALE_KINDS for about in CLAIM_ROWS[kind]]
    for kind, about in rows:
        standings = [[c.standing for c in stay[kind] if about in ("all", c.kind)] for stay in claims]
        counts = np.array([[row.count(verdict) for verdict in VERDICTS] for row in standings])
        total = counts.sum(axis=1)
        shares = {verdict: ratio_interval(weights, counts[:, i], total) for i, verdict in enumerate(VERDICTS)}
        summary[kind][about] = {
            "claims": int(total.sum()),
            "absences": sum(row.count(ABSENCE) for row in standings),
            "per_rationale": _defined(ratio_interval(weights, total, np.ones(len(claims)))),
            "supported": shares[Verdict.SUPPORTED],
            "contradicted": shares[Verdict.CONTRADICTED],
            "not_in_the_chart": shares[Verdict.NOT_IN_CHART],
            "wholly_supported": ratio_interval(weights, (total > 0) & (counts[:, 0] == total), total > 0),
        }
    return summary


def citations(predictions: Predictions, claims: Sequence[StayClaims]) -> list[dict[str, list[Checked]]]:
    """For each stay the diagnoses that its rationales argue for, each with the supported claims that do."""
    return [
        grounded_diagnoses((text, of_stay[kind]) for kind, text in predictions.rationales(row).items())
        for row, of_stay in enumerate(claims)
    ]


def grounded(predictions: Predictions, claims: list[StayClaims]) -> np.ndarray:
    """[n, L] bool: the listed diagnoses for which a rationale states a ground that the chart bears out."""
    columns = {label: column for column, label in enumerate(predictions.labels)}
    grounds = np.zeros_like(predictions.system.listed)
    for row, cited in enumerate(citations(predictions, claims)):
        for label in cited:
            if label in columns:  # rationales of other tasks argue for diagnoses that are none of their labels
                grounds[row, columns[label]] = True
    return grounds & predictions.system.listed


def coverage(
    listed: np.ndarray,
    grounded: np.ndarray,
    patients: np.ndarray,
    replicates: int,
    seed: int,
    footing: Footing | None = None,
) -> Coverage:
    """Listed diagnoses with a stated ground over listed diagnoses, with its interval; None where nothing is listed.

    Args:
        listed: [n] number of diagnoses that each stay's output lists.
        grounded: [n] how many of them have a stated ground.
        patients: [n] patient ids; stays of one patient are drawn together.
        replicates: number of bootstrap replicates for the intervals.
        seed: of the bootstrap.
        footing: what the others say of themselves, and on what the weakest rest; left out if None.
    """
    weights = np.array([np.ones(len(listed)), *patient_bootstrap(patients, replicates, seed)])
    share = ratio_interval(weights, grounded, listed)
    row: Coverage = {"listed": int(listed.sum()), "grounded": int(grounded.sum()), "share": share}
    if footing is not None:
        row["marked"] = footing.marked
        row["on_circumstances"] = footing.on_circumstances
        row["on_estimates"] = footing.on_estimates
    return row


class Footing(NamedTuple):
    """Listed diagnoses without a stated ground of which a rationale says so (``marked``), and listed diagnoses whose
    only grounds are circumstances of the admission (age, or place of treatment), or only add to the estimate, without
    being known as signs of the diagnosis."""

    marked: int
    on_circumstances: int
    on_estimates: int


def footing(predictions: Predictions, claims: list[StayClaims]) -> Footing:
    """How many listed diagnoses rest on little, or admittedly on nothing that can be stated."""
    keys = list(predictions.labels)
    marked = weak = unknown = 0
    for row, (cited, of_stay) in enumerate(zip(citations(predictions, claims), claims, strict=True)):
        listed = {keys[column] for column in np.flatnonzero(predictions.system.listed[row])}
        grounded = listed & cited.keys()
        admitted = marked_diagnoses(claim for kind in RATIONALE_KINDS for claim in of_stay[kind])
        marked += len(admitted & (listed - grounded))
        weak += sum(all(ground.about.startswith("circumstance:") for ground in cited[key]) for key in grounded)
        texts = [(text, of_stay[kind]) for kind, text in predictions.rationales(row).items()]
        unknown += len(grounded - grounded_diagnoses(texts, adding=False).keys())
    return Footing(marked, weak, unknown)


def _defined(average: Interval) -> Average:
    """An average over some stays, which is always a number."""
    assert average["value"] is not None
    return {"value": average["value"], "low": average["low"], "high": average["high"]}


def write(path: Path, predictions: Predictions, claims: list[StayClaims]) -> None:
    """One line of JSON per stay: its claims, where they stand in the rationale, their verdicts and the evidence."""
    lines = (json.dumps(row, separators=(",", ":")) for row in _rows(predictions, claims))
    write_text(path, "".join(f"{line}\n" for line in lines))


def _rows(predictions: Predictions, claims: list[StayClaims]) -> Iterator[dict[str, Any]]:
    for stay, row in zip(predictions.stay_ids.tolist(), claims, strict=True):
        yield {"stay_id": stay, **{kind: [claim.as_json() for claim in row[kind]] for kind in RATIONALE_KINDS}}

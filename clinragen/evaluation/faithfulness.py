"""Whether generated rationales are true to the chart: the verdicts of their claims, counted, with intervals by patient.

A diagnosis is held against those that the same output lists: agreement with the labels is scored elsewhere.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from clinragen.artifacts import write_text
from clinragen.data.text import sections_by_stay
from clinragen.evaluation.diagnosis import interval, patient_bootstrap
from clinragen.evaluation.inputs import Predictions, Truth
from clinragen.knowledge.graph import ConceptGraph
from clinragen.schema import RATIONALE_KINDS
from clinragen.verify import series
from clinragen.verify.claims import Checked, Verdict
from clinragen.verify.rationale import Verifier

VERDICTS = tuple(Verdict)
#: Rows of the summary: kinds of claim in each kind of rationale ("all": of any kind).
ROWS = {"note": ("finding", "diagnosis", "all"), "series": ("series", "diagnosis", "all")}

#: Claims of one stay's rationales, by kind of rationale.
StayClaims = dict[str, list[Checked]]


def check(
    predictions: Predictions, truth: Truth, graph: ConceptGraph, progress: Callable[[], None] = lambda: None
) -> list[StayClaims]:
    """The claims of every prediction with their verdicts, in the order of the predictions."""
    verifier = Verifier(graph)
    wanted = pl.Series("stay_id", predictions.stay_ids).implode()
    notes = sections_by_stay(truth.cohort.notes.filter(pl.col("stay_id").is_in(wanted)), layout=True)
    cells = _cells(truth.cohort.series.filter(pl.col("stay_id").is_in(wanted)))
    system = predictions.system
    written = system.thresholded if system.decoded is None else system.decoded
    found = []
    for row, stay in enumerate(predictions.stay_ids.tolist()):
        said = [predictions.labels[i] for i in np.flatnonzero(written[row])]
        chart = series.chart(cells.get(stay, {}))
        texts = {"note": predictions.note_rationales[row], "series": predictions.series_rationales[row]}
        claims = {kind: verifier.check(texts[kind], kind, notes.get(stay, []), chart, said) for kind in RATIONALE_KINDS}
        found.append(claims)
        progress()
    return found


def _cells(table: pl.DataFrame) -> dict[int, dict[str, list[tuple[float, float]]]]:
    found: dict[int, dict[str, list[tuple[float, float]]]] = {}
    for stay, hour, variable, value in table.select("stay_id", "hour", "variable", "value").iter_rows():
        found.setdefault(stay, {}).setdefault(variable, []).append((hour, value))
    return found


def summarize(claims: list[StayClaims], patients: np.ndarray, replicates: int, seed: int) -> dict[str, Any]:
    """Shares of verdicts, claims per rationale, and rationales of which every claim is supported.

    Args:
        claims: of ``n`` stays.
        patients: [n] patient ids; stays of one patient are drawn together.

    Returns:
        rationale -> kind of claim -> counts, and scores with 95 % intervals (None where there is no claim).
        ``wholly_supported`` is a share of the rationales that make any claim.
    """
    weights = np.array([np.ones(len(claims)), *patient_bootstrap(patients, replicates, seed)])
    found: dict[str, Any] = {kind: {} for kind in RATIONALE_KINDS}
    for kind, about in ((rationale, row) for rationale in RATIONALE_KINDS for row in ROWS[rationale]):
        of = [[c for c in stay[kind] if about in ("all", c.kind)] for stay in claims]
        counts = np.array([[sum(c.verdict == verdict for c in row) for verdict in VERDICTS] for row in of])
        total = counts.sum(axis=1)
        shares = {str(v).replace(" ", "_"): _ratio(weights, counts[:, i], total) for i, v in enumerate(VERDICTS)}
        found[kind][about] = {
            "claims": int(total.sum()),
            "per_rationale": _ratio(weights, total, np.ones(len(claims))),
            **shares,
            "wholly_supported": _ratio(weights, (total > 0) & (counts[:, 0] == total), total > 0),
        }
    return found


def _ratio(weights: np.ndarray, part: np.ndarray, whole: np.ndarray) -> dict[str, float | None]:
    """A ratio of sums: on the data (first row of weights) and its interval over the replicates (the other rows)."""
    below = weights @ whole.astype(float)
    above = weights @ part.astype(float)
    values = np.divide(above, below, out=np.full_like(below, np.nan), where=below > 0)
    return interval(float(values[0]), values[1:])


def write(path: Path, predictions: Predictions, claims: list[StayClaims]) -> None:
    """One line of JSON per stay: its claims, where they stand in the rationale, their verdicts and the evidence."""
    lines = (json.dumps(row, separators=(",", ":")) for row in _rows(predictions, claims))
    write_text(path, "".join(f"{line}\n" for line in lines))


def _rows(predictions: Predictions, claims: list[StayClaims]) -> Iterator[dict[str, Any]]:
    for stay, row in zip(predictions.stay_ids.tolist(), claims, strict=True):
        yield {"stay_id": stay, **{kind: [claim.as_json() for claim in row[kind]] for kind in RATIONALE_KINDS}}

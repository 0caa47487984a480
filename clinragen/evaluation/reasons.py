"""Whether rationales give the right reasons: the true causes where they are known, and what the model itself goes by.

Faithfulness in the sense of ERASER (DeYoung et al. 2020) is measured by taking evidence away from the model's input;
``clinragen.attribution.reasons`` does that, and this module counts. What is true to the chart is counted elsewhere
(``faithfulness``): a claim can be true and still be no reason.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from clinragen.artifacts import read_table
from clinragen.errors import UserError
from clinragen.evaluation.diagnosis import patient_bootstrap, ratio_interval
from clinragen.evaluation.faithfulness import StayClaims, citations
from clinragen.evaluation.inputs import Predictions, Truth
from clinragen.evaluation.rows import CausesPart, Interval, ReasonsPart, WorthPart
from clinragen.knowledge.graph import ConceptGraph
from clinragen.knowledge.linker import Linker
from clinragen.schema import RATIONALE_KINDS
from clinragen.verification.claims import Checked, Verdict
from clinragen.verification.grounds import cited_concepts

#: What a synthetic hospital knows of its patients, within ``truth/``.
CONDITIONS = "conditions.parquet"
_COLUMNS = ("stay_id", "condition", "is_phenotype", "coded", "variables", "terms")

#: (stay, label) to the concepts that caused it, among them findings of the series.
Causes = Mapping[tuple[int, str], set[str]]


@dataclass(frozen=True)
class Weighed:
    """What the evidence that a rationale cites for one listed diagnosis is worth to the model.

    Attributes:
        row: of the stay, in the order of the predictions.
        label: key of the diagnosis.
        salience: the part of the evidence mass that is cited: the falls of the logit without each piece of evidence
            that speaks for the diagnosis, added up; nan where nothing speaks for it.
        full: calibrated probability of the stay as it is.
        without: when the cited evidence is taken away.
        without_random: when as many other pieces of the same kinds are, the mean of several draws; nan where there is
            no other.
        only: when the cited evidence alone is left.
    """

    row: int
    label: str
    salience: float
    full: float
    without: float
    without_random: float
    only: float


def load_causes(truth: Path, graph: ConceptGraph) -> Causes:
    """The true causes of the diagnoses of a synthetic hospital: findings that the condition moved in this stay, and
    concepts that the linker reads in the terms written about it.

    Args:
        truth: the folder ``truth`` beside its raw tables.
        graph: gives names to concepts.

    Raises:
        UserError: the folder holds no such table.
    """
    path = truth / CONDITIONS
    if not path.is_file():
        raise UserError(f"{path} not found: expected the folder `truth` that `mimic-prep synthesize` writes")
    table = read_table(path)
    if absent := [name for name in _COLUMNS if name not in table.column_names]:
        raise UserError(f"{path}: columns missing: {', '.join(absent)}")
    linker = Linker(graph)
    causes: dict[tuple[int, str], set[str]] = {}
    rows = pl.DataFrame(pl.from_arrow(table)).filter("is_phenotype", "coded")
    for stay, label, moved, terms in rows.select("stay_id", "condition", "variables", "terms").iter_rows():
        concepts = causes.setdefault((stay, label), set())
        concepts |= {f"finding:{finding}" for finding in moved}
        for term in terms:
            concepts |= {f"symptom:{term}"} & set(graph.nodes)
            concepts |= {mention.concept for mention in linker.link(term.replace("_", " "))}
    return causes


def summarize(
    predictions: Predictions,
    truth: Truth,
    claims: Sequence[StayClaims],
    borrowed: Sequence[StayClaims],
    *,
    weighed: Sequence[Weighed] | None = None,
    causes: Causes | None = None,
    replicates: int = 1000,
    seed: int = 0,
) -> ReasonsPart:
    """Shares with 95 % intervals by patient; None for what was not measured.

    Args:
        predictions: of ``n`` stays.
        truth: the cohort's rows for them.
        claims: of each stay's own rationales.
        borrowed: of the rationales of another stay, held against this stay's chart (:func:`strangers` says whose).
        weighed: of listed diagnoses whose cited evidence was taken away.
        causes: of a synthetic hospital.
        replicates: of the bootstrap.
        seed: of the bootstrap.
    """
    patients = truth.stays["subject_id"].to_numpy()
    weights = np.array([np.ones(len(patients)), *patient_bootstrap(patients, replicates, seed)])
    cited = citations(predictions, claims)
    return {
        "consistency": _consistency(predictions, claims, weights),
        "specificity": _specificity(claims, borrowed, weights),
        "causes": None if causes is None else _cause_recall(predictions, truth, cited, causes, weights),
        "worth": None if weighed is None else _worth(weighed, weights),
    }


def strangers(predictions: Predictions, truth: Truth, seed: int = 0) -> list[int]:
    """For each stay the row of a stay of another patient, if there is one with a diagnosis in common: in a random order
    of the stays the next one; its own where all stays are of one patient."""
    listed, patients = predictions.system.listed, truth.stays["subject_id"].to_numpy()
    order = np.random.default_rng(seed).permutation(len(patients))
    chosen = list(range(len(patients)))
    for position, row in enumerate(order):
        others = [other for other in np.roll(order, -position - 1) if patients[other] != patients[row]]
        alike = (other for other in others if (listed[other] & listed[row]).any())
        chosen[row] = int(next(alike, others[0] if others else row))
    return chosen


def _consistency(predictions: Predictions, claims: Sequence[StayClaims], weights: np.ndarray) -> Interval:
    """The diagnoses that are both affirmed and called by the probabilities, over those that are either."""
    keys = list(predictions.labels)
    both, either = [], []
    for of_stay, row in zip(claims, predictions.system.thresholded, strict=True):
        called = {keys[column] for column in np.flatnonzero(row)}
        affirmed = {
            claim.about.removeprefix("phenotype:")
            for kind in RATIONALE_KINDS
            for claim in of_stay[kind]
            if claim.kind == "diagnosis" and not claim.negated
        } & set(keys)
        both.append(len(called & affirmed))
        either.append(len(called | affirmed))
    return ratio_interval(weights, np.array(both), np.array(either))


def _specificity(claims: Sequence[StayClaims], borrowed: Sequence[StayClaims], weights: np.ndarray) -> Interval:
    """Share of the stays whose own rationales hold more than those of another stay do; ties count half."""
    gaps = np.array([_holds(mine) - _holds(other) for mine, other in zip(claims, borrowed, strict=True)])
    return ratio_interval(weights, (gaps > 0) + 0.5 * (gaps == 0), np.ones(len(gaps)))


def _holds(claims: StayClaims) -> float:
    """Share of the findings and measurements claimed that the chart bears out; 0 where none is claimed."""
    standings = [
        claim.standing for kind in RATIONALE_KINDS for claim in claims[kind] if claim.kind in ("finding", "series")
    ]
    return standings.count(str(Verdict.SUPPORTED)) / max(1, len(standings))


def _cause_recall(
    predictions: Predictions,
    truth: Truth,
    cited: Sequence[Mapping[str, Sequence[Checked]]],
    causes: Causes,
    weights: np.ndarray,
) -> CausesPart:
    """True positives for which a true cause is cited, over those that show anywhere in the chart."""
    hits, shown, silent = np.zeros(len(cited)), np.zeros(len(cited)), 0
    keys = list(predictions.labels)
    for row, stay in enumerate(predictions.stay_ids.tolist()):
        for column in np.flatnonzero(predictions.system.listed[row] & truth.gold[row]):
            true = causes.get((stay, keys[column]), set())
            silent += not true
            if true:
                shown[row] += 1
                hits[row] += any(cited_concepts(claim) & true for claim in cited[row].get(keys[column], ()))
    return {
        "true_positives": int(shown.sum()),
        "named": int(hits.sum()),
        "show_nowhere": silent,
        "recall": ratio_interval(weights, hits, shown),
    }


def _worth(weighed: Sequence[Weighed], weights: np.ndarray) -> WorthPart:
    """Salience, comprehensiveness beside random evidence, and sufficiency, over diagnoses with cited evidence."""
    rows = np.array([one.row for one in weighed], dtype=np.int64)
    over = weights[:, rows]
    full, without, chance, only, salience = (
        np.array([getattr(one, name) for one in weighed], dtype=float)
        for name in ("full", "without", "without_random", "only", "salience")
    )
    compared = ~np.isnan(chance)
    lost, lost_at_random = full - without, np.where(compared, full - chance, 0.0)
    retained = np.minimum(1.0, only / np.maximum(full, 1e-9))
    spoken = ~np.isnan(salience)
    return {
        "diagnoses": len(weighed),
        "stays": len(set(rows.tolist())),
        "salience": ratio_interval(over, np.where(spoken, salience, 0.0), spoken),
        "comprehensiveness": ratio_interval(over, lost, np.ones(len(rows))),
        "random": ratio_interval(over, lost_at_random, compared),
        "times_random": ratio_interval(over, lost * compared, np.maximum(lost_at_random, 0.0)),
        "more_than_random": ratio_interval(over, compared & (lost > lost_at_random), compared),
        "sufficiency": ratio_interval(over, retained, np.ones(len(rows))),
    }

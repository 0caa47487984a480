"""How well the model does for women and men, at different ages, on short and long stays, and how far they are apart.

The gap of a group is its score minus that of all other stays, on the same resampled patients. That of macro AUROC is
over the labels that both carry in part, so that it does not mix in which labels a group has.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from clinragen.evaluation.diagnosis import METRICS, Scorer, System, interval, patient_bootstrap
from clinragen.evaluation.inputs import Predictions, Truth
from clinragen.evaluation.rows import GroupRow, GroupsPart, GroupTable, Interval
from clinragen.evaluation.sites import FEWEST, SCORES

AGES = {"under 50": 50.0, "50 to 64": 65.0, "65 to 79": 80.0, "80 and over": np.inf}  # years, and their upper ends
LENGTHS = {"under 2 days": 2.0, "2 to 4 days": 4.0, "4 to 8 days": 8.0, "8 days and over": np.inf}
SEXES = {"F": "female", "M": "male"}


def summarize(predictions: Predictions, truth: Truth, replicates: int = 1000, seed: int = 0) -> GroupsPart | None:
    """Scores and gaps by age, sex and length of stay, where two groups are large enough; None where none are.

    Args:
        predictions: of ``n`` stays.
        truth: their labels, and their rows of the cohort.
        replicates: of the bootstrap, which resamples patients.
        seed: of the bootstrap.
    """
    days = (truth.stays["outtime"] - truth.stays["intime"]).dt.total_seconds() / 86_400
    groups = {
        "age": (list(AGES), _banded(truth.stays["age"], AGES)),
        "sex": (list(SEXES.values()), [SEXES.get(sex) for sex in truth.stays["sex"]]),
        "length of stay": (list(LENGTHS), _banded(days, LENGTHS)),
    }
    tables = [
        _table(by, order, names, predictions.system, truth, replicates, seed) for by, (order, names) in groups.items()
    ]
    tables = [table for table in tables if sum(row["gaps"] is not None for row in table["rows"]) > 1]
    return {"fewest": FEWEST, "tables": tables} if tables else None


def _banded(values: pl.Series, bands: dict[str, float]) -> list[str | None]:
    """The band of each value, the first whose end is above it."""
    return [
        None if value is None or np.isnan(value) else next(name for name, end in bands.items() if value < end)
        for value in values.to_list()
    ]


def _table(
    by: str,
    order: Sequence[str],
    names: Sequence[str | None],
    system: System,
    truth: Truth,
    replicates: int,
    seed: int,
) -> GroupTable:
    of_stay = np.array([name or "" for name in names])
    rows = [(name, of_stay == name) for name in order if (of_stay == name).any()]
    return {
        "by": by,
        "unknown": int((of_stay == "").sum()),
        "rows": [_row(name, inside, of_stay != "", system, truth, replicates, seed) for name, inside in rows],
    }


def _row(
    name: str, inside: np.ndarray, named: np.ndarray, system: System, truth: Truth, replicates: int, seed: int
) -> GroupRow:
    """One group beside all other stays of which it is known that they are not in it."""
    patients, gold, eligible = truth.stays["subject_id"].to_numpy(), truth.gold, truth.eligible
    row: GroupRow = {
        "name": name,
        "stays": int(inside.sum()),
        "patients": len(np.unique(patients[inside])),
        "labels": int((gold[inside].any(axis=0) & (~gold & eligible)[inside].any(axis=0)).sum()),
        "scores": None,
        "gaps": None,
    }
    outside = named & ~inside
    if min(inside.sum(), outside.sum()) < FEWEST:
        return row
    scorers = [(rows, Scorer(gold[rows], system.take(rows), eligible[rows])) for rows in (inside, outside)]
    first, *drawn = (
        _pair([scorer.vector(weights[rows]) for rows, scorer in scorers])
        for weights in (np.ones(len(inside)), *patient_bootstrap(patients, replicates, seed))
    )
    replicated = np.array(drawn).reshape(-1, 2, len(SCORES))
    row["scores"], row["gaps"] = (_intervals(first[part], replicated[:, part]) for part in (0, 1))
    return row


def _pair(scored: Sequence[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """Scores of the group, and how far they are above those of the others, [2, scores]."""
    (inside, auroc), (outside, others) = scored
    columns = [METRICS.index(score) for score in SCORES]
    gaps = inside[columns] - outside[columns]
    both = ~np.isnan(auroc) & ~np.isnan(others)
    gaps[SCORES.index("macro_auroc")] = (auroc - others)[both].mean() if both.any() else np.nan
    return np.stack([inside[columns], gaps])


def _intervals(values: np.ndarray, replicates: np.ndarray) -> dict[str, Interval]:
    return {score: interval(values[i], replicates[:, i]) for i, score in enumerate(SCORES)}

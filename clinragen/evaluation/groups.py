"""How well the model does for women and men, at different ages, on short and long stays, in each care unit, and how far
they are apart.

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
OTHER_UNITS = "other units"
SEXES = {"F": "female", "M": "male"}


def summarize(predictions: Predictions, truth: Truth, replicates: int = 1000, seed: int = 0) -> GroupsPart | None:
    """Scores and gaps by age, sex, length of stay and care unit, where two groups are large enough; else None.

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
        "care unit": _units(truth),
    }
    tables = [
        _table(by, order, names, predictions.system, truth, replicates, seed) for by, (order, names) in groups.items()
    ]
    tables = [table for table in tables if sum(row["gaps"] is not None for row in table["rows"]) > 1]
    return {"fewest": FEWEST, "tables": tables} if tables else None


def _units(truth: Truth) -> tuple[list[str], list[str | None]]:
    """The care units with enough stays, largest first, and the one of each stay; small units are one group together."""
    ids = truth.cohort.stays.select("stay_id").with_columns(truth.cohort.care_units.alias("unit"))
    units = truth.stays.select("stay_id").join(ids, on="stay_id", how="left", maintain_order="left")["unit"]
    counts = dict(units.drop_nulls().value_counts().sort(["count", "unit"], descending=[True, False]).iter_rows())
    large = [name for name, count in counts.items() if count >= FEWEST]
    names = [name if name is None or name in large else OTHER_UNITS for name in units.to_list()]
    return [*large, *[OTHER_UNITS] * (len(large) < len(counts))], names


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
    scored = _Scored(system, truth, replicates, seed)
    return {
        "by": by,
        "unknown": int((of_stay == "").sum()),
        "rows": [_row(name, inside, of_stay != "", truth, scored) for name, inside in rows],
    }


class _Scored:
    """Scores of parts of the stays, on the data and on each replicate; the same part is scored once.

    Of two groups each is all that the other is not, so that half of the work is saved.
    """

    def __init__(self, system: System, truth: Truth, replicates: int, seed: int) -> None:
        self._system, self._truth, self._replicates, self._seed = system, truth, replicates, seed
        self._parts: dict[bytes, tuple[np.ndarray, np.ndarray]] = {}

    def of(self, part: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Scores [1 + B, scores] and the AUROC of each label [1 + B, L] of the stays of a part, [n] bool."""
        key = np.packbits(part).tobytes()
        if key not in self._parts:
            gold, eligible = self._truth.gold[part], self._truth.eligible[part]
            scorer, columns = Scorer(gold, self._system.take(part), eligible), [METRICS.index(name) for name in SCORES]
            patients = self._truth.stays["subject_id"].to_numpy()
            drawn = (np.ones(len(part)), *patient_bootstrap(patients, self._replicates, self._seed))
            values, areas = zip(*(scorer.vector(weights[part]) for weights in drawn), strict=True)
            self._parts[key] = np.array(values)[:, columns], np.array(areas)
        return self._parts[key]


def _row(name: str, inside: np.ndarray, named: np.ndarray, truth: Truth, scored: _Scored) -> GroupRow:
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
    values, areas = scored.of(inside)
    row["scores"] = _intervals(values)
    row["gaps"] = _intervals(_gaps((values, areas), scored.of(outside)))
    return row


def _gaps(group: tuple[np.ndarray, np.ndarray], others: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """How far the scores of a group are above those of the others, [1 + B, scores]."""
    gaps, areas = group[0] - others[0], group[1] - others[1]
    both = ~np.isnan(areas)
    summed, count = np.where(both, areas, 0.0).sum(axis=1), both.sum(axis=1)
    macro = np.divide(summed, count, out=np.full(len(areas), np.nan), where=count > 0)
    gaps[:, SCORES.index("macro_auroc")] = macro
    return gaps


def _intervals(values: np.ndarray) -> dict[str, Interval]:
    return {score: interval(values[0, i], values[1:, i]) for i, score in enumerate(SCORES)}

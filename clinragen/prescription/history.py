"""The drugs of each stay as they are known at the prediction time, as rows of classes."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl

from clinragen.cohort.folder import Cohort
from clinragen.cohort.orders import PRESCRIBED, by_class, readable


@dataclass(frozen=True)
class History:
    """The drugs of some stays of a cohort.

    Attributes:
        cohort: the cohort.
        stay_ids: the stays, [n].
        keys: the classes, in the order of the columns.
    """

    cohort: Cohort
    stay_ids: np.ndarray
    keys: tuple[str, ...]

    @cached_property
    def _rows(self) -> pl.DataFrame:
        return readable(self.cohort).filter(pl.col("stay_id").is_in(pl.Series(self.stay_ids).implode()))

    @cached_property
    def ordered(self) -> np.ndarray:
        """Whether a class had been ordered or given in hospital, bool [n, classes]."""
        return self._wide(self._rows.filter(pl.col("kind").is_in(PRESCRIBED)))

    @cached_property
    def at_home(self) -> np.ndarray:
        """Whether a class was taken before admission, bool [n, classes]."""
        return self._wide(self._rows.filter(kind="home"))

    @cached_property
    def any_order(self) -> np.ndarray:
        """Whether any order is known, bool [n]: without one, the hospital's orders may not be in the data."""
        some = self._rows.filter(kind="order")["stay_id"].unique()
        return np.isin(self.stay_ids, some.to_numpy())

    def home_names(self, stay_id: int, key: str) -> list[str]:
        """Ingredients of a class that were taken before admission, by name."""
        rows = self._rows.filter(stay_id=stay_id, kind="home", drug_class=key)
        return sorted(rows["ingredient"].unique().drop_nulls())

    def _wide(self, rows: pl.DataFrame) -> np.ndarray:
        return by_class(rows, self.stay_ids, self.keys)


def usual_ingredients(cohort: Cohort, stay_ids: np.ndarray, most: int = 3) -> dict[str, list[str]]:
    """The ingredients of each class that some stays were given most, most frequent first.

    Args:
        cohort: the cohort of the stays.
        stay_ids: those to learn from: of the training split.
        most: how many of each class.
    """
    rows = readable(cohort).filter(
        pl.col("stay_id").is_in(pl.Series(stay_ids).implode()) & pl.col("kind").is_in(PRESCRIBED)
    )
    counts: dict[str, Counter[str]] = {}
    pairs = rows.select("stay_id", "drug_class", "ingredient").drop_nulls().unique()
    for _, key, ingredient in pairs.iter_rows():
        counts.setdefault(key, Counter())[ingredient] += 1
    return {key: sorted(of_class, key=lambda name: (-of_class[name], name))[:most] for key, of_class in counts.items()}

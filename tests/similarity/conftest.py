"""An index of the small synthetic hospital, and made-up indexes without one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_matrix
from sklearn.preprocessing import normalize

from clinragen.similarity.index import LABELS, IndexedStays, Query, SimilarIndex
from tests.conftest import call


@pytest.fixture(scope="session")
def indexed(hospital, tmp_path_factory) -> Path:
    """The folder of the index; tests must not change it."""
    out = tmp_path_factory.mktemp("indexed") / "index"
    assert call("clinragen", "index", "build", "--cohort", hospital.cohort, "--out", out) == 0
    return out


def unit(chance: np.random.Generator, stays: int, columns: int, whole: bool) -> np.ndarray:
    """Random rows of norm 1; of few whole numbers many are equal, and some are nothing."""
    rows = chance.integers(0, 3, (stays, columns)) if whole else chance.normal(size=(stays, columns))
    return np.asarray(normalize(rows.astype(float)), dtype=np.float32)


def made_up(stays: int, seed: int, *, whole: bool = True, clock: str = "absolute") -> tuple[SimilarIndex, list[Query]]:
    """An index of random vectors, and as many queries, the first of them its own stays."""
    chance = np.random.default_rng(seed)
    words, series = unit(chance, 2 * stays, 8, True), unit(chance, 2 * stays, 5, whole)
    labels = chance.random((2 * stays, 6)) < 0.3
    subjects = chance.integers(0, max(1, stays // 2), 2 * stays)
    times = chance.integers(0, 1000, 2 * stays)
    none = np.zeros((stays, 0), dtype=bool)
    of_index = IndexedStays(np.arange(stays), subjects[:stays], times[:stays], labels[:stays], none)
    vectors = {"words": csr_matrix(words[:stays]), "series": series[:stays]}
    unread: Any = object()
    weights = {"words": 0.3, "series": 0.2, LABELS: 0.5}
    index = SimilarIndex(vectors, of_index, weights, unread, unread, {"clock": clock})
    queries = []
    for row in range(2 * stays):
        given: dict[str, Any] = {"words": csr_matrix(words[row]), "series": series[row]}
        given = {name: vector for name, vector in given.items() if (vector != 0).sum()}
        given[LABELS] = chance.random(6) * 0.5
        queries.append(Query(given, int(subjects[row]), row if row < stays else None, int(times[row])))
    return index, queries

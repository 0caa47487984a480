"""Exact search: the rows of a matrix that are most similar to a query, in an order that rounding cannot change.

All similarities are computed in 32 bits. Rows that may belong to the first ones, given the error of that, are computed
again in 64 bits, and ordered by similarity, then by row. So the result is that of a loop over all rows in 64 bits.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any, Protocol

import numpy as np
from scipy.sparse import csc_matrix, csr_matrix

#: Digits to which similarities are compared: equal ones of equal rows stay equal, whatever the order of a sum.
DIGITS = 10
#: Bound of the error of a similarity of unit vectors in 32 bits, many times what is seen; and of one in 64 bits.
ERROR, NO_ERROR = 1e-4, 1e-9


class Rows(Protocol):
    """The rows of one modality, and how similar each is to a query.

    Attributes:
        error: of ``near``, at most.
    """

    error: float

    def __len__(self) -> int: ...

    def near(self, query: np.ndarray | csr_matrix) -> np.ndarray:
        """Similarities to all rows, [n], each within ``error`` of the exact one."""
        ...

    def exact(self, query: np.ndarray | csr_matrix, rows: np.ndarray) -> np.ndarray:
        """Similarities to some rows in 64 bits, rounded to ``DIGITS``."""
        ...


class Dense:
    """Unit vectors as a dense matrix; the similarity is the cosine.

    Args:
        matrix: float32 [n, d], rows of norm 1, or 0 where there is nothing to compare.
    """

    error = ERROR

    def __init__(self, matrix: np.ndarray) -> None:
        self.matrix = matrix

    def __len__(self) -> int:
        return len(self.matrix)

    def near(self, query: np.ndarray | csr_matrix) -> np.ndarray:
        """As ``Rows`` says; the query is [d]."""
        return self.matrix @ query

    def exact(self, query: np.ndarray | csr_matrix, rows: np.ndarray) -> np.ndarray:
        """As ``Rows`` says."""
        return (self.matrix[rows].astype(np.float64) @ np.asarray(query, dtype=np.float64)).round(DIGITS)


class Sparse:
    """Unit vectors as a sparse matrix; the similarity is the cosine. Only the columns of the query are looked at.

    Args:
        matrix: float32 [n, d], rows of norm 1, or 0 where there is nothing to compare.
    """

    error = ERROR

    def __init__(self, matrix: csr_matrix) -> None:
        self.matrix: Any = matrix

    def __len__(self) -> int:
        return len(self.matrix.indptr) - 1

    @cached_property
    def _columns(self) -> Any:
        return csc_matrix(self.matrix)

    def near(self, query: np.ndarray | csr_matrix) -> np.ndarray:
        """As ``Rows`` says; the query is [1, d]."""
        assert isinstance(query, csr_matrix)
        return self._columns[:, query.indices] @ query.data

    def exact(self, query: np.ndarray | csr_matrix, rows: np.ndarray) -> np.ndarray:
        """As ``Rows`` says."""
        assert isinstance(query, csr_matrix)
        dense = np.zeros(self.matrix.shape[1])
        dense[query.indices] = query.data
        return (self.matrix[rows].astype(np.float64) @ dense).round(DIGITS)


class LabelSets:
    """The labels of each stay. The query is how likely each label is; the similarity is the overlap to expect.

    That of a set Y is the Jaccard index of expectations, sum p_Y / (sum p + |Y| - sum p_Y), with p_Y the probabilities
    of the labels in Y; 0 where nothing is in either.

    Args:
        labels: bool [n, L].
    """

    error = NO_ERROR

    def __init__(self, labels: np.ndarray) -> None:
        self.labels = labels

    def __len__(self) -> int:
        return len(self.labels)

    @cached_property
    def _sets(self) -> tuple[np.ndarray, np.ndarray]:
        """The different sets, of which there are few, and which of them each stay has."""
        packed = np.packbits(self.labels, axis=1)
        _, examples, which = np.unique(packed, axis=0, return_index=True, return_inverse=True)
        return self.labels[examples].astype(np.float64), which.reshape(-1)

    def near(self, query: np.ndarray | csr_matrix) -> np.ndarray:
        """As ``Rows`` says; the query is [L]."""
        sets, which = self._sets
        return _overlap(sets, np.asarray(query, dtype=np.float64))[which]

    def exact(self, query: np.ndarray | csr_matrix, rows: np.ndarray) -> np.ndarray:
        """As ``Rows`` says."""
        sets, which = self._sets
        return _overlap(sets, np.asarray(query, dtype=np.float64)).round(DIGITS)[which[rows]]


def _overlap(sets: np.ndarray, chances: np.ndarray) -> np.ndarray:
    shared = sets @ chances
    return shared / np.maximum(chances.sum() + sets.sum(1) - shared, 1e-9)


def first(rows: Rows, query: np.ndarray | csr_matrix, allowed: np.ndarray, count: int) -> np.ndarray:
    """The most similar of the allowed rows, most similar first, then by row.

    Args:
        rows: what is searched.
        query: as these rows take it.
        allowed: bool [n].
        count: how many, at most.
    """
    near = np.where(allowed, rows.near(query), -np.inf)
    total = int(allowed.sum())
    if total <= count:
        near_first = np.flatnonzero(allowed)
    else:
        last = np.partition(near, len(near) - count)[len(near) - count]
        near_first = np.flatnonzero(near >= last - 2 * rows.error)
    return ordered(near_first, rows.exact(query, near_first))[:count]


def ordered(rows: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Rows by score, the highest first, and equal ones by number."""
    return rows[np.lexsort((rows, -scores))]

"""The search gives what a loop over all rows gives, and never what may not be shown."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_matrix

from clinragen.similarity.hybrid import jaccard
from clinragen.similarity.index import LABELS, Query, SimilarIndex
from clinragen.similarity.search import Dense, LabelSets, Sparse, first
from tests.similarity.conftest import made_up, unit

SIZES = st.integers(1, 40)
SEEDS = st.integers(0, 2**32 - 1)


def by_loop(index: SimilarIndex, query: Query, count: int, candidates: int) -> list[tuple[int, float]]:
    """The neighbours by loops in 64 bits, and their scores."""
    stays = index.stays
    allowed = [
        row
        for row in range(len(index))
        if stays.subjects[row] != query.subject
        and stays.ids[row] != query.stay
        and (index.manifest["clock"] != "absolute" or stays.ended[row] <= (query.at or 0))
    ]
    similar: dict[str, list[float]] = {}
    for name, vector in query.vectors.items():
        if name == LABELS:
            chances = np.asarray(vector)
            similar[name] = []
            for labels in stays.labels:
                shared = sum(chance for chance, on in zip(chances, labels, strict=True) if on)
                similar[name].append(round(shared / (sum(chances) + sum(labels) - shared), 10))
        else:
            matrix, of_query = index.vectors[name], vector
            rows = matrix.toarray() if isinstance(matrix, csr_matrix) else matrix
            of_query = of_query.toarray()[0] if isinstance(of_query, csr_matrix) else of_query
            similar[name] = [
                round(sum(float(a) * float(b) for a, b in zip(row, of_query, strict=True)), 10) for row in rows
            ]
    drawn: set[int] = set()
    for values in similar.values():
        drawn |= set(sorted(allowed, key=lambda row, values=values: (-values[row], row))[:candidates])
    scores = {
        row: round(sum(index.weights[name] * values[row] for name, values in similar.items()), 10) for row in drawn
    }
    order = sorted(drawn, key=lambda row: (-scores[row], row))
    return [(row, scores[row]) for row in order if scores[row] > 0][:count]


@settings(max_examples=60)
@given(SIZES, SEEDS, st.integers(1, 12), st.booleans())
def test_neighbours_are_those_of_a_loop(stays, seed, count, whole):
    index, queries = made_up(stays, seed, whole=whole)
    for query in queries[:: max(1, stays // 4)]:
        expected = by_loop(index, query, count, max(count, 5))
        neighbours = index.search(query, count, candidates=5)
        assert [one.score for one in neighbours] == pytest.approx([score for _, score in expected], abs=1e-9)
        assert [one.row for one in neighbours] == [row for row, _ in expected]


@settings(max_examples=60)
@given(SIZES, SEEDS, st.sampled_from(["absolute", "year", "none"]))
def test_neither_the_same_patient_nor_what_ended_later_is_a_neighbour(stays, seed, clock):
    index, queries = made_up(stays, seed, clock=clock)
    for query in queries:
        for one in index.search(query, 10):
            assert index.stays.subjects[one.row] != query.subject
            assert index.stays.ids[one.row] != query.stay
            assert clock != "absolute" or index.stays.ended[one.row] <= (query.at or 0)


def test_a_later_stay_is_a_neighbour_where_dates_of_patients_cannot_be_compared():
    index, queries = made_up(30, 1, clock="year")
    later = [
        one for query in queries for one in index.search(query, 10) if index.stays.ended[one.row] > (query.at or 0)
    ]
    assert later


@settings(max_examples=40)
@given(SIZES, SEEDS, st.integers(1, 50))
def test_sparse_rows_are_searched_as_dense_ones(stays, seed, count):
    chance = np.random.default_rng(seed)
    rows, query = unit(chance, stays, 12, True), unit(chance, 1, 12, True)[0]
    allowed = chance.random(stays) < 0.8
    dense = first(Dense(rows), query, allowed, count)
    sparse = first(Sparse(csr_matrix(rows)), csr_matrix(query), allowed, count)
    assert dense.tolist() == sparse.tolist()
    assert len(dense) == min(count, allowed.sum())
    assert allowed[dense].all()


def test_rows_that_32_bits_cannot_tell_apart_are_told_apart():
    rows = np.zeros((400, 2), dtype=np.float32)
    rows[:] = [0.6, 0.8]
    rows[300] = np.nextafter(np.float32(0.6), np.float32(1)), 0.8
    order = first(Dense(rows), np.array([1.0, 0.0], dtype=np.float32), np.ones(400, dtype=bool), 3)
    assert order.tolist() == [300, 0, 1]


def test_the_overlap_to_expect_is_the_jaccard_index_where_labels_are_certain():
    labels = np.random.default_rng(0).random((50, 7)) < 0.4
    sets = LabelSets(labels)
    for certain in labels[:10]:
        assert sets.near(certain.astype(float)) == pytest.approx(jaccard(certain, labels))
    assert sets.near(np.zeros(7)).tolist() == [0.0] * 50


def test_the_overlap_to_expect_prefers_a_likely_label_alone_to_it_with_an_unlikely_one():
    sets = LabelSets(np.array([[True, False], [True, True], [False, True], [False, False]]))
    assert sets.near(np.array([0.8, 0.1])).argsort()[::-1][:2].tolist() == [0, 1]

"""Agreement is what its authors published, and what the library gives where ratings are missing."""

import krippendorff
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clinragen.rating.agreement import alpha, icc

#: Table 2 of Shrout & Fleiss (1979): six targets, four judges; table 4 gives ICC(2,1) = .29 and ICC(2,4) = .62.
PUBLISHED = np.array([[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]])
#: Krippendorff, Computing Krippendorff's Alpha-Reliability (2011), section C: twelve units, four observers, with
#: missing values; ordinal alpha is .815.
OBSERVED = """
1 2 3 3 2 1 4 1 2 . . .
1 2 3 3 2 2 4 1 2 5 . 3
. 3 3 3 2 3 4 2 2 5 1 .
1 2 3 3 2 4 4 1 2 5 1 .
"""


def test_icc_of_the_published_example():
    assert icc(PUBLISHED).single == pytest.approx(0.29, abs=0.005)
    assert icc(PUBLISHED).average == pytest.approx(0.62, abs=0.005)


def test_alpha_of_the_published_example_with_missing_values():
    rows = [[np.nan if word == "." else float(word) for word in line.split()] for line in OBSERVED.split("\n") if line]
    assert alpha(np.array(rows).T) == pytest.approx(0.815, abs=0.001)


ratings = st.lists(st.lists(st.integers(1, 5), min_size=3, max_size=3), min_size=2, max_size=12).map(np.array)


@settings(deadline=None, max_examples=50)
@given(ratings)
def test_raters_and_targets_may_be_in_any_order(matrix):
    turned = matrix[::-1, [2, 0, 1]]
    assert icc(turned) == pytest.approx(icc(matrix), nan_ok=True)
    assert alpha(turned) == pytest.approx(alpha(matrix), nan_ok=True)


@settings(deadline=None, max_examples=50)
@given(ratings)
def test_the_average_agrees_with_the_single_rating_by_spearman_and_brown(matrix):
    single, average = icc(matrix)
    if np.isnan(single) or np.isnan(average) or abs(1 + 2 * single) < 1e-6:
        return
    assert average == pytest.approx(3 * single / (1 + 2 * single), rel=1e-6, abs=1e-9)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.lists(st.sampled_from([1, 2, 3, 4, 5, None]), min_size=3, max_size=3), min_size=3, max_size=15))
def test_alpha_with_missing_ratings_is_the_library_s(rows):
    matrix = np.array([[np.nan if value is None else value for value in row] for row in rows])
    paired = matrix[(~np.isnan(matrix)).sum(axis=1) >= 2]
    if len(np.unique(paired[~np.isnan(paired)])) < 2:
        assert np.isnan(alpha(matrix))
        return
    expected = krippendorff.alpha(matrix.T, value_domain=[1, 2, 3, 4, 5], level_of_measurement="ordinal")
    assert alpha(matrix) == pytest.approx(expected)


def test_agreement_is_whole_without_differences_and_undefined_without_raters_or_variance():
    same = np.array([[1, 1], [3, 3], [5, 5]])
    assert icc(same) == pytest.approx((1, 1))
    assert alpha(same) == pytest.approx(1)
    for nothing in (same[:, :1], same[:1], np.full((4, 2), 3)):
        assert np.isnan(icc(nothing)).all()
    assert np.isnan(alpha(np.full((4, 2), 3.0)))


def test_a_rater_who_is_always_one_point_higher_lowers_absolute_agreement():
    assert icc(np.array([[1, 2], [2, 3], [4, 5]])).single < 0.9

"""What sites know together: sums of parts are those of the whole, and no rare or lonely term is ever told."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clinragen.federation import statistics as sums

BUCKETS, LEAST, ROWS = 1 << 12, 10, 64
WORDS = st.text(st.characters(min_codepoint=97, max_codepoint=382, categories=("Ll",)), min_size=2, max_size=12)


def told(sites: list[dict[str, int]], buckets: int = BUCKETS) -> tuple[dict[int, str], list[np.ndarray]]:
    """The terms that all know in the end, and the letters that each site sent."""
    common = [sums.by_bucket(counts, buckets, LEAST) for counts in sites]
    patients, number = (
        sum(each[kind].values for each in (sums.count_terms(one, buckets) for one in common)) for kind in (0, 1)
    )
    chosen = sums.choose_buckets(np.asarray(patients), np.asarray(number), 2, ROWS)
    letters = [sums.spell_terms(each, chosen).values for each in common]
    return sums.read_terms(np.sum(letters, axis=0), chosen, buckets), letters


@settings(max_examples=30)
@given(st.dictionaries(WORDS, st.tuples(st.integers(1, 40), st.integers(1, 40)), max_size=20))
def test_the_terms_that_two_sites_have_are_spelt_exactly_and_no_others(counts: dict[str, tuple[int, int]]) -> None:
    sites = [{term: both[site] for term, both in counts.items()} for site in (0, 1)]
    terms, _ = told(sites)
    shared = {term for term, both in counts.items() if min(both) >= LEAST}
    assert set(terms.values()) <= shared
    if len({sums.bucket_of(term, BUCKETS) for term in counts}) == len(counts):
        assert set(terms.values()) == shared


@pytest.mark.parametrize("lonely", [{"st elsewhere": 40}, {"canary": 9, "sepsis": 12}])
def test_no_letter_of_a_term_of_one_site_or_of_few_patients_leaves(lonely: dict[str, int]) -> None:
    terms, letters = told([{**lonely}, {"sepsis": 30, "canary": 9}])
    assert set(terms.values()) <= {"sepsis"}
    assert all((row[0] == 0) == (row[1:] == 0).all() for site in letters for row in site)
    if "sepsis" not in lonely:
        assert not any(site.any() for site in letters)


def test_terms_that_share_a_bucket_are_dropped_instead_of_mixed() -> None:
    assert told([{"renal failure": 20}, {"pneumonia": 30}], buckets=1)[0] == {}
    assert set(told([{"renal failure": 20}, {"renal failure": 30}], buckets=1)[0].values()) == {"renal failure"}


def test_a_term_counts_patients_and_not_notes() -> None:
    counts = sums.patients_with(["sepsis. sepsis", "sepsis", "copd"], [1, 1, 2])
    assert counts == {"sepsis": 1, "sepsis sepsis": 1, "copd": 1}


def test_moments_of_parts_add_up_to_those_of_the_whole() -> None:
    values = np.random.default_rng(0).normal(5, 2, (90, 4))
    values[np.random.default_rng(1).random(values.shape) < 0.3] = np.nan
    parts = [sums.moments(part) for part in np.split(values, [11, 40])]
    mean, spread = sums.mean_and_spread(np.sum([part.values for part in parts], axis=0))
    np.testing.assert_allclose(mean, np.nanmean(values, 0))
    np.testing.assert_allclose(spread, np.nanstd(values, 0))
    assert (np.sum([part.stays for part in parts], axis=0)[:, 0] == np.isfinite(values).sum(0)).all()


def test_edges_ascend_and_hold_the_reference_bounds() -> None:
    grid = np.random.default_rng(0).normal(4.2, 0.8, (60, 1, 48)).astype(np.float32)
    means = sums.value_moments(grid, ["potassium"])
    statistics = sums.unbinned(["potassium"], means.values, 48)
    of = sums.moments(sums.summaries(statistics, grid))
    edges = np.array(sums.with_edges(statistics, of.values, 6).edges)
    assert edges.shape == (1, 6, 7)
    assert (np.diff(edges) >= 0).all()
    assert statistics.centre[0] == pytest.approx(4.2, abs=0.1)
    assert statistics.scale[0] == pytest.approx(0.8, abs=0.05)
    bound = (3.5 - statistics.centre[0]) / statistics.scale[0]
    edges_of_first = edges[0, 3]
    assert edges_of_first[0] < bound < edges_of_first[-1]
    assert np.isclose(edges_of_first, bound).any()

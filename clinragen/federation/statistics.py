"""What many sites know together of their series and notes, from sums that leave no site with few stays in a cell.

Series: the mean and spread of each variable, and of each summary of it, are sums over all stays of a site that have it:
one large cell each. A histogram of a site with forty stays would be nothing but small cells, so the edges of bins are
quantiles of a normal distribution with that mean and spread, and the reference bounds.

Notes: a term is counted under a bucket of its hash, and its letters leave only once at least ``least_sites`` sites have
it. They leave as sums too, number of patients times code of the letters, so that not even who has a term is told. Two
terms of one bucket make a sum that is no term of this bucket: it is dropped.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cache

import numpy as np
import torch
from scipy.special import ndtri

from clinragen.catalog import variable
from clinragen.data.series import SUMMARIES, SeriesStatistics, summarise
from clinragen.federation.work import Statistic

LETTERS = 40  # bytes of the longest term that is told
_BYTES = 4  # of a term in one number: times a million patients, it is still exact
SPELLING = LETTERS // _BYTES
_CLIP = 8.0  # spreads: one strange value is not to outweigh all others


@cache
def bucket_of(term: str, buckets: int) -> int:
    """The bucket of a term, the same at every site.

    >>> bucket_of("renal failure", 1 << 17) == bucket_of("renal failure", 1 << 17)
    True
    """
    return int.from_bytes(hashlib.sha256(term.encode()).digest()[:8]) % buckets


def patients_with(texts: Iterable[str], patients: Iterable[int]) -> dict[str, int]:
    """How many patients have each word and word pair in any note, of those that may be told by their length."""
    from clinragen.data.lexicon import analyser

    split = analyser()
    of_patient: dict[int, set[str]] = {}
    for text, patient in zip(texts, patients, strict=True):
        of_patient.setdefault(patient, set()).update(split(text))
    counts: dict[str, int] = {}
    for terms in of_patient.values():
        for term in terms:
            if len(term.encode()) <= LETTERS:
                counts[term] = counts.get(term, 0) + 1
    return counts


def by_bucket(counts: dict[str, int], buckets: int, least: int) -> dict[int, tuple[str, int]]:
    """For each bucket the most common of its terms that at least ``least`` patients have, with their number."""
    common: dict[int, tuple[str, int]] = {}
    for term, patients in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
        if patients >= least:
            common.setdefault(bucket_of(term, buckets), (term, patients))
    return common


def count_terms(common: dict[int, tuple[str, int]], buckets: int) -> tuple[Statistic, Statistic]:
    """Patients, and sites, that have a term of each bucket, int64 and float64 [buckets]."""
    patients = np.zeros(buckets, np.int64)
    for bucket, (_, count) in common.items():
        patients[bucket] = count
    return Statistic(patients, patients), Statistic((patients > 0).astype(np.float64), patients)


def choose_buckets(patients: np.ndarray, sites: np.ndarray, least_sites: int, most: int) -> np.ndarray:
    """The buckets that enough sites have, the most common first; int64 [most], padded with -1."""
    shared = np.flatnonzero(sites >= least_sites)
    chosen = shared[np.argsort(-patients[shared], kind="stable")][:most]
    return np.concatenate([chosen, np.full(most - len(chosen), -1)]).astype(np.int64)


def spell_terms(common: dict[int, tuple[str, int]], chosen: np.ndarray) -> Statistic:
    """Letters of the site's terms in the chosen buckets, times patients; float64 [terms, 1 + SPELLING].

    The first column has the patients, by which the others are divided in the end.
    """
    values = np.zeros((len(chosen), 1 + SPELLING))
    for row, bucket in enumerate(chosen.tolist()):
        if bucket in common:
            term, patients = common[bucket]
            letters = np.frombuffer(term.encode().ljust(LETTERS, b"\0"), dtype=">u4").astype(np.float64)
            values[row] = patients * np.concatenate([[1.0], letters])
    stays = np.broadcast_to(values[:, :1], values.shape).astype(np.int64)
    return Statistic(values, stays)


def read_terms(totals: np.ndarray, chosen: np.ndarray, buckets: int) -> dict[int, str]:
    """The terms that sums of letters spell, by row; those that are no term of their bucket are left out."""
    terms = {}
    for row, bucket in enumerate(chosen.tolist()):
        patients, letters = totals[row, 0], totals[row, 1:]
        if bucket < 0 or patients < 1:
            continue
        codes = letters / patients
        if not ((codes == np.round(codes)) & (codes >= 0) & (codes < 1 << 8 * _BYTES)).all():
            continue
        try:
            term = codes.astype(">u4").tobytes().rstrip(b"\0").decode()
        except UnicodeDecodeError:
            continue
        if bucket_of(term, buckets) == bucket:
            terms[row] = term
    return terms


def moments(values: np.ndarray) -> Statistic:
    """Number, sum and sum of squares of what is measured, over stays: float64 [..., 3] of values [n, ...] with NaN."""
    measured = np.isfinite(values)
    numbers = np.where(measured, values, 0).astype(np.float64)
    count = measured.sum(0)
    stacked = np.stack([count.astype(np.float64), numbers.sum(0), np.square(numbers).sum(0)], axis=-1)
    return Statistic(stacked, np.repeat(count[..., None], 3, axis=-1).astype(np.int64))


def mean_and_spread(sums: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of sums of :func:`moments`, float64 [...]; NaN where nothing was measured."""
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = sums[..., 1] / sums[..., 0]
        return mean, np.sqrt(np.maximum(sums[..., 2] / sums[..., 0] - mean**2, 0))


def value_moments(grid: np.ndarray, variables: Sequence[str]) -> Statistic:
    """Number of stays that have each variable, sums of its mean and of its mean square over a stay; float64 [V, 3].

    So each stay counts once, however often it was measured.

    Args:
        grid: float32 [n, variables, hours], NaN where not measured.
        variables: keys of the variables.
    """
    measured = np.isfinite(grid)
    low, high = np.array([variable(key).plausible for key in variables], dtype=np.float64).T[..., None]
    values = np.clip(np.where(measured, grid, 0).astype(np.float64), low, high) * measured
    hours = np.maximum(measured.sum(-1), 1)
    count = measured.any(-1).sum(0)
    stacked = np.stack([count, (values.sum(-1) / hours).sum(0), (np.square(values).sum(-1) / hours).sum(0)], axis=-1)
    return Statistic(stacked.astype(np.float64), np.repeat(count[:, None], 3, axis=1).astype(np.int64))


def unbinned(variables: Sequence[str], sums: np.ndarray, hours: int) -> SeriesStatistics:
    """Standardisation from moments of values, [V, 3]; without edges."""
    centre, scale = mean_and_spread(sums)
    scale = np.maximum(scale, 1e-3 * np.maximum(1.0, np.abs(centre)))
    return SeriesStatistics(list(variables), hours, centre.tolist(), scale.tolist(), edges=[], clip=_CLIP)


def summaries(statistics: SeriesStatistics, grid: np.ndarray) -> np.ndarray:
    """Standardised summaries of each stay, float32 [n, V, summaries]; NaN where never measured."""
    standardised, observed = statistics.standardise(grid)
    return summarise(torch.from_numpy(standardised), torch.from_numpy(observed)).numpy()


def with_edges(statistics: SeriesStatistics, sums: np.ndarray, bins: int) -> SeriesStatistics:
    """Bins of the summaries from their moments [V, summaries, 3], with the reference bounds among them."""
    mean, spread = mean_and_spread(sums)
    spread = np.maximum(spread, 1e-3)
    at = ndtri((np.arange(bins + 1) + 0.5) / (bins + 1))
    edges = mean[..., None] + spread[..., None] * at
    for row, key in enumerate(statistics.variables):
        for column, kind in enumerate(SUMMARIES):
            if kind == "count":
                edges[row, column] = np.clip(edges[row, column], 0, statistics.hours)
                continue
            for bound in (variable(key).low, variable(key).high):
                if bound is None:
                    continue
                scaled = (bound - statistics.centre[row]) / statistics.scale[row]
                if edges[row, column, 0] < scaled < edges[row, column, -1]:
                    edges[row, column, 1 + int(np.abs(edges[row, column, 1:-1] - scaled).argmin())] = scaled
    return replace(statistics, edges=np.sort(edges, axis=-1).tolist())

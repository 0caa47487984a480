"""What the ratings of a pack say: means of authors, their differences, and how far raters agree.

Intervals are percentile intervals of a bootstrap over patients: stays of one patient, and all ratings of a stay, are
drawn together. People and language models are counted apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TypedDict

import numpy as np

from clinragen import versions
from clinragen.evaluation.diagnosis import interval, patient_bootstrap, ratio_interval
from clinragen.evaluation.rows import Interval
from clinragen.rating.agreement import alpha_of_counts, counts, icc
from clinragen.rating.key import RatingPack
from clinragen.rating.preferences import Comparison, comparisons
from clinragen.rating.rating_file import RatingFile


class Mean(TypedDict):
    """The mean rating of an author by one criterion, over ``ratings`` ratings."""

    author: str
    criterion: str
    mean: Interval
    ratings: int


class Difference(TypedDict):
    """How much higher an author was rated than another by the same rater on the same stay, over ``pairs`` pairs."""

    author: str
    other: str
    criterion: str
    difference: Interval
    pairs: int


class Agreement(TypedDict):
    """How far raters agree by one criterion.

    Attributes:
        raters: how many gave ratings.
        complete: rationales that all of them rated, on which the ICC rest.
        shared: rationales that two of them rated, on which alpha rests.
    """

    criterion: str
    raters: int
    complete: int
    shared: int
    icc_single: Interval
    icc_average: Interval
    alpha: Interval


class Group(TypedDict):
    """The results of raters of one kind."""

    means: list[Mean]
    differences: list[Difference]
    agreement: list[Agreement]


class RaterCount(TypedDict):
    """How many ratings a rater gave, and how many are missing.

    Attributes:
        alike: every rationale got the same ratings, as by someone who does not read them.
    """

    rater: str
    kind: str
    ratings: int
    missing: int
    alike: bool


class Remark(TypedDict):
    """A comment of a rater."""

    rater: str
    stay_id: int
    author: str
    comment: str


class Scored(TypedDict):
    """Ratings with the blinding undone."""

    rater: str
    kind: str
    stay_id: int
    author: str
    scores: dict[str, int | None]


class Results(TypedDict):
    """What ``ratings.json`` holds."""

    ratings_version: int
    pack: str
    stays: int
    patients: int
    authors: dict[str, str]
    replicates: int
    seed: int
    raters: list[RaterCount]
    absent: list[str]
    human: Group
    llm: Group
    preferences: list[Comparison]
    comments: list[Remark]
    ratings: list[Scored]


@dataclass(frozen=True)
class _Scores:
    """Ratings of one kind of raters by one criterion: [items, authors, raters], NaN where missing."""

    values: np.ndarray
    weights: np.ndarray  # [1 + B, items]: of the data, then of each replicate


def results(pack: RatingPack, files: Sequence[RatingFile], *, replicates: int = 1000, seed: int = 0) -> Results:
    """Everything that follows from the ratings of a pack.

    Args:
        pack: which stays, authors and raters there are.
        files: those of its raters that rated.
        replicates: number of bootstrap replicates.
        seed: of the bootstrap.
    """
    patients = np.array([item.subject_id for item in pack.items])
    weights = np.stack([np.ones(len(patients)), *patient_bootstrap(patients, replicates, seed)])
    stays = {item.name: item.stay_id for item in pack.items}
    present = {one.rater for one in files}
    groups = {kind: _group(pack, [one for one in files if one.kind == kind], weights) for kind in ("human", "llm")}
    return {
        "ratings_version": versions.RATINGS.version,
        "pack": pack.key.pack,
        "stays": len(pack.items),
        "patients": len(np.unique(patients)),
        "authors": {author.name: author.source for author in pack.key.authors},
        "replicates": replicates,
        "seed": seed,
        "raters": [_count(pack, one) for one in files],
        "absent": [each.rater for each in pack.key.raters if each.kind == "human" and each.rater not in present],
        "human": groups["human"],
        "llm": groups["llm"],
        "preferences": [row for one in files for row in comparisons(pack, one)],
        "comments": [
            {"rater": one.rater, "stay_id": stays[row.item], "author": row.author, "comment": row.comment.strip()}
            for one in files
            for row in one.ratings
            if row.comment.strip()
        ],
        "ratings": [
            {
                "rater": one.rater,
                "kind": one.kind,
                "stay_id": stays[row.item],
                "author": row.author,
                "scores": dict(row.scores),
            }
            for one in files
            for row in one.ratings
        ],
    }


def _count(pack: RatingPack, one: RatingFile) -> RaterCount:
    given = sum(score is not None for row in one.ratings for score in row.scores.values())
    total = len(pack.items) * len(pack.key.authors) * len(pack.key.criteria)
    whole = {tuple(row.scores.values()) for row in one.ratings if None not in row.scores.values()}
    alike = len(whole) == 1 and len(one.ratings) > 2
    return {"rater": one.rater, "kind": one.kind, "ratings": given, "missing": total - given, "alike": alike}


def _group(pack: RatingPack, files: Sequence[RatingFile], weights: np.ndarray) -> Group:
    if not files:
        return {"means": [], "differences": [], "agreement": []}
    authors = [author.name for author in pack.key.authors]
    values = _values(pack, files, authors)
    scores = {key: _Scores(values[position], weights) for position, key in enumerate(pack.key.criteria)}
    return {
        "means": [_mean(scores[key], authors, author, key) for author in authors for key in scores],
        "differences": [
            _difference(scores[key], authors, pair, key) for pair in combinations(authors, 2) for key in scores
        ],
        "agreement": [_agreement(scores[key], key) for key in scores],
    }


def _values(pack: RatingPack, files: Sequence[RatingFile], authors: Sequence[str]) -> np.ndarray:
    """[criteria, items, authors, raters], NaN where a rater gave none."""
    rows = {item.name: row for row, item in enumerate(pack.items)}
    values = np.full((len(pack.key.criteria), len(rows), len(authors), len(files)), np.nan)
    for rater, one in enumerate(files):
        for rating in one.ratings:
            for position, key in enumerate(pack.key.criteria):
                score = rating.scores[key]
                if score is not None:
                    values[position, rows[rating.item], authors.index(rating.author), rater] = score
    return values


def _mean(scores: _Scores, authors: Sequence[str], author: str, criterion: str) -> Mean:
    of_author = scores.values[:, authors.index(author)]
    given = ~np.isnan(of_author)
    mean = ratio_interval(scores.weights, np.nansum(of_author, axis=1), given.sum(axis=1))
    return {"author": author, "criterion": criterion, "mean": mean, "ratings": int(given.sum())}


def _difference(scores: _Scores, authors: Sequence[str], pair: tuple[str, str], criterion: str) -> Difference:
    author, other = pair
    apart = scores.values[:, authors.index(author)] - scores.values[:, authors.index(other)]
    both = ~np.isnan(apart)
    difference = ratio_interval(scores.weights, np.nansum(apart, axis=1), both.sum(axis=1))
    return {
        "author": author,
        "other": other,
        "criterion": criterion,
        "difference": difference,
        "pairs": int(both.sum()),
    }


def _agreement(scores: _Scores, criterion: str) -> Agreement:
    items, authors, raters = scores.values.shape
    matrix = scores.values.reshape(items * authors, raters)
    rated = matrix[:, ~np.isnan(matrix).all(axis=0)]
    whole = ~np.isnan(rated).any(axis=1) if rated.shape[1] else np.zeros(len(matrix), dtype=bool)
    tallied = counts(rated)
    values = []
    for weights in scores.weights:
        times = np.repeat(weights, authors).astype(int)
        drawn = np.repeat(np.arange(len(matrix)), times)
        values.append((*icc(rated[drawn[whole[drawn]]]), alpha_of_counts(tallied[drawn])))
    single, average, ordinal = np.array(values).T
    return {
        "criterion": criterion,
        "raters": rated.shape[1],
        "complete": int(whole.sum()),
        "shared": int((tallied.sum(axis=1) >= 2).sum()),
        "icc_single": interval(single[0], single[1:]),
        "icc_average": interval(average[0], average[1:]),
        "alpha": interval(ordinal[0], ordinal[1:]),
    }

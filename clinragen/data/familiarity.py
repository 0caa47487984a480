"""Whether a chart is like those that a model was trained on: where it is not, the model abstains, and says why.

Five things are asked of a stay: is there a series, is there a note, are its words those of training notes, are its
values within what training stays had, and is what was measured, and how high, like there. What training stays rarely
had is foreign: the limits leave out about one in 200 of them for each question. A note may also speak to its reader
(``knowledge.readable``); what does is not read, and the model abstains.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import polars as pl

from clinragen.cohort.sections import sections_by_stay
from clinragen.data.dataset import StayDataset
from clinragen.errors import UserError
from clinragen.knowledge.readable import INSTRUCTION, MARK, unreadable

NO_SERIES = "no variable that the model reads was measured"
NO_NOTE = "there is no note"
INSTRUCTED = "the note speaks to its reader (it holds instructions, or marks of a chat); that text was not read"
#: What fewer training stays than this lack is abstained on where it is lacking.
RARE = 0.02
#: Share of the training and validation stays that lies beyond a limit, and how much further out a limit is drawn.
BEYOND, MARGIN = 0.005, 0.1
_WORD = re.compile(r"\w\w+")  # as the lexicon splits text
_PRIOR = 4.0  # words that a short note is taken to have beside its own, as familiar as those of training notes
_FARTHEST = 5.0  # standard deviations: one strange variable is not to outweigh all others


@dataclass(frozen=True)
class Familiarity:
    """What charts of training look like.

    Attributes:
        without_series, without_note: share of training stays without any.
        known_words: average share of a note's words that are terms of the lexicon.
        least_known: the least share in a note that is like those of training.
        most_extreme: the largest share of values at the end of the scale (``SeriesStatistics.clip``).
        measured: for each variable the share of stays in which it was measured.
        centre, spread: of each variable's mean standardised value.
        most_unlike: the largest distance (:meth:`distances`) of a chart that is like those of training.
    """

    without_series: float
    without_note: float
    known_words: float
    least_known: float
    most_extreme: float
    measured: list[float]
    centre: list[float]
    spread: list[float]
    most_unlike: float

    @classmethod
    def fit(cls, datasets: Sequence[StayDataset]) -> Familiarity:
        """From training and validation stays."""
        observed = np.concatenate([data.observed.any(axis=2) for data in datasets])
        means = np.concatenate([_means(data) for data in datasets])
        with np.errstate(invalid="ignore"):
            centre = np.where(observed.any(axis=0), np.nan_to_num(_over(means, np.nanmean)), 0.0)
            spread = np.where(observed.sum(axis=0) > 1, np.nan_to_num(_over(means, np.nanstd)), 0.0)
        notes = [words for data in datasets for words in _counted(data)]
        share = sum(count for count, _ in notes) / max(1, sum(total for _, total in notes))
        begun = cls(
            without_series=float(1 - observed.any(axis=1).mean()),
            without_note=float(np.mean([not total for _, total in notes])),
            known_words=share,
            least_known=0.0,
            most_extreme=1.0,
            measured=((observed.sum(axis=0) + 0.5) / (len(observed) + 1)).tolist(),
            centre=centre.tolist(),
            spread=np.maximum(spread, 0.1).tolist(),
            most_unlike=float("inf"),
        )
        shares = begun._shares([(count, total) for count, total in notes if total])
        extreme = np.concatenate([_extreme(data) for data in datasets])
        unlike = np.concatenate([begun.distances(data) for data in datasets])
        return cls(
            **{
                **asdict(begun),
                "least_known": float(np.quantile(shares, BEYOND)) * (1 - MARGIN) if len(shares) else 0.0,
                "most_extreme": float(np.quantile(extreme, 1 - BEYOND)) * (1 + MARGIN) + 0.02,
                "most_unlike": float(np.quantile(unlike, 1 - BEYOND)) * (1 + MARGIN),
            }
        )

    def reasons(self, data: StayDataset) -> list[list[str]]:
        """Why the model abstains, for each stay; nothing for one that is like those of training."""
        instructed, words = _instructed(data), _counted(data)
        rows = zip(
            data.stay_ids.tolist(), data.observed.any(axis=(1, 2)).tolist(), words, self._shares(words).tolist(),
            _extreme(data).tolist(), self.distances(data).tolist(), strict=True,
        )  # fmt: skip
        return [
            [
                reason
                for reason, holds in (
                    (NO_SERIES, not measured and self.without_series < RARE),
                    (NO_NOTE, not total and self.without_note < RARE and stay not in instructed),
                    (INSTRUCTED, stay in instructed),
                    (
                        f"{count} of the {total} words of the note are known from training notes, less than in any "
                        f"of those ({self.least_known:.0%})",
                        bool(total) and share < self.least_known,
                    ),
                    (
                        f"{extreme:.0%} of the values lie far outside what training stays had (at most "
                        f"{self.most_extreme:.0%} there)",
                        extreme > self.most_extreme,
                    ),
                    (
                        "what was measured, and how high, is unlike training stays (distance "
                        f"{distance:.1f}, at most {self.most_unlike:.1f} there)",
                        measured and distance > self.most_unlike,
                    ),
                )
                if holds
            ]
            for stay, measured, (count, total), share, extreme, distance in rows
        ]

    def known(self, data: StayDataset) -> np.ndarray:
        """The share of each note's words that the lexicon knows, [n]; drawn to the average where there are few."""
        return self._shares(_counted(data))

    def _shares(self, words: Sequence[tuple[int, int]]) -> np.ndarray:
        return np.array([(count + _PRIOR * self.known_words) / (total + _PRIOR) for count, total in words])

    def distances(self, data: StayDataset) -> np.ndarray:
        """How unlike those of training the series of each stay is, [n].

        The surprise of which variables were measured, and the squared distance of their means from the usual ones in
        standard deviations, each an average over variables.
        """
        observed, rates = data.observed.any(axis=2), np.array(self.measured)
        surprise = -(observed * np.log(rates) + ~observed * np.log1p(-rates)).mean(axis=1)
        off = np.nan_to_num((_means(data) - np.array(self.centre)) / np.array(self.spread))
        far = (np.minimum(np.abs(off), _FARTHEST) ** 2).sum(axis=1) / np.maximum(1, observed.sum(axis=1))
        return surprise + far / 2

    def to_json(self) -> dict[str, Any]:
        """Plain values for ``familiarity.json``."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any], variables: int) -> Familiarity:
        """From the file beside the weights of a model that reads so many variables.

        Raises:
            UserError: it is damaged, or belongs to another model.
        """
        numbers: dict[str, Any] = {name: values.get(name) for name in cls.__annotations__}
        lists = ("measured", "centre", "spread")
        sound = all(
            isinstance(value, list) and len(value) == variables and all(isinstance(one, int | float) for one in value)
            if name in lists
            else isinstance(value, int | float)
            for name, value in numbers.items()
        )
        if not sound:
            raise UserError("familiarity.json is damaged, or belongs to another model than its weights: train anew")
        return cls(**numbers)


def _means(data: StayDataset) -> np.ndarray:
    """Mean standardised value of each variable, [n, variables], nan where it was not measured."""
    counts = data.observed.sum(axis=2)
    sums = (data.values * data.observed).sum(axis=2)
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)


def _over(means: np.ndarray, reduce: Any) -> np.ndarray:
    """A reduction over the stays that have a value, 0 for variables without any."""
    return np.array([reduce(column) if np.isfinite(column).any() else 0.0 for column in means.T])


def _extreme(data: StayDataset) -> np.ndarray:
    """The share of a stay's values at either end of the scale, [n]; 0 without values."""
    ends = (np.abs(data.values) >= data.statistics.clip) & data.observed
    return ends.sum(axis=(1, 2)) / np.maximum(1, data.observed.sum(axis=(1, 2)))


def _counted(data: StayDataset) -> list[tuple[int, int]]:
    """For each stay how many words of its note are terms of the lexicon, and how many there are."""
    terms = set(data.lexicon.terms)
    counted = []
    for stay in data.stay_ids.tolist():
        texts = [text for _, text in data.sections.get(stay, [])]
        words = _WORD.findall(" ".join(texts).lower())
        counted.append((sum(word in terms for word in words), len(words)))
    return counted


def _instructed(data: StayDataset) -> set[int]:
    """The stays whose notes hold text that speaks to the reader."""
    notes = data.cohort.notes.filter(pl.col("stay_id").is_in(pl.Series(data.stay_ids).implode()))
    labels = data.cohort.label_set
    whole = sections_by_stay(notes, labels=labels, layout=True, whole=True)
    read = {stay: dict(sections) for stay, sections in data.sections.items()}
    return {
        stay
        for stay, sections in whole.items()
        for name, text in sections
        if text != read.get(stay, {}).get(name)
        and any(span.reason in (INSTRUCTION, MARK) for span in unreadable(text, name, labels))
    }

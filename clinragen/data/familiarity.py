"""Whether a chart is like those that a model was trained on: where it is not, the model abstains, and says why.

Of each stay some numbers are taken that grow with how strange it is: of its note how few words are those of training
notes, and how few stand in a usual order; of its series how few variables were measured, how many values are extreme,
how many never change, and how far it is from the series of training (``data.series_profile``). What training stays
rarely reach is foreign: a limit leaves out about one in 200 of them for each number, and is drawn a tenth further.
Where training stays have a note and a series, one without is foreign. A note may also speak to its reader
(``knowledge.readable``); what does is not read, and the model abstains.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from clinragen.abstention import REASONS, reason
from clinragen.cohort.sections import sections_by_stay
from clinragen.data.dataset import StayDataset
from clinragen.data.series_profile import SeriesProfile, held_out_distances, rows_of
from clinragen.errors import UserError
from clinragen.knowledge.readable import FOREIGN, unreadable
from clinragen.shape import NUMBER, Each, differs

NO_SERIES, NO_NOTE, INSTRUCTED = (REASONS[kind] for kind in ("no series", "no note", "instructions"))
#: What fewer training stays than this lack is abstained on where it is lacking.
RARE = 0.02
#: Share of the training and validation stays that lies beyond a limit, and how much further out a limit is drawn.
BEYOND, MARGIN = 0.005, 0.1
#: At least so much further out is a limit of a share, which for most stays is next to nothing.
LEEWAY = 0.03
_WORD = re.compile(r"\w\w+")  # as the lexicon splits text
_PRIOR = 4.0  # things that a short note or series is taken to have beside its own, as usual as those of training
_OFTEN = 4  # measurements from which on a variable should change
_SHARES = ("unknown words", "word order", "extreme values", "constant values")
_CERTAIN = 10.0  # how strange a stay is that lacks what all others have


class Limit(NamedTuple):
    """The usual value of a number among training stays, and the one beyond which a stay is foreign."""

    usual: float
    most: float

    @classmethod
    def of(cls, kind: str, values: Sequence[np.ndarray]) -> Limit:
        """From the values of training and of validation stays; these know no word that only one of them uses."""
        drawn = [each[np.isfinite(each)] for each in values]
        usual = float(np.median(np.concatenate(drawn)))
        high = max(float(np.quantile(each, 1 - BEYOND)) for each in drawn if len(each))
        count = max(2, sum(map(len, drawn)))  # fewer than 200 do not reach so far: as if the tail were exponential
        high = usual + (high - usual) * max(1.0, float(np.log(BEYOND) / -np.log(count)))
        return cls(usual, high + max(MARGIN * (high - usual), LEEWAY if kind in _SHARES else 1e-6))


class _Words(NamedTuple):
    """Of a note: its words, those that are terms of the lexicon; its word pairs, those that are."""

    words: int
    known: int
    pairs: int
    usual: int


class _Seen(NamedTuple):
    """What is counted of each stay, [n] each: words, variables measured, measured often, of these never changing."""

    notes: list[_Words]
    measured: np.ndarray
    often: np.ndarray
    still: np.ndarray

    @classmethod
    def of(cls, data: StayDataset) -> _Seen:
        often = data.observed.sum(axis=2) >= _OFTEN
        highest = np.where(data.observed, data.values, -np.inf).max(axis=2)
        lowest = np.where(data.observed, data.values, np.inf).min(axis=2)
        still = (often & (highest == lowest)).sum(axis=1)
        return cls(_counted(data), data.observed.any(axis=2).sum(axis=1), often.sum(axis=1), still)


@dataclass(frozen=True)
class Familiarity:
    """What charts of training look like.

    Attributes:
        without_series, without_note: share of training stays without any.
        known_words, known_pairs: average share of a note's words, and of its word pairs, that are terms of the lexicon.
        still: average share of the variables measured several times that never change.
        profile: of the series; None for a model from before there was one.
        limits: of each number that is looked at.
    """

    without_series: float
    without_note: float
    known_words: float
    known_pairs: float
    still: float
    profile: SeriesProfile | None
    limits: dict[str, Limit]

    @classmethod
    def fit(cls, datasets: Sequence[StayDataset]) -> Familiarity:
        """From training and validation stays."""
        seen = [_Seen.of(data) for data in datasets]
        notes = [one for each in seen for one in each.notes]
        rows = np.concatenate([rows_of(data) for data in datasets])
        observed = np.concatenate([each.measured > 0 for each in seen])
        often = sum(int(each.often.sum()) for each in seen)
        begun = cls(
            without_series=float(1 - observed.mean()),
            without_note=float(np.mean([not one.words for one in notes])),
            known_words=sum(one.known for one in notes) / max(1, sum(one.words for one in notes)),
            known_pairs=sum(one.usual for one in notes) / max(1, sum(one.pairs for one in notes)),
            still=sum(int(each.still.sum()) for each in seen) / max(1, often),
            profile=SeriesProfile.fit(rows),
            limits={},
        )
        numbers = [begun._numbers(one, data) for one, data in zip(seen, datasets, strict=True)]
        distances = held_out_distances(rows, np.concatenate([data.patients for data in datasets]))
        ends = np.cumsum([len(data.stay_ids) for data in datasets])[:-1]
        for each, near in zip(numbers, np.split(np.where(observed, distances, np.nan), ends), strict=True):
            each["unlike training"] = near
        limits = {
            name: Limit.of(name, [each[name] for each in numbers])
            for name in numbers[0]
            if any(np.isfinite(each[name]).any() for each in numbers)
        }
        return cls(**{**begun.__dict__, "limits": limits})

    def _numbers(self, seen: _Seen, data: StayDataset) -> dict[str, np.ndarray]:
        """By kind of reason what grows with how strange each stay is, [n]; nan where there is nothing to look at."""
        notes, measured, often, still = seen
        some, none = np.array([one.words > 0 for one in notes], dtype=bool), measured == 0
        numbers = {
            "unknown words": np.where(some, 1 - _share(notes, "known", "words", self.known_words), np.nan),
            "word order": np.where(some, 1 - _share(notes, "usual", "pairs", self.known_pairs), np.nan),
            "few variables": np.where(none, np.nan, -np.log1p(measured)),
            "extreme values": np.where(none, np.nan, _extreme(data)),
            "constant values": np.where(none, np.nan, (still + _PRIOR * self.still) / (often + _PRIOR)),
        }
        if self.profile is not None:
            numbers["unlike training"] = np.where(none, np.nan, self.profile.distances(rows_of(data)))
        return numbers

    def strangeness(self, data: StayDataset) -> np.ndarray:
        """How strange each stay is, [n]: 0 as usual, above 1 one that the model abstains on."""
        seen = _Seen.of(data)
        numbers = self._numbers(seen, data)
        scores = [np.zeros(len(data.stay_ids))]
        for name, limit in self.limits.items():
            scores.append(np.nan_to_num((numbers[name] - limit.usual) / (limit.most - limit.usual)))
        lacks = [any(kind in _CERTAIN_KINDS for kind, _ in stated) for stated in self._stated(data, seen, numbers)]
        return np.maximum(np.max(scores, axis=0), np.where(lacks, _CERTAIN, 0.0))

    def reasons(self, data: StayDataset) -> list[list[str]]:
        """Why the model abstains, for each stay; nothing for one that is like those of training."""
        seen = _Seen.of(data)
        return [[sentence for _, sentence in stated] for stated in self._stated(data, seen, self._numbers(seen, data))]

    def _stated(
        self, data: StayDataset, seen: _Seen, numbers: dict[str, np.ndarray]
    ) -> Iterator[list[tuple[str, str]]]:
        """(kind, sentence) of each reason, for each stay."""
        instructed = _instructed(data)
        notes, measured, often, still = seen
        for row, stay in enumerate(data.stay_ids.tolist()):
            words = notes[row]
            lacking = {
                "no series": not measured[row] and self.without_series < RARE,
                "no note": not words.words and self.without_note < RARE and stay not in instructed,
                "instructions": stay in instructed,
            }
            facts: dict[str, dict[str, float]] = {
                "unknown words": {"count": words.known, "total": words.words},
                "word order": {"count": words.usual, "total": words.pairs},
                "few variables": {"count": int(measured[row])},
                "extreme values": {"share": numbers["extreme values"][row]},
                "constant values": {"count": int(still[row]), "total": int(often[row])},
            }
            stated = [(kind, reason(kind)) for kind, holds in lacking.items() if holds]
            for kind, limit in self.limits.items():
                if (value := numbers[kind][row]) > limit.most:
                    shown = facts.get(kind, {"distance": value})
                    stated.append((kind, reason(kind, limit=_SHOWN.get(kind, float)(limit.most), **shown)))
            yield stated

    def to_json(self) -> dict[str, Any]:
        """Plain values for ``familiarity.json``."""
        limits = {name: list(limit) for name, limit in self.limits.items()}
        return {**asdict(self), "limits": limits, "profile": self.profile and self.profile.to_json()}

    @classmethod
    def from_json(cls, values: dict[str, Any], variables: int) -> Familiarity:
        """From the file beside the weights of a model that reads so many variables.

        Raises:
            UserError: it is damaged, or belongs to another model.
        """
        damaged = UserError("familiarity.json is damaged, or belongs to another model than its weights: train anew")
        if isinstance(values, dict) and "least_known" in values:
            values = _of_former(values)
        names = ("without_series", "without_note", "known_words", "known_pairs", "still")
        if differs(values, {**dict.fromkeys(names, NUMBER), "limits": Each([NUMBER])}):
            raise damaged
        limits, stored = values["limits"], values.get("profile")
        profile = None if stored is None else SeriesProfile.from_json(stored, variables)
        kinds = set(REASONS) - ({"unlike training"} if profile is None else set())
        if not set(limits) <= kinds or any(len(limit) != 2 or limit[0] >= limit[1] for limit in limits.values()):
            raise damaged
        if (profile is None) != (stored is None):
            raise damaged
        read = {name: Limit(*limit) for name, limit in limits.items()}
        return cls(**{name: values[name] for name in names}, profile=profile, limits=read)


_CERTAIN_KINDS = ("no series", "no note", "instructions")
#: How a limit is shown: shares of what is known rather than unknown, a count rather than its logarithm.
_SHOWN: dict[str, Callable[[float], float]] = {
    "unknown words": lambda most: 1 - most,
    "word order": lambda most: 1 - most,
    "few variables": lambda most: float(np.ceil(np.expm1(-most))),
}


def _of_former(values: dict[str, Any]) -> dict[str, Any]:
    """The layout of a model from before there were profiles: limits of words and of extreme values alone."""
    numbers: dict[str, Any] = {name: values.get(name) for name in ("known_words", "least_known", "most_extreme")}
    if differs(numbers, dict.fromkeys(numbers, NUMBER)):
        return {}
    limits = {
        "unknown words": [1 - numbers["known_words"], 1 - numbers["least_known"]],
        "extreme values": [0.0, numbers["most_extreme"]],
    }
    return {**values, "known_pairs": 0.0, "still": 0.0, "limits": limits, "profile": None}


def _share(notes: Sequence[_Words], part: str, whole: str, usual: float) -> np.ndarray:
    """A share of each note, drawn to the usual one where there is little of it, [n]."""
    counts, totals = (np.array([getattr(one, name) for one in notes], dtype=float) for name in (part, whole))
    return (counts + _PRIOR * usual) / (totals + _PRIOR)


def _extreme(data: StayDataset) -> np.ndarray:
    """The share of a stay's values at either end of the scale, [n]; 0 without values."""
    ends = (np.abs(data.values) >= data.statistics.clip) & data.observed
    return (ends.sum(axis=(1, 2)) + 0.0) / np.maximum(_OFTEN, data.observed.sum(axis=(1, 2)))


def _counted(data: StayDataset) -> list[_Words]:
    """For each stay how many words and word pairs its note has, and how many of them are terms of the lexicon."""
    terms = set(data.lexicon.terms)
    counted = []
    for stay in data.stay_ids.tolist():
        texts = [text for _, text in data.sections.get(stay, [])]
        words = _WORD.findall(" ".join(texts).lower())
        pairs = [f"{one} {other}" for one, other in pairwise(words)]
        counted.append(
            _Words(len(words), sum(word in terms for word in words), len(pairs), sum(pair in terms for pair in pairs))
        )
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
        and any(span.reason in FOREIGN for span in unreadable(text, name, labels))
    }

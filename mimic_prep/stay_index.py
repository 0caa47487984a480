"""Assign rows to stays: by their stay id or, if they have only the patient, by time."""

from __future__ import annotations

import numpy as np
import polars as pl

_SPAN = 1 << 40  # seconds; wider than any time in a database of shifted dates


class StayIndex:
    """Vectorised look-up from stay, or patient and time, to the stay's rank: its index among the cohort's stay ids.

    ``stays`` holds stay_id (sorted), subject_id, intime, window_start and prediction_time.
    """

    def __init__(self, stays: pl.DataFrame) -> None:
        self.stay_ids = stays["stay_id"].to_numpy()
        self.intime = seconds(stays["intime"])
        self.start = seconds(stays["window_start"]) - self.intime
        self.end = seconds(stays["prediction_time"]) - self.intime
        self.subjects = np.unique(stays["subject_id"].to_numpy())
        self._floor = int(self.intime.min()) if len(self.intime) else 0
        keys = self._keys(stays["subject_id"].to_numpy(), self.intime)[0]
        self._order = np.argsort(keys, kind="stable")
        self._sorted_keys = keys[self._order]

    def __len__(self) -> int:
        return len(self.stay_ids)

    def _keys(self, subjects: np.ndarray, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Keys that sort by patient, then time; and which patients are known."""
        ranks, is_patient = _position(self.subjects, subjects)
        return ranks * _SPAN + np.clip(times - self._floor, -1, _SPAN - 2), is_patient

    def by_stay(self, stay_ids: np.ndarray) -> np.ndarray:
        """Rank of each stay id; -1 if it is not in the cohort."""
        ranks, is_stay = _position(self.stay_ids, stay_ids)
        return np.where(is_stay, ranks, -1)

    def by_time(self, subjects: np.ndarray, times: np.ndarray) -> np.ndarray:
        """Rank of the patient's latest stay that began at or before the time (epoch seconds); -1 if there is none."""
        if not len(self):
            return np.full(len(subjects), -1)
        keys, is_patient = self._keys(subjects, times)
        ranks = np.searchsorted(self._sorted_keys, keys, side="right") - 1
        latest_key = self._sorted_keys.take(np.maximum(ranks, 0))
        same = is_patient & (ranks >= 0) & (latest_key >= keys - keys % _SPAN) & (keys % _SPAN < _SPAN - 1)
        return np.where(same, self._order.take(np.maximum(ranks, 0)), -1)

    def by_span(self, subjects: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
        """Rank of the patient's stay in whose window a span begins; if in none, of the latest that began during it.

        Args:
            subjects: patient of each span.
            starts: first second of each, since 1970.
            ends: the second after its last.
        """
        rank = self.by_time(subjects, starts)
        outside = (rank < 0) | (starts - self.intime.take(rank) >= self.end.take(rank)) if len(self) else rank < 0
        during = self.by_time(subjects, np.maximum(ends - 1, starts))
        return np.where(outside & (during >= 0), during, rank)


def seconds(times: pl.Series) -> np.ndarray:
    """Epoch seconds of a datetime column; 0 for null."""
    return times.dt.epoch("s").fill_null(0).to_numpy()


def _position(sorted_values: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Index of each wanted value among the sorted ones, and whether it occurs."""
    if not len(sorted_values):
        return np.zeros(len(values), dtype=np.int64), np.zeros(len(values), dtype=bool)
    position = np.minimum(np.searchsorted(sorted_values, values), len(sorted_values) - 1)
    return position, sorted_values.take(position) == values

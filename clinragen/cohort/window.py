"""The hours of a stay that a model reads: its cohort's window, divided into bins.

If a model read other hours than its teacher and verifier, it would learn statements that its own chart contradicts, so
the window is defined in one place: the protocol in the cohort's manifest.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any, get_args

import numpy as np
import polars as pl

from clinragen.cohort.folder import Cohort
from clinragen.cohort.manifest import WindowKind
from clinragen.errors import UserError

KINDS: tuple[WindowKind, ...] = get_args(WindowKind)
#: Whole stays differ in length by a factor of a hundred. The first two days are the most informative and are read hour
#: by hour; bins then widen, so that one stay of half a year does not make all others costly.
FINE, MIDDLE = 48, 7 * 24
MIDDLE_WIDTH, COARSE_WIDTH = 6, 24
LONGEST = 1 << 16  # hours; no stay is longer than seven years


@dataclass(frozen=True)
class Window:
    """Which hours are read, and in which bins.

    Attributes:
        hours: length of the window; for ``whole`` stays the longest that was measured.
        kind: ``first`` hours of a stay or its ``last``, in bins of an hour, or the ``whole`` stay, in bins of an hour
            for two days, of six hours for the rest of the week, of a day from then on. The last bin of whole stays has
            no end: later stays may be longer.
    """

    hours: int
    kind: WindowKind = "first"

    @classmethod
    def of(cls, cohort: Cohort) -> Window:
        """The window of a cohort by its protocol; without a protocol, the hours that were measured.

        Raises:
            UserError: the manifest has an invalid window.
        """
        protocol = cohort.manifest.get("protocol")
        setting = protocol.get("window") if isinstance(protocol, dict) else None
        if setting is None:
            return cls(_measured(cohort))
        kind = setting.get("kind") if isinstance(setting, dict) else None
        hours = setting.get("hours") if isinstance(setting, dict) else None
        if kind == "whole":
            return cls(_measured(cohort), kind)
        if kind not in KINDS or hours is None or not _is_length(hours):
            raise UserError(
                f"{cohort.paths.manifest}: protocol.window is damaged (expected kind: {', '.join(KINDS)}, and hours "
                f"between 0 and {LONGEST:,}): prepare the cohort anew"
            )
        return cls(math.ceil(hours), kind)

    def __str__(self) -> str:
        return "the whole stay" if self.kind == "whole" else f"the {self.kind} {self.hours} hours"

    @cached_property
    def starts(self) -> np.ndarray:
        """Hour at which each bin begins, counted from the first hour that is read; int64 [bins], ascending."""
        if self.kind == "last":  # the window usually begins within an hour, so its end falls into one more bin
            return np.arange(self.hours + 1)
        if not self.wide:
            return np.arange(self.hours)
        middle = np.arange(FINE, min(self.hours, MIDDLE), MIDDLE_WIDTH)
        return np.concatenate([np.arange(FINE), middle, np.arange(MIDDLE, self.hours, COARSE_WIDTH)])

    @property
    def bins(self) -> int:
        """Bins of a stay."""
        return len(self.starts)

    @property
    def wide(self) -> bool:
        """Whether some bins hold several hours."""
        return self.kind == "whole" and self.hours > FINE

    def first_hours(self, cohort: Cohort, stay_ids: np.ndarray) -> np.ndarray:
        """The first hour of each stay that is read, from admission to the unit; int64 [n].

        Args:
            cohort: whose stays are read.
            stay_ids: ascending int64 [n].
        """
        if self.kind != "last":
            return np.zeros(len(stay_ids), dtype=np.int64)
        rows = cohort.stays.filter(pl.col("stay_id").is_in(stay_ids)).sort("stay_id")
        end = (rows["prediction_time"] - rows["intime"]).dt.total_milliseconds().to_numpy() / 3_600_000
        return np.floor(np.maximum(end - self.hours, 0)).astype(np.int64)

    def bin_of(self, hours: np.ndarray) -> np.ndarray:
        """The bin of each hour, counted from the first that is read; -1 outside the window."""
        bins = np.searchsorted(self.starts, hours, side="right") - 1
        if self.kind != "whole":
            bins[hours >= self.bins] = -1
        return bins

    def span(self, first: int, end: int) -> tuple[int, int]:
        """First hour and the hour after the last of the bins from ``first`` to before ``end``."""
        return int(self.starts[first]), int(self.starts[end]) if end < self.bins else max(self.hours, self.bins)

    def check(self, cohort: Cohort) -> str | None:
        """Check that a model that reads this window can read a cohort.

        Returns:
            A remark if the cohort's window is shorter than that of the model's training cohort; None if they are the
            same.

        Raises:
            UserError: the cohort holds hours that the model does not read: its rationales would omit or contradict
                what the chart shows.
        """
        other = Window.of(cohort)
        if self.kind == other.kind and (self.kind == "whole" or self.hours == other.hours):
            return None
        if (self.kind == other.kind and other.hours < self.hours) or (self.kind == "whole" and other.kind == "first"):
            return f"the model learned from {self} of a stay, {cohort.paths.root} holds {other}"
        raise UserError(
            f"{cohort.paths.root} holds {other} of each stay, and the model reads {self}: prepare a cohort with its "
            "window (mimic-prep --set window.kind=..., window.hours=...), or train on this one"
        )


def training_window(hours: int | None, cohort: Cohort) -> Window:
    """The window that a new model reads: its cohort's.

    Args:
        hours: ``model.hours``, if the user gave it.
        cohort: the training cohort.

    Raises:
        UserError: ``model.hours`` differs from the cohort's.
    """
    window = Window.of(cohort)
    if hours is not None and hours != window.hours:
        raise UserError(
            f"model.hours is {hours}, and {cohort.paths.root} holds {window} of each stay: leave it out (it comes from "
            f"the cohort), or prepare a cohort with window.hours={hours}"
        )
    return window


def _is_length(hours: object) -> bool:
    """Whether a value of a manifest is a valid length of a window."""
    if not isinstance(hours, int | float) or isinstance(hours, bool):
        return False
    return math.isfinite(hours) and 0 < hours <= LONGEST


def _measured(cohort: Cohort) -> int:
    """Hours until the last measurement of any stay; 1 without measurements."""
    last: Any = cohort.series["hour"].max()
    if last is not None and not 0 <= last < LONGEST:
        raise UserError(f"{cohort.paths.series}: hour {last:g} is no hour of a stay: prepare the cohort anew")
    return 1 if last is None else int(last) + 1

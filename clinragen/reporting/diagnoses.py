"""The labels of one stay: probability, agreement with what was recorded, and pairs that rarely go together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

#: Two labels are called implausible together where they were recorded together in less than this part of the training
#: stays that would have both if they were independent, and where that would be at least so many.
_RARELY, _LEAST_EXPECTED = 0.2, 5.0


@dataclass(frozen=True)
class Diagnosis:
    """One label of one stay.

    Attributes:
        index: column of the label.
        key, name: of the label.
        probability, threshold: calibrated.
        interval: 95 % interval of the probability, if the predictions hold it.
        written: whether the output lists it.
        possible: whether it cannot be ruled out.
        recorded: whether it was coded; None where that is not known.
        grounded: whether it is listed with a supported ground in a rationale.
    """

    index: int
    key: str
    name: str
    probability: float
    threshold: float
    interval: tuple[float, float] | None
    written: bool
    possible: bool
    recorded: bool | None
    grounded: bool

    @property
    def likely(self) -> bool:
        """The probability reaches the threshold."""
        return self.probability >= self.threshold

    @property
    def verdict(self) -> str:
        """Agreement with the labels: ``agrees``, ``extra``, ``missed``, or empty; ``uncoded`` if unknown."""
        if self.recorded is None:
            return "uncoded" if self.written else ""
        return {(True, True): "agrees", (True, False): "extra", (False, True): "missed"}.get(
            (self.written, self.recorded), ""
        )


@dataclass(frozen=True)
class Columns:
    """What is said of the labels of a stay, each an array over the ``L`` labels.

    Attributes:
        probabilities, thresholds: [L].
        written, grounded: [L] bool.
        recorded: [L] bool; None where the stay is not coded.
        intervals: [L, 2]; None where predictions hold none.
        possible_from: the probability from which a label cannot be ruled out; None where it is not known.
    """

    probabilities: np.ndarray
    thresholds: np.ndarray
    written: np.ndarray
    grounded: np.ndarray
    recorded: np.ndarray | None = None
    intervals: np.ndarray | None = None
    possible_from: float | None = None

    def diagnoses(self, names: dict[str, str]) -> list[Diagnosis]:
        """All labels of a stay, most probable first.

        Args:
            names: of the labels, by key, in the order of the columns.
        """
        possible = self.written
        if self.possible_from is not None:
            possible = possible | (self.probabilities >= self.possible_from)
        unknown = [None] * len(names)
        columns = zip(
            range(len(names)),
            names,
            names.values(),
            self.probabilities.tolist(),
            self.thresholds.tolist(),
            unknown if self.intervals is None else map(tuple, self.intervals.tolist()),
            self.written.tolist(),
            possible.tolist(),
            unknown if self.recorded is None else self.recorded.tolist(),
            self.grounded.tolist(),
            strict=True,
        )
        return sorted((Diagnosis(*column) for column in columns), key=lambda one: -one.probability)


@dataclass(frozen=True)
class Implausible:
    """Two listed diagnoses that are rarely recorded together: in ``together`` training stays, where independence would
    have it in ``expected``."""

    first: str
    second: str
    together: int
    expected: float


class Pairs:
    """How often labels are recorded together in training stays.

    Args:
        training: [m, L] bool, the labels of the training stays.
    """

    def __init__(self, training: np.ndarray) -> None:
        recorded = training.astype(np.float64)
        self._together = recorded.T @ recorded
        counts = recorded.sum(axis=0)
        self._expected = np.outer(counts, counts) / max(len(training), 1)

    def implausible(self, diagnoses: Sequence[Diagnosis]) -> list[Implausible]:
        """The pairs of listed diagnoses that were rarely recorded together.

        >>> pairs = Pairs(np.repeat(np.eye(2, dtype=bool), 50, axis=0))
        >>> columns = Columns(np.array([0.9, 0.8]), np.full(2, 0.5), np.ones(2, bool), np.ones(2, bool))
        >>> pairs.implausible(columns.diagnoses({"a": "mild", "b": "severe"}))
        [Implausible(first='mild', second='severe', together=0, expected=25.0)]
        """
        listed = [one for one in diagnoses if one.written]
        return [
            Implausible(a.name, b.name, int(self._together[a.index, b.index]), float(self._expected[a.index, b.index]))
            for position, a in enumerate(listed)
            for b in listed[position + 1 :]
            if self._expected[a.index, b.index] >= _LEAST_EXPECTED
            and self._together[a.index, b.index] < _RARELY * self._expected[a.index, b.index]
        ]

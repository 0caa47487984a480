"""What a site computes, as the protocol of a federation sees it: sums over its stays, and training on them.

A federation goes through phases. In each round of a ``statistics`` phase sites send sums over their stays, and
:meth:`LocalWork.advance` makes the next model of the totals; in each round of a ``training`` phase sites send the
changes that training made, which the federation's rule combines. A model is float32, int64 or float64 tensors by name;
only float32 tensors are trained.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np

from clinragen.cohort.folder import Cohort
from clinragen.federation.update import Tensors, TensorSpec

PhaseKind = Literal["statistics", "training"]


@dataclass
class Phase:
    """Rounds of one kind in which the same tensors leave the sites.

    Attributes:
        name: its name, such as ``standardise`` or ``train``.
        kind: whether sums leave, or changes of trained tensors.
        rounds: how many rounds it has.
        tensors: what may leave; float64 or int64 for statistics, float32 for training.
    """

    name: str
    kind: PhaseKind
    rounds: int
    tensors: dict[str, TensorSpec] = field(default_factory=dict)


@dataclass(frozen=True)
class Statistic:
    """Sums over stays, cell by cell.

    Attributes:
        values: the sums, float64 or int64 of any shape.
        stays: how many stays are behind each cell, int64 of the same shape (or one that broadcasts to it). A cell with
            fewer stays than the site's policy allows leaves as 0, with 0 stays.
        sensitivity: by how much one patient changes ``values`` at most, as a Euclidean length; None if it is not
            bounded: then they do not leave a federation with differential privacy.
    """

    values: np.ndarray
    stays: np.ndarray
    sensitivity: float | None = None


class LocalWork(Protocol):
    """What is computed in a federation; the same object, made of the same settings, at coordinator and sites."""

    def phases(self) -> Sequence[Phase]:
        """The phases in order. They depend on the settings alone, and on no data."""
        ...

    def start(self) -> Tensors:
        """The model before the first round."""
        ...

    def statistics(self, cohort: Cohort, tensors: Tensors, phase: str) -> dict[str, Statistic]:
        """A site's sums for a phase of statistics, with a key for each tensor of the phase."""
        ...

    def advance(self, tensors: Tensors, totals: dict[str, Statistic], phase: str) -> Tensors:
        """The model after a round of statistics, from the sums over all sites; at the coordinator."""
        ...

    def train(self, cohort: Cohort, tensors: Tensors, round_number: int) -> tuple[Tensors, int]:
        """The phase's tensors after training on a site's cohort, and how many stays it was trained on.

        The same arguments give the same bytes: a site that was killed does it again.

        Args:
            cohort: the site's.
            tensors: the model of this round, float32 where it is trained.
            round_number: number of the round within the federation, from 1, to seed what is drawn.
        """
        ...

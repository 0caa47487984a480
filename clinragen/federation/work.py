"""What a site computes, as the protocol of a federation sees it: sums over its stays, and training on them.

A federation goes through phases. In each round of a ``statistics`` phase sites send sums over their stays, and
:meth:`LocalWork.advance` makes the next model of the totals; in each round of a ``training`` phase sites send the
changes that training made, which the federation's rule combines. A model is float32, int64 or float64 tensors by name;
only float32 tensors are trained.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np

from clinragen.cohort.folder import Cohort
from clinragen.errors import unknown_choice
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
        values: the sums, float64 or int64 of any shape. Of int64 they are counts of stays, and a count below the site's
            smallest cell does not leave, either.
        stays: how many stays are behind each cell, int64 of the same shape. A cell with fewer stays than the site's
            policy allows leaves as 0, with 0 stays.
        of: of counts, out of how many stays each cell is, if the site tells that number, too: a count does not leave
            where fewer stays than the smallest cell, or none, are left, which the difference would tell. None: nobody
            can take the difference.
        sensitivity: by how much one patient changes ``values`` at most, and ``stays``, as Euclidean lengths; None where
            it is not bounded: then nothing of it leaves a federation with differential privacy.
    """

    values: np.ndarray
    stays: np.ndarray
    sensitivity: tuple[float, float] | None = None
    of: np.ndarray | None = None


def small_cells(statistic: Statistic, least: int) -> np.ndarray:
    """Which cells tell of fewer than ``least`` stays, but of some, or of all but so few: bool, of their shape."""
    values, stays = statistic.values, statistic.stays
    few = (stays > 0) & (stays < least)
    if statistic.of is not None:
        few |= (stays > 0) & (statistic.of - stays < least)
    return few | ((values != 0) & (np.abs(values) < least)) if values.dtype.kind == "i" else few


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


@runtime_checkable
class PatientWork(Protocol):
    """Work whose training is a sum over patients, for differential privacy of patients rather than of a whole site."""

    def contributions(self, cohort: Cohort, tensors: Tensors, round_number: int) -> Tensors:
        """What each patient adds to the change of the phase's tensors, float64 [patients, ...].

        A row depends on the stays of one patient alone. Their mean over patients is the change that a site sends
        without privacy; with it each row is clipped before noise is added to the sum.
        """
        ...


#: name -> module and class of what can be computed. A manifest names one of these and never code of its own.
WORKS = {
    "linear": ("clinragen.federation.linear", "LinearProbesWork"),
    "network": ("clinragen.federation.network", "NetworkWork"),
    "series": ("clinragen.federation.series_regression", "SeriesRegression"),
}


def open_work(name: str, settings: dict[str, Any]) -> LocalWork:
    """The work of a federation.

    Args:
        name: one of :data:`WORKS`.
        settings: of the work.

    Raises:
        UserError: there is no such work, or it has no such settings.
    """
    if name not in WORKS:
        raise unknown_choice("work", name, WORKS)
    module, kind = WORKS[name]
    return getattr(import_module(module), kind)(settings)

"""What engines that predict parts have in common: the work, its progress, and how they are called."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress

from clinragen.inference.parts import Parts
from clinragen.inference.prediction import Prediction
from clinragen.quiet import phase

if TYPE_CHECKING:
    from clinragen.cohort.folder import Cohort
    from clinragen.data.dataset import StayDataset
    from clinragen.evaluation.explanation import Explanation
    from clinragen.inference.predict import TrainedModel

#: Returns the attributions of each stay of a dataset, the lines of ``attributions.jsonl``.
type Explain = Callable[[TrainedModel, StayDataset], Iterator[Explanation]]


@dataclass(frozen=True)
class Work:
    """What is to be predicted in parts.

    Attributes:
        prediction: how stays are predicted.
        parts: where the parts go.
        identity: hash of everything that the parts depend on: a worker that reads anything else must not write.
    """

    prediction: Prediction
    parts: Parts
    identity: str


class PartProgress:
    """Progress over parts, with the time that is left.

    Args:
        console: where it is shown.
        parts: all parts.
        waiting: numbers of those to predict.
    """

    def __init__(self, console: Console, parts: Parts, waiting: list[int]) -> None:
        self.console, self._parts = console, parts
        self._total, self._ready, self._began = sum(len(parts.ids(number)) for number in waiting), 0, time.monotonic()
        self._bar = Progress(*Progress.get_default_columns(), MofNCompleteColumn(), console=console, transient=True)
        self._task = self._bar.add_task("  predicting", total=self._total)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def begin(self, stays: int) -> None:
        """Announce the next stays."""
        phase(self.console, f"predicting {stays:,} stays, {self}")

    def advance(self, stays: int) -> None:
        """Move the bar on."""
        self._bar.advance(self._task, stays)

    def ready(self, number: int, seconds: float | None = None) -> None:
        """Count a part that is on the disk; if the first took only these seconds, what came before is not counted."""
        if seconds is not None and not self._ready:
            self._began = time.monotonic() - seconds
        self._ready += len(self._parts.ids(number))

    def __str__(self) -> str:
        if not self._ready:
            return f"0 of {self._total:,} are ready"
        left = (time.monotonic() - self._began) / self._ready * (self._total - self._ready) / 60
        return f"{self._ready:,} of {self._total:,} are ready, about {left:.1f} minutes left"


class Engine(Protocol):
    """What predicts parts, in this process or elsewhere."""

    @property
    def explain(self) -> Explain | None:
        """Returns what each diagnosis rests on, if that is asked for."""
        ...

    def predict(
        self, trained: TrainedModel, cohort: Cohort, work: Work, numbers: list[int], progress: PartProgress
    ) -> None:
        """Predict the parts of these numbers: when it returns, they are on the disk."""
        ...

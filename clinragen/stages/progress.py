"""A rich progress bar per stage with the remaining time, and a line per epoch; also writes the metric files."""

from __future__ import annotations

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from clinragen.stages.checkpoint import TrainState
from clinragen.stages.loggers import Tracker


class StageProgress:
    """Callbacks of a run's loop; silent without a console, as on all but the first process."""

    def __init__(self, console: Console | None, tracker: Tracker | None):
        self.console = console
        self.tracker = tracker
        self.progress: Progress | None = None

    def start(self, total: int, done: int) -> None:
        """Training begins at step ``done`` of ``total``."""
        if self.console is None:
            return
        if done:
            self.console.print(f"  resuming the unfinished run at step {done:,} of {total:,}")
        self.progress = Progress(
            TextColumn("  epoch {task.fields[epoch]}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=self.console,
            transient=True,
        )
        self.progress.start()
        self.task = self.progress.add_task("train", total=total, epoch=1, completed=done)

    def step(self, epoch: int) -> None:
        """An optimiser step was done."""
        if self.progress:
            self.progress.update(self.task, advance=1, epoch=epoch + 1)

    def epoch(self, state: TrainState) -> None:
        """An epoch is finished."""
        row = state.history[-1]
        if self.console:
            area = f", macro AUROC {row['validation/macro_auroc']:.3f}" if "validation/macro_auroc" in row else ""
            self.console.print(f"  epoch {state.epoch:>2}: validation loss {row['validation/loss']:.3f}{area}")
        if self.tracker:
            self.tracker.epoch(state)

    def stop(self) -> None:
        """Training has ended, with or without an error."""
        if self.progress:
            self.progress.stop()
            self.progress = None

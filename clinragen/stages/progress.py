"""One rich progress bar per stage with the time left, and a line per epoch."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn


class StageProgress(Callback):
    """Shows training batches over all epochs; quiet on all but the first process."""

    def __init__(self, console: Console):
        self.console = console
        self.progress: Progress | None = None

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not trainer.is_global_zero:
            return
        self.progress = Progress(
            TextColumn("  epoch {task.fields[epoch]}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=self.console,
            transient=True,
        )
        total = int(trainer.num_training_batches) * (trainer.max_epochs or 1)
        self.progress.start()
        self.task = self.progress.add_task("train", total=total, epoch=1, completed=trainer.global_step)

    def on_train_batch_end(self, trainer: pl.Trainer, *args: Any) -> None:
        if self.progress:
            self.progress.update(self.task, advance=1, epoch=trainer.current_epoch + 1)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        metrics = trainer.callback_metrics
        if self.progress and "validation/loss" in metrics:
            self.console.print(
                f"  epoch {trainer.current_epoch + 1:>2}: validation loss {metrics['validation/loss']:.3f}, "
                f"macro AUROC {metrics['validation/macro_auroc']:.3f}"
            )

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._stop()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        self._stop()

    def _stop(self) -> None:
        if self.progress:
            self.progress.stop()
            self.progress = None

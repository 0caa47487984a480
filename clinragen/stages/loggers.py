"""Loggers of a run: ``metrics.csv`` and ``curve.png`` always, and an experiment tracker if configured.

The CSV is rewritten from the run's history after each epoch, so a resumed run has each epoch once.
"""

from __future__ import annotations

import csv
import io
import os
import sys
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from clinragen.artifacts import atomic_path, write_text
from clinragen.errors import UserError, missing_extra
from clinragen.stages.config import Logger, Monitor

if TYPE_CHECKING:
    from clinragen.stages.checkpoint import TrainState


class Sink(NamedTuple):
    """A run of a tracker: ``log(metrics by name, step)`` and ``close()``."""

    log: Callable[[dict[str, float], int], object]
    close: Callable[[], object]


def _tensorboard(out: Path, name: str) -> Sink:
    from torch.utils.tensorboard import SummaryWriter

    writer = SummaryWriter(str(out / "tensorboard"), purge_step=0)  # hides the entries of an interrupted run

    def log(row: dict[str, float], step: int) -> None:
        for metric, value in row.items():
            writer.add_scalar(metric, value, step)
        writer.flush()

    return Sink(log, writer.close)


def _wandb(out: Path, name: str) -> Sink:
    os.environ["WANDB_ERROR_REPORTING"] = "false"
    wandb = import_module("wandb")
    # Do not send anything besides metrics: console output may name stays, the command contains paths.
    closed = {"console": "off", "disable_git": True, "disable_code": True, "x_disable_meta": True}
    settings = wandb.Settings(**closed, x_disable_stats=True, quiet=True)
    run = wandb.init(project="clinragen", name=name, dir=str(out), settings=settings)
    return Sink(run.log, run.finish)


def _mlflow(out: Path, name: str) -> Sink:
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    mlflow = import_module("mlflow")
    if not os.environ.get("MLFLOW_TRACKING_URI"):
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")  # in a folder, without a database
        mlflow.set_tracking_uri((out / "mlruns").absolute().as_uri())
    mlflow.set_experiment("clinragen")
    mlflow.start_run(run_name=name)
    return Sink(mlflow.log_metrics, mlflow.end_run)


TRACKERS = {"tensorboard": _tensorboard, "wandb": _wandb, "mlflow": _mlflow}


def check_tracker(kind: Logger) -> None:
    """Raise a UserError if the package of a tracker is not installed."""
    if kind in TRACKERS and find_spec(kind) is None:
        raise missing_extra(f"trainer.logger={kind}", kind)


def _failed(kind: str, error: Exception) -> str:
    first = (str(error).strip() or type(error).__name__).splitlines()[0]
    return f"trainer.logger={kind} failed ({first})"


def write_metrics(out: Path, history: list[dict[str, float]]) -> None:
    """One row for each finished epoch."""
    columns = list(dict.fromkeys(name for row in history for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: round(value, 6) for name, value in row.items()} for row in history)
    write_text(out / "metrics.csv", text.getvalue())


def draw_curve(out: Path, state: TrainState, monitor: str) -> None:
    """The learning curve: losses of training and validation, macro AUROC, and the selected epoch."""
    import matplotlib as mpl
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    rows = state.history
    epochs = [row["epoch"] for row in rows]
    areas = [row.get("validation/macro_auroc") for row in rows]
    with mpl.rc_context({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=(7.2, 3.0), layout="constrained")
        panels = figure.subplots(1, 1 + (areas[0] is not None), squeeze=False)[0]
        for split, colour in (("train", "#8a8f98"), ("validation", "#1f5fa8")):
            values = [row[f"{split}/loss"] for row in rows]
            panels[0].plot(epochs, values, "o-", color=colour, label=split, markersize=3)
        panels[0].set(xlabel="epoch", ylabel="loss")
        panels[0].legend(frameon=False)
        if areas[0] is not None:
            panels[1].plot(epochs, areas, "o-", color="#1f5fa8", markersize=3)
            panels[1].set(xlabel="epoch", ylabel="macro AUROC, validation")
        for panel in panels:
            panel.axvline(state.best_epoch + 1, color="#c8511b", linewidth=0.8, linestyle="--")
            panel.xaxis.set_major_locator(MaxNLocator(integer=True))
        figure.suptitle(f"kept: epoch {state.best_epoch + 1}, by validation {monitor}", fontsize=9)
        with atomic_path(out / "curve.png") as temporary:
            figure.savefig(temporary, dpi=130, format="png", metadata={"Software": None})


class Tracker:
    """Metric files and tracker of a run, for the first process only.

    Only metrics are sent to a tracker. If it fails during training, training continues, and the missed metrics are sent
    after the next epoch. A resumed run sends all its epochs again.

    Raises:
        UserError: the tracker cannot be reached at the start of training.
    """

    def __init__(self, out: Path, kind: Logger, name: str, monitor: Monitor):
        self.out = out
        self.kind = kind
        self.monitor = monitor
        self.written = 0  # epochs in the files
        self.logged = 0  # epochs sent to the tracker
        self.sink: Sink | None = None
        if kind in TRACKERS:
            try:
                self.sink = TRACKERS[kind](out, name)
            except Exception as error:
                raise UserError(f"{_failed(kind, error)}: fix it, or pass --set trainer.logger=csv") from error

    def epoch(self, state: TrainState) -> None:
        """Called after each epoch."""
        self._write(state)
        self._tell(state)

    def close(self, state: TrainState) -> None:
        """Called after training; the files of the last epoch are missing where a run was killed right after it."""
        if self.written < len(state.history):
            self._write(state)
        self._tell(state, last=True)

    def _write(self, state: TrainState) -> None:
        write_metrics(self.out, state.history)
        draw_curve(self.out, state, self.monitor)
        self.written = len(state.history)

    def _tell(self, state: TrainState, *, last: bool = False) -> None:
        if self.sink is None:
            return
        try:
            for row in state.history[self.logged :]:
                metrics = {name: value for name, value in row.items() if name not in ("epoch", "step")}
                self.sink.log(metrics, int(row["step"]))
                self.logged += 1
            if last:
                self.sink.close()
        except Exception as error:  # noqa: BLE001, of any library, and never worth hours of training
            print(f"warning: {_failed(self.kind, error)}: metrics.csv has everything", file=sys.stderr)

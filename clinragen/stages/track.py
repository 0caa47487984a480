"""What a run shows of itself: ``metrics.csv`` and ``curve.png`` always, and a tracker where the user wants one.

The CSV is written anew from the run's own history after each epoch, so a resumed run has each epoch once.
"""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

from clinragen.artifacts import atomic_path, write_text
from clinragen.errors import UserError
from clinragen.stages.checkpoint import Place


def make_tracker(kind: str, out: Path, name: str) -> Any:
    """Lightning's logger of that kind, or None for ``csv``. Only numbers ever go to it.

    Raises:
        UserError: its package is not installed.
    """
    if kind == "csv":
        return None
    from pytorch_lightning import loggers

    try:
        if kind == "tensorboard":
            return loggers.TensorBoardLogger(out, name="", version="tensorboard")
        if kind == "wandb":
            return loggers.WandbLogger(name=name, save_dir=out, project="clinragen")
        return loggers.MLFlowLogger(run_name=name, experiment_name="clinragen", save_dir=str(out / "mlruns"))
    except ModuleNotFoundError:
        raise UserError(f"trainer.logger={kind} needs its package: install clinragen[{kind}]") from None


def write_metrics(out: Path, history: list[dict[str, float]]) -> None:
    """One row for each finished epoch."""
    columns = list(dict.fromkeys(name for row in history for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: round(value, 6) for name, value in row.items()} for row in history)
    write_text(out / "metrics.csv", text.getvalue())


def draw_curve(out: Path, place: Place, monitor: str) -> None:
    """The learning curve: losses of training and validation, macro AUROC, and the epoch that was kept."""
    import matplotlib as mpl
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    rows = place.history
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
            panel.axvline(place.best_epoch + 1, color="#c8511b", linewidth=0.8, linestyle="--")
            panel.xaxis.set_major_locator(MaxNLocator(integer=True))
        figure.suptitle(f"kept: epoch {place.best_epoch + 1}, by validation {monitor}", fontsize=9)
        with atomic_path(out / "curve.png") as temporary:
            figure.savefig(temporary, dpi=130, format="png", metadata={"Software": None})


class Tracker:
    """Metric files and tracker of a run; does nothing on all but the first process."""

    def __init__(self, out: Path, kind: str, name: str, monitor: str):
        self.out = out
        self.monitor = monitor
        self.logger = make_tracker(kind, out, name)

    def epoch(self, place: Place) -> None:
        """Called after each epoch."""
        write_metrics(self.out, place.history)
        draw_curve(self.out, place, self.monitor)
        if self.logger:
            row = place.history[-1]
            self.logger.log_metrics(
                {name: value for name, value in row.items() if name not in ("epoch", "step")}, step=int(row["step"])
            )

    def close(self, place: Place) -> None:
        """The curve again with the epoch that was kept in the end."""
        if place.history:
            draw_curve(self.out, place, self.monitor)
        if self.logger:
            self.logger.finalize("success")

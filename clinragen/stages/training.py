"""What the runs of all stages share: processes, run folder, rehearsal, and training under progress bar and tracker."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rich.console import Console

from clinragen.stages.checkpoint import TrainState
from clinragen.stages.config import RunConfig
from clinragen.stages.hardware import in_company, make_fabric, precision
from clinragen.stages.loggers import Tracker
from clinragen.stages.loop import Loop, Objective
from clinragen.stages.progress import StageProgress
from clinragen.stages.rehearsal import rehearse
from clinragen.stages.run_dir import Request, prepare_folder


@dataclass(frozen=True)
class Training:
    """What is trained, on what.

    Attributes:
        objective: what is minimised.
        data: stays of ``train`` and ``validation``.
        collate: makes a batch of stays.
        width: hidden size of the objective's largest part, which decides the precision where none is asked for.
        identity: of everything that shapes the run.
        described: what is trained on what, for the console.
    """

    objective: Objective
    data: dict[str, Any]
    collate: Callable[[list[Any]], Any]
    width: int
    identity: str
    described: str


def train(request: Request, config: RunConfig, training: Training, console: Console) -> TrainState | None:
    """Train an objective in the request's run folder, from where an interrupted run was left.

    Args:
        request: the run folder, and whether this is a rehearsal only.
        config: of the run.
        training: the objective and its stays.
        console: where progress is shown.

    Returns:
        Where the run ended; the objective then holds its best epoch. None after a preflight, and on all but the first
        of several processes.
    """
    fabric = make_fabric(config.trainer, precision(config.stage.precision, training.width))
    first = fabric.is_global_zero
    if first and not request.preflight:
        prepare_folder(request.out, request.overwrite, training.identity)
    if first:
        console.print(training.described)
    fabric.barrier()
    tracker = None
    if first and not request.preflight:
        tracker = Tracker(request.out, config.trainer.logger, config.stage_name, config.stage.monitor)
    watcher = StageProgress(console if first else None, tracker)
    loop = Loop(
        fabric, training.objective, config.stage, training.data, training.collate, request.out / "resume", watcher
    )
    with in_company(fabric):
        if not loop.state_path.exists():
            rehearse(loop, request.out, console if first else None)
        if request.preflight:
            return None
        state = loop.fit()
    if tracker is None:
        return None
    tracker.close(state)
    return state

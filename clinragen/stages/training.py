"""Shared by the runs of all stages: processes, run folder, rehearsal, and training with progress bar and tracker."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

from rich.console import Console

from clinragen.data.sampler import StepPlan
from clinragen.stages.checkpoint import TrainState
from clinragen.stages.config import RunConfig
from clinragen.stages.hardware import in_company, make_fabric, precision
from clinragen.stages.loggers import Tracker
from clinragen.stages.loop import Examples, Loop, Objective
from clinragen.stages.progress import StageProgress
from clinragen.stages.rehearsal import rehearse
from clinragen.stages.run_dir import Request, alone_in, prepare_folder


@dataclass(frozen=True)
class Training:
    """Objective and data of a training run.

    Attributes:
        objective: the training objective.
        data: stays of ``train`` and ``validation``.
        collate: makes a batch of stays.
        width: hidden size of the objective's largest part, which decides the precision ``auto``.
        identity: everything that affects the result of the run.
        described: description of model and data, for the console.
        planned: makes the plan of the steps.
    """

    objective: Objective
    data: Mapping[str, Examples]
    collate: Callable[[list[Any]], Any]
    width: int
    identity: str
    described: str
    planned: Callable[..., StepPlan] = StepPlan


def train(request: Request, config: RunConfig, training: Training, console: Console) -> TrainState | None:
    """Train an objective in the request's run folder, resuming an interrupted run.

    Args:
        request: the run folder, and whether this is a rehearsal only.
        config: configuration of the run.
        training: the objective and its stays.
        console: where progress is shown.

    Returns:
        The final state; the objective then holds its best epoch. None after a preflight, and on all but the first
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
        fabric,
        training.objective,
        config.stage,
        training.data,
        training.collate,
        request.out / "resume",
        watcher,
        training.planned,
    )
    with alone_in(request.out) if tracker is not None else nullcontext(), in_company(fabric):
        if not loop.state_path.exists():
            rehearse(loop, request.out, console if first else None)
        if request.preflight:
            return None
        state = loop.fit()
    if tracker is None:
        return None
    tracker.close(state)
    return state

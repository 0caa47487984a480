"""Before hours of compute: is everything there, does it fit, and how long will it take?

All mistakes are told at once, one line each. Then two batches of each kind are run, the longest among them, whose
gradients are thrown away: chance is drawn anew at each step, so the trial changes nothing of the run.
"""

from __future__ import annotations

import os
import resource
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from rich.console import Console

from clinragen.data.cohort import Cohort, without_labels
from clinragen.errors import UserError, unknown_choice
from clinragen.knowledge.relabel import open_graph
from clinragen.model.config import ModelConfig
from clinragen.stages.folder import Request, check_folder, expected_parent
from clinragen.stages.loop import Loop
from clinragen.stages.plan import PRETRAIN, STAGES, resolve
from clinragen.stages.track import check_tracker

GIB = 2**30


def check(request: Request, later: Sequence[Request] = ()) -> None:
    """Everything that can be known without a model.

    Args:
        later: stages that will continue this one, of which the settings are checked, and what these ask of the cohort.

    Raises:
        UserError: the last mistake found; the others have been printed to standard error, one line each.
    """
    if request.stage not in (PRETRAIN, *STAGES):
        raise unknown_choice("stage", request.stage, (PRETRAIN, *STAGES))
    problems: list[UserError] = []

    def attempt(look: Callable[[], object]) -> None:
        try:
            look()
        except UserError as error:
            if str(error) not in map(str, problems):
                problems.append(error)

    cohort: list[Cohort] = []
    attempt(lambda: cohort.append(Cohort.load(request.cohort)))
    if cohort:
        opened = cohort[0]
        if request.stage != PRETRAIN and not opened.labelled:
            raise without_labels(opened.paths)  # all else that is missing comes with the labels
        attempt(lambda: opened.split("train"))
        attempt(lambda: opened.split("validation"))
        attempt(lambda: opened.series)
        if request.stage != PRETRAIN:
            attempt(lambda: opened.notes)
            attempt(lambda: opened.labels)
            attempt(lambda: opened.rationales(request.teacher))
    if request.stage != PRETRAIN:
        attempt(lambda: open_graph(request.graph))
        attempt(lambda: expected_parent(request))
    taught: dict[tuple[Path, str], None] = {}  # cohorts and teachers of which log-probabilities are read
    for one in (request, *later):
        attempt(partial(_check_settings, one, taught))
    for where, teacher in taught:
        attempt(partial(_check_logprobs, where, teacher))
    attempt(lambda: check_folder(request.out, request.overwrite or request.finish, request.inputs))
    for error in problems[:-1]:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
    if problems:
        raise problems[-1]


def _check_settings(request: Request, taught: dict[tuple[Path, str], None]) -> None:
    model = request.model if request.parent is None else ModelConfig()  # a parent's is read with the parent
    config = resolve(request.stage, model, request.teacher, [*request.overrides], request.trainer)
    check_tracker(config.trainer.logger)
    if config.stage.token_weight and request.stage != PRETRAIN:
        taught[request.cohort, request.teacher] = None


def _check_logprobs(cohort: Path, teacher: str) -> None:
    Cohort.load(cohort).logprobs(teacher)


@dataclass
class Plan:
    """What a run will need."""

    steps: int
    seconds: float
    memory: float
    disk: float


def rehearse(loop: Loop, out: Path, console: Console | None) -> Plan:
    """Run two training batches and two validation batches, and tell what the run will need.

    Raises:
        UserError: memory or disk will not do.
    """
    total = sum(p.numel() for p in loop.objective.parameters())
    trained = sum(p.numel() for p in loop.objective.parameters() if p.requires_grad)
    steady = (4 * total + 12 * trained) / GIB  # weights, and for what is trained gradients and two moments
    if loop.sharded:
        steady /= loop.fabric.world_size
    disk = 2 * (4 * total + 12 * trained) / GIB  # what is kept, and the copy that replaces it
    _enough_disk(out, disk)
    if (machine := _memory()) and steady > machine:
        raise UserError(
            f"training needs at least {steady:.1f} GiB for weights and moments, this machine has {machine:.1f}: "
            "take a smaller model, or model.language_model.lora"
        )
    train = loop.plan.steps(0)
    pieces = [piece for rows in train for piece, _ in loop.share(loop.plan, rows)]
    lengths = loop.plan.lengths
    cost = np.array([len(piece) * int(lengths[piece].max()) for piece in pieces], dtype=float)
    longest, usual = int(cost.argmax()), int(np.argsort(cost)[len(cost) // 2])
    loop.module.train()
    loop.objective.rest()
    spent = []
    with torch.random.fork_rng():
        for piece in (longest, usual):
            began = time.perf_counter()
            for batch in loop.loader(loop.data["train"], [pieces[piece]]):
                loop.trial(batch)
            spent.append((time.perf_counter() - began) / cost[piece])
        held = loop.data["validation"]
        shown = sorted(range(len(held)), key=held.length)[-2:]
        began = time.perf_counter()
        loop.module.eval()
        for batch in loop.loader(held, [[row] for row in shown]):
            loop.look(batch)
        check_seconds = (time.perf_counter() - began) / max(1, len(shown)) * len(held)
    seconds = loop.stage.epochs * (spent[-1] * float(cost.sum()) + check_seconds)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / GIB
    plan = Plan(loop.total, seconds, max(memory, steady), disk)
    if console:
        minutes = plan.seconds / 60
        console.print(
            f"  plan: {loop.total:,} steps of up to {loop.plan.step_size} stays in {loop.stage.epochs} epochs at most; "
            f"about {minutes:.1f} minutes; {plan.memory:.1f} GiB of memory; {disk:.1f} GiB of disk"
        )
    return plan


def _enough_disk(out: Path, needed: float) -> None:
    folder = next(path for path in (out.absolute(), *out.absolute().parents) if path.exists())
    free = shutil.disk_usage(folder).free / GIB
    if free < needed:
        raise UserError(f"--out {out}: {free:.2f} GiB free on this disk, the run needs about {needed:.2f}: make room")


def _memory() -> float:
    """Memory of the machine in GiB; 0 where it is not told, or where an accelerator does the work."""
    if torch.cuda.is_available():
        return 0.0
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / GIB

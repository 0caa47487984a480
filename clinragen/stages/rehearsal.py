"""The rehearsal of a run: check memory and disk, and estimate the time.

Two batches of each kind are run, including the longest, and their gradients discarded. Random generators are seeded at
each step, so the rehearsal does not change the run.
"""

from __future__ import annotations

import os
import resource
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from rich.console import Console

from clinragen.errors import UserError
from clinragen.stages.loop import Loop

GIB = 2**30


@dataclass
class Plan:
    """Requirements of a run: steps, seconds to the end of the command, GiB of memory and of disk."""

    steps: int
    seconds: float
    memory: float
    disk: float


def rehearse(loop: Loop, out: Path, console: Console | None) -> Plan:
    """Run two training batches and two validation batches, and report the requirements of the run.

    Raises:
        UserError: memory or disk is insufficient.
    """
    total = sum(p.numel() for p in loop.objective.parameters())
    trained = sum(p.numel() for p in loop.objective.parameters() if p.requires_grad)
    steady = (4 * total + 12 * trained) / GIB  # weights, plus gradients and two moments for trained ones
    if loop.sharded:
        steady /= loop.fabric.world_size
    disk = 2 * (4 * total + 12 * trained) / GIB  # the checkpoint, and the copy that replaces it
    _enough_disk(out, disk)
    if (machine := _memory()) and steady > machine:
        raise UserError(
            f"training needs at least {steady:.1f} GiB for weights and moments, this machine has {machine:.1f}: "
            "take a smaller model, or model.language_model.lora"
        )
    train = loop.plan.steps(0)
    pieces = [piece for rows in train for piece, _ in loop.rank_slice(loop.plan, rows)]
    lengths = loop.plan.lengths
    cost = np.array([len(piece) * int(lengths[piece].max()) for piece in pieces], dtype=float)
    longest, usual = int(cost.argmax()), int(np.argsort(cost)[len(cost) // 2])
    loop.module.train()
    loop.objective.freeze()
    spent = []
    with torch.random.fork_rng():
        for piece in (longest, usual):
            began = time.perf_counter()
            for batch in loop.loader(loop.data["train"], [pieces[piece]]):
                loop.dry_step(batch)
            spent.append((time.perf_counter() - began) / cost[piece])
        validation = loop.data["validation"]
        rows = sorted(range(len(validation)), key=validation.length)[-2:]
        began = time.perf_counter()
        loop.module.eval()
        for batch in loop.loader(validation, [[row] for row in rows]):
            loop.eval_step(batch)
        check_seconds = (time.perf_counter() - began) / max(1, len(rows)) * len(validation)
    training = loop.stage.epochs * (spent[-1] * float(cost.sum()) + check_seconds)
    after = loop.objective.afterwards(loop.data["train"]) + 2 * check_seconds
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / GIB
    plan = Plan(loop.total, training + after, max(memory, steady), disk)
    if console:
        minutes = plan.seconds / 60
        console.print(
            f"  plan: {loop.total:,} steps of up to {loop.plan.step_size} stays in {loop.stage.epochs} epochs at most; "
            f"about {minutes:.1f} minutes, {after / 60:.1f} of them after training; "
            f"{plan.memory:.1f} GiB of memory; {disk:.1f} GiB of disk"
        )
    return plan


def _enough_disk(out: Path, needed: float) -> None:
    folder = next(path for path in (out.absolute(), *out.absolute().parents) if path.exists())
    free = shutil.disk_usage(folder).free / GIB
    if free < needed:
        raise UserError(f"--out {out}: {free:.2f} GiB free on this disk, the run needs about {needed:.2f}: make room")


def _memory() -> float:
    """Memory of the machine in GiB; 0 if unknown, or if an accelerator is used."""
    if torch.cuda.is_available():
        return 0.0
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / GIB

"""The training loop of every stage, on Lightning Fabric: independent of batching, and resumable at any step.

An optimiser step is a fixed set of stays. Each process reads its share in as many forward passes as the token budget
requires, and each stay has the same weight, so accumulation, bucketing and the number of processes do not change the
result. Random generators (dropout) are seeded at each step from seed, epoch, step and process, and the learning rate is
a function of the step. A checkpoint therefore needs only weights, moments and position to resume exactly.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
import torch.distributed
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.utils.data import DataLoader

from clinragen.data.sampler import StepPlan
from clinragen.errors import UserError
from clinragen.stages import checkpoint
from clinragen.stages.checkpoint import TrainState
from clinragen.stages.config import StageConfig
from clinragen.stages.hardware import gather, is_sharded

FLOOR = 0.02  # final factor of the learning rate


class Scored(NamedTuple):
    """The loss of each stay [B]; its logged parts, each [B]; and the inputs of metrics, each [B, ...]."""

    loss: Tensor
    parts: dict[str, Tensor]
    evidence: dict[str, Tensor]


class Examples(Protocol):
    """The stays of a split, as a stage learns from them."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Any: ...

    def length(self, index: int) -> int:
        """The cost of one, by which batches are bucketed."""
        ...

    def begin(self, epoch: int) -> None:
        """Start an epoch of training, from 0."""


class Sealed:
    """A wrapper that keeps Fabric from converting a batch's values to bf16 before the model sees them."""

    def __init__(self, batch: Any):
        self.batch = batch


class Objective(nn.Module):
    """What a stage minimises."""

    def forward(self, sealed: Sealed) -> Scored:
        """Score a batch, through the wrappers of Fabric."""
        return self.score(sealed.batch)

    def score(self, batch: Any) -> Scored:
        """Score a batch."""
        raise NotImplementedError(type(self).__name__)

    def groups(self) -> list[dict[str, Any]]:
        """Parameter groups of the optimiser, over what is trained."""
        raise NotImplementedError(type(self).__name__)

    def freeze(self) -> None:
        """Put the frozen parts in evaluation mode (no dropout); called when training starts or continues."""

    def afterwards(self, data: Any) -> float:
        """Estimated seconds after training for work on the training stays, besides two more passes over validation."""
        return 0.0

    def metrics(self, outputs: dict[str, Tensor]) -> dict[str, float]:
        """Validation metrics from the outputs of all stays (``loss``, parts and evidence by name), without a prefix."""
        return {"loss": float(outputs["loss"].mean())}


class Watcher(Protocol):
    """Callbacks of the loop: progress bar, metric files, trackers."""

    def start(self, total: int, done: int) -> None:
        """Training starts: total number of steps, and those that an earlier run has done."""

    def step(self, epoch: int) -> None:
        """An optimiser step is done."""

    def epoch(self, state: TrainState) -> None:
        """An epoch is validated, with its metrics."""

    def stop(self) -> None:
        """Training ends, or an error ends it."""


def schedule(step: int, total: int, warmup: float) -> float:
    """Factor of the learning rate: linear warm-up, then linear decay to ``FLOOR``."""
    rising = max(1, round(warmup * total))
    if step < rising:
        return (step + 1) / rising
    return max(FLOOR, (total - step) / max(1, total - rising))


@dataclass
class Loop:
    """Trains an objective on the training stays and keeps the epoch that is best on the validation stays.

    Attributes:
        data: stays of ``train`` and ``validation``.
        folder: holds ``state.safetensors`` and ``best.safetensors`` while the run is unfinished.
        planned: makes the plan of the steps, from the arguments of :class:`~clinragen.data.sampler.StepPlan`.
    """

    fabric: Fabric
    objective: Objective
    stage: StageConfig
    data: Mapping[str, Examples]
    collate: Callable[[list[Any]], Any]
    folder: Path
    watcher: Watcher
    planned: Callable[..., StepPlan] = StepPlan

    def __post_init__(self) -> None:
        stage, world = self.stage, self.fabric.world_size
        lengths = [self.data["train"].length(row) for row in range(len(self.data["train"]))]
        step_size = stage.batch_size * stage.accumulate * world
        self.plan = self.planned(lengths, step_size, stage.batch_size, stage.tokens, stage.seed)
        self.total = len(self.plan) * stage.epochs
        self.sharded = is_sharded(self.fabric)
        self.module = self.fabric.setup_module(self.objective)
        self.optimizer: Any = self.fabric.setup_optimizers(torch.optim.AdamW(self.objective.groups()))
        self.rates = [group["lr"] for group in self.optimizer.param_groups]
        self.state = TrainState()
        self.saved_at = time.monotonic()

    @property
    def state_path(self) -> Path:
        """The file of the last checkpoint, from which an interrupted run resumes."""
        return self.folder / "state.safetensors"

    def fit(self) -> TrainState:
        """Train to the end, resuming an interrupted run; the objective then holds the best epoch."""
        if resumed := self.state_path.exists():
            self.state = checkpoint.load(self.state_path, self.objective, self._plain_optimizer())
            if not self.fabric.is_global_zero:
                self.state.sums = {}  # all processes now have the weights of the first
        self.watcher.start(self.total, self.state.epoch * len(self.plan) + self.state.step)
        began, before = time.monotonic(), self.state.seconds
        try:
            while not self._finished():
                self._epoch()
                self.state.seconds = before + time.monotonic() - began
                self._end_of_epoch()
        finally:
            self.watcher.stop()
        if resumed and not (self.folder / "best.safetensors").exists():
            raise UserError(f"{self.folder}: best.safetensors is gone: start the run anew with --overwrite")
        checkpoint.load(self.folder / "best.safetensors", self.objective, None)
        if self.sharded:
            gather(self.objective)
        return self.state

    def _plain_optimizer(self) -> torch.optim.Optimizer:
        return self.optimizer.optimizer

    def _finished(self) -> bool:
        waited = self.state.epoch - 1 - self.state.best_epoch
        return self.state.epoch >= self.stage.epochs or (self.state.epoch > 0 and waited >= self.stage.patience)

    def _epoch(self) -> None:
        self.module.train()
        self.objective.freeze()
        for weight, batches in self.batches(self.state.epoch, self.state.step):
            self._step(weight, batches)
            self.state.step += 1
            self.watcher.step(self.state.epoch)
            if self._due():
                self._save()

    def _step(self, weight: float, batches: list[tuple[Any, bool]]) -> None:
        """One optimiser step over ``batches`` (each with whether it counts); each stay has weight ``weight``."""
        state, stage = self.state, self.stage
        origin = np.random.SeedSequence([stage.seed, state.epoch, state.step, self.fabric.global_rank])
        torch.manual_seed(int(origin.generate_state(1)[0]))
        sums: dict[str, float] = {}
        for position, (batch, counts) in enumerate(batches):
            with self.fabric.no_backward_sync(self.module, enabled=position + 1 < len(batches)):
                scored: Scored = self.module(Sealed(self.fabric.to_device(batch)))
                self.fabric.backward(scored.loss.sum() * (weight * counts * self.fabric.world_size))
            if counts:
                for name, value in ({"loss": scored.loss} | scored.parts).items():
                    sums[name] = sums.get(name, 0.0) + float(value.detach().sum())
                sums["stays"] = sums.get("stays", 0.0) + len(scored.loss)
        if not math.isfinite(sums.get("loss", 0.0)):
            stays = [int(stay) for batch, _ in batches for stay in batch.stay_ids]
            raise UserError(
                f"the loss is not finite in epoch {state.epoch + 1}, step {state.step + 1}, at stays {stays}: "
                "lower model.learning_rate"
            )
        for name, value in sums.items():
            state.sums[name] = state.sums.get(name, 0.0) + value
        self.fabric.clip_gradients(self.module, self.optimizer, max_norm=stage.clip, error_if_nonfinite=False)
        factor = schedule(state.epoch * len(self.plan) + state.step, self.total, stage.warmup)
        for group, rate in zip(self.optimizer.param_groups, self.rates, strict=True):
            group["lr"] = rate * factor
        self.optimizer.step()
        self.optimizer.zero_grad()

    def eval_step(self, batch: Any) -> Scored:
        """Score a batch without training, bypassing DDP, whose forward waits for all processes: their shares differ."""
        with torch.no_grad(), self.fabric.autocast():  # not inference mode: FSDP trains with tensors gathered here
            return self.objective(Sealed(self.fabric.to_device(batch)))

    def dry_step(self, batch: Any) -> None:
        """A forward and a backward pass without lasting effect."""
        self.fabric.backward(self.module(Sealed(self.fabric.to_device(batch))).loss.mean())
        self.optimizer.zero_grad()

    def batches(self, epoch: int, first: int) -> Iterator[tuple[float, list[tuple[Any, bool]]]]:
        """The steps of an epoch from ``first`` on: the weight of a stay, and this process's batches, each with a flag
        whether it counts."""
        data = self.data["train"]
        data.begin(epoch)
        steps = self.plan.steps(epoch)[first:]
        cuts = [self.rank_slice(self.plan, rows) for rows in steps]
        loader = iter(self.loader(data, [piece for cut in cuts for piece, _ in cut]))
        for rows, cut in zip(steps, cuts, strict=True):
            yield 1 / len(rows), [(next(loader), counts) for _, counts in cut]

    def rank_slice(self, plan: StepPlan, rows: np.ndarray) -> list[tuple[list[int], bool]]:
        """This process's forward passes over some rows, and whether each counts.

        With sharded weights all processes take part in every pass, so each makes as many as the one with the most;
        otherwise at least one, for the backward pass. Missing passes read a stay with weight zero.
        """
        world = self.fabric.world_size
        cuts = [plan.cut(rows, rank, world) for rank in (range(world) if self.sharded else [self.fabric.global_rank])]
        mine = cuts[self.fabric.global_rank if self.sharded else 0]
        missing = max(1, *map(len, cuts)) - len(mine)
        return [(piece, True) for piece in mine] + [([int(rows[0])], False)] * missing

    def loader(self, data: Examples, pieces: Sequence[list[int]]) -> DataLoader[Any]:
        """Batches of those rows of a split."""
        return DataLoader(
            data,  # type: ignore[arg-type]
            batch_sampler=pieces,  # type: ignore[arg-type]
            collate_fn=self.collate,
            num_workers=self.stage.workers,
            generator=torch.Generator().manual_seed(self.stage.seed),  # must not shift the draws of dropout
        )

    def validate(self) -> dict[str, float]:
        """Validation metrics; each process scores its share of the stays."""
        data = self.data["validation"]
        lengths = [data.length(row) for row in range(len(data))]
        plan = StepPlan(lengths, len(data), 4 * self.stage.batch_size, 4 * self.stage.tokens)
        share = self.rank_slice(plan, np.arange(len(data)))
        self.module.eval()
        mine = []
        for batch, (_, counts) in zip(self.loader(data, [piece for piece, _ in share]), share, strict=True):
            scored = self.eval_step(batch)
            named = {"loss": scored.loss} | scored.parts | scored.evidence
            if counts:
                mine.append((batch.stay_ids, {name: value.float().cpu() for name, value in named.items()}))
        shares: list[Any] = [mine]
        if self.fabric.world_size > 1:
            shares = [None] * self.fabric.world_size
            torch.distributed.all_gather_object(shares, mine)
        parts = [part for share in shares for part in share]
        order = torch.cat([stays for stays, _ in parts]).argsort()  # the sums do not depend on the number of processes
        outputs = {name: torch.cat([values[name] for _, values in parts])[order] for name in parts[0][1]}
        return {f"validation/{name}": value for name, value in self.objective.metrics(outputs).items()}

    def _end_of_epoch(self) -> None:
        state = self.state
        sums = self._over_processes(state.sums)
        stays = sums.pop("stays")
        row: dict[str, float] = {"epoch": state.epoch + 1, "step": (state.epoch + 1) * len(self.plan)}
        row |= {f"train/{name}": value / stays for name, value in sums.items()}
        row |= self.validate()
        state.history.append(row)
        value = row[f"validation/{self.stage.monitor}"]
        if math.isnan(value):
            raise UserError(f"validation/{self.stage.monitor} is not a number in epoch {state.epoch + 1}")
        sign = 1 if self.stage.monitor == "loss" else -1
        better = state.best is None or sign * value < sign * state.best
        if better:
            state.best, state.best_epoch = value, state.epoch
        state.epoch, state.step, state.sums = state.epoch + 1, 0, {}
        if better:
            checkpoint.save(
                self.folder / "best.safetensors", state, self.objective, None, write=self.fabric.is_global_zero
            )
        self._save()
        self.watcher.epoch(state)

    def _over_processes(self, sums: dict[str, float]) -> dict[str, float]:
        if self.fabric.world_size == 1:
            return dict(sums)
        shares: list[Any] = [None] * self.fabric.world_size
        torch.distributed.all_gather_object(shares, sums)
        return {name: sum(share.get(name, 0.0) for share in shares) for name in sorted({n for s in shares for n in s})}

    def _due(self) -> bool:
        """Whether a checkpoint is due; all processes must agree."""
        if self.stage.checkpoint_steps:
            return self.state.step % self.stage.checkpoint_steps == 0
        due = time.monotonic() - self.saved_at > 60 * self.stage.checkpoint_minutes
        return bool(self.fabric.broadcast(due)) if self.fabric.world_size > 1 else due

    def _save(self) -> None:
        state = replace(self.state, sums=self._over_processes(self.state.sums))
        optimizer, first = self._plain_optimizer(), self.fabric.is_global_zero
        checkpoint.save(self.state_path, state, self.objective, optimizer, write=first)
        self.saved_at = time.monotonic()

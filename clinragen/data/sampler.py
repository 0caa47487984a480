"""Batches of stays of similar length, in an order fixed by seed and epoch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from torch.utils.data import Sampler


class BucketedBatches(Sampler[list[int]]):
    """Shuffles, sorts by length within pools of ``pool`` batches, cuts into batches, shuffles the batches.

    Padding is small, and every stay occurs exactly once per epoch, including the last short batch.
    """

    def __init__(self, lengths: Sequence[int], batch_size: int, seed: int, *, shuffle: bool = True, pool: int = 16):
        self.lengths = np.asarray(lengths)
        self.batch_size = batch_size
        self.seed = seed
        self.shuffle = shuffle
        self.pool = pool
        self.epoch = 0
        self.sampler = self  # Lightning looks here for `set_epoch` of a batch sampler

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning before each epoch, so that a resumed run gets the batches of its epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return -(-len(self.lengths) // self.batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        if not self.shuffle:
            order = np.argsort(self.lengths, kind="stable")
            yield from (order[i : i + self.batch_size].tolist() for i in range(0, len(order), self.batch_size))
            return
        random = np.random.default_rng([self.seed, self.epoch])
        order = random.permutation(len(self.lengths))
        batches: list[list[int]] = []
        size = self.pool * self.batch_size
        for start in range(0, len(order), size):
            chunk = order[start : start + size]
            chunk = chunk[np.argsort(self.lengths[chunk], kind="stable")]
            batches += [chunk[i : i + self.batch_size].tolist() for i in range(0, len(chunk), self.batch_size)]
        for index in random.permutation(len(batches)):
            yield batches[index]


class StepPlan:
    """The stays of each optimiser step, and the forward passes into which a step is divided.

    A step is a fixed number of stays of similar length, independent of memory: how it is divided changes only its cost.
    The plan is a function of seed and epoch, so a run can be resumed at any step.

    Args:
        lengths: tokens of each stay.
        step_size: stays of one optimiser step, over all processes; the last step of an epoch may have fewer.
        batch_size: most stays of one forward pass.
        tokens: most padded tokens of one forward pass, unless a single stay exceeds it; 0 for no limit.
    """

    def __init__(
        self, lengths: Sequence[int], step_size: int, batch_size: int, tokens: int = 0, seed: int = 0, pool: int = 16
    ):
        self.lengths = np.asarray(lengths)
        self.step_size = step_size
        self.batch_size = batch_size
        self.tokens = tokens
        self.seed = seed
        self.pool = pool

    def __len__(self) -> int:
        """Steps of an epoch."""
        return -(-len(self.lengths) // self.step_size)

    def steps(self, epoch: int) -> list[np.ndarray]:
        """The rows of each step of an epoch; every row occurs exactly once."""
        batches = BucketedBatches(self.lengths.tolist(), self.step_size, self.seed, pool=self.pool)
        batches.set_epoch(epoch)
        return [np.asarray(rows) for rows in batches]

    def cut(self, rows: np.ndarray, rank: int = 0, world: int = 1) -> list[list[int]]:
        """The forward passes of one process, longest stays first; empty if a short step has no stay for it."""
        mine = rows[np.argsort(-self.lengths[rows], kind="stable")][rank::world]
        pieces: list[list[int]] = []
        for row in mine.tolist():
            full = not pieces or len(pieces[-1]) == self.batch_size
            if not full and self.tokens:
                full = (len(pieces[-1]) + 1) * int(self.lengths[pieces[-1][0]]) > self.tokens
            if full:
                pieces.append([])
            pieces[-1].append(row)
        return pieces


class TaskRows(NamedTuple):
    """How many rows of a mixture are of a task, and its weight in the steps of an epoch."""

    rows: int
    weight: float


class MixedPlan(StepPlan):
    """Steps of several tasks in turn, each of rows of one task.

    Within an epoch the order of the tasks is drawn; a task goes on in the next epoch where it stopped, so that all its
    rows are read equally often, whatever its weight.

    Args:
        lengths: tokens of each row, those of the first task first.
        step_size, batch_size, tokens, seed, pool: as of :class:`StepPlan`.
        mixture: of each task, in the order of the rows.
        passes: a task of weight 1 has as many steps in an epoch as one pass over this many rows.
    """

    def __init__(
        self,
        lengths: Sequence[int],
        step_size: int,
        batch_size: int,
        tokens: int = 0,
        seed: int = 0,
        pool: int = 16,
        *,
        mixture: Sequence[TaskRows],
        passes: int,
    ):
        super().__init__(lengths, step_size, batch_size, tokens, seed, pool)
        ends = np.cumsum([task.rows for task in mixture]).tolist()
        self.starts = [end - task.rows for end, task in zip(ends, mixture, strict=True)]
        self.plans = [
            StepPlan(lengths[start:end], step_size, batch_size, tokens, seed, pool)
            for start, end in zip(self.starts, ends, strict=True)
        ]
        self.counts = [max(1, round(task.weight * -(-passes // step_size))) for task in mixture]

    def __len__(self) -> int:
        """Steps of an epoch."""
        return sum(self.counts)

    def steps(self, epoch: int) -> list[np.ndarray]:
        """The rows of each step of an epoch."""
        steps: list[np.ndarray] = []
        for plan, start, count in zip(self.plans, self.starts, self.counts, strict=True):
            first = epoch * count
            turns = {turn: plan.steps(turn) for turn in range(first // len(plan), (first + count - 1) // len(plan) + 1)}
            for step in range(first, first + count):
                turn, number = divmod(step, len(plan))
                steps.append(turns[turn][number] + start)
        order = np.random.default_rng([self.seed, epoch]).permutation(len(steps))
        return [steps[number] for number in order]

"""Batches of stays of like length, in an order fixed by seed and epoch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from torch.utils.data import Sampler


class BucketedBatches(Sampler[list[int]]):
    """Shuffles, sorts by length within pools of ``pool`` batches, cuts into batches, shuffles the batches.

    Little padding is left, and every stay comes exactly once per epoch, the last short batch included.
    """

    def __init__(self, lengths: Sequence[int], batch_size: int, seed: int, *, shuffle: bool = True, pool: int = 16):
        self.lengths = np.asarray(lengths)
        self.batch_size = batch_size
        self.seed = seed
        self.shuffle = shuffle
        self.pool = pool
        self.epoch = 0
        self.sampler = self  # where Lightning looks for `set_epoch` on a batch sampler

    def set_epoch(self, epoch: int) -> None:
        """Lightning calls this before each epoch, so a resumed run sees the batches of the epoch it resumes."""
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
    """Which stays make up each optimiser step, and into which forward passes a step is cut.

    A step is a fixed number of stays of like length, whatever memory allows at once: how it is cut changes its cost and
    nothing else. The plan is a function of seed and epoch, so a run can be taken up at any step.

    Args:
        lengths: tokens of each stay.
        step_size: stays of one optimiser step, over all processes; the last step of an epoch may have fewer.
        batch_size: stays of one forward pass at most.
        tokens: padded tokens of one forward pass at most, where one stay alone does not exceed it; 0 for no limit.
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
        """The rows of each step of an epoch; every row comes exactly once."""
        batches = BucketedBatches(self.lengths.tolist(), self.step_size, self.seed, pool=self.pool)
        batches.set_epoch(epoch)
        return [np.asarray(rows) for rows in batches]

    def cut(self, rows: np.ndarray, rank: int = 0, world: int = 1) -> list[list[int]]:
        """The forward passes of one process, longest stays first; empty when a short step leaves it nothing."""
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

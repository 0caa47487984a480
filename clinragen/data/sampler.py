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

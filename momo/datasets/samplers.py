"""Which samples form which batch: a function of (seed, step, rank)."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

import numpy as np

from momo.ops import keyed_generator
from momo.registry import DATA_SAMPLERS

from .keys import SampleKey


def _check_batch_size(batch_size: int) -> None:
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")


@DATA_SAMPLERS.register_module()
class GlobalBatchSampler:
    """Shuffled batches without end: permutation(seed, epoch), cut into global batches that the ranks share.

    For a fixed global batch the samples of a step do not depend on the number of ranks. The position is one integer,
    `start`, so a run resumes where it was in no time. Samples that do not fill a global batch wait for a later epoch.

    Args:
        size: Samples in the dataset.
        batch_size: Samples a rank and step.
        start: Step to begin with, counted from the start of training.
    Raises: ValueError if the dataset does not fill one global batch.
    """

    def __init__(self, size: int, batch_size: int, seed: int = 0, rank: int = 0, world_size: int = 1, start: int = 0):
        _check_batch_size(batch_size)
        self.size, self.batch_size, self.seed, self.start = size, batch_size, seed, start
        self.rank, self.world_size = rank, world_size
        if len(self) == 0:
            raise ValueError(
                f"{size} samples do not fill one global batch of {world_size} x {batch_size}: "
                "lower batch_size, use fewer processes, or add data"
            )

    def __len__(self) -> int:
        """Steps in an epoch."""
        return self.size // (self.batch_size * self.world_size)

    def __iter__(self) -> Iterator[list[SampleKey]]:
        order, shuffled = np.empty(0, dtype=np.int64), -1
        for step in count(self.start):
            epoch, batch = divmod(step, len(self))
            if epoch != shuffled:
                order, shuffled = keyed_generator(self.seed, "order", epoch).permutation(self.size), epoch
            first = (batch * self.world_size + self.rank) * self.batch_size
            yield [SampleKey.of(self.seed, epoch, int(index)) for index in order[first : first + self.batch_size]]


@DATA_SAMPLERS.register_module()
class EvalBatchSampler:
    """Every sample once, in order, with the same randomness each time.

    All ranks take equally many batches of equal size, because losses are averaged over ranks: where samples do not
    share out evenly, the first ones are seen again.

    Args: as GlobalBatchSampler.
    """

    def __init__(self, size: int, batch_size: int, seed: int = 0, rank: int = 0, world_size: int = 1):
        if size < 1:
            raise ValueError("there is nothing to evaluate: the dataset is empty")
        _check_batch_size(batch_size)
        share = -(-size // world_size)
        self.indices = [(rank + i * world_size) % size for i in range(share)]  # MMEngine interleaves results
        self.batch_size, self.seed = batch_size, seed

    def __len__(self) -> int:
        return -(-len(self.indices) // self.batch_size)

    def __iter__(self) -> Iterator[list[SampleKey]]:
        for first in range(0, len(self.indices), self.batch_size):
            yield [SampleKey.of(self.seed, 0, index) for index in self.indices[first : first + self.batch_size]]

"""Which samples form which batch: a function of (seed, step, rank)."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from itertools import count

import numpy as np

from momo.registry import DATA_SAMPLERS

from .keys import SampleKey
from .order import FullOrder, PiecewiseOrder, cut


def _check_batch_size(batch_size: int) -> None:
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")


@DATA_SAMPLERS.register_module()
class GlobalBatchSampler:
    """Shuffled batches without end: the order of (seed, epoch), cut into global batches that the ranks share.

    For a fixed global batch the samples of a step do not depend on the number of ranks. The position is one integer,
    `start`, so a run resumes where it was in no time. Samples that do not fill a global batch wait for a later epoch.

    Args:
        size: Samples in the dataset.
        batch_size: Samples a rank and step.
        start: Step to begin with, counted from the start of training.
        chunks: For data in shards, where each begins, and the size: from 0 upwards, (shards + 1,). They are then read
            in pieces (PiecewiseOrder); without chunks every sample is shuffled on its own (FullOrder).
    Raises: ValueError if the dataset does not fill one global batch, or for chunks of another form.
    """

    def __init__(
        self,
        size: int,
        batch_size: int,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
        start: int = 0,
        chunks: np.ndarray | None = None,
    ) -> None:
        _check_batch_size(batch_size)
        self.size, self.batch_size, self.seed, self.start = size, batch_size, seed, start
        self.rank, self.world_size = rank, world_size
        self.pieces = None if chunks is None else cut(_checked_chunks(chunks, size))
        if len(self) == 0:
            raise ValueError(
                f"{size} samples do not fill one global batch of {world_size} x {batch_size}: "
                "lower batch_size, use fewer processes, or add data"
            )

    def __len__(self) -> int:
        """Steps in an epoch."""
        return self.size // (self.batch_size * self.world_size)

    def order(self, epoch: int) -> FullOrder | PiecewiseOrder:
        batch = self.batch_size * self.world_size
        if self.pieces is None:
            return FullOrder(self.size, batch, self.seed, epoch)
        return PiecewiseOrder(self.pieces, batch, self.seed, epoch)

    def __iter__(self) -> Iterator[list[SampleKey]]:
        order, ordered = None, -1
        first = self.rank * self.batch_size
        for step in count(self.start):
            epoch, batch = divmod(step, len(self))
            if epoch != ordered:
                order, ordered = self.order(epoch), epoch
            indices = order.take(batch, first, first + self.batch_size)
            yield [SampleKey.of(self.seed, epoch, index) for index in indices.tolist()]


def _checked_chunks(chunks: np.ndarray, size: int) -> np.ndarray:
    chunks = np.asarray(chunks, dtype=np.int64)
    if chunks.ndim != 1 or chunks.size < 2 or chunks[0] != 0 or chunks[-1] != size or (np.diff(chunks) < 0).any():
        raise ValueError(f"chunks of {size} samples should rise from 0 to {size}, got {chunks}")
    return chunks


@DATA_SAMPLERS.register_module()
class TokenBatchSampler:
    """Shuffled batches without end of about equally many tokens instead of equally many samples.

    permutation(seed, epoch) is cut where its running sum of tokens passes each multiple of (global budget - longest
    text + 1): so no global batch exceeds its budget, every epoch has equally many steps, and the step alone tells where
    a batch begins. Ranks then share the batch, the longest text first, each to the rank with the fewest tokens. For a
    fixed global budget the samples of a step do not depend on the number of ranks. An epoch begins with a permutation
    and a running sum, which is all that a resumed run has to do.

    A rank's share is a global batch's by the number of ranks, give or take less than one text; it can exceed
    `max_tokens` by less than the longest text, where texts are long beside the budget.

    Args:
        lengths: Tokens of each sample, (N,).
        max_tokens: Tokens a rank and step, on average at most.
        start: As in GlobalBatchSampler.
    Raises: ValueError if a length is below 1, if `max_tokens` is less than two of the longest texts, or if the dataset
        does not fill one global batch.
    """

    def __init__(
        self, lengths: np.ndarray, max_tokens: int, seed: int = 0, rank: int = 0, world_size: int = 1, start: int = 0
    ) -> None:
        self.lengths, self.max_tokens, self.seed, self.start = np.asarray(lengths), max_tokens, seed, start
        self.rank, self.world_size = rank, world_size
        shortest, longest = int(self.lengths.min(initial=1)), int(self.lengths.max(initial=1))
        if shortest < 1:
            raise ValueError(f"every sample needs at least one token, got a length of {shortest}")
        if max_tokens < 2 * longest:
            raise ValueError(
                f"max_tokens={max_tokens} is less than two of the longest texts, which have {longest}: "
                "raise it, or shorten the texts"
            )
        self.budget = max_tokens * world_size - longest + 1
        self.steps = int(self.lengths.sum(dtype=np.int64)) // self.budget
        if self.steps == 0:
            raise ValueError(
                f"{len(self.lengths)} samples do not fill one global batch of {world_size} x {max_tokens} tokens: "
                "lower max_tokens, use fewer processes, or add data"
            )

    def __len__(self) -> int:
        """Steps in an epoch."""
        return self.steps

    @property
    def batch_size(self) -> int:
        """Samples a rank and step, on average."""
        return round(len(self.lengths) / (self.steps * self.world_size))

    def __iter__(self) -> Iterator[list[SampleKey]]:
        order, bounds, ordered = None, None, -1
        for step in count(self.start):
            epoch, batch = divmod(step, self.steps)
            if epoch != ordered:
                order, ordered = FullOrder(len(self.lengths), 1, self.seed, epoch).order, epoch
                ends = np.cumsum(self.lengths[order], dtype=np.int64)
                bounds = np.searchsorted(ends, self.budget * np.arange(self.steps + 1), side="right")
            whole = order[bounds[batch] : bounds[batch + 1]]
            yield [SampleKey.of(self.seed, epoch, index) for index in self._share(whole).tolist()]

    def _share(self, whole: np.ndarray) -> np.ndarray:
        """This rank's part of a global batch."""
        lengths, owners = self.lengths[whole].astype(np.int64), np.empty(len(whole), dtype=np.int64)
        loads = [(0, rank) for rank in range(self.world_size)]
        for place in np.argsort(-lengths, kind="stable").tolist():
            load, owners[place] = loads[0]
            heapq.heapreplace(loads, (load + int(lengths[place]), int(owners[place])))
        return whole[owners == self.rank]


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

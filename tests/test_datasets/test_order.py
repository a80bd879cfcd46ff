"""The two orders: every sample once, independent of ranks, and what the one in pieces promises about reads."""

from itertools import islice

import numpy as np
import pytest

from momo.datasets import GlobalBatchSampler
from momo.datasets.order import LANES, TURNS, WINDOW, FullOrder, PiecewiseOrder, cut


def chunks_of(count: int, mean: int, seed: int = 0) -> np.ndarray:
    """Bounds of shards of different sizes, an empty one among them."""
    sizes = np.random.default_rng(seed).integers(1, 2 * mean, count)
    sizes[count // 2] = 0
    return np.append(0, np.cumsum(sizes))


def whole_epoch(order: PiecewiseOrder | FullOrder, batch: int, steps: int) -> np.ndarray:
    return np.stack([order.take(step, 0, batch) for step in range(steps)])


def test_pieces_cover_the_data_and_cross_no_chunk() -> None:
    chunks = np.array([0, 5, 5, 12, 13])
    assert cut(chunks, 3).tolist() == [0, 3, 5, 8, 11, 12, 13]
    bounds = cut(chunks_of(40, 300))
    assert set(chunks_of(40, 300).tolist()) <= set(bounds.tolist())
    assert np.diff(bounds).min() > 0 and np.diff(bounds).max() <= 128


def test_full_order_is_a_permutation_in_slices() -> None:
    order = FullOrder(50, batch=10, seed=3, epoch=2)
    epoch = whole_epoch(order, 10, 5)
    assert sorted(epoch.ravel().tolist()) == list(range(50))
    assert order.take(3, 4, 9).tolist() == epoch[3, 4:9].tolist()


@pytest.mark.parametrize("batch", [1, 6, 64, 96, 300, 1000])
def test_pieces_visit_every_sample_at_most_once(batch: int) -> None:
    chunks = chunks_of(30, 400)
    size = int(chunks[-1])
    epoch = whole_epoch(PiecewiseOrder(cut(chunks), batch, seed=1, epoch=0), batch, size // batch)
    assert len(set(epoch.ravel().tolist())) == size // batch * batch
    assert epoch.min() >= 0 and epoch.max() < size


def test_an_epoch_shorter_than_the_turns_is_whole_too() -> None:
    chunks = np.array([0, 70, 150])
    epoch = whole_epoch(PiecewiseOrder(cut(chunks), 50, seed=0, epoch=0), 50, 3)
    assert sorted(epoch.ravel().tolist()) == list(range(150)) and TURNS > 3


def test_seeds_and_epochs_differ() -> None:
    pieces = cut(chunks_of(20, 300))
    firsts = [PiecewiseOrder(pieces, 64, seed, epoch).take(0, 0, 64) for seed in range(3) for epoch in range(3)]
    assert len({tuple(first.tolist()) for first in firsts}) == 9


def test_order_in_pieces_never_changes() -> None:
    """A run resumed with a later version must see the same data."""
    order = PiecewiseOrder(cut(np.array([0, 300, 700, 1000])), 8, seed=0, epoch=1)
    assert order.take(0, 0, 8).tolist() == [571, 696, 818, 365, 494, 196, 13, 834]
    assert order.take(77, 0, 8).tolist() == [647, 765, 317, 453, 141, 272, 100, 921]


@pytest.mark.parametrize("world_size", [2, 3, 4, 12])
def test_ranks_share_the_same_global_batches(world_size: int) -> None:
    chunks = chunks_of(20, 300)
    size = int(chunks[-1])

    def batches(rank: int, world_size: int) -> list[list[int]]:
        sampler = GlobalBatchSampler(size, 48 // world_size, 5, rank, world_size, chunks=chunks, start=100)
        return [[key.index for key in batch] for batch in islice(sampler, 60)]

    ranks = [batches(rank, world_size) for rank in range(world_size)]
    assert [sum(parts, []) for parts in zip(*ranks, strict=True)] == batches(0, 1)


BATCH = 256


@pytest.fixture(scope="module")
def pieces_of_an_epoch() -> np.ndarray:
    """The piece that each place of each batch is read from, (steps, BATCH): 160 shards of 1,000 samples, or so."""
    pieces = cut(chunks_of(160, 1000))
    epoch = whole_epoch(PiecewiseOrder(pieces, BATCH, seed=0, epoch=0), BATCH, int(pieces[-1]) // BATCH)
    return np.searchsorted(pieces, epoch, side="right")


@pytest.mark.parametrize(("ranks", "workers"), [(1, 8), (4, 2), (64, 1), (8, 4)])
def test_workers_and_ranks_read_pieces_of_their_own(pieces_of_an_epoch: np.ndarray, ranks: int, workers: int) -> None:
    """Only pieces that a stream's cut falls into have two readers: not more than there are streams."""
    by_rank = np.split(pieces_of_an_epoch, ranks, axis=1)
    read = [set(part[worker::workers].ravel().tolist()) for part in by_rank for worker in range(workers)]
    number = len(set().union(*read))
    assert sum(map(len, read)) - number <= LANES * TURNS
    assert max(map(len, read)) < 2 * number / len(read)


def test_a_piece_is_used_up_within_two_windows(pieces_of_an_epoch: np.ndarray) -> None:
    share = BATCH // LANES
    for lane in range(0, LANES, 7):
        for turn in range(TURNS):
            stream = pieces_of_an_epoch[turn::TURNS, lane * share : (lane + 1) * share]
            for piece in np.unique(stream):
                rows = np.flatnonzero((stream == piece).any(1))
                assert rows[-1] - rows[0] < 2 * WINDOW // share


def test_a_batch_mixes_many_pieces(pieces_of_an_epoch: np.ndarray) -> None:
    counts = [np.unique(batch, return_counts=True)[1] for batch in pieces_of_an_epoch]
    assert np.mean([len(count) for count in counts]) > BATCH / 2
    assert max(count.max() for count in counts) <= 2 * BATCH // LANES  # all that the two lanes beside a cut take


@pytest.mark.parametrize("chunks", [[0, 5], [1, 10], [0, 7, 3, 10], [10], [[0, 10]]])
def test_chunks_of_another_form_are_refused(chunks: list) -> None:
    with pytest.raises(ValueError, match="chunks of 10 samples should rise from 0 to 10, got"):
        GlobalBatchSampler(10, 2, chunks=chunks)


def test_a_late_start_in_pieces_draws_one_epoch() -> None:
    chunks = np.arange(0, 2_000_001, 1000)
    sampler = GlobalBatchSampler(2_000_000, 64, chunks=chunks, start=10**12)
    assert len(next(iter(sampler))) == 64

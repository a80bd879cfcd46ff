"""Order as a function of (seed, step, rank)."""

from itertools import islice

import pytest

from momo.datasets import EvalBatchSampler, GlobalBatchSampler, SampleKey
from momo.ops import key_of


def indices(sampler: GlobalBatchSampler, steps: int) -> list[list[int]]:
    return [[key.index for key in batch] for batch in islice(sampler, steps)]


def test_order_is_a_function_of_seed_and_epoch() -> None:
    sampler = GlobalBatchSampler(size=10, batch_size=2, seed=3)
    assert len(sampler) == 5
    steps = indices(sampler, 15)
    assert steps == indices(GlobalBatchSampler(size=10, batch_size=2, seed=3), 15)
    assert steps == indices(sampler, 15)  # asked again, it begins again
    assert steps != indices(GlobalBatchSampler(size=10, batch_size=2, seed=4), 15)
    epochs = [sum(steps[start : start + 5], []) for start in (0, 5, 10)]
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs)
    assert len(set(map(tuple, epochs))) == 3


def test_order_never_changes() -> None:
    """A run resumed with a later version must see the same data."""
    expected = [[6, 4, 3, 2], [1, 5, 0, 7], [7, 0, 6, 1], [2, 5, 4, 3]]
    assert indices(GlobalBatchSampler(size=8, batch_size=4, seed=0), 4) == expected


@pytest.mark.parametrize("world_size", [2, 3, 6])
def test_global_batches_do_not_depend_on_the_number_of_ranks(world_size: int) -> None:
    one = indices(GlobalBatchSampler(size=25, batch_size=6, seed=1), 9)
    ranks = [
        indices(GlobalBatchSampler(25, 6 // world_size, seed=1, rank=rank, world_size=world_size), 9)
        for rank in range(world_size)
    ]
    assert [sum(parts, []) for parts in zip(*ranks, strict=True)] == one


def test_samples_that_do_not_fill_a_batch_wait_for_a_later_epoch() -> None:
    sampler = GlobalBatchSampler(size=7, batch_size=3, seed=0)
    assert len(sampler) == 2
    steps = indices(sampler, 40)
    assert all(len(set(steps[start] + steps[start + 1])) == 6 for start in range(0, 40, 2))
    assert set(sum(steps, [])) == set(range(7))


@pytest.mark.parametrize("start", [0, 1, 4, 5, 13])
def test_start_goes_on_exactly(start: int) -> None:
    whole = list(islice(GlobalBatchSampler(size=11, batch_size=2, seed=5), 20))
    rest = list(islice(GlobalBatchSampler(size=11, batch_size=2, seed=5, start=start), 20 - start))
    assert rest == whole[start:]


def test_a_late_start_costs_nothing() -> None:
    """Step 10^12 without the steps before it."""
    assert len(next(iter(GlobalBatchSampler(size=4, batch_size=2, start=10**12)))) == 2


def test_keys_name_seed_epoch_and_sample() -> None:
    batches = list(islice(GlobalBatchSampler(size=4, batch_size=2, seed=9), 4))
    for step, batch in enumerate(batches):
        for key in batch:
            assert key == SampleKey(key.index, step // 2, key_of(9, step // 2, key.index))
    assert len({key.key for batch in batches for key in batch}) == 8


def test_refuses_data_that_does_not_fill_a_batch() -> None:
    with pytest.raises(ValueError, match="7 samples do not fill one global batch of 2 x 4: lower batch_size"):
        GlobalBatchSampler(size=7, batch_size=4, world_size=2)


@pytest.mark.parametrize(
    ("size", "batch_size", "world_size"), [(10, 4, 1), (10, 4, 2), (7, 2, 3), (1, 5, 2), (2, 1, 5)]
)
def test_evaluation_covers_everything_in_equal_shares(size: int, batch_size: int, world_size: int) -> None:
    ranks = [EvalBatchSampler(size, batch_size, rank=rank, world_size=world_size) for rank in range(world_size)]
    batches = [[[key.index for key in batch] for batch in sampler] for sampler in ranks]
    assert {len(sampler) for sampler in ranks} == {len(own) for own in batches} == {len(batches[0])}
    assert len({tuple(map(len, own)) for own in batches}) == 1
    turns = [index for row in zip(*(sum(own, []) for own in batches), strict=True) for index in row]
    assert turns[:size] == list(range(size))  # MMEngine collects results in turns, and cuts off what is too much
    assert len(turns) - size < world_size


def test_evaluation_draws_the_same_each_time() -> None:
    sampler = EvalBatchSampler(5, 2)
    assert list(sampler) == list(sampler)
    assert next(iter(sampler))[1] == SampleKey.of(0, 0, 1)


def test_evaluation_refuses_an_empty_dataset() -> None:
    with pytest.raises(ValueError, match="nothing to evaluate"):
        EvalBatchSampler(0, 2)

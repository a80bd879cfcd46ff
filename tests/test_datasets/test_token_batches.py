"""Batches by token budget."""

from itertools import islice

import numpy as np
import pytest
from torch.utils.data import Dataset

from momo.datasets import TokenBatchSampler, build_loader
from momo.datasets.keys import SampleKey
from momo.registry import DATASETS

LENGTHS = np.random.default_rng(0).integers(1, 41, 3000)


def batches(steps: int, max_tokens: int = 400, lengths: np.ndarray = LENGTHS, **settings: int) -> list[list[int]]:
    sampler = TokenBatchSampler(lengths, max_tokens, seed=1, **settings)
    return [[key.index for key in batch] for batch in islice(sampler, steps)]


def test_every_batch_fills_its_budget_but_for_one_text() -> None:
    steps = len(TokenBatchSampler(LENGTHS, 400))
    tokens = [LENGTHS[batch].sum() for batch in batches(3 * steps)]
    assert max(tokens) <= 400 and min(tokens) > 400 - 2 * 40
    assert np.mean(tokens) > 350


def test_an_epoch_sees_each_sample_at_most_once_and_the_rest_later() -> None:
    steps = len(TokenBatchSampler(LENGTHS, 400))
    assert steps == LENGTHS.sum() // (400 - 40 + 1)
    epochs = [sum(batches(3 * steps)[i * steps : (i + 1) * steps], []) for i in range(3)]
    assert all(len(epoch) == len(set(epoch)) > 0.99 * len(LENGTHS) for epoch in epochs)
    assert len(set(sum(epochs, []))) == len(LENGTHS)
    assert epochs[0] != epochs[1]


@pytest.mark.parametrize("world_size", [2, 4, 8])
def test_ranks_share_the_same_global_batches_evenly(world_size: int) -> None:
    one = batches(50, 1600)
    ranks = [batches(50, 1600 // world_size, rank=rank, world_size=world_size) for rank in range(world_size)]
    for step, parts in enumerate(zip(*ranks, strict=True)):
        assert sorted(sum(parts, [])) == sorted(one[step])
        loads = [LENGTHS[part].sum() for part in parts]
        assert max(loads) - min(loads) <= 10  # the last that are dealt are short
        assert max(loads) < 1600 // world_size + 40


def test_every_rank_has_something_even_of_long_texts() -> None:
    lengths = np.full(200, 40)
    parts = [batches(10, 80, lengths, rank=rank, world_size=16) for rank in range(16)]
    assert min(len(batch) for part in parts for batch in part) >= 1
    assert max(len(batch) for part in parts for batch in part) <= 2


@pytest.mark.parametrize("start", [0, 1, 80, 200])
def test_start_goes_on_exactly(start: int) -> None:
    assert batches(220 - start, start=start) == batches(220)[start:]


def test_keys_are_those_of_the_epoch() -> None:
    steps = len(TokenBatchSampler(LENGTHS, 400))
    key = next(iter(TokenBatchSampler(LENGTHS, 400, seed=1, start=2 * steps)))[0]
    assert key == SampleKey.of(1, 2, key.index)


def test_average_batch_size_is_told() -> None:
    """MMEngine scales learning rates by it."""
    sampler = TokenBatchSampler(LENGTHS, 400)
    assert sampler.batch_size == round(np.mean([len(batch) for batch in batches(len(sampler))]))


def test_budgets_that_cannot_be_kept_are_refused() -> None:
    with pytest.raises(ValueError, match="max_tokens=79 is less than two of the longest texts, which have 40"):
        TokenBatchSampler(LENGTHS, 79)
    with pytest.raises(ValueError, match="at least one token, got a length of 0"):
        TokenBatchSampler(np.array([3, 0]), 100)
    with pytest.raises(ValueError, match="2 samples do not fill one global batch of 4 x 100 tokens"):
        TokenBatchSampler(np.array([3, 9]), 100, world_size=4)


class Numbers(Dataset):
    """Texts of known lengths."""

    lengths = LENGTHS

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, key: SampleKey) -> dict:
        words = np.full(self.lengths[key.index], key.index)
        return {"key": key.key, "sample_id": str(key.index), "words": words}


@pytest.fixture
def numbers() -> dict:
    """Config of the dataset above."""
    DATASETS.register_module(module=Numbers, force=True)
    yield dict(type="Numbers")
    DATASETS._module_dict.pop("Numbers")


def test_loader_takes_a_budget_instead_of_a_size(numbers: dict) -> None:
    loader = build_loader(dict(dataset=numbers, max_tokens=400), None, seed=1)
    for batch, expected in zip(loader, batches(5), strict=False):
        assert sorted(map(int, batch["sample_ids"])) == sorted(expected)
        assert len(batch["words"]) <= 400


def test_loader_wants_one_of_the_two(numbers: dict) -> None:
    for settings in (dict(), dict(batch_size=4, max_tokens=400)):
        with pytest.raises(ValueError, match=r"a loader has batch_size=.* and max_tokens=.*: give one of the two"):
            build_loader(dict(dataset=numbers, **settings), None, seed=0)
    with pytest.raises(ValueError, match="max_tokens=400 is for training; evaluation takes batch_size"):
        build_loader(dict(dataset=numbers, max_tokens=400), None, seed=0, training=False)


def test_a_dataset_without_lengths_says_so(numbers: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Numbers, "lengths", None)
    with pytest.raises(ValueError, match="max_tokens=400 needs to know the lengths of texts beforehand, and Numbers"):
        build_loader(dict(dataset=numbers, max_tokens=400), None, seed=0)

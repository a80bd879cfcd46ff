"""A sample is a function of its key: not of workers, of order, nor of what was drawn before."""

import hashlib
import pickle
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.data import write_images, write_pairs, write_tokenizer
from helpers.processes import run_in_processes
from helpers.tiny import tiny_pretrainer
from torch import Tensor

from momo.datasets import ImageText, SampleKey, build_loader
from momo.datasets.keys import torch_seeded
from momo.registry import DATASETS


@pytest.fixture
def dataset_cfg(tmp_path: Path) -> dict:
    images = tmp_path / "images"
    write_images(images, 9)
    return dict(
        type="ImageText",
        annotations=write_pairs(tmp_path / "pairs.json", images),
        root=str(images),
        pipeline=[
            dict(type="LoadImage"),
            dict(type="torchvision/RandomResizedCrop", size=32, scale=(0.3, 1.0), interpolation="bicubic"),
            dict(type="torchvision/RandomHorizontalFlip"),
            dict(type="torchvision/RandAugment"),
            dict(type="Tokenize", tokenizer=write_tokenizer(tmp_path / "tokenizer"), max_len=3),
        ],
    )


def build(cfg: dict) -> ImageText:
    return ImageText(**{key: value for key, value in cfg.items() if key != "type"})


def assert_same(first: object, second: object) -> None:
    """Bitwise equality of nested batches, plans included."""
    assert type(first) is type(second)
    if isinstance(first, dict):
        assert first.keys() == second.keys()
        for key in first:
            assert_same(first[key], second[key])
    elif isinstance(first, (list, tuple)):
        assert len(first) == len(second)
        for a, b in zip(first, second, strict=True):
            assert_same(a, b)
    elif isinstance(first, Tensor):
        assert first.dtype == second.dtype and torch.equal(first, second)
    elif hasattr(first, "dtype"):
        assert first.dtype == second.dtype and first.tolist() == second.tolist()
    else:
        assert first == second


def test_a_sample_is_a_function_of_its_key(dataset_cfg: dict) -> None:
    dataset = build(dataset_cfg)
    key = SampleKey.of(seed=1, epoch=2, index=3)
    first = dataset[key]
    torch.manual_seed(99)
    dataset[SampleKey.of(1, 2, 4)]
    assert_same(dataset[key], first)
    assert_same(build(dataset_cfg)[key], first)
    assert first["key"] == key.key


def test_epochs_and_seeds_augment_differently(dataset_cfg: dict) -> None:
    dataset = build(dataset_cfg)
    keys = [SampleKey.of(seed, epoch, 3) for seed in range(2) for epoch in range(6)]
    samples = [dataset[key] for key in keys]
    assert len({sample["image"].numpy().tobytes() for sample in samples}) == len(keys)
    assert len({sample["text"] for sample in samples}) == 2  # captions are drawn too
    assert {sample["sample_id"] for sample in samples} == {samples[0]["sample_id"]}


def test_a_plain_index_stands_for_the_first_epoch(dataset_cfg: dict) -> None:
    dataset = build(dataset_cfg)
    assert_same(dataset[3], dataset[SampleKey.of(0, 0, 3)])


def test_datasets_can_be_sent_to_workers_that_start_afresh(dataset_cfg: dict) -> None:
    dataset = build(dataset_cfg)
    assert_same(pickle.loads(pickle.dumps(dataset))[3], dataset[3])


def test_reading_leaves_the_callers_randomness_alone(dataset_cfg: dict) -> None:
    dataset = build(dataset_cfg)
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    dataset[0]
    assert torch.equal(torch.rand(3), expected)
    with pytest.raises(KeyError), torch_seeded(2**64 - 1):
        raise KeyError
    assert torch.equal(torch.rand(3), torch.rand(3)) is False


def ledger(batches: Iterable[dict[str, Any]]) -> list[list[tuple]]:
    """What each step learns from: for every sample its name, key, pixels, words, and hidden patches and words.

    A step's samples are in the order of their keys: how they lie in a batch, and in which rank's, is not part of it.
    """
    steps = []
    for batch in batches:
        plan = batch["plans"]["cmm"].decode
        patches, words = plan.hidden_patches.numpy(), plan.hidden_words.numpy()
        ends = np.cumsum(batch["word_counts"])
        rows = []
        for i, (end, count) in enumerate(zip(ends, batch["word_counts"], strict=True)):
            hidden = patches[patches // 16 == i] % 16, words[(words >= end - count) & (words < end)] - (end - count)
            text = batch["words"][end - count : end].tolist()
            pixels = hashlib.sha256(batch["images"][i].contiguous().numpy().tobytes()).hexdigest()
            found = [sorted(part.tolist()) for part in hidden]
            rows.append((int(batch["keys"][i]), batch["sample_ids"][i], pixels, text, *found))
        steps.append(sorted(rows))
    return steps


def joined(ranks: Iterable[list[list[tuple]]]) -> list[list[tuple]]:
    """The ledger of the global batches, from those of the ranks."""
    return [sorted(sum(parts, [])) for parts in zip(*ranks, strict=True)]


def batches_of(cfg: dict, batch_size: int, steps: int = 6, workers: int = 0, start: int = 0) -> list[dict[str, Any]]:
    """Batches of pairs with the plans of all objectives; 9 pairs, so epochs end within global batches of 4."""
    planners = tiny_pretrainer("all").planners("image_text")
    loader = build_loader(dict(dataset=cfg, batch_size=batch_size, num_workers=workers), planners, seed=7, start=start)
    return list(islice(loader, steps))


class ShardedPairs(ImageText):
    """The same pairs as three shards."""

    chunks = (0, 2, 6, 9)


@pytest.fixture(params=["full", "in pieces"])
def any_order_cfg(request: pytest.FixtureRequest, dataset_cfg: dict) -> dict:
    """The dataset in both orders."""
    if request.param == "full":
        return dataset_cfg
    DATASETS.register_module(module=ShardedPairs, force=True)
    request.addfinalizer(lambda: DATASETS._module_dict.pop("ShardedPairs"))
    return {**dataset_cfg, "type": "ShardedPairs"}


def test_ledgers_tell_samples_apart(dataset_cfg: dict) -> None:
    steps = ledger(batches_of(dataset_cfg, 4))
    distinct = [len({str(row[column]) for step in steps for row in step}) for column in range(6)]
    assert distinct[:3] == [24, 9, 24] and distinct[3] > 9 and distinct[4] == 24 and distinct[5] > 1
    assert len(steps) == 6 and all(len(step) == 4 for step in steps)


@pytest.mark.filterwarnings("ignore:This DataLoader will create")
def test_batches_do_not_depend_on_workers(any_order_cfg: dict) -> None:
    batches = [batches_of(any_order_cfg, 4, workers=workers) for workers in range(4)]
    for other in batches[1:]:
        assert_same(batches[0], other)
    assert len({batch["images"].numpy().tobytes() for batch in batches[0]}) == 6


@pytest.mark.parametrize("world_size", [2, 4])
def test_ledgers_do_not_depend_on_ranks(any_order_cfg: dict, monkeypatch: pytest.MonkeyPatch, world_size: int) -> None:
    one, ranks = ledger(batches_of(any_order_cfg, 4)), []
    monkeypatch.setattr("momo.datasets.loader.world_size", lambda: world_size)
    for rank in range(world_size):
        monkeypatch.setattr("momo.datasets.loader.rank", lambda rank=rank: rank)
        ranks.append(ledger(batches_of(any_order_cfg, 4 // world_size)))
    assert joined(ranks) == one


def ledger_of_rank(rank: int, cfg: dict) -> list[list[tuple]]:
    return ledger(batches_of(cfg, 2, workers=1))


@pytest.mark.dist
def test_ledgers_of_real_processes(dataset_cfg: dict, tmp_path: Path) -> None:
    assert joined(run_in_processes(ledger_of_rank, tmp_path, dataset_cfg)) == ledger(batches_of(dataset_cfg, 4))


def test_a_resumed_run_keeps_the_ledger_with_other_workers_and_ranks(
    any_order_cfg: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, rest = ledger(batches_of(any_order_cfg, 4)), []
    monkeypatch.setattr("momo.datasets.loader.world_size", lambda: 2)
    for rank in range(2):
        monkeypatch.setattr("momo.datasets.loader.rank", lambda rank=rank: rank)
        rest.append(ledger(batches_of(any_order_cfg, 2, steps=3, workers=1, start=3)))
    assert joined(rest) == whole[3:]


def test_loader_starts_where_it_is_told(dataset_cfg: dict) -> None:
    cfg = dict(dataset=dataset_cfg, batch_size=4)
    whole = list(islice(build_loader(cfg, None, seed=7), 5))
    rest = list(islice(build_loader(cfg, None, seed=7, start=3), 2))
    assert_same(rest, whole[3:])


def test_evaluation_loader_ends(dataset_cfg: dict) -> None:
    loader = build_loader(dict(dataset=dataset_cfg, batch_size=4), None, seed=0, training=False)
    batches = list(loader)
    assert [len(batch["keys"]) for batch in batches] == [4, 4, 1]
    assert {name for batch in batches for name in batch["sample_ids"]} == {
        f"{dataset_cfg['annotations']}:{row}" for row in range(9)
    }

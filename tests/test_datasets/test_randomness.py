"""A sample is a function of its key: not of workers, of order, nor of what was drawn before."""

from itertools import islice
from pathlib import Path

import pytest
import torch
from helpers.data import write_images, write_pairs, write_tokenizer
from helpers.tiny import tiny_pretrainer
from torch import Tensor

from momo.datasets import ImageText, SampleKey, build_loader
from momo.datasets.keys import torch_seeded


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


def test_batches_do_not_depend_on_workers(dataset_cfg: dict) -> None:
    planners = tiny_pretrainer("all").planners("image_text")
    batches = []
    for workers in (0, 2):
        cfg = dict(dataset=dataset_cfg, batch_size=4, num_workers=workers)
        batches.append(list(islice(build_loader(cfg, planners, seed=7), 6)))
    assert_same(*batches)
    assert len({batch["images"].numpy().tobytes() for batch in batches[0]}) == 6


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

"""Loaders of unequal length and data of odd size."""

from collections import Counter
from itertools import islice

import pytest
import torch
from torch.utils.data import Dataset

from momo.datasets import build_loader
from momo.engine.loaders import MultiModalLoader
from momo.registry import DATASETS


class Numbered(Dataset):
    """Images that hold their number."""

    def __init__(self, size: int) -> None:
        self.size = size

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, key) -> dict:
        image = torch.full((3, 2, 2), key.index, dtype=torch.uint8)
        return {"key": key.key, "sample_id": key.index, "image": image, "image_id": key.index}


@pytest.fixture(autouse=True)
def registered() -> None:
    DATASETS.register_module(module=Numbered, force=True)
    yield
    DATASETS._module_dict.pop("Numbered")


SIZES = {"image": 7, "text": 11, "image_text": 13}


def run(primary: str, batch_size: int, steps: int, start: int = 0) -> list[dict[str, list[int]]]:
    loaders = {
        name: build_loader(dict(dataset=dict(type="Numbered", size=size), batch_size=batch_size), None, seed=2)
        for name, size in SIZES.items()
    }
    loader = MultiModalLoader(loaders, primary)
    loader.start_at(start, seed=2)
    assert len(loader) == SIZES[primary] // batch_size
    return [{name: batch["sample_ids"] for name, batch in step.items()} for step in islice(loader, steps)]


@pytest.mark.parametrize("batch_size", [1, 2, 3])
@pytest.mark.parametrize("primary", list(SIZES))
def test_each_modality_cycles_through_its_own_epochs(primary: str, batch_size: int) -> None:
    steps = run(primary, batch_size, 60)
    for name, size in SIZES.items():
        length = size // batch_size
        epochs = [sum((step[name] for step in steps[i : i + length]), []) for i in range(0, 60 - length, length)]
        assert all(len(set(epoch)) == len(epoch) == length * batch_size for epoch in epochs)
        assert {index for epoch in epochs for index in epoch} == set(range(size))
    assert run(primary, batch_size, 20, start=40) == steps[40:]


@pytest.mark.parametrize("world_size", [1, 2, 3, 4])
@pytest.mark.parametrize("size", [1, 7, 11, 13])
def test_all_ranks_take_equally_many_steps(size: int, world_size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """In evaluation each sample counts once: what is seen again comes last, where results are cut off."""
    monkeypatch.setattr("momo.datasets.loader.world_size", lambda: world_size)
    by_rank = []
    for rank in range(world_size):
        monkeypatch.setattr("momo.datasets.loader.rank", lambda rank=rank: rank)
        cfg = dict(dataset=dict(type="Numbered", size=size), batch_size=3)
        by_rank.append([batch["sample_ids"] for batch in build_loader(cfg, None, seed=0, training=False)])
    assert len({tuple(map(len, batches)) for batches in by_rank}) == 1
    in_turn = [index for turn in zip(*(sum(batches, []) for batches in by_rank), strict=True) for index in turn]
    assert Counter(in_turn[:size]) == Counter(range(size))

"""The fifteen vision sets, read from small ones in the published layouts."""

from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.vision_sets import WRITERS, picture, write_vision_set
from PIL import Image

from momo.datasets import VisionSet
from momo.datasets.class_names import CLASS_NAMES
from momo.datasets.vision_set import SOURCES, SPLITS, _caltech_parts, _eurosat_parts


def open_all(name: str, root: Path) -> dict[str, VisionSet]:
    return {split: VisionSet(name, str(root), split, []) for split in SPLITS}


@pytest.mark.parametrize("name", WRITERS)
def test_splits_share_nothing_and_lose_nothing(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_vision_set(name, tmp_path, monkeypatch)
    sets = open_all(name, tmp_path)

    def contents(split: str) -> list[bytes]:
        data = sets[split]
        return sorted(bytes([data[i]["label"]]) + data[i]["image"].numpy().tobytes() for i in range(len(data)))

    assert sorted(contents("train") + contents("val")) == contents("trainval")
    assert not set(contents("test")) & set(contents("trainval")) or name in ("cifar10", "cifar100", "mnist", "stl10")
    again = VisionSet(name, str(tmp_path), "val", [])
    for i in range(len(again)):
        assert torch.equal(again[i]["image"], sets["val"][i]["image"])
    assert all(set(data.labels) == set(sets["test"].labels) for data in sets.values())
    ids = [data[i]["sample_id"] for split, data in sets.items() if split != "trainval" for i in range(len(data))]
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize("name", WRITERS)
def test_labels_belong_to_the_pictures(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The pictures of label n are brighter by 60 n, up to what the format loses."""
    write_vision_set(name, tmp_path, monkeypatch)
    for data in open_all(name, tmp_path).values():
        for i in range(len(data)):
            sample = data[i]
            assert sample["image"].dtype == torch.uint8 and sample["image"].shape[0] == 3
            assert abs(sample["image"].double().mean() - 60 * sample["label"] - 60) < 12
            assert sample["label"] == data.labels[i]
        names = data.class_names
        assert len(names) > max(data.labels) and all("_" not in each for each in names)


def test_a_picture_comes_as_it_was_stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows, columns and colours in their places, in the two formats that store them in unusual orders."""
    for name in ("cifar10", "stl10"):
        write_vision_set(name, tmp_path / name, monkeypatch)
        data = VisionSet(name, str(tmp_path / name), "trainval", [])
        size = data[0]["image"].shape[-1]
        np.testing.assert_array_equal(data[0]["image"].permute(1, 2, 0), picture(0, 0, size=size))


def test_other_colour_modes_become_rgb(tmp_path: Path) -> None:
    for part in ("train", "val"):
        for wnid in ("n1", "n2"):
            (tmp_path / part / wnid).mkdir(parents=True)
            for mode, value in (("CMYK", (0, 0, 0, 0)), ("L", 255), ("LA", (255, 255))):
                suffix = "png" if mode == "LA" else "jpg"
                Image.new(mode, (5, 4), value).save(tmp_path / part / wnid / f"{mode}.{suffix}")
    data = VisionSet("imagenet", str(tmp_path), "test", [])
    assert all(torch.equal(data[i]["image"], torch.full((3, 4, 5), 255, dtype=torch.uint8)) for i in range(6))


def test_imagenet_has_words_for_a_thousand_folders_and_else_their_names(tmp_path: Path) -> None:
    wnids = [f"n{number:08d}" for number in range(1000)]
    for wnid in wnids:
        (tmp_path / "val" / wnid).mkdir(parents=True)
        (tmp_path / "val" / wnid / "1.JPEG").touch()
    names = VisionSet("imagenet", str(tmp_path), "test", []).class_names
    assert len(names) == 1000 and names[:2] == ("tench", "goldfish") and names[-1] == "toilet tissue"
    (tmp_path / "val" / wnids[-1] / "1.JPEG").unlink()
    (tmp_path / "val" / wnids[-1]).rmdir()
    assert VisionSet("imagenet", str(tmp_path), "test", []).class_names == tuple(wnids[:-1])


def test_a_tenth_of_each_class_is_held_out(tmp_path: Path) -> None:
    for wnid, count in (("a", 40), ("b", 11), ("c", 1)):
        for number in range(count):
            file = tmp_path / "train" / wnid / f"{number}.jpg"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch()
    counts = {
        split: np.bincount(VisionSet("imagenet", str(tmp_path), split, []).labels).tolist()
        for split in ("train", "val", "trainval")
    }
    assert counts == {"train": [36, 10, 1], "val": [4, 1], "trainval": [40, 11, 1]}


def test_sizes_of_the_sets_that_come_in_one_piece() -> None:
    """EuroSAT's classes have 2,000 to 3,000 pictures, Caltech101's 31 to 800; and of small ones each gets a share."""
    classes = [3000] * 5 + [2500] * 4 + [2000]
    assert np.sum([_eurosat_parts(count) for count in classes], 0).tolist() == [10000, 5000]
    assert [_caltech_parts(count) for count in (800, 40, 31)] == [(30, 770), (30, 10), (24, 7)]
    for parts in (_eurosat_parts, _caltech_parts):
        for count in range(2, 2000):
            training, test = parts(count)
            assert training >= 1 and test >= 1 and training + test <= count


def test_every_set_has_a_name_for_each_label() -> None:
    sizes = {"mnist": 10, "cifar10": 10, "eurosat": 10, "gtsrb": 43, "sst": 2}
    assert {name: len(set(names)) for name, names in CLASS_NAMES.items()} == sizes


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    with pytest.raises(
        FileNotFoundError, match="root=.*nowhere' does not exist; food-101/ with images/ and meta/, from data.vision"
    ):
        VisionSet("food101", str(tmp_path / "nowhere"), "train", [])
    for name, source in SOURCES.items():
        with pytest.raises(FileNotFoundError, match=f"does not hold {name} as published: .* should lie there") as error:
            VisionSet(name, str(tmp_path), "train", [])
        assert source.layout in str(error.value) and source.origin in str(error.value)
        assert "download=True" not in str(error.value)
    with pytest.raises(ValueError, match="name='food' is unknown"):
        VisionSet("food", str(tmp_path), "train", [])
    with pytest.raises(ValueError, match="split='dev' is unknown"):
        VisionSet("food101", str(tmp_path), "dev", [])

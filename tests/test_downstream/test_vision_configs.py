"""Linear and zero-shot evaluation of all fifteen sets, end to end on small data in the published layouts."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.downstream import small
from helpers.run import build_runner
from helpers.vision_sets import WRITERS, write_vision_set

from momo.datasets import VisionSet
from momo.engine import LinearProbeLoop, linear_probe_loop, zero_shot_loop

pytestmark = [pytest.mark.usefixtures("unformatted_configs"), pytest.mark.filterwarnings("ignore")]


def vision_config(task: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    if not (tmp_path / "data" / name).exists():
        write_vision_set(name, tmp_path / "data" / name, monkeypatch)
    cfg = small(f"{task}_{name}_vitb", tmp_path, tmp_path / "data")
    for loader in cfg.test_dataloader.loaders.values():
        for step in loader.dataset.pipeline:
            step["size"] = 32
    return cfg


@pytest.mark.parametrize("name", WRITERS)
def test_shipped_linear_config(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runner = build_runner(vision_config("linear", name, tmp_path, monkeypatch))
    metrics = runner.test()
    assert set(metrics) == {"accuracy", "mean_per_class"}
    assert metrics["accuracy"] > 0.6  # brightness tells the classes apart, even for random weights
    splits = {split: loader.dataset for split, loader in runner.test_loop.loaders.items()}
    assert all(len(data) > 0 and set(data.labels) == set(splits["test"].labels) for data in splits.values())


@pytest.mark.parametrize("name", WRITERS)
def test_shipped_zero_shot_config(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cfg = vision_config("zeroshot", name, tmp_path, monkeypatch)
    metrics = build_runner(cfg).test()
    assert set(metrics) == {"accuracy", "mean_per_class"} and 0 <= metrics["accuracy"] <= 1


@pytest.mark.parametrize("name", WRITERS)
def test_splits_share_nothing_and_lose_nothing(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_vision_set(name, tmp_path, monkeypatch)
    sets = {split: VisionSet(name, str(tmp_path), split, []) for split in ("train", "val", "trainval", "test")}

    def contents(split: str) -> list[bytes]:
        data = sets[split]
        return sorted(bytes([data[i]["label"]]) + data[i]["image"].numpy().tobytes() for i in range(len(data)))

    assert sorted(contents("train") + contents("val")) == contents("trainval")
    assert not set(contents("test")) & set(contents("trainval")) or name in ("cifar10", "cifar100", "mnist", "stl10")
    again = VisionSet(name, str(tmp_path), "val", [])
    assert [again[i]["sample_id"] for i in range(len(again))] == [
        sets["val"][i]["sample_id"] for i in range(len(again))
    ]
    first = sets["test"][0]
    assert first["image"].dtype == torch.uint8 and first["image"].shape[0] == 3
    assert len(sets["test"].class_names) > first["label"] and all("_" not in each for each in again.class_names)


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="root=.*nowhere' does not exist; food-101/ with images/ and meta/"):
        VisionSet("food101", str(tmp_path / "nowhere"), "train", [])
    for name in set(WRITERS) - {"imagenet"}:
        with pytest.raises(FileNotFoundError, match=f"does not hold {name} as published: .* should lie there"):
            VisionSet(name, str(tmp_path), "train", [])
    with pytest.raises(ValueError, match="name='food' is unknown"):
        VisionSet("food", str(tmp_path), "train", [])
    with pytest.raises(ValueError, match="split='dev' is unknown"):
        VisionSet("food101", str(tmp_path), "dev", [])


def test_features_are_extracted_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cfg = vision_config("linear", "food101", tmp_path, monkeypatch)
    extracted: list[str] = []
    extract = LinearProbeLoop._extract
    monkeypatch.setattr(
        LinearProbeLoop, "_extract", lambda self, name, *rest: extracted.append(name) or extract(self, name, *rest)
    )
    torch.manual_seed(0)
    runner = build_runner(cfg)
    first = runner.test()
    assert extracted == ["train", "val", "test"] and runner.test() == first and len(extracted) == 3
    cfg.test_dataloader.loaders.test.dataset.pipeline[0].size = 40  # other data: this split only
    other = build_runner(cfg)
    other.model.load_state_dict(runner.model.state_dict())
    other.test()
    assert extracted[3:] == ["test"]
    with torch.no_grad():
        other.model.backbone.norm.bias += 1.0  # other weights: everything
    other.test()
    assert extracted[4:] == ["train", "val", "test"]


def test_test_labels_choose_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cfg, chosen = vision_config("linear", "mnist", tmp_path, monkeypatch), []
    probe = linear_probe_loop.linear_probe
    monkeypatch.setattr(linear_probe_loop, "linear_probe", lambda *args: chosen.append(probe(*args)) or chosen[-1])
    runner = build_runner(cfg)
    runner.test()
    labels = runner.test_loop.loaders["test"].dataset.parts[0].labels
    labels[:] = labels[::-1].copy()
    build_runner(cfg)
    for file in Path(cfg.work_dir, "features").glob("test_*.npz"):
        with np.load(file) as stored:
            np.savez(file, features=stored["features"], labels=stored["labels"][::-1])
    runner.test()
    assert chosen[0].chosen_c == chosen[1].chosen_c
    np.testing.assert_array_equal(chosen[0].predicted, chosen[1].predicted)


def test_zero_shot_finds_the_class_that_its_prompts_describe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With features made so that picture and prompts of a class agree, all is right; turned round, nothing is."""
    cfg = vision_config("zeroshot", "food101", tmp_path, monkeypatch)
    runner = build_runner(cfg)
    loop = runner.test_loop
    monkeypatch.setattr(loop, "_class_features", lambda: torch.eye(3))
    brightness = torch.tensor([0.0, 60.0, 120.0])

    def by_brightness(model, images: torch.Tensor) -> torch.Tensor:
        pixels = model.data_preprocessor.denormalize(images).mean((1, 2, 3)) - 60
        return torch.eye(3)[(pixels[:, None] - brightness).abs().argmin(1)]

    monkeypatch.setattr(zero_shot_loop, "image_features", by_brightness)
    assert runner.test() == {"accuracy": 1.0, "mean_per_class": 1.0}
    monkeypatch.setattr(loop, "_class_features", lambda: torch.eye(3).roll(1, 0))
    assert runner.test()["accuracy"] == 0.0


def test_templates_need_a_place_for_the_class(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cfg = vision_config("zeroshot", "food101", tmp_path, monkeypatch)
    cfg.test_cfg.templates = ["a photo"]
    with pytest.raises(ValueError, match="each needs {} where the class goes"):
        build_runner(cfg).test()


def test_other_loaders_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cfg = vision_config("linear", "food101", tmp_path, monkeypatch)
    del cfg.test_dataloader.loaders["val"]
    with pytest.raises(ValueError, match="a linear probe needs"):
        build_runner(cfg).test()
    assert json.dumps(cfg.test_cfg.to_dict()) == '{"type": "LinearProbeLoop"}'

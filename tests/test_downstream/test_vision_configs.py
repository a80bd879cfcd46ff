"""Linear and zero-shot evaluation of all fifteen sets, end to end on small data in the published layouts."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.downstream import small
from helpers.processes import run_in_processes
from helpers.run import build_runner
from helpers.vision_sets import WRITERS, write_vision_set
from mmengine.config import Config

from momo.engine import LinearProbeLoop, linear_probe_loop, zero_shot_loop
from momo.engine.train_loop import unwrap

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
    other.cfg.model.pooling = "mean"  # the same weights, other features
    other.test()
    assert extracted[7:] == ["train", "val", "test"]


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


def probe_in_process(rank: int, cfg: Config, weights: Path) -> dict[str, Any]:
    runner = build_runner(cfg)
    unwrap(runner.model).load_state_dict(torch.load(weights))
    linear_probe_loop.HEARTBEAT = 0.0  # every step of the fit tells the others that it goes on
    return {"metrics": runner.test(), "again": runner.test()}


def kept_features(cfg: Config) -> dict[str, dict[str, np.ndarray]]:
    """By file, the name of which tells the split."""
    return {path.name: dict(np.load(path)) for path in Path(cfg.work_dir, "features").iterdir()}


@pytest.mark.dist
@pytest.mark.parametrize("wrapper", ["MoMoDistributedDataParallel", "MoMoFullyShardedDataParallel"])
def test_two_processes_probe_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrapper: str) -> None:
    """Of 17 samples in all and 5 for the test, one process has one more than the other."""
    cfg = vision_config("linear", "pets", tmp_path, monkeypatch)
    lists = tmp_path / "data" / "pets" / "oxford-iiit-pet" / "annotations"
    for name, last in (("trainval.txt", 17), ("test.txt", 5)):
        (lists / name).write_text("".join((lists / name).read_text().splitlines(keepends=True)[:last]))
    runner = build_runner(cfg)
    weights = tmp_path / "weights.pth"
    torch.save(runner.model.state_dict(), weights)
    cfg.model_wrapper_cfg = dict(type=f"momo.{wrapper}")
    metrics = runner.test()
    alone = kept_features(cfg)
    assert sorted(len(split["labels"]) % 2 for split in alone.values()) == [0, 1, 1]
    cfg.work_dir, cfg.launcher = str(tmp_path / "two"), "pytorch"
    for result in run_in_processes(probe_in_process, tmp_path, cfg, weights):
        assert result == {"metrics": metrics, "again": metrics}
    together = kept_features(cfg)
    assert together.keys() == alone.keys() and len(alone) == 3
    for name, split in alone.items():
        np.testing.assert_array_equal(together[name]["labels"], split["labels"])
        np.testing.assert_allclose(together[name]["features"], split["features"], atol=1e-5)


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

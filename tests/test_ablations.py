"""An ablation differs from what it is compared with in what its table says, and in nothing else."""

import re
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope

from momo.datasets import build_loader
from momo.registry import MODELS

ROOT = Path(__file__).parents[1]
ABLATIONS = ROOT / "configs" / "ablations"
KIT = ROOT / "data" / "kit"
BY_STEP = {"train_cfg.max_epochs", "train_cfg.max_iters", "param_scheduler.0.end", "param_scheduler.1.begin"}
BY_STEP |= {f"param_scheduler.{index}.{key}" for index in (0, 1) for key in ("by_epoch", "convert_to_iter_based")}
START = {"custom_hooks.1.checkpoint", "custom_hooks.1.made_by"}
NEW, UNUSED, PRIMARY = "custom_hooks.1.new", "custom_hooks.1.unused", "train_dataloader.primary"


def of(modality: str) -> set[str]:
    """Everything that belongs to one modality."""
    return {f"model.decoders.{modality}", f"model.objectives.{modality}", f"train_dataloader.loaders.{modality}"}


SHARED = {
    "model.decoders.image.outputs",
    "model.decoders.text",
    "model.objectives.text.mlm.decoder",
    NEW,
}
VAL = {"val_dataloader", "val_cfg", "val_evaluator"}
EPOCHS = {"train_cfg.max_epochs", "param_scheduler.0.end", "param_scheduler.1.begin"}
DIFFERENCES = {
    "combined_vitb": ("momo/stage3_vitb", of("image") | BY_STEP | START | {NEW, UNUSED}),
    "separate_stage2_vitb": ("momo/stage2_vitb", BY_STEP),
    "separate_stage3_vitb": ("momo/stage3_vitb", BY_STEP | START),
    "stage2_text_only_vitb": ("momo/stage2_vitb", of("image") | {UNUSED, "find_unused_parameters"}),
    "stage2_shared_decoder_vitb": ("momo/stage2_vitb", SHARED),
    "stage3_pairs_only_vitb": ("momo/stage3_vitb", of("text") | EPOCHS | {PRIMARY, UNUSED}),
    "stage3_with_images_vitb": ("momo/stage3_vitb", of("image") | {UNUSED}),
    "stage3_cmga_50k_vitb": ("momo/stage3_vitb", BY_STEP),
    "stage3_no_cmga_50k_vitb": ("ablations/stage3_cmga_50k_vitb", {"train_cfg.cmga"}),
    "demo_combined": (
        "demo/stage3",
        of("image") | START | {NEW, UNUSED, "train_cfg.max_epochs", "train_cfg.val_interval"},
    ),
    "demo_stage2_shared_decoder": ("demo/stage2", SHARED),
    "demo_stage3_pairs_only": ("demo/stage3", of("text") | VAL | {UNUSED}),
    "demo_stage3_no_cmga": ("demo/stage3", {"train_cfg.cmga"}),
    "demo_stage3_with_images": ("demo/stage3", of("image") | {UNUSED}),
}


def load(name: str) -> dict[str, Any]:
    """A config without its helper variables."""
    cfg = Config.fromfile(ROOT / "configs" / f"{name}.py").to_dict()
    return {key: value for key, value in cfg.items() if not key.startswith("_")}


def differences(first: Any, second: Any, path: str = "") -> set[str]:
    """Paths at which two configs differ; lists of the same number of dicts are compared entry by entry."""
    if isinstance(first, list) and isinstance(second, list) and len(first) == len(second):
        if all(isinstance(item, dict) for item in (*first, *second)):
            first, second = (dict(enumerate(items)) for items in (first, second))
    if not (isinstance(first, dict) and isinstance(second, dict)):
        return set() if first == second else {path}
    found = set()
    for key in {**first, **second}:
        below = f"{path}.{key}" if path else str(key)
        both = key in first and key in second
        found |= differences(first[key], second[key], below) if both else {below}
    return found


def test_differences_are_found_and_named() -> None:
    first = dict(a=[dict(x=1, new=["p"])], b=dict(c=1), d=2, e=[1])
    second = dict(a=[dict(x=2, new=["q"])], b=dict(), d=2, e=[1, 2])
    assert differences(first, second) == {"a.0.x", "a.0.new", "b.c", "e"}


def test_every_ablation_is_compared() -> None:
    assert {path.stem for path in ABLATIONS.glob("*.py")} == set(DIFFERENCES)


@pytest.mark.parametrize("name", DIFFERENCES)
def test_an_ablation_differs_from_its_counterpart_only_where_intended(name: str) -> None:
    base, intended = DIFFERENCES[name]
    assert differences(load(f"ablations/{name}"), load(base)) == intended


@pytest.mark.parametrize("scale", ["vitb", "demo"])
def test_the_combined_stage_has_the_objectives_of_both(scale: str) -> None:
    def name(stage: int) -> str:
        return f"momo/stage{stage}_vitb" if scale == "vitb" else f"demo/stage{stage}"

    combined = load("ablations/combined_vitb" if scale == "vitb" else "ablations/demo_combined")
    second, third = load(name(2)), load(name(3))
    assert combined["model"]["objectives"] == {**second["model"]["objectives"], **third["model"]["objectives"]}
    assert combined["model"]["decoders"] == {**second["model"]["decoders"], **third["model"]["decoders"]}
    loaders = {**second["train_dataloader"]["loaders"], **third["train_dataloader"]["loaders"]}
    for modality, loader in combined["train_dataloader"]["loaders"].items():
        assert loader["dataset"] == loaders[modality]["dataset"]
    assert set(combined["train_dataloader"]["loaders"]) == set(loaders)
    assert combined["custom_hooks"][1]["checkpoint"] == second["custom_hooks"][1]["checkpoint"]


def test_separate_stages_take_as_many_steps_as_the_combined_one() -> None:
    stages = [load(f"ablations/separate_stage{stage}_vitb") for stage in (2, 3)]
    combined = load("ablations/combined_vitb")
    assert sum(stage["train_cfg"]["max_iters"] for stage in stages) == combined["train_cfg"]["max_iters"] == 50_000
    for cfg in (*stages, combined):
        warm_up, cosine = cfg["param_scheduler"]
        assert warm_up["end"] == cosine["begin"] == cfg["train_cfg"]["max_iters"] / 10
        assert not warm_up["by_epoch"] and not cosine["by_epoch"] and "end" not in cosine


def test_pairs_only_takes_as_many_steps_as_with_text() -> None:
    """MoMo 3.4: 6.6 million texts, 26.6 million pairs; a step takes as many of one as of the other."""
    with_text, pairs = load("momo/stage3_vitb"), load("ablations/stage3_pairs_only_vitb")
    for section, key in (("train_cfg", "max_epochs"), ("warm_up", "end")):
        text_epochs, pair_epochs = (
            {**cfg, "warm_up": cfg["param_scheduler"][0]}[section][key] for cfg in (with_text, pairs)
        )
        assert pair_epochs * 26.6 == pytest.approx(text_epochs * 6.6, rel=0.01)


@pytest.mark.parametrize("name", DIFFERENCES)
def test_the_stage_before_fits(name: str) -> None:
    """What the hand-over adds and leaves over is what the config names, and no name of it is idle."""
    cfg = load(f"ablations/{name}")
    hook = cfg["custom_hooks"][1]
    before = re.search(r"configs/(\S+)\.py", hook["made_by"]).group(1)
    shapes = []
    for config in (load(before), cfg):
        with torch.device("meta"), DefaultScope.overwrite_default_scope("momo"):
            shapes.append({key: value.shape for key, value in MODELS.build(config["model"]).state_dict().items()})
    first, second = shapes
    assert all(first[key] == second[key] for key in first.keys() & second.keys())
    for keys, patterns in (
        (second.keys() - first.keys(), hook.get("new", [])),
        (first.keys() - second.keys(), hook.get("unused", [])),
    ):
        assert all(any(fnmatchcase(key, pattern) for pattern in patterns) for key in keys)
        assert all(any(fnmatchcase(key, pattern) for key in keys) for pattern in patterns)


@pytest.mark.skipif(not (KIT / "kit.json").exists(), reason="needs the demo's data")
def test_the_demo_s_combined_stage_takes_the_steps_of_both(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)

    def steps(name: str, processes: int) -> int:
        cfg = load(name)
        loader = cfg["train_dataloader"]["loaders"][cfg["train_dataloader"]["primary"]]
        dataset = build_loader(loader, {}, seed=0, training=False).dataset
        return cfg["train_cfg"]["max_epochs"] * (len(dataset) // (loader["batch_size"] * processes))

    separate = steps("demo/stage2", 1) + steps("demo/stage3", 2)
    assert steps("ablations/demo_combined", 2) == pytest.approx(separate, rel=0.01)

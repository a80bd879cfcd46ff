"""ImageNet through mmpretrain's classifier: MAE's linear recipe and full fine-tuning, end to end on a small folder."""

from pathlib import Path
from uuid import uuid4

import pytest
import torch
from helpers.downstream import small
from helpers.run import build_runner
from helpers.tiny import tiny_vit
from helpers.vision_sets import imagenet
from mmengine.registry import DefaultScope

pytestmark = [
    pytest.mark.slow,  # importing mmpretrain takes 5 s
    pytest.mark.usefixtures("unformatted_configs"),
    pytest.mark.filterwarnings("ignore"),
]


@pytest.fixture(autouse=True)
def own_scope_afterwards():
    """A runner leaves its default scope behind; the tests that follow build without one."""
    yield
    DefaultScope.get_instance(f"after {uuid4()}", scope_name="momo")


def imagenet_config(name: str, tmp_path: Path):
    imagenet(tmp_path / "data" / "imagenet")
    cfg = small(name, tmp_path, tmp_path / "data", vocab_size=0)
    cfg.data_preprocessor.num_classes = cfg.model.head.num_classes = 3
    cfg.model.head.in_channels = 32
    cfg.test_evaluator.topk = (1, 2)
    cfg.train_dataloader.dataset.pipeline[1].scale = 32
    cfg.test_dataloader.dataset.pipeline[1].scale = 36
    cfg.test_dataloader.dataset.pipeline[2].crop_size = 32
    cfg.custom_hooks[1].checkpoint = None
    cfg.train_cfg.max_epochs = 2
    for scheduler in cfg.param_scheduler:
        scheduler.update({key: 1 for key in ("begin", "end") if scheduler.get(key)})
    return cfg


def test_linear_by_lars(tmp_path: Path) -> None:
    cfg = imagenet_config("linear_imagenet_lars_vitb", tmp_path)
    cfg.model.backbone.frozen_stages, cfg.model.neck.input_features = 2, 32
    runner = build_runner(cfg)
    before = {name: value.clone() for name, value in runner.model.state_dict().items()}
    runner.train()
    changed = {name.split(".")[0] for name, value in runner.model.state_dict().items() if not value.equal(before[name])}
    assert changed == {"neck", "head"}
    assert set(runner.test()) == {"accuracy/top1", "accuracy/top2"}


def test_fine_tuning(tmp_path: Path) -> None:
    runner = build_runner(imagenet_config("finetune_imagenet_vitb", tmp_path))
    runner.train()
    groups = {group["param_name"]: group for group in runner.optim_wrapper.optimizer.param_groups}
    scale = {name: group["lr_scale"] for name, group in groups.items()}
    assert scale["head.fc.weight"] == scale["backbone.norm.weight"] == 1.0
    assert scale["backbone.blocks.1.attn.qkv.weight"] == pytest.approx(0.65)
    assert scale["backbone.blocks.0.mlp.fc1.bias"] == pytest.approx(0.65**2)
    assert scale["backbone.cls_token"] == scale["backbone.image_embed.proj.weight"] == pytest.approx(0.65**3)
    assert groups["backbone.blocks.0.norm1.weight"]["weight_decay"] == 0.0
    assert set(runner.test()) == {"accuracy/top1", "accuracy/top2"}


def test_depths() -> None:
    encoder = tiny_vit()
    assert encoder.get_layer_depth("backbone.blocks.1.norm1.bias", "backbone.") == (2, 4)
    assert encoder.get_layer_depth("backbone.text_embed.words.weight", "backbone.") == (0, 4)
    assert encoder.get_layer_depth("head.fc.bias", "backbone.") == (3, 4)
    assert torch.equal(encoder.norm.weight, torch.ones(32))

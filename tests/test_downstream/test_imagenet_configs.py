"""ImageNet through mmpretrain's classifier: MAE's linear recipe and full fine-tuning, end to end on a small folder."""

from pathlib import Path
from uuid import uuid4

import pytest
import torch
from helpers.downstream import small
from helpers.run import build_runner
from helpers.tiny import tiny_pretrainer, tiny_vit
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


def lars_config(tmp_path: Path):
    cfg = imagenet_config("linear_imagenet_lars_vitb", tmp_path)
    cfg.model.backbone.frozen_stages, cfg.model.neck.input_features = 2, 32
    return cfg


def test_linear_by_lars(tmp_path: Path) -> None:
    runner = build_runner(lars_config(tmp_path))
    before = {name: value.clone() for name, value in runner.model.state_dict().items()}
    runner.train()
    changed = {name.split(".")[0] for name, value in runner.model.state_dict().items() if not value.equal(before[name])}
    assert changed == {"neck", "head"} and not list(runner.model.neck.parameters())
    groups = runner.optim_wrapper.optimizer.param_groups
    adapted = {len(group["params"][0].shape): not group.get("lars_exclude", False) for group in groups}
    assert adapted == {2: True, 1: False} and {group["initial_lr"] for group in groups} == {6.4}
    assert all(group["weight_decay"] == 0.0 for group in groups)
    assert set(runner.test()) == {"accuracy/top1", "accuracy/top2"}


def test_features_come_from_the_encoder_as_it_was(tmp_path: Path) -> None:
    """Frozen means without drop path and dropout too: what the neck is shown in training is what the encoder gives."""
    cfg = lars_config(tmp_path)
    cfg.model.backbone.drop_path_rate = 0.9
    runner = build_runner(cfg)
    runner.model.train()
    images = torch.randn(4, 3, 32, 32)
    (shown,) = runner.model.backbone(images)
    torch.testing.assert_close(shown, runner.model.backbone.eval().encode_images(images).first())
    assert runner.model.neck.training and not shown.requires_grad


@pytest.mark.parametrize("name", ["linear_imagenet_lars_vitb", "finetune_imagenet_vitb"])
@pytest.mark.parametrize("stage", [1, 3])
def test_starts_from_a_stage(name: str, stage: int, tmp_path: Path) -> None:
    cfg = lars_config(tmp_path) if "lars" in name else imagenet_config(name, tmp_path)
    pretrained = tiny_pretrainer(stage, **({"vocab_size": 0} if stage == 1 else {}))
    torch.save({"state_dict": pretrained.state_dict()}, tmp_path / "stage.pth")
    cfg.custom_hooks[1].checkpoint = str(tmp_path / "stage.pth")
    runner = build_runner(cfg)
    runner.train_loop.run_epoch = lambda: setattr(runner.train_loop, "_epoch", 2)  # the hook, and no step
    runner.train()
    own, theirs = runner.model.backbone.state_dict(), pretrained.backbone.state_dict()
    assert own.keys() == {name for name in theirs if not name.startswith("text_embed.")}
    assert all(torch.equal(value, theirs[name]) for name, value in own.items())


def test_fine_tuning(tmp_path: Path) -> None:
    cfg = imagenet_config("finetune_imagenet_vitb", tmp_path)
    assert cfg.optim_wrapper.optimizer.lr == 5e-4 * 8 * 128 / 256
    runner = build_runner(cfg)
    runner.train()
    groups = {group["param_name"]: group for group in runner.optim_wrapper.optimizer.param_groups}
    assert groups.keys() == {name for name, _ in runner.model.named_parameters()}
    for name, group in groups.items():
        assert group["initial_lr"] == pytest.approx(2e-3 * group["lr_scale"])
        decays = name.endswith(".weight") and "norm" not in name
        assert group["weight_decay"] == (0.05 if decays else 0.0), name
    scale = {name: group["lr_scale"] for name, group in groups.items()}
    assert scale["head.fc.weight"] == scale["backbone.norm.weight"] == 1.0
    assert scale["backbone.blocks.1.attn.qkv.weight"] == pytest.approx(0.65)
    assert scale["backbone.blocks.0.mlp.fc1.bias"] == pytest.approx(0.65**2)
    assert scale["backbone.cls_token"] == scale["backbone.image_embed.proj.weight"] == pytest.approx(0.65**3)
    assert set(runner.test()) == {"accuracy/top1", "accuracy/top2"}


def test_depths() -> None:
    encoder = tiny_vit()
    assert encoder.get_layer_depth("backbone.blocks.1.norm1.bias", "backbone.") == (2, 4)
    assert encoder.get_layer_depth("backbone.text_embed.words.weight", "backbone.") == (0, 4)
    assert encoder.get_layer_depth("head.fc.bias", "backbone.") == (3, 4)
    depths = [encoder.get_layer_depth(f"backbone.{name}", "backbone.")[0] for name, _ in encoder.named_parameters()]
    assert depths == sorted(depths) and set(depths) == {0, 1, 2, 3}  # the order of the forward pass
    assert encoder.get_layer_depth("blocks.0.norm1.bias") == (1, 4)

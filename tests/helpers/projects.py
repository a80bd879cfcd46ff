"""What the tests of projects share: scenes of drawn shapes, a checkpoint of the demo's size, a run of two steps."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NamedTuple

import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from PIL import Image, ImageDraw
from torch import Tensor
from torchvision.io import decode_image

from momo.engine.checkpoint import load_weights, write_weights
from momo.registry import MODELS

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "projects")]

import draw_scenes  # noqa: E402
import make_scenes  # noqa: E402

NAMES = tuple("abcdefghi")


def drawn_cutouts() -> list[make_scenes.Cutout]:
    """A disc of its own colour and size for each of the nine classes, transparent around."""
    cutouts = []
    for index in range(len(NAMES)):
        picture = Image.new("RGBA", (64, 64), (0, 0, 0, 0))
        edge = index + 2
        ImageDraw.Draw(picture).ellipse((edge, edge, 63 - edge, 63 - edge), (25 * index, 80, 255 - 25 * index, 255))
        cutouts.append(make_scenes.Cutout(picture, index + 1))
    return cutouts


def write_scenes(out: Path, count: int = 8) -> str:
    """Scenes of all three splits."""
    for split in make_scenes.COUNTS:
        make_scenes.write_split(out, split, drawn_cutouts(), NAMES, count)
    return str(out)


def demo_checkpoint(folder: Path) -> str:
    """A checkpoint as the demo's stage 3 leaves it, of random weights."""
    with DefaultScope.overwrite_default_scope("momo"):
        model = MODELS.build(Config.fromfile(ROOT / "configs/demo/stage3.py").model)
    write_weights(folder, model.state_dict())
    return str(folder)


def assert_drawn(cfg: Config, work_dir: Path) -> None:
    """A picture of two scenes: as they are, what is there, what was found."""
    picture = decode_image(str(draw_scenes.draw(cfg, work_dir, 2)))
    side, gap = 96 * draw_scenes.ZOOM, 4
    assert picture.shape == (3, 3 * (side + gap) + gap, 2 * (side + gap) + gap)
    first = picture[:, :, gap : gap + side]
    scene, there = first[:, gap : gap + side], first[:, side + 2 * gap : 2 * (side + gap)]
    assert scene[0].min() < 128 and not torch.equal(scene, there)


class BriefRun(NamedTuple):
    """Weights of the backbone when the first step began, after the last, and the figures of the validation."""

    before: dict[str, Tensor]
    after: dict[str, Tensor]
    figures: dict[str, float]


class _KeepFirst(Hook):
    weights: dict[str, Tensor]

    def before_train_iter(self, runner, batch_idx: int, data_batch=None) -> None:
        if runner.iter == 0:
            self.weights = {name: value.clone() for name, value in runner.model.backbone.state_dict().items()}


def train_briefly(cfg: Config, work_dir: Path) -> BriefRun:
    """Two steps of four images, and the validation."""
    cfg.work_dir, cfg.log_level = str(work_dir), "ERROR"
    cfg.train_dataloader.update(batch_size=4, num_workers=0)
    cfg.val_dataloader.update(batch_size=4)
    cfg.train_cfg.update(max_iters=2, val_interval=2)
    cfg.param_scheduler = None
    keep = _KeepFirst()
    with DefaultScope.overwrite_default_scope(cfg.default_scope):  # a Runner leaves its scope behind
        runner = Runner.from_cfg(cfg)
        runner.register_hook(keep)
        runner.train()
        return BriefRun(keep.weights, runner.model.backbone.state_dict(), runner.val())


def assert_trained_from(checkpoint: str, run: BriefRun) -> None:
    """The run began with the checkpoint's encoder, and its steps changed every part of it."""
    weights = load_weights(checkpoint)
    for name, value in run.before.items():
        assert torch.equal(value, weights[f"backbone.{name}"]), name
        assert not torch.equal(value, run.after[name]), name

"""mmsegmentation trains UPerNet on the encoder, from a checkpoint of stage 3, by the project's config."""

from pathlib import Path

import pytest
from helpers.projects import ROOT, assert_drawn, assert_trained_from, demo_checkpoint, train_briefly, write_scenes
from mmengine.config import Config

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]
pytest.importorskip("mmseg", reason="needs `pip install onedl-mmsegmentation`")


def test_it_starts_from_stage_3_trains_and_is_evaluated(tmp_path: Path) -> None:
    cfg = Config.fromfile(ROOT / "projects/segmentation/upernet_scenes.py")
    root = write_scenes(tmp_path / "scenes")
    for split in ("train", "val", "test"):
        cfg[f"{split}_dataloader"].dataset.data_root = root
    cfg.custom_hooks[0].checkpoint = demo_checkpoint(tmp_path / "stage3")
    run = train_briefly(cfg, tmp_path / "run")
    assert_trained_from(cfg.custom_hooks[0].checkpoint, run)
    assert 0 <= run.figures["mIoU"] <= 100
    assert_drawn(cfg, tmp_path / "run")

"""Pictures of scenes: colours lie where the masks and boxes are. Whole pictures: the tests of the two projects."""

from pathlib import Path

import pytest
import torch
from helpers.projects import NAMES, ROOT, draw_scenes
from mmengine.config import Config


def test_each_group_has_a_colour_and_the_background_none() -> None:
    image = torch.full((3, 4, 10), 255, dtype=torch.uint8)
    drawn = draw_scenes.draw_mask(image, torch.arange(10).expand(1, 4, 10))
    assert (drawn[:, :, 0] == 255).all()
    assert (drawn == drawn[:, :1]).all()
    assert len(set(map(tuple, drawn[:, 0].T.tolist()))) == 10


def test_a_box_is_drawn_on_the_enlarged_picture() -> None:
    image, box = torch.full((3, 96, 96), 255, dtype=torch.uint8), torch.tensor([[5.0, 10.0, 40.0, 45.0]])
    drawn = draw_scenes.draw_boxes(image, box, torch.tensor([2]), NAMES)
    rows, columns = (drawn != 255).any(0).nonzero(as_tuple=True)
    assert (rows.min(), rows.max(), columns.max()) == (20, 90, 80)


def test_a_folder_without_checkpoint_is_named(tmp_path: Path) -> None:
    cfg = Config.fromfile(ROOT / "projects/detection/fcos_scenes.py")
    with pytest.raises(FileNotFoundError, match="has no checkpoint"):
        draw_scenes.draw(cfg, tmp_path, 2)

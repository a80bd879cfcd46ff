"""Scenes: what the mask says, what the boxes say, and that they agree."""

import json
import random

import numpy as np
import pytest
from helpers.projects import NAMES, drawn_cutouts, make_scenes, write_scenes
from PIL import Image


def test_overlap_by_hand() -> None:
    assert make_scenes.overlap((0, 0, 10, 10), (5, 8, 20, 20)) == pytest.approx(0.1)  # 5 x 2 of 100
    assert make_scenes.overlap((0, 0, 10, 10), (10, 0, 20, 10)) == 0
    assert make_scenes.overlap((2, 2, 4, 4), (0, 0, 10, 10)) == 1


def test_masks_lie_in_their_boxes() -> None:
    for index in range(10):
        scene = make_scenes.compose(drawn_cutouts()[:4], random.Random(index))
        mask = np.array(scene.mask)
        assert scene.boxes
        outside = np.ones_like(mask, dtype=bool)
        for left, top, width, height, label in scene.boxes:
            rows, columns = np.nonzero(mask == label)
            assert left <= columns.min() and columns.max() < left + width
            assert top <= rows.min() and rows.max() < top + height
            outside[top : top + height, left : left + width] = False
        assert (mask[outside] == 0).all()


def test_colours_lie_in_their_masks() -> None:
    """The darkest channel of a disc is at most 80, of the ground 255; a pixel of the mask is half a disc's or more,
    but for rounding."""
    for index, cutout in enumerate(drawn_cutouts()):
        scene = make_scenes.compose([cutout], random.Random(index))
        mask, darkest = np.array(scene.mask), np.array(scene.image).min(axis=-1)
        assert (darkest[mask > 0] <= 168 + 6).all() and (darkest[mask == 0] >= 127 - 6).all()


def test_a_later_emoji_covers_little_of_an_earlier_one() -> None:
    for index in range(10):
        boxes = make_scenes.compose(drawn_cutouts(), random.Random(index)).boxes
        corners = [(left, top, left + width, top + height) for left, top, width, height, _ in boxes]
        for place, box in enumerate(corners):
            assert all(make_scenes.overlap(box, later) <= make_scenes.MAX_COVERED for later in corners[place + 1 :])


def test_an_invisible_picture_is_left_out() -> None:
    clear = make_scenes.Cutout(Image.new("RGBA", (64, 64), (0, 0, 0, 0)), 1)
    scene = make_scenes.compose([clear], random.Random(0))
    assert scene.boxes == [] and scene.mask.getbbox() is None


def test_files_are_the_same_every_time(tmp_path) -> None:
    for name in ("first", "second"):
        write_scenes(tmp_path / name, count=2)
    files = sorted(path.relative_to(tmp_path / "first") for path in (tmp_path / "first").rglob("*.*"))
    assert len(files) == 3 * (2 + 2 + 1)
    for file in files:
        assert (tmp_path / "first" / file).read_bytes() == (tmp_path / "second" / file).read_bytes()
    content = json.loads((tmp_path / "first" / "train.json").read_text())
    assert [category["name"] for category in content["categories"]] == list(NAMES)
    names = [annotation["id"] for annotation in content["annotations"]]
    assert names == list(range(1, len(names) + 1))


def test_a_missing_kit_is_named(tmp_path) -> None:
    with pytest.raises(FileNotFoundError, match="fetch_kit.py"):
        make_scenes.read_cutouts(tmp_path, NAMES)

"""The detection project: its data, its metric by hand, and a run from a checkpoint of stage 3."""

import json
import sys
from pathlib import Path

import pytest
import torch
from helpers.projects import (
    NAMES,
    ROOT,
    assert_drawn,
    assert_trained_from,
    demo_checkpoint,
    train_briefly,
    write_scenes,
)
from helpers.tiny import BACKBONE
from mmengine.config import Config

sys.path.insert(0, str(ROOT))

from projects.detection.coco import CocoAP, CocoBoxes  # noqa: E402
from projects.detection.detector import FCOSDetector  # noqa: E402


@pytest.fixture
def annotations(tmp_path: Path) -> str:
    """Two images of 200 pixels, each with one box of 100 x 100, of categories 1 and 2."""
    boxes = [
        {"id": k, "image_id": k, "category_id": k, "bbox": [10, 20, 100, 100], "area": 10000, "iscrowd": 0}
        for k in (1, 2)
    ]
    content = {
        "images": [{"id": k, "file_name": f"{k}.png", "width": 200, "height": 200} for k in (1, 2)],
        "annotations": boxes,
        "categories": [{"id": k, "name": NAMES[k]} for k in (1, 2)],
    }
    path = tmp_path / "boxes.json"
    path.write_text(json.dumps(content))
    return str(path)


def score(annotations: str, height: float, labels: tuple[int, int] = (0, 1), wrong: int = 0) -> dict[str, float]:
    """Figures where both boxes are found with their lower part cut off, and some wrong ones with less certainty."""
    metric = CocoAP(annotations)
    boxes = torch.tensor([[10.0, 20.0, 110.0, 20.0 + height], *[[150.0, 150.0, 190.0, 190.0]] * wrong])
    for image, label in zip((1, 2), labels, strict=True):
        scores = torch.linspace(1, 0.1, 1 + wrong)
        found = {"image_id": image, "boxes": boxes, "scores": scores, "labels": torch.full((1 + wrong,), label)}
        metric.process(None, [found])
    return metric.evaluate(size=2)


@pytest.mark.parametrize(("height", "ap", "ap50"), [(100, 1.0, 1.0), (62, 0.3, 1.0), (40, 0.0, 0.0)])
def test_ap_by_hand(annotations: str, height: float, ap: float, ap50: float) -> None:
    """An overlap of 0.62 passes 0.5, 0.55 and 0.6 of the ten thresholds."""
    assert score(annotations, height) == pytest.approx({"AP": ap, "AP50": ap50}, abs=1e-6)


def test_a_box_of_the_wrong_class_is_none(annotations: str) -> None:
    assert score(annotations, 100, labels=(1, 0)) == {"AP": 0.0, "AP50": 0.0}


def test_boxes_count_however_many_an_image_has(annotations: str) -> None:
    """The right ones come first, so that wrong ones cost nothing."""
    assert score(annotations, 100, wrong=5) == pytest.approx({"AP": 1.0, "AP50": 1.0}, abs=1e-6)


def test_an_image_without_boxes_has_none_right(annotations: str) -> None:
    metric = CocoAP(annotations)
    empty = {"boxes": torch.zeros(0, 4), "scores": torch.zeros(0), "labels": torch.zeros(0, dtype=torch.int64)}
    metric.process(None, [{"image_id": 1, **empty}, {"image_id": 2, **empty}])
    assert metric.evaluate(size=2) == {"AP": 0.0, "AP50": 0.0}


def test_boxes_are_read_as_corners(tmp_path: Path) -> None:
    root = Path(write_scenes(tmp_path, count=2))
    dataset = CocoBoxes(str(root / "val.json"), str(root / "val/images"))
    assert len(dataset) == 2 and dataset.metainfo["classes"] == NAMES
    content = json.loads((root / "val.json").read_text())
    for index in range(2):
        sample = dataset[index]
        assert sample["inputs"].shape == (3, 96, 96)
        wanted = [row for row in content["annotations"] if row["image_id"] == index]
        corners = [[x, y, x + width, y + height] for x, y, width, height in (row["bbox"] for row in wanted)]
        assert sample["data_samples"]["boxes"].tolist() == corners
        assert sample["data_samples"]["labels"].tolist() == [row["category_id"] - 1 for row in wanted]


def test_missing_annotations_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="make_scenes.py"):
        CocoBoxes(str(tmp_path / "none.json"), str(tmp_path))


def tiny_detector() -> FCOSDetector:
    return FCOSDetector(
        backbone={**BACKBONE, "type": "momo.MoMoViT", "vocab_size": 0, "out_type": "featmap"},
        neck=dict(type="momo.SimpleFeaturePyramid", in_channels=32, out_channels=32, scales=[2, 1]),
        out_channels=32,
        num_classes=2,
        strides=[4, 8],
        image_size=32,
        mean=[255.0] * 3,
        std=[93.0] * 3,
    )


def test_weights_have_the_names_of_checkpoints_and_are_there_once() -> None:
    names = tiny_detector().state_dict()
    assert any(name.startswith("backbone.blocks.") for name in names)
    assert not any(name.startswith("fcos.backbone") for name in names)


def test_other_modes_are_refused() -> None:
    with pytest.raises(ValueError, match="mode='tensor'"):
        tiny_detector()([torch.zeros(3, 32, 32, dtype=torch.uint8)], {}, mode="tensor")


@pytest.mark.slow
def test_it_finds_what_it_has_learnt() -> None:
    """One image with a dark and a coloured square: after some steps both are found, with their classes."""
    model = tiny_detector()
    image = torch.full((3, 32, 32), 255, dtype=torch.uint8)
    image[:, 2:14, 2:14] = 0
    image[0, 18:30, 18:30] = 0
    boxes = torch.tensor([[2.0, 2.0, 14.0, 14.0], [18.0, 18.0, 30.0, 30.0]])
    truth = {"image_id": [7], "boxes": [boxes], "labels": [torch.tensor([0, 1])]}
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    for _ in range(150):
        sum(model([image], truth, mode="loss").values()).backward()
        optimizer.step()
        optimizer.zero_grad()
    (found,) = model.eval()([image], truth, mode="predict")
    assert found["image_id"] == 7
    best = [found["boxes"][found["labels"] == label][0] for label in (0, 1)]
    torch.testing.assert_close(torch.stack(best), boxes, atol=2.0, rtol=0)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_it_starts_from_stage_3_trains_and_is_evaluated(tmp_path: Path) -> None:
    cfg = Config.fromfile(ROOT / "projects/detection/fcos_scenes.py")
    root = write_scenes(tmp_path / "scenes")
    for split in ("train", "val", "test"):
        dataset = cfg[f"{split}_dataloader"].dataset
        dataset.update(annotations=f"{root}/{split}.json", root=f"{root}/{split}/images")
    cfg.val_evaluator.annotations = f"{root}/val.json"
    cfg.test_evaluator.annotations = f"{root}/test.json"
    cfg.custom_hooks[0].checkpoint = demo_checkpoint(tmp_path / "stage3")
    run = train_briefly(cfg, tmp_path / "run")
    assert_trained_from(cfg.custom_hooks[0].checkpoint, run)
    assert 0 <= run.figures["AP"] <= run.figures["AP50"] <= 1
    assert_drawn(cfg, tmp_path / "run")

"""Draw what the model of projects/segmentation or projects/detection finds in scenes that it has not seen.

    export PYTHONPATH=.
    python projects/draw_scenes.py projects/segmentation/upernet_scenes.py work_dirs/upernet_scenes
    python projects/draw_scenes.py projects/detection/fcos_scenes.py work_dirs/fcos_scenes

A column a scene of the test split: the picture, what is there, what was found. Written to found.jpg in the work_dir.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import DATASETS, MODELS, DefaultScope
from PIL import ImageColor
from torch import Tensor
from torchvision.io import write_jpeg
from torchvision.ops import nms
from torchvision.transforms.functional import resize
from torchvision.utils import draw_bounding_boxes, draw_segmentation_masks, make_grid

from momo.engine.checkpoint import find_checkpoint, load_weights

COLOURS = ("gold", "sienna", "red", "limegreen", "gray", "orange", "deeppink", "royalblue", "turquoise")
ZOOM = 2
SCORE = 0.3  # above which a box is drawn
OVERLAP = 0.4  # above which it is not, beside a better one


def draw_mask(image: Tensor, mask: Tensor) -> Tensor:
    """Colour each group's pixels of an image (3, height, width); mask (1, height, width), 0 is background."""
    layers = mask == torch.arange(1, len(COLOURS) + 1)[:, None, None]
    return draw_segmentation_masks(image, layers, alpha=0.9, colors=list(COLOURS))


def draw_boxes(image: Tensor, boxes: Tensor, labels: Tensor, names: Sequence[str]) -> Tensor:
    """Boxes (n, 4) as corners, with the names of their labels (n,), on an image (3, height, width)."""
    return draw_bounding_boxes(
        image,
        boxes * ZOOM,
        labels=[names[label] for label in labels],
        colors=[ImageColor.getrgb(COLOURS[label]) for label in labels],
        width=2,
    )


def draw_scene(sample: dict[str, Any], found: Any, names: Sequence[str]) -> list[Tensor]:
    """The picture, what is there and what was found."""
    image, truth = sample["inputs"], sample["data_samples"]
    big = resize(image, [ZOOM * side for side in image.shape[1:]])
    if isinstance(truth, dict):
        best = nms(found["boxes"], found["scores"], OVERLAP)  # whatever their groups
        best = best[found["scores"][best] > SCORE]
        there = draw_boxes(big, truth["boxes"], truth["labels"], names)
        return [big, there, draw_boxes(big, found["boxes"][best], found["labels"][best], names)]
    masks = (truth.gt_sem_seg.data, found.pred_sem_seg.data)
    bgr_to_rgb = [2, 1, 0]  # mmsegmentation reads by OpenCV
    return [big[bgr_to_rgb], *(resize(draw_mask(image[bgr_to_rgb], mask), big.shape[1:]) for mask in masks)]


def draw(cfg: Config, work_dir: Path, scenes: int) -> Path:
    """Draw the first scenes of the test split with what the newest checkpoint of a folder finds in them.

    Raises: FileNotFoundError if it has none.
    """
    checkpoint = find_checkpoint(work_dir)
    if checkpoint is None:
        raise FileNotFoundError(f"work_dir={str(work_dir)!r} has no checkpoint: train the config there first")
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        model = MODELS.build(cfg.model).eval()
        dataset = DATASETS.build(cfg.test_dataloader.dataset)
    model.load_state_dict(load_weights(checkpoint))
    samples = [dataset[index] for index in range(scenes)]
    with torch.inference_mode():
        found = model.test_step(pseudo_collate(samples))
    names = dataset.metainfo["classes"]
    columns = [draw_scene(sample, one, names) for sample, one in zip(samples, found, strict=True)]
    pictures = [picture for row in zip(*columns, strict=True) for picture in row]
    path = work_dir / "found.jpg"
    write_jpeg(make_grid(pictures, nrow=scenes, padding=4, pad_value=200), str(path), quality=80)
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", help="of projects/segmentation or projects/detection")
    parser.add_argument("work_dir", type=Path, help="where it was trained")
    parser.add_argument("--scenes", type=int, default=6)
    args = parser.parse_args()
    print(draw(Config.fromfile(args.config), args.work_dir, args.scenes))


if __name__ == "__main__":
    main()

"""Images with boxes in COCO's form, and COCO's average precision."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import torch
from mmengine.evaluator import BaseMetric
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from torch.utils.data import Dataset
from torchvision.io import ImageReadMode, decode_image

from momo.registry import DATASETS, METRICS


def read_coco(path: str) -> COCO:
    """The annotations of a file, without the messages.

    Raises: FileNotFoundError naming the command that makes them.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"annotations={path!r} does not exist: run `python projects/make_scenes.py` first")
    with redirect_stdout(StringIO()):
        return COCO(path)


@DATASETS.register_module()
class CocoBoxes(Dataset):
    """Images with their boxes; categories 1 to n become labels 0 to n - 1.

    Args:
        annotations: A JSON file in COCO's form.
        root: The folder of its images.
    Raises: FileNotFoundError if there are no annotations.
    """

    def __init__(self, annotations: str, root: str) -> None:
        self.coco, self.root = read_coco(annotations), Path(root)
        self.ids = sorted(self.coco.imgs)
        self.metainfo = {"classes": tuple(category["name"] for category in self.coco.cats.values())}

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> dict[str, Any]:
        name = self.ids[index]
        image = decode_image(str(self.root / self.coco.imgs[name]["file_name"]), ImageReadMode.RGB)
        annotations = self.coco.imgToAnns[name]
        boxes = torch.tensor([annotation["bbox"] for annotation in annotations], dtype=torch.float32).view(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        labels = torch.tensor([annotation["category_id"] - 1 for annotation in annotations], dtype=torch.int64)
        return {"inputs": image, "data_samples": {"image_id": name, "boxes": boxes, "labels": labels}}


@METRICS.register_module()
class CocoAP(BaseMetric):
    """AP over IoU 0.5 to 0.95, and AP50, by pycocotools.

    Args:
        annotations: The file that the evaluated data set reads.
    """

    def __init__(self, annotations: str) -> None:
        super().__init__()
        self.coco = read_coco(annotations)

    def process(self, data_batch: Any, data_samples: Sequence[dict[str, Any]]) -> None:
        for found in data_samples:
            boxes = found["boxes"].cpu().clone()
            boxes[:, 2:] -= boxes[:, :2]
            rows = zip(boxes.tolist(), found["scores"].tolist(), (found["labels"] + 1).tolist(), strict=True)
            named = {"image_id": found["image_id"]}
            # A list an image: MMEngine keeps as many results as there are images.
            self.results.append([{**named, "bbox": box, "score": score, "category_id": k} for box, score, k in rows])

    def compute_metrics(self, results: list[list[dict[str, Any]]]) -> dict[str, float]:
        boxes = [box for image in results for box in image]
        if not boxes:
            return {"AP": 0.0, "AP50": 0.0}
        with redirect_stdout(StringIO()):
            evaluation = COCOeval(self.coco, self.coco.loadRes(boxes), "bbox")
            evaluation.evaluate()
            evaluation.accumulate()
            evaluation.summarize()
        return {"AP": float(evaluation.stats[0]), "AP50": float(evaluation.stats[1])}

"""Images with captions."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from momo.ops import key_of
from momo.registry import DATASETS

from .base import KeyedDataset, existing, pick


@DATASETS.register_module()
class ImageText(KeyedDataset):
    """Image-text pairs from a JSON list or JSON lines of {"image": ..., "caption": ...}.

    Either may be a list: several captions of one image, as COCO has, or several pictures of one thing. One of each is
    drawn when the sample is read.

    Args:
        annotations: The .json or .jsonl file.
        root: Folder that image paths start from.
        pipeline: Transforms; usually LoadImage, image transforms, Tokenize.
    Raises: FileNotFoundError if either is not there; ValueError naming file and row for a row of another form.
    """

    def __init__(self, annotations: str, root: str, pipeline: Sequence[dict]) -> None:
        super().__init__(pipeline)
        path = existing(annotations, "annotations", 'a JSON list of {"image": path, "caption": text}')
        self.root = existing(root, "root", "the images that the annotations name")
        self.path, self.rows = path, _read_rows(path)
        for number, row in enumerate(self.rows):
            _check(row, path, number)

    def __len__(self) -> int:
        return len(self.rows)

    def read(self, index: int) -> dict[str, Any]:
        row = self.rows[index]
        image = self.root / pick(row["image"])
        return {
            "sample_id": f"{self.path}:{index}",
            "image_path": str(image),
            "image_id": key_of(str(image)),
            "text": pick(row["caption"]),
        }


def _read_rows(path: Path) -> list[dict[str, Any]]:
    try:
        with path.open(encoding="utf-8") as file:
            rows = [json.loads(line) for line in file if line.strip()] if path.suffix == ".jsonl" else json.load(file)
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is not valid JSON: {error}") from error
    if not isinstance(rows, list) or not rows:
        raise ValueError(f"{path} should hold a list of pairs, and at least one")
    return rows


def _check(row: Any, path: Path, number: int) -> None:
    for name in ("image", "caption"):
        value = row.get(name) if isinstance(row, dict) else None
        values = value if isinstance(value, list) else [value]
        if not values or not all(isinstance(item, str) for item in values):
            raise ValueError(f"{path}, row {number}: {name!r} should be a string or a list of strings, got {value!r}")

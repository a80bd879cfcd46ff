"""Images in folders."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from momo.ops import key_of
from momo.registry import DATASETS

from .base import KeyedDataset, existing

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".gif")


@DATASETS.register_module()
class ImageFolder(KeyedDataset):
    """All images below a folder, without labels: ImageNet's `train`, or any other.

    Args:
        root: Folder; its sub-folders are searched too.
        pipeline: Transforms; the first is usually LoadImage.
    Raises: FileNotFoundError if the folder is not there; ValueError if it holds no image.
    """

    def __init__(self, root: str, pipeline: Sequence[dict]) -> None:
        super().__init__(pipeline)
        folder = existing(root, "root", "a folder of images, such as ImageNet's train/ with one folder a class,")
        paths = sorted(os.fsencode(path) for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
        if not paths:
            raise ValueError(f"root={root!r} holds no file ending in {', '.join(SUFFIXES)}")
        self.paths = np.array(paths)  # one block of memory, which workers share without copying

    def __len__(self) -> int:
        return len(self.paths)

    def read(self, index: int) -> dict[str, Any]:
        path = os.fsdecode(self.paths[index])
        return {"sample_id": path, "image_path": path, "image_id": key_of(path)}

"""Images in folders."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from momo.ops import key_of
from momo.registry import DATASETS

from .base import KeyedDataset, existing
from .storage import is_url, list_files, read_bytes

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".gif")


@DATASETS.register_module()
class ImageFolder(KeyedDataset):
    """All images below a folder, without labels: ImageNet's `train`, or any other.

    Args:
        root: Folder or URL; its sub-folders are searched too.
        pipeline: Transforms; the first is usually LoadImage.
        max_bad_fraction: See BrokenSamples.
    Raises: FileNotFoundError if the folder is not there; ValueError if it holds no image.
    """

    def __init__(self, root: str, pipeline: Sequence[dict], max_bad_fraction: float = 0.01) -> None:
        super().__init__(pipeline)
        if not is_url(root):
            existing(root, "root", "a folder of images, such as ImageNet's train/ with one folder a class,")
        paths = [os.fsencode(path) for path in list_files(root, SUFFIXES)]
        if not paths:
            raise ValueError(f"root={root!r} holds no file ending in {', '.join(SUFFIXES)}")
        self.paths = np.array(paths)  # one block of memory, which workers share without copying
        self.tolerate(max_bad_fraction)

    def __len__(self) -> int:
        return len(self.paths)

    def sample_id(self, index: int) -> str:
        return os.fsdecode(self.paths[index])

    def read(self, index: int) -> dict[str, Any]:
        path = self.sample_id(index)
        image = {"image_bytes": read_bytes(path)} if is_url(path) else {"image_path": path}
        return {"sample_id": path, **image, "image_id": key_of(path)}

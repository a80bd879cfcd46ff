"""COCO and Flickr30K in Karpathy's splits, on which retrieval is measured."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import torch

from momo.registry import DATASETS

from .base import KeyedDataset, existing

# By split file: the folder of images whose rows name none themselves.
SPLIT_FILES = {"dataset_coco.json": "", "dataset_flickr30k.json": "flickr30k-images"}
WHAT = (
    "Karpathy's dataset_coco.json beside train2014/ and val2014/, or dataset_flickr30k.json beside flickr30k-images/,"
)
# A few COCO pictures have six or seven captions; the standard of 5k x 25k takes five of each.
CAPTIONS_PER_IMAGE = 5


class KarpathyRow(NamedTuple):
    """image: path below the root. captions: the first five."""

    image: str
    captions: tuple[str, ...]


def read_karpathy(root: str, split: str) -> tuple[Path, tuple[KarpathyRow, ...]]:
    """The split file below `root`, and the rows of one split in its order.

    Raises: FileNotFoundError if root, file or image folder is not there; ValueError naming file, row and key if a row
        has another form, two split files lie there, or the split is empty.
    """
    folder = existing(root, "root", WHAT)
    found = [folder / name for name in SPLIT_FILES if (folder / name).is_file()]
    if not found:
        raise FileNotFoundError(f"root={root!r} holds neither {' nor '.join(SPLIT_FILES)}; {WHAT} should lie there")
    if len(found) > 1:
        raise ValueError(f"root={root!r} holds both {' and '.join(SPLIT_FILES)}: give each a folder of its own")
    (path,) = found
    rows = _read_split(path, split, path.stat().st_mtime_ns)
    for name in sorted({str(Path(row.image).parent) for row in rows}):
        existing(folder / name, "root", f"a folder {name}/ with the images that {path.name} names,")
    return path, rows


@lru_cache(maxsize=2)  # images and captions read the same file
def _read_split(path: Path, split: str, _modified: int) -> tuple[KarpathyRow, ...]:
    try:
        images = json.loads(path.read_text(encoding="utf-8"))["images"]
        splits = sorted({row["split"] for row in images})
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path} is not in Karpathy's format (images: a list of rows with a split): {error}"
        ) from error
    if split not in splits:
        raise ValueError(f"split={split!r} has no row in {path}; choose from {splits}")
    return tuple(_parse(row, path, number) for number, row in enumerate(images) if row["split"] == split)


def _parse(row: dict[str, Any], path: Path, number: int) -> KarpathyRow:
    folder = row.get("filepath", SPLIT_FILES[path.name])
    for key, value in (("filename", row.get("filename")), ("filepath", folder)):
        if not isinstance(value, str):
            raise ValueError(f"{path}, row {number}: {key!r} should be a string, got {value!r}")
    sentences = row.get("sentences")
    if not isinstance(sentences, list) or not sentences:
        raise ValueError(f"{path}, row {number}: 'sentences' should be a list of captions, got {sentences!r}")
    captions = tuple(
        sentence.get("raw") if isinstance(sentence, dict) else None for sentence in sentences[:CAPTIONS_PER_IMAGE]
    )
    if not all(isinstance(caption, str) for caption in captions):
        raise ValueError(f"{path}, row {number}: each of 'sentences' should have a string 'raw', got {sentences!r}")
    return KarpathyRow(str(Path(folder, row["filename"])), captions)


class _Karpathy(KeyedDataset):
    """image_ids (N,) int64: the number within the split of the image that each sample is or describes."""

    image_ids: torch.Tensor

    def __init__(self, root: str, pipeline: Sequence[dict], split: str = "test") -> None:
        super().__init__(pipeline)
        self.root = Path(root)
        self.path, self.rows = read_karpathy(root, split)

    def __len__(self) -> int:
        return len(self.image_ids)


@DATASETS.register_module()
class KarpathyImages(_Karpathy):
    """The images of a split, once each; `image_ids` tells which captions of KarpathyCaptions are theirs.

    Args:
        root: Folder with dataset_coco.json, train2014/ and val2014/; or dataset_flickr30k.json and flickr30k-images/.
        pipeline: Transforms; usually LoadImage and Resize.
        split: 'test' (COCO 5,000 images, Flickr30K 1,000), 'val', 'train', or COCO's 'restval'.
    Raises: FileNotFoundError if something is not there; ValueError naming file, row and key for a row of another form.
    """

    def __init__(self, root: str, pipeline: Sequence[dict], split: str = "test") -> None:
        super().__init__(root, pipeline, split)
        self.image_ids = torch.arange(len(self.rows))

    def read(self, index: int) -> dict[str, Any]:
        path = str(self.root / self.rows[index].image)
        return {"sample_id": path, "image_path": path, "image_id": int(self.image_ids[index])}


@DATASETS.register_module()
class KarpathyCaptions(_Karpathy):
    """The captions of a split, the first five of each image: 25,000 of COCO's test split, 5,000 of Flickr30K's.

    Args:
        root, split: As KarpathyImages has them.
        pipeline: Transforms; usually Tokenize.
    Raises: as KarpathyImages.
    """

    def __init__(self, root: str, pipeline: Sequence[dict], split: str = "test") -> None:
        super().__init__(root, pipeline, split)
        self.places = [(image, number) for image, row in enumerate(self.rows) for number in range(len(row.captions))]
        self.image_ids = torch.tensor([image for image, _ in self.places])

    def read(self, index: int) -> dict[str, Any]:
        image, number = self.places[index]
        row = self.rows[image]
        return {
            "sample_id": f"{self.path}:{row.image}:{number}",
            "image_id": image,
            "text": row.captions[number],
        }

"""Images with captions."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from momo.ops import key_of
from momo.registry import DATASETS

from .base import KeyedDataset, checked_text, existing, pick
from .broken import BrokenSample
from .reference_runs import runs_in_tars
from .storage import is_url, read_bytes, resolve
from .tables import Rows, find, open_table


@DATASETS.register_module()
class ImageText(KeyedDataset):
    """Image-text pairs from a manifest, or from any other table of images and captions.

    A row's image is a reference (see momo/datasets/manifest.py) below `root`, or its bytes, or, as Hugging Face's
    `datasets` saves images, a struct of bytes and path. Image and caption may each be a list: several captions of one
    image, as COCO has, or several pictures of one thing. One of each is drawn when the sample is read. Rows that lie in
    one tar side by side are read in pieces, as tars are (see PiecewiseOrder); all else is shuffled row by row.

    Args:
        annotations: Paths or glob patterns, local or of a URL, ending in .parquet, .arrow, .json (a list of rows),
            .jsonl, .csv or .tsv (with a header); or a folder that `datasets` saved.
        root: Folder or URL that references to images start from. None leads outside of it.
        pipeline: Transforms; usually LoadImage, image transforms, Tokenize.
        image: The column of images.
        caption: The column of captions; None: 'captions', as manifests have it, or 'caption'.
        max_bad_fraction: See BrokenSamples.
        cache_dir: As TextCorpus has it.
    Raises: FileNotFoundError if either is not there; ValueError naming the file if it cannot be read or lacks a column,
        or if there is no row.
    """

    def __init__(
        self,
        annotations: str | Sequence[str],
        root: str,
        pipeline: Sequence[dict],
        image: str = "image",
        caption: str | None = None,
        max_bad_fraction: float = 0.01,
        cache_dir: str | None = None,
    ) -> None:
        super().__init__(pipeline)
        files = find(annotations, "annotations", "a table of images and captions")
        self.root = root if is_url(root) else str(existing(root, "root", "the images that the annotations name"))
        columns = {"image": [image], "caption": ["captions", "caption"] if caption is None else [caption]}
        self.rows = Rows((path, open_table(path, columns, cache_dir)) for path in files)
        if not len(self.rows):
            raise ValueError(f"annotations={annotations!r} hold no row")
        self.chunks = runs_in_tars(self.rows, "image", cache_dir)
        self.tolerate(max_bad_fraction)

    def __len__(self) -> int:
        return len(self.rows)

    def sample_id(self, index: int) -> str:
        return self.rows.name(index)

    def read(self, index: int) -> dict[str, Any]:
        text = checked_text(pick(self.rows.cell("caption", index)))
        return {
            "sample_id": self.sample_id(index),
            **self._image(pick(self.rows.cell("image", index))),
            "text": text,
        }

    def _image(self, image: Any) -> dict[str, Any]:
        """Where the image lies, or its bytes; and its id, which is equal for rows with the same image."""
        if isinstance(image, bytes):
            image = {"bytes": image}
        if isinstance(image, dict) and isinstance(image.get("bytes"), bytes):
            # By content: the path beside it is often the same for all rows.
            digest = hashlib.blake2b(image["bytes"], digest_size=8).hexdigest()
            return {"image_bytes": image["bytes"], "image_id": key_of(digest)}
        if isinstance(image, dict):
            image = image.get("path")
        if not isinstance(image, str):
            raise BrokenSample("bad row", f"the image is {image!r}, not a string")
        reference = resolve(self.root, image)
        path, offset, size = reference
        if size is None and not is_url(path):
            return {"image_path": path, "image_id": key_of(path)}
        return {"image_bytes": read_bytes(path, offset, size), "image_id": key_of(str(reference))}

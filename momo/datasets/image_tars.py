"""Images in tars, which are not unpacked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow

from momo.ops import key_of
from momo.registry import DATASETS

from .base import KeyedDataset
from .image_folder import SUFFIXES
from .storage import has_suffix, read_bytes
from .tar_index import Member, TarIndex
from .tar_samples import TarSamples

_COLUMNS = [("name", pyarrow.string()), ("offset", pyarrow.int64()), ("size", pyarrow.int64())]


@DATASETS.register_module()
class ImageTars(KeyedDataset):
    """All images in uncompressed tars, without labels: ILSVRC2012_img_train.tar as it is published, or any other.

    The tars are indexed once, beside them or in `cache_dir`.

    Args:
        root: A .tar file, or a folder or URL that holds some; a tar may hold tars.
        pipeline: Transforms; the first is usually LoadImage.
        max_bad_fraction: See BrokenSamples.
        cache_dir: Folder of the indexes; None: beside the tars where that can be written, or else in the user's cache.
    Raises: FileNotFoundError if nothing is there; ValueError if there is no image, or naming a tar that is compressed,
        or broken.
    """

    def __init__(
        self, root: str, pipeline: Sequence[dict], max_bad_fraction: float = 0.01, cache_dir: str | None = None
    ) -> None:
        super().__init__(pipeline)
        self.images = TarSamples(root, "images-1", _COLUMNS, _images, cache_dir)
        self.chunks = self.images.chunks
        if not len(self):
            raise ValueError(f"root={root!r}: no tar holds a file ending in {', '.join(SUFFIXES)}")
        self.tolerate(max_bad_fraction)

    def __len__(self) -> int:
        return len(self.images)

    def sample_id(self, index: int) -> str:
        return f"{self.images.tar(index)}/{self.images.cell('name', index)}"

    def read(self, index: int) -> dict[str, Any]:
        sample_id = self.sample_id(index)
        place = self.images.cell("offset", index), self.images.cell("size", index)
        return {
            "sample_id": sample_id,
            "image_bytes": read_bytes(self.images.tar(index), *place),
            "image_id": key_of(sample_id),
        }


def _images(path: str, members: TarIndex) -> list[Member]:
    return [member for member in members if has_suffix(member.name, SUFFIXES)]

"""The one form that every import ends in: a parquet file of images with their captions.

A row is an image. `image` refers to it in one of three ways, all below the root that the dataset names:
  'train2017/000000000009.jpg'             a file
  'cc3m/00012.tar#51712+38231'             38,231 bytes of a file from byte 51,712 on: a member of an uncompressed tar
  's3://bucket/cc3m/00012.tar#51712+38231' either of these at a URL
"""

from __future__ import annotations

import re
from typing import NamedTuple

import pyarrow

# captions: one or more. source: which set it comes from ('coco'). id: the set's own name of the
# image, and after spaces its names in other sets ('2412112 coco:547168'). width, height:
# pixels as stored. sha256: of the image's bytes, in hex. What is not known is null, but for image and captions.
MANIFEST_SCHEMA = pyarrow.schema(
    [
        pyarrow.field("image", pyarrow.string(), nullable=False),
        pyarrow.field("captions", pyarrow.list_(pyarrow.string()), nullable=False),
        pyarrow.field("source", pyarrow.string()),
        pyarrow.field("id", pyarrow.string()),
        pyarrow.field("width", pyarrow.int32()),
        pyarrow.field("height", pyarrow.int32()),
        pyarrow.field("sha256", pyarrow.string()),
    ]
)
RANGE = r"#(\d+)\+(\d+)$"


class ImageReference(NamedTuple):
    """Where an image's bytes lie: a whole file (size None), or `size` bytes of it from `offset` on.

    `str(reference)` is its form in a manifest, which `parse_reference` reads.
    """

    path: str
    offset: int = 0
    size: int | None = None

    def __str__(self) -> str:
        """Raises: ValueError for a whole file whose name would be read as a part of another."""
        if self.size is not None:
            return f"{self.path}#{self.offset}+{self.size}"
        if re.search(RANGE, self.path):
            raise ValueError(f"{self.path!r} ends as a reference to a part of a file does: rename that file")
        return self.path


def parse_reference(text: str) -> ImageReference:
    """Read what a manifest says of an image.

    Raises: ValueError if it is empty.
    """
    if not text:
        raise ValueError("the reference to an image is empty")
    found = re.search(RANGE, text)
    if found is None:
        return ImageReference(text)
    return ImageReference(text[: found.start()], int(found[1]), int(found[2]))

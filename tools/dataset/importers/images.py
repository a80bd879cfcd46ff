"""Images without captions: what pre-training must not see, for drop_leaked.py."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from momo.datasets.image_folder import SUFFIXES
from momo.datasets.storage import list_files

from .common import Format, Options, Pair, names


def pairs(path: Path, options: Options) -> Iterator[Pair]:
    """Every image below a folder. COCO's files are known by COCO's numbers: COCO_val2014_000000000042.jpg is 42."""
    for file in map(Path, list_files(str(path), SUFFIXES)):
        numbered = re.fullmatch(r"COCO_\w+?20\d\d_(\d{12})", file.stem)
        inner = file.relative_to(path).as_posix()
        yield Pair(inner, (), names(int(numbered[1]) if numbered else inner))


IMAGES = Format(help="a folder of images without captions, for drop_leaked.py", source="images", pairs=pairs)

"""Features of a folder's images in one file that is memory-mapped.

Legend: N images, D channels, Q queries.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow
import torch
from torch import Tensor

from momo.datasets.cache import MappedTable, write_table
from momo.datasets.image_folder import SUFFIXES
from momo.datasets.storage import is_url, list_files
from momo.ops import key_of

MODEL = b"momo.model"  # in the file's metadata: what made the features
ROWS = 8192  # of one part of the file; a search holds a part's similarities at a time


class Match(NamedTuple):
    """An image, by its path or URL, and its similarity to the query, -1 to 1."""

    image: str
    similarity: float


class ImageIndex:
    """Find the images whose features are most similar to others.

    Args:
        path: What `write_index` wrote.
    Raises: ValueError if it is no such file.
    """

    def __init__(self, path: str | Path) -> None:
        self.path, self.table = Path(path), MappedTable(path).table
        metadata = self.table.schema.metadata or {}
        if MODEL not in metadata:
            raise ValueError(f"{path} is no index of images; RetrievalInferencer(..., folder=FOLDER) makes one")
        self.model = metadata[MODEL].decode()

    def __len__(self) -> int:
        return self.table.num_rows

    @property
    def images(self) -> list[str]:
        """Paths or URLs (N)."""
        return self.table["image"].to_pylist()

    def features(self) -> Iterator[np.ndarray]:
        """Features of all images, a part (rows, D) of the mapped file at a time."""
        for chunk in self.table["feature"].chunks:
            yield chunk.flatten().to_numpy(zero_copy_only=True).reshape(len(chunk), -1)

    def search(self, queries: Tensor, k: int = 10) -> list[list[Match]]:
        """The k most similar images of each query, best first; fewer if there are no more.

        Shapes: queries (Q, D), unit length.
        Raises: ValueError if k is below 1 or D is not the index's.
        """
        width = self.table.schema.field("feature").type.list_size
        if k < 1 or queries.ndim != 2 or queries.shape[1] != width:
            raise ValueError(f"k={k} must be at least 1, and queries {tuple(queries.shape)} have {width} channels")
        columns = queries.float().cpu().numpy().T
        best, rows, start = torch.empty(len(queries), 0), torch.empty(len(queries), 0, dtype=torch.int64), 0
        for part in self.features():
            similarity = torch.from_numpy(part @ columns).T
            places = torch.arange(start, start + len(part)).expand(len(queries), -1)
            best, rows, start = torch.cat([best, similarity], 1), torch.cat([rows, places], 1), start + len(part)
            best, kept = best.topk(min(k, best.shape[1]))
            rows = rows.gather(1, kept)
        names = self.table["image"]
        return [
            [Match(names[row].as_py(), value) for row, value in zip(*found, strict=True)]
            for found in zip(rows.tolist(), best.tolist(), strict=True)
        ]


def write_index(path: Path, model: str, rows: Iterable[tuple[Sequence[str], Tensor]]) -> None:
    """Write the file that ImageIndex maps, a part at a time.

    Args:
        model: Names what made the features.
        rows: Paths and their features (B, D), batch by batch; at least one batch.
    """
    rows = iter(rows)
    first = next(rows)
    feature = pyarrow.list_(pyarrow.float32(), first[1].shape[1])
    schema = pyarrow.schema({"image": pyarrow.string(), "feature": feature}, {MODEL: model.encode()})

    def parts() -> Iterator[pyarrow.RecordBatch]:
        names, features = [], []
        for batch_names, batch_features in chain([first], rows):
            names += batch_names
            features.append(batch_features.float().numpy())
            if len(names) >= ROWS:
                yield _part(names, features, schema)
                names, features = [], []
        if names:
            yield _part(names, features, schema)

    write_table(path, schema, parts())


def _part(names: list[str], features: list[np.ndarray], schema: pyarrow.Schema) -> pyarrow.RecordBatch:
    values = pyarrow.array(np.concatenate(features).ravel())
    column = pyarrow.FixedSizeListArray.from_arrays(values, type=schema.field("feature").type)
    return pyarrow.record_batch([pyarrow.array(names, pyarrow.string()), column], schema=schema)


def list_images(folder: str) -> list[str]:
    """All images below a folder or URL, in order of their paths.

    Raises: FileNotFoundError if the folder is not there; ValueError if it holds no image.
    """
    if not is_url(folder) and not Path(folder).is_dir():
        raise FileNotFoundError(f"folder={folder!r} is no folder; give one with images")
    found = list_files(folder, SUFFIXES)
    if not found:
        raise ValueError(f"folder={folder!r} holds no file ending in {', '.join(SUFFIXES)}")
    return found


def version_of(images: Sequence[str]) -> str:
    """Changes when images come, go or change; of URLs only the names are looked at."""

    def mark(path: str) -> str:
        if is_url(path):
            return path
        status = os.stat(path)
        return f"{path} {status.st_size} {status.st_mtime_ns}"

    return str(key_of(*map(mark, images)))

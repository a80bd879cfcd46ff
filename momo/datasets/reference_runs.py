"""Which neighbouring rows of a table of images lie in one tar, so that they are read together."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pyarrow
from pyarrow import compute

from .cache import cached
from .manifest import RANGE
from .tables import Rows, TableFile


def runs_in_tars(rows: Rows, column: str, cache_dir: str | None) -> np.ndarray | None:
    """Where each run of rows in one tar begins, and the number of rows, (runs + 1,) int64; None if none is longer than
    a row.

    An image in a file of its own, which costs the same wherever it is read, is a run of its own. So are all rows of a
    file of JSON, of lists of images, and of images in the table itself. Runs are found once and kept beside each table.
    """
    starts, size = [], 0
    for path, part in rows.parts:
        kind = f"runs-1-{column}"
        starts.append(np.load(cached(path, kind, partial(_write_starts, part, column), cache_dir)) + size)
        size += len(part)
    found = np.append(np.concatenate(starts), size)
    return found if len(found) <= size else None


def _write_starts(part: TableFile, column: str, target: Path) -> None:
    images = part.column(column)
    if pyarrow.types.is_string(images.type) or pyarrow.types.is_large_string(images.type):
        found, place, last = [np.empty(0, dtype=np.int64)], 0, None
        for chunk in images.chunks:
            paths = compute.replace_substring_regex(chunk, pattern=RANGE, replacement="")
            before = pyarrow.concat_arrays([pyarrow.array([last], paths.type), paths.slice(0, max(len(paths) - 1, 0))])
            goes_on = compute.and_(compute.not_equal(paths, chunk), compute.equal(paths, before[: len(paths)]))
            found.append(np.flatnonzero(~goes_on.fill_null(False).to_numpy(zero_copy_only=False)) + place)
            place, last = place + len(chunk), paths[-1].as_py() if len(paths) else last
        starts = np.concatenate(found)
    else:
        starts = np.arange(len(part))
    with open(target, "wb") as file:
        np.save(file, starts)

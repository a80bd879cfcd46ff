"""The steps of an import, each a function of a shard (see shards.py)."""

from __future__ import annotations

import hashlib
import json
import time
from argparse import Namespace
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow
import pyarrow.parquet
from shards import Shard

from momo.datasets.broken import BrokenSample
from momo.datasets.decode import image_size
from momo.datasets.manifest import MANIFEST_SCHEMA, ImageReference
from momo.datasets.storage import below, read_bytes
from momo.datasets.tar_index import Member, index_tar
from momo.datasets.web_pairs import group_members, image_of

from . import FORMATS
from .common import Pair, clean, names

PAIR_SCHEMA = pyarrow.schema([("image", pyarrow.string()), MANIFEST_SCHEMA.field("captions"), ("id", pyarrow.string())])
# A part of a manifest, with the rows that cannot be used and why.
PART_SCHEMA = MANIFEST_SCHEMA.append(pyarrow.field("problem", pyarrow.string()))


def list_pairs(shard: Shard, temporary: Path) -> dict[str, Any]:
    """From an annotation file to a folder of slices of its pairs; counts them as the publisher does."""
    settings = shard.settings
    pairs = iter(FORMATS[settings["format"]].pairs(Path(settings["path"]), Namespace(**settings["options"])))
    temporary.mkdir()
    slices, images, captions = {}, 0, 0
    while rows := list(islice(pairs, settings["rows"])):
        path = temporary / f"{len(slices):06d}.parquet"
        table = pyarrow.Table.from_pylist([_storable(row)._asdict() for row in rows], PAIR_SCHEMA)
        pyarrow.parquet.write_table(table, path)
        slices[path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
        images += len(rows)
        captions += sum(len(row.captions) for row in rows)
    return {"images": images, "captions": captions, "slices": slices}


def _storable(pair: Pair) -> Pair:
    """With '?' in names where UTF-8 cannot hold them: no file will be found, and the list of problems says which."""
    image, own = (name.encode("utf-8", "replace").decode("utf-8") for name in (pair.image, pair.id))
    return pair._replace(image=image, id=own)


def read_pairs(shard: Shard, temporary: Path) -> dict[str, Any]:
    """From a slice of pairs to a part of the manifest: reads every image once, for its size and hash."""
    settings, start = shard.settings, time.perf_counter()
    rows, size = [], 0
    for entry in pyarrow.parquet.read_table(settings["slice"]).to_pylist():
        pair = Pair(**entry)
        row, data = read_row(pair, settings)
        size += len(data)
        rows.append(row)
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows, PART_SCHEMA), temporary)
    return {"rows": len(rows), **_problems(rows), "bytes": size, "seconds": time.perf_counter() - start}


def read_row(pair: Pair, settings: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
    """A row of a part, and the image's bytes."""
    row = {"captions": pair.captions, "source": settings["source"], "id": pair.id}
    row["image"] = str(PurePosixPath(settings["prefix"], pair.image))
    if settings["captioned"] and not pair.captions:
        return {**row, "problem": "no caption"}, b""
    try:
        reference = ImageReference(row["image"])
        data = read_bytes(below(settings["root"], reference.path))
    except BrokenSample as error:
        return {**row, "problem": str(error)}, b""
    except FileNotFoundError:
        return {**row, "problem": "missing"}, b""
    except (OSError, ValueError) as error:
        return {**row, "problem": f"cannot be read: {error}"}, b""
    return {**row, "image": str(reference), **look_at(data)}, data


def look_at(data: bytes) -> dict[str, Any]:
    """Width and height from an image's header, and its hash; or the problem with it."""
    try:
        width, height = image_size(data)
    except BrokenSample as error:
        return {"problem": error.reason}
    return {"width": width, "height": height, "sha256": hashlib.sha256(data).hexdigest()}


def read_tar(shard: Shard, temporary: Path) -> dict[str, Any]:
    """From a tar of img2dataset to a part of the manifest; the parquet file beside it says what was not downloaded.

    Nothing is extracted; the tar's index stays for whoever reads it next.
    """
    settings, start = shard.settings, time.perf_counter()
    path, rows, size = settings["path"], [], 0
    for key, group in group_members(index_tar(path)).items():
        image = image_of(group)
        if image is None:
            continue
        caption, own = _described(path, key, group)
        captions = clean([caption])
        reference = str(ImageReference(settings["reference"], image.offset, image.size))
        row = {"image": reference, "captions": captions, "source": settings["source"], "id": names(own)}
        data = read_bytes(path, image.offset, image.size)
        rows.append({**row, **({"problem": "no caption"} if not captions else look_at(data))})
        size += image.size
    rows += _not_downloaded(Path(path).with_suffix(".parquet"), settings["source"])
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows, PART_SCHEMA), temporary)
    return {"rows": len(rows), **_problems(rows), "bytes": size, "seconds": time.perf_counter() - start}


def _described(path: str, key: str, group: dict[str, Member]) -> tuple[Any, Any]:
    """Caption and name of an image: its .txt, or an entry of its .json; the .json's key, or the members'."""
    about = {}
    if ".json" in group:
        try:
            about = json.loads(read_bytes(path, group[".json"].offset, group[".json"].size))
        except (ValueError, RecursionError):  # then the image has no caption, unless in its .txt
            pass
    about = about if isinstance(about, dict) else {}
    if ".txt" not in group:
        return about.get("caption"), about.get("key", key)
    text = read_bytes(path, group[".txt"].offset, group[".txt"].size)
    return text.decode("utf-8-sig", "surrogateescape"), about.get("key", key)


def _not_downloaded(path: Path, source: str) -> list[dict[str, Any]]:
    if not path.is_file():
        return []
    columns = ["key", "url", "status", "error_message"]
    if not set(columns) <= set(pyarrow.parquet.read_schema(path).names):
        return []  # some other file
    return [
        {
            "image": row["url"],
            "captions": [],
            "source": source,
            "id": row["key"],
            "problem": f"not downloaded: {row['error_message']}",
        }
        for row in pyarrow.parquet.read_table(path, columns=columns).to_pylist()
        if row["status"] != "success"
    ]


def _problems(rows: list[dict[str, Any]]) -> dict[str, int]:
    return {"problems": sum(1 for row in rows if row.get("problem"))}

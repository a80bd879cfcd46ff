"""The steps of an import, each a function of a shard (see shards.py)."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import time
from argparse import Namespace
from collections.abc import Iterator
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any

import fsspec
import pyarrow
import pyarrow.parquet
from PIL import Image
from shards import Shard

from momo.datasets.broken import BrokenSample
from momo.datasets.manifest import MANIFEST_SCHEMA, ImageReference
from momo.datasets.storage import below, read_bytes

from . import FORMATS
from .common import Pair, clean, names

PAIR_SCHEMA = pyarrow.schema([("image", pyarrow.string()), MANIFEST_SCHEMA.field("captions"), ("id", pyarrow.string())])
# A part of a manifest, with the rows that cannot be used and why.
PART_SCHEMA = MANIFEST_SCHEMA.append(pyarrow.field("problem", pyarrow.string()))
KINDS = ("JPEG", "PNG", "WEBP", "GIF")  # what torchvision decodes
SUFFIXES = ("jpg", "jpeg", "png", "webp", "gif")


def list_pairs(shard: Shard, temporary: Path) -> dict[str, Any]:
    """From an annotation file to a folder of slices of its pairs; counts them as the publisher does."""
    settings = shard.settings
    pairs = iter(FORMATS[settings["format"]].pairs(Path(settings["path"]), Namespace(**settings["options"])))
    temporary.mkdir()
    slices, images, captions = {}, 0, 0
    while rows := list(islice(pairs, settings["rows"])):
        path = temporary / f"{len(slices):06d}.parquet"
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist([row._asdict() for row in rows], PAIR_SCHEMA), path)
        slices[path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
        images += len(rows)
        captions += sum(len(row.captions) for row in rows)
    return {"images": images, "captions": captions, "slices": slices}


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
    if not data:
        return {"problem": "empty"}
    try:
        with Image.open(io.BytesIO(data), formats=KINDS) as image:
            width, height = image.size
    except Image.DecompressionBombError:
        return {"problem": "more pixels than is safe to decode"}
    except (OSError, SyntaxError, ValueError):  # Pillow's, for headers that are none or are cut off
        return {"problem": f"not a {', '.join(KINDS)} image"}
    return {"width": width, "height": height, "sha256": hashlib.sha256(data).hexdigest()}


def read_tar(shard: Shard, temporary: Path) -> dict[str, Any]:
    """From a tar of img2dataset to a part of the manifest; the parquet file beside it says what was not downloaded."""
    settings, start = shard.settings, time.perf_counter()
    rows, size = [], 0
    for key, image, data, texts in tar_samples(settings["path"]):
        about = json.loads(texts["json"]) if "json" in texts else {}
        captions = clean([texts.get("txt", about.get("caption"))])
        reference = str(ImageReference(settings["reference"], image.offset_data, image.size))
        row = {"image": reference, "captions": captions, "source": settings["source"]}
        row["id"] = names(about.get("key", key))
        rows.append({**row, **({"problem": "no caption"} if not captions else look_at(data))})
        size += image.size
    rows += _not_downloaded(Path(settings["path"]).with_suffix(".parquet"), settings["source"])
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows, PART_SCHEMA), temporary)
    return {"rows": len(rows), **_problems(rows), "bytes": size, "seconds": time.perf_counter() - start}


def tar_samples(path: str) -> Iterator[tuple[str, tarfile.TarInfo, bytes, dict[str, bytes]]]:
    """The samples of a WebDataset tar that have an image: key, member and bytes of the image, the texts by suffix.

    Members whose names agree up to the first dot of the last part are a sample, and lie side by side. Nothing is
    extracted.

    Raises: ValueError naming the tar if it is compressed, or cut off.
    """
    try:
        with fsspec.open(path, "rb") as file, tarfile.open(fileobj=file, mode="r:") as tar:
            sample: dict[str, Any] = {}
            for member in tar:
                if not member.isreg():
                    continue
                folder, slash, name = member.name.rpartition("/")
                stem, _, suffix = name.partition(".")
                key = folder + slash + stem
                if sample and sample["key"] != key:
                    yield from _image_of(sample)
                    sample = {}
                sample.setdefault("key", key)
                sample[suffix.lower()] = (member, tar.extractfile(member).read())
            if sample:
                yield from _image_of(sample)
    except tarfile.TarError as error:
        raise ValueError(f"{path} cannot be read as an uncompressed tar: {error}") from error


def _image_of(sample: dict[str, Any]) -> Iterator[tuple[str, tarfile.TarInfo, bytes, dict[str, bytes]]]:
    found = [suffix for suffix in SUFFIXES if suffix in sample]
    if found:
        texts = {suffix: sample[suffix][1].decode("utf-8", "replace") for suffix in ("txt", "json") if suffix in sample}
        yield sample["key"], *sample[found[0]], texts


def _not_downloaded(path: Path, source: str) -> list[dict[str, Any]]:
    if not path.is_file():
        return []
    columns = ["key", "url", "status", "error_message"]
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

"""Run the importer of pairs, and read what it wrote."""

from __future__ import annotations

import csv
import io
import json
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest
from PIL import Image

from momo.datasets.manifest import MANIFEST_SCHEMA

sys.path.insert(0, str(Path(__file__).parents[2] / "tools" / "dataset"))

import import_pairs  # noqa: E402


def picture(width: int, height: int, kind: str = "JPEG") -> bytes:
    """Distinct by its size."""
    buffer = io.BytesIO()
    Image.new("RGB", (width, height), (width, height, 9)).save(buffer, kind)
    return buffer.getvalue()


def write(path: Path, content: Any) -> Path:
    """Bytes and texts as they are, all else as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not isinstance(content, bytes):
        content = (content if isinstance(content, str) else json.dumps(content)).encode()
    path.write_bytes(content)
    return path


def run_import(monkeypatch: pytest.MonkeyPatch, *args: object) -> list[dict[str, Any]]:
    """The tool, in this process; the manifest that it wrote."""
    monkeypatch.setattr(sys, "argv", ["import_pairs.py", *map(str, args), "--workers", "0"])
    import_pairs.main()
    table = pyarrow.parquet.read_table(args[args.index("--out") + 1])
    assert table.schema == MANIFEST_SCHEMA
    return table.to_pylist()


def report(out: Path) -> dict[str, Any]:
    return json.loads(out.with_suffix(".report.json").read_text(encoding="utf-8"))


def problems(out: Path) -> list[list[str]]:
    with out.with_suffix(".problems.tsv").open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file, delimiter="\t"))[1:]


COCO = {
    "info": {"description": "COCO 2017 Dataset", "year": 2017},
    "licenses": [{"id": 3, "name": "Attribution-NonCommercial-NoDerivs License"}],
    "images": [
        {
            "license": 3,
            "file_name": "000000391895.jpg",
            "coco_url": "http://images.cocodataset.org/train2017/000000391895.jpg",
            "height": 8,
            "width": 16,
            "flickr_url": "http://farm9.staticflickr.com/8186/8119368305_4e622c8349_z.jpg",
            "id": 391895,
        },
        {"license": 4, "file_name": "000000522418.jpg", "height": 9, "width": 9, "id": 522418},
        {"license": 4, "file_name": "000000184613.jpg", "height": 9, "width": 9, "id": 184613},
    ],
    "annotations": [
        {"image_id": 522418, "id": 681, "caption": "A woman cutting a cake. "},
        {"image_id": 391895, "id": 770, "caption": "A man with a red helmet on a small moped."},
        {"image_id": 391895, "id": 771, "caption": "Man riding a motor bike on a dirt road.\n"},
        {"image_id": 184613, "id": 772, "caption": "A child holding an umbrella."},
    ],
}

"""The filter of leaked images: names, bytes and looks; what is dropped is reported with its pair, the rest stays."""

import csv
import hashlib
import io
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from PIL import Image
from sklearn.datasets import load_sample_images

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tools" / "dataset"))

import drop_leaked  # noqa: E402
from shards import run_shards  # noqa: E402

from momo.datasets.manifest import MANIFEST_SCHEMA  # noqa: E402

TILE = 200


def photos() -> list[Image.Image]:
    """Twelve different pictures: tiles of two photographs."""
    return [
        Image.fromarray(photo[top : top + TILE, left : left + TILE])
        for photo in load_sample_images().images
        for top in (0, TILE)
        for left in (0, TILE, 2 * TILE)
    ]


def encoded(image: Image.Image, quality: int, side: int = TILE) -> bytes:
    buffer = io.BytesIO()
    image.resize((side, side)).save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def write_manifest(path: Path, rows: list[dict[str, Any]]) -> str:
    """A manifest of images, which are written too: row['bytes'] to row['image'] below the manifest's folder."""
    for row in rows:
        data = row.pop("bytes", None)
        if data is not None:
            target = path.parent / row["image"]
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)
            row["sha256"] = hashlib.sha256(data).hexdigest()
        row.setdefault("captions", ["a caption"])
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows, MANIFEST_SCHEMA), path, row_group_size=5)
    return str(path)


def run(monkeypatch: pytest.MonkeyPatch, manifest: str, against: str, *args: object) -> list[str]:
    """The tool, in this process; the images that stay."""
    out = Path(manifest).with_suffix(".clean.parquet")
    common = ["--against", against, "--root", Path(manifest).parent, "--out", out, "--workers", 0]
    monkeypatch.setattr(sys, "argv", ["drop_leaked.py", manifest, *map(str, common), *map(str, args)])
    drop_leaked.main()
    table = pyarrow.parquet.read_table(out)
    assert table.schema == MANIFEST_SCHEMA
    return table["image"].to_pylist()


def dropped(manifest: str) -> list[list[str]]:
    with Path(manifest).with_suffix(".clean.dropped.tsv").open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file, delimiter="\t"))[1:]


def report(manifest: str) -> dict[str, Any]:
    return json.loads(Path(manifest).with_suffix(".clean.report.json").read_text(encoding="utf-8"))


def test_scaled_and_recompressed_copies_are_found_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures = photos()
    copies = [(75, TILE), (40, TILE), (90, 100), (75, 140), (75, 300), (95, 64)]
    held_out = [{"image": f"test/{n}.jpg", "bytes": encoded(picture, 95)} for n, picture in enumerate(pictures[:6])]
    rows = [
        {"image": f"train/{number}_{place}.jpg", "bytes": encoded(pictures[number], *copy)}
        for number in range(12)
        for place, copy in enumerate(copies)
    ]
    manifest, against = (
        write_manifest(tmp_path / "train.parquet", rows),
        write_manifest(tmp_path / "t.parquet", held_out),
    )
    kept = run(monkeypatch, manifest, against)
    assert kept == [row["image"] for row in rows[36:]]
    lines = dropped(manifest)
    assert [(line[0], line[1]) for line in lines] == [
        (f"train/{number}_{place}.jpg", f"test/{number}.jpg") for number in range(6) for place in range(6)
    ]
    assert {line[2] for line in lines} == {"t"} and {line[3] for line in lines} == {"looks"}
    found = report(manifest)
    assert (found["images"], found["held_out"], found["dropped"], found["kept"]) == (72, 6, 36, 36)
    assert found["dropped_by"] == {"looks, t": 36} and found["max_distance"] == 4 and found["not_hashed"] == 0


def test_names_and_bytes_are_found_without_looking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No image is there to look at; names are compared across sets, and only as names of the same set."""
    held_out = [
        {"image": "val/42.jpg", "source": "coco", "id": "42", "sha256": "aa"},
        {"image": "flickr/8.jpg", "source": "flickr30k", "id": "8 flickr:8", "sha256": "bb"},
    ]
    rows = [
        {"image": "1", "source": "visual_genome", "id": "1 coco:42 flickr:9", "sha256": "cc"},
        {"image": "2", "source": "visual_genome", "id": "42", "sha256": "dd"},  # 42 of another set
        {"image": "3", "source": "sbu", "id": "3 flickr:8", "sha256": "ee"},
        {"image": "4", "source": "redcaps", "id": "4", "sha256": "aa"},
        {"image": "5", "source": None, "id": None, "sha256": None},
        {"image": "6", "source": "coco", "id": "42 flickr:8", "sha256": "bb"},  # all at once
    ]
    manifest, against = (
        write_manifest(tmp_path / "train.parquet", rows),
        write_manifest(tmp_path / "t.parquet", held_out),
    )
    assert run(monkeypatch, manifest, against, "--checks", "id", "sha256") == ["2", "5"]
    assert [(line[0], line[1], line[3], line[4]) for line in dropped(manifest)] == [
        ("1", "val/42.jpg", "id", "coco:42"),
        ("3", "flickr/8.jpg", "id", "flickr:8"),
        ("4", "val/42.jpg", "sha256", "aa"),
        ("6", "val/42.jpg", "id", "coco:42"),
        ("6", "flickr/8.jpg", "id", "flickr:8"),
        ("6", "flickr/8.jpg", "sha256", "bb"),
    ]
    assert report(manifest)["dropped_by"] == {"id, t": 3, "sha256, t": 2}
    assert run(monkeypatch, manifest, against, "--checks", "sha256") == ["1", "2", "3", "5"]
    assert run(monkeypatch, manifest, against, "--checks", "id") == ["2", "4", "5"]


def test_what_shows_nothing_or_cannot_be_read_is_kept_and_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    grey, white = (Image.new("RGB", (64, 64), (value, value, value)) for value in (90, 255))
    held_out = [{"image": "test/grey.jpg", "bytes": encoded(grey, 90)}, {"image": "test/cut.jpg", "bytes": b"\xff\xd8"}]
    rows = [
        {"image": "white.jpg", "bytes": encoded(white, 90)},
        {"image": "gone.jpg"},
        {"image": "cut.jpg", "bytes": encoded(grey, 90)[:200]},
    ]
    manifest, against = (
        write_manifest(tmp_path / "train.parquet", rows),
        write_manifest(tmp_path / "t.parquet", held_out),
    )
    assert run(monkeypatch, manifest, against) == ["white.jpg", "gone.jpg", "cut.jpg"]
    assert report(manifest)["not_hashed"] == 3 and dropped(manifest) == []


def test_the_distance_is_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Against a formula of its own: the bits that differ, counted one by one."""
    monkeypatch.setattr(drop_leaked, "COMPARED", 5)
    rng = np.random.default_rng(0)
    theirs = rng.integers(1, 2**63, 20, dtype=np.uint64)
    flips = [rng.choice(64, count, replace=False) for count in range(12)]
    ours = np.array([int(theirs[3]) ^ sum(1 << int(bit) for bit in bits) for bits in flips], dtype=np.uint64)
    for limit in (0, 4, 7):
        found = [(leak.row, leak.held_out) for leak in drop_leaked.by_looks(ours, theirs, limit)]
        expected = [
            (row, place)
            for row, mine in enumerate(ours)
            for place, other in enumerate(theirs)
            if bin(int(mine) ^ int(other)).count("1") <= limit
        ]
        assert found == expected and (limit, 3) in found
    leak = list(drop_leaked.by_looks(ours, theirs, 4))[-1]
    assert leak.detail == "4 of 64 bits differ"


def test_hashes_are_kept_beside_a_manifest_for_the_next_comparison(tmp_path: Path) -> None:
    rows = [{"image": f"{n}.jpg", "bytes": encoded(picture, 95)} for n, picture in enumerate(photos())]
    manifest = write_manifest(tmp_path / "train.parquet", rows)
    shards = drop_leaked.hash_shards(manifest, str(tmp_path))
    assert [shard.settings["group"] for shard in shards] == [0, 1, 2]  # five images each
    first = run_shards(drop_leaked.hash_images, shards, "looks", workers=0)
    again = run_shards(drop_leaked.hash_images, shards, "looks", workers=0)
    assert [outcome.counts for outcome in first] == [{"images": n, "failed": 0} for n in (5, 5, 2)]
    assert all(outcome.done_before for outcome in again)
    assert len(set(np.concatenate([np.load(shard.output) for shard in shards]).tolist())) == 12


def test_what_is_read_is_not_written_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The report needs the rows that are dropped."""
    for name in ("ours", "theirs"):
        write_manifest(tmp_path / f"{name}.parquet", [{"image": "a.jpg", "bytes": b"a", "source": "x", "id": "1"}])
    for name in ("ours", "theirs"):
        before = (tmp_path / f"{name}.parquet").read_bytes()
        with pytest.raises(SystemExit):
            paths = [str(tmp_path / f"{part}.parquet") for part in ("ours", "theirs")]
            run(monkeypatch, *paths, "--out", tmp_path / "." / f"{name}.parquet")
        assert (tmp_path / f"{name}.parquet").read_bytes() == before


def test_what_is_no_manifest_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = write_manifest(tmp_path / "train.parquet", [{"image": "1"}])
    pyarrow.parquet.write_table(pyarrow.table({"url": ["a"]}), tmp_path / "other.parquet")
    with pytest.raises(SystemExit, match=r"other\.parquet is no manifest: it has no column image, captions"):
        run(monkeypatch, manifest, str(tmp_path / "other.parquet"))
    with pytest.raises(SystemExit, match=r"nowhere\.parquet"):
        run(monkeypatch, manifest, str(tmp_path / "nowhere.parquet"))

"""Drop from a pre-training manifest the images that downstream validation and test sets hold too (MoMo 3.4).

    python tools/dataset/drop_leaked.py data/manifests/visual_genome.parquet --root data \
        --against data/manifests/heldout_*.parquet --out data/manifests/visual_genome.clean.parquet

An image is dropped if it has a name of a held-out one (COCO's, Visual Genome's or Flickr's number), if its bytes are
the same, or if it looks the same: perceptual hashes that differ in few bits, as those of scaled and recompressed copies
do. Writes the new manifest, and beside it NAME.dropped.tsv (each pair and why) and NAME.report.json. Hashing uses all
cores, or a Ray cluster; a run that was stopped goes on by the same command.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow.parquet
import torch
from rich.progress import track
from rich.table import Table
from shards import CONSOLE, Shard, add_engine_options, exit_if_failed, matching, run_shards, show, total

from momo.datasets.decode import decode_rgb
from momo.datasets.manifest import MANIFEST_SCHEMA
from momo.datasets.perceptual_hash import FLAT, near_pairs, perceptual_hash
from momo.datasets.storage import read_bytes, resolve

ROWS = 10_000  # of a shard
COMPARED = 500_000  # hashes at a time
CHECKS = ("id", "sha256", "looks")
MAX_DISTANCE = 4
SHOWN = 10


class Leak(NamedTuple):
    """An image, the held-out image that it is, how that is known ('id', 'sha256', 'looks'), and what is equal."""

    row: int
    held_out: int
    check: str
    detail: str


class HeldOut(NamedTuple):
    """The held-out images: their references and manifests, and where each name and hash of bytes is found."""

    images: list[str]
    manifests: list[str]
    names: dict[str, int]
    sha256: dict[str, int]


def names_of(source: str | None, names: str | None) -> list[str]:
    """All names of an image, each with the set that gave it: 'coco:42'. See importers.common.names."""
    own, *others = (names or "").split(" ")
    return [f"{source}:{own}", *others] if source and own else others


def batches(path: str, columns: list[str]) -> Iterator[list[dict[str, Any]]]:
    """The rows of a manifest, ROWS at a time.

    Raises: ValueError if it is no manifest.
    """
    file = pyarrow.parquet.ParquetFile(path)
    missing = [name for name in MANIFEST_SCHEMA.names if name not in file.schema_arrow.names]
    if missing:
        raise ValueError(f"{path} is no manifest: it has no column {', '.join(missing)}; make it with import_pairs.py")
    for batch in file.iter_batches(ROWS, columns=columns):
        yield batch.to_pylist()


def read_held_out(paths: list[str]) -> HeldOut:
    """The held-out manifests as one."""
    held_out = HeldOut([], [], {}, {})
    for path in track(paths, "held-out sets", console=CONSOLE):
        for rows in batches(path, ["image", "source", "id", "sha256"]):
            for row in rows:
                place = len(held_out.images)
                held_out.images.append(row["image"])
                held_out.manifests.append(Path(path).stem)
                held_out.names.update({name: place for name in names_of(row["source"], row["id"])})
                if row["sha256"]:
                    held_out.sha256[row["sha256"]] = place
    return held_out


def by_name_and_bytes(path: str, held_out: HeldOut, checks: list[str]) -> Iterator[Leak]:
    """What has a held-out image's name, or its bytes."""
    start, size = 0, pyarrow.parquet.read_metadata(path).num_rows
    parts = batches(path, ["source", "id", "sha256"])
    for rows in track(parts, "names and bytes", total=-(-size // ROWS), console=CONSOLE):
        for number, row in enumerate(rows, start):
            if "id" in checks:
                known = (name for name in names_of(row["source"], row["id"]) if name in held_out.names)
                yield from (Leak(number, held_out.names[name], "id", name) for name in known)
            if "sha256" in checks and row["sha256"] in held_out.sha256:
                yield Leak(number, held_out.sha256[row["sha256"]], "sha256", row["sha256"])
        start += len(rows)


def by_looks(ours: np.ndarray, theirs: np.ndarray, max_distance: int) -> Iterator[Leak]:
    """What looks like a held-out image. FLAT pictures, which show nothing, and those not decoded look like none."""
    places, others = np.flatnonzero(ours != FLAT), np.flatnonzero(theirs != FLAT)
    references = theirs[others]
    for start in track(range(0, len(places), COMPARED), "comparing looks", console=CONSOLE):
        part = places[start : start + COMPARED]
        for query, reference in zip(*near_pairs(ours[part], references, max_distance), strict=True):
            distance = int(np.bitwise_count(ours[part[query]] ^ references[reference]))
            yield Leak(int(part[query]), int(others[reference]), "looks", f"{distance} of 64 bits differ")


def hash_shards(path: str, root: str) -> list[Shard]:
    """A manifest's images in shards to hash; the hashes lie beside it, for the next time it is compared."""
    metadata, shards = pyarrow.parquet.read_metadata(path), []
    folder = Path(path).with_suffix(".hashes")
    for group in range(metadata.num_row_groups):
        for start in range(0, metadata.row_group(group).num_rows, ROWS):
            settings = {"path": path, "root": root, "group": group, "start": start, "rows": ROWS}
            name = f"{path}, row group {group} from {start:,} on"
            shards.append(Shard(name, (path,), folder / f"{len(shards):06d}.npy", settings))
    return shards


def hash_images(shard: Shard, temporary: Path) -> dict[str, Any]:
    """The perceptual hashes (N,) uint64 of a part of a manifest; FLAT for what cannot be decoded, which is counted."""
    torch.set_num_threads(1)
    path, root, group, start, rows = (shard.settings[key] for key in ("path", "root", "group", "start", "rows"))
    table = pyarrow.parquet.ParquetFile(path).read_row_group(group, columns=["image"])
    images, failed = table["image"].slice(start, rows).to_pylist(), 0
    hashes = np.full(len(images), FLAT, np.uint64)
    for number, image in enumerate(images):
        try:
            pixels = decode_rgb(bytearray(read_bytes(*resolve(root, image))))
        except (OSError, ValueError):  # a missing or broken file; pre-training skips it too
            failed += 1
            continue
        hashes[number] = perceptual_hash(pixels)
    with temporary.open("wb") as file:
        np.save(file, hashes)
    return {"images": len(images), "failed": failed}


def write_manifest(path: str, out: Path, dropped: set[int]) -> int:
    """Copy a manifest without some of its rows; how many stay."""
    half, start, kept = out.with_name(f".{out.name}.part"), 0, 0
    file = pyarrow.parquet.ParquetFile(path)
    with pyarrow.parquet.ParquetWriter(half, file.schema_arrow) as writer:
        for batch in file.iter_batches(ROWS):
            stays = np.array([row not in dropped for row in range(start, start + len(batch))])
            writer.write_batch(batch.filter(pyarrow.array(stays)))
            start, kept = start + len(batch), kept + int(stays.sum())
    os.replace(half, out)
    return kept


def report(args: argparse.Namespace, leaks: list[Leak], held_out: HeldOut, kept: int, hashed: Counter) -> None:
    """Write and print what was dropped and why, with the pair of references."""
    rows = {leak.row for leak in leaks}
    places = pyarrow.array(sorted(rows), pyarrow.int64())
    taken = pyarrow.parquet.read_table(args.manifest, columns=["image"])["image"].take(places)
    images = dict(zip(places.to_pylist(), taken.to_pylist(), strict=True))
    with args.out.with_suffix(".dropped.tsv").open("w", encoding="utf-8", newline="") as file:
        lines = csv.writer(file, delimiter="\t", lineterminator="\n")
        lines.writerow(["image", "held-out image", "its manifest", "found by", "what is equal"])
        for leak in leaks:
            place = leak.held_out
            lines.writerow(
                [images[leak.row], held_out.images[place], held_out.manifests[place], leak.check, leak.detail]
            )
    reasons: dict[str, set[int]] = {}
    for leak in leaks:
        reasons.setdefault(f"{leak.check}, {held_out.manifests[leak.held_out]}", set()).add(leak.row)
    counts = {reason: len(found) for reason, found in sorted(reasons.items())}
    written = {
        "manifest": args.manifest,
        "against": args.against,
        "checks": args.checks,
        "max_distance": args.max_distance,
        "images": kept + len(rows),
        "held_out": len(held_out.images),
        "dropped": len(rows),
        "kept": kept,
        "dropped_by": counts,
        "not_hashed": hashed["failed"],
    }
    text = json.dumps(written, indent=1, ensure_ascii=False)
    args.out.with_suffix(".report.json").write_text(text + "\n", encoding="utf-8")
    _print_examples(leaks, images, held_out)
    result = {"images": kept + len(rows), "held-out images": len(held_out.images), "dropped": len(rows), "kept": kept}
    result |= {f"dropped by {reason}": count for reason, count in counts.items()}
    show(str(args.out), result | ({"images that could not be hashed": hashed["failed"]} if hashed["failed"] else {}))


def _print_examples(leaks: list[Leak], images: dict[int, str], held_out: HeldOut) -> None:
    table = Table("image", "is held out as", "found by", "what is equal", title_justify="left")
    table.title = f"the first {min(SHOWN, len(leaks))} of {len(leaks):,} pairs"
    for leak in leaks[:SHOWN]:
        table.add_row(images[leak.row], held_out.images[leak.held_out], leak.check, leak.detail)
    if leaks:
        CONSOLE.print(table)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifest", help="what is to be pre-trained on")
    parser.add_argument("--against", nargs="+", required=True, help="manifests of what is held out, or glob patterns")
    parser.add_argument("--root", required=True, help="folder or URL that the manifests' references start from")
    parser.add_argument("--out", type=Path, required=True, help="the new manifest, a .parquet file")
    parser.add_argument("--checks", nargs="+", choices=CHECKS, default=list(CHECKS), help="default: all")
    parser.add_argument(
        "--max-distance",
        type=int,
        default=MAX_DISTANCE,
        help=f"images look the same if their hashes differ in at most so many of 64 bits (default: {MAX_DISTANCE})",
    )
    add_engine_options(parser)
    args = parser.parse_args()
    if args.out.suffix != ".parquet":
        parser.error(f"--out {args.out}: a manifest's name ends in .parquet")
    if not 0 <= args.max_distance <= 15:
        parser.error(f"--max-distance {args.max_distance}: 0 to 15")
    args.against = matching(args.against)
    if args.out.resolve() in [Path(path).resolve() for path in (args.manifest, *args.against)]:
        parser.error(f"--out {args.out} is one of the manifests that are read: name another")
    return args


def find_by_looks(args: argparse.Namespace) -> tuple[list[Leak], Counter]:
    """Hash all images, and compare."""
    groups = [hash_shards(path, args.root) for path in (args.manifest, *args.against)]
    shards = [shard for group in groups for shard in group]
    outcomes = run_shards(hash_images, shards, "hashing images", engine=args.engine, workers=args.workers)
    exit_if_failed(outcomes)
    hashes = [np.load(shard.output) for shard in shards]
    first = len(groups[0])
    ours, theirs = (np.concatenate([np.empty(0, np.uint64), *part]) for part in (hashes[:first], hashes[first:]))
    return list(by_looks(ours, theirs, args.max_distance)), total(outcomes)


def main() -> None:
    args = parse_args()
    try:
        held_out = read_held_out(args.against)
        leaks = list(by_name_and_bytes(args.manifest, held_out, args.checks))
        looks, hashed = find_by_looks(args) if "looks" in args.checks else ([], Counter())
        leaks = sorted(leaks + looks)
        args.out.parent.mkdir(parents=True, exist_ok=True)
        kept = write_manifest(args.manifest, args.out, {leak.row for leak in leaks})
    except (OSError, ValueError, ImportError) as error:
        sys.exit(f"error: {error}")
    report(args, leaks, held_out, kept, hashed)


if __name__ == "__main__":
    main()

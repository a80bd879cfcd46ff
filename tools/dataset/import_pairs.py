"""Make one manifest of a published set of images with captions, or of your own.

    python tools/dataset/import_pairs.py coco data/coco/annotations/captions_train2017.json \
        --images data/coco/train2017 --root data --out data/manifests/coco.parquet

Writes the manifest, and beside it NAME.report.json (what came out, beside what the publisher says) and
NAME.problems.tsv (each image that could not be used, and why). Nothing is left out in silence. A run that was stopped
goes on by the same command, from NAME.parts/, which can be removed afterwards. docs/data.md has the command of each of
the paper's sets.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.compute
import pyarrow.parquet
from importers import FORMATS
from importers.common import Published
from importers.steps import list_pairs, read_pairs, read_tar
from shards import Outcome, Shard, add_engine_options, exit_if_failed, matching, run_shards, show

from momo.datasets.manifest import MANIFEST_SCHEMA

ROWS = 10_000  # of a shard


def prefix(images: str, root: str) -> str:
    """The path from the root to the images, which the manifest's references begin with.

    Raises: ValueError if the images do not lie below the root.
    """
    if "://" not in images:
        images, root = os.path.abspath(images), os.path.abspath(root)
    images, root = images.rstrip("/"), root.rstrip("/")
    if images != root and not images.startswith(f"{root}/"):
        raise ValueError(f"the images, {images}, must lie below --root {root}: the manifest refers to them from there")
    return images[len(root) + 1 :]


def import_annotations(args: argparse.Namespace, parts: Path) -> tuple[list[Outcome], list[Outcome]]:
    """List what the annotations name, then read each image; the outcomes of both steps."""
    known = {"format", "files", "images", "root", "out", "source", "split_captions", "retry", "engine", "workers"}
    options = {key: value for key, value in vars(args).items() if key not in known}
    settings = {"format": args.format, "options": options, "rows": ROWS}
    lists = [
        Shard(path, (path,), parts / "pairs" / f"{number:04d}", {"path": path, **settings})
        for number, path in enumerate(args.files)
    ]
    # The images below a folder may change without any sign of it on the folder: it is listed anew.
    engine = {"engine": args.engine, "workers": args.workers}
    listed = run_shards(list_pairs, lists, "annotations", again=lambda counts: args.format == "images", **engine)
    exit_if_failed(listed)
    settings = {
        "prefix": prefix(args.images, args.root),
        "root": args.root,
        "source": args.source,
        "captioned": args.format != "images",
    }
    slices = [
        Shard(
            f"{outcome.shard.name}, from image {number * ROWS:,} on",
            (),  # what a slice holds is in its hash
            parts / "rows" / f"{outcome.shard.output.name}-{name}",
            {"slice": str(outcome.shard.output / name), "sha256": sha256, **settings},
        )
        for outcome in listed
        for number, (name, sha256) in enumerate(outcome.counts["slices"].items())
    ]
    again = (lambda counts: counts["problems"] > 0) if args.retry else (lambda counts: False)
    return listed, run_shards(read_pairs, slices, "images", again=again, **engine)


def import_tars(args: argparse.Namespace, parts: Path) -> list[Outcome]:
    """Read img2dataset's tars."""
    shards = []
    for path in args.files:
        beside = str(Path(path).with_suffix(".parquet"))
        settings = {"path": path, "reference": prefix(path, args.root), "source": args.source}
        inputs = (path, beside) if os.path.exists(beside) else (path,)
        shards.append(Shard(path, inputs, parts / "rows" / f"{len(shards):06d}.parquet", settings))
    return run_shards(read_tar, shards, "tars", engine=args.engine, workers=args.workers)


def merge(paths: list[Path], out: Path, split_captions: bool) -> dict[str, Any]:
    """Write the manifest and the list of problems from the parts; what they hold."""
    half, problems, counts = out.with_name(f".{out.name}.part"), Counter(), Counter()
    with (
        pyarrow.parquet.ParquetWriter(half, MANIFEST_SCHEMA) as writer,
        out.with_suffix(".problems.tsv").open("w", encoding="utf-8", newline="") as file,
    ):
        lines = csv.writer(file, delimiter="\t", lineterminator="\n")
        lines.writerow(["image", "id", "problem"])
        for path in paths:
            table = pyarrow.parquet.read_table(path)
            usable = pyarrow.compute.is_null(table["problem"])
            for row in table.filter(pyarrow.compute.invert(usable)).to_pylist():
                lines.writerow([row["image"], row["id"], row["problem"]])
                problems[row["problem"].partition(":")[0]] += 1
            table = table.filter(usable).select(MANIFEST_SCHEMA.names)
            counts["images"] += len(table)
            counts["captions"] += len(pyarrow.compute.list_flatten(table["captions"]))
            table = _a_row_a_caption(table) if split_captions else table
            counts["rows"] += len(table)
            writer.write_table(table.cast(MANIFEST_SCHEMA))
    os.replace(half, out)
    return {**counts, "problems": dict(problems.most_common())}


def _a_row_a_caption(table: pyarrow.Table) -> pyarrow.Table:
    captions = table["captions"].combine_chunks()
    table = table.take(pyarrow.compute.list_parent_indices(captions))
    lists = [[caption] for caption in pyarrow.compute.list_flatten(captions).to_pylist()]
    place = table.schema.get_field_index("captions")
    return table.set_column(place, MANIFEST_SCHEMA.field("captions"), pyarrow.array(lists, captions.type))


def published(args: argparse.Namespace) -> Published | None:
    """What the publisher says should be listed, if that is known for each of the files."""
    known = FORMATS[args.format].published
    names = {part for path in args.files for part in FORMATS[args.format].parts(Path(path), args)}
    if not names or not names <= set(known):
        return None
    return Published(*(sum(column) for column in zip(*(known[name] for name in names), strict=True)))


def report(args: argparse.Namespace, listed: list[Outcome], found: dict[str, Any]) -> None:
    """Print what came out, and write it beside the manifest."""
    rows: dict[str, Any] = {"images": found["images"], "captions": found["captions"], "rows": found["rows"]}
    written = {"format": args.format, "files": args.files, "source": args.source, **found}
    if listed:
        annotated = Published(*(sum(outcome.counts[key] for outcome in listed) for key in Published._fields))
        written["annotated"] = annotated._asdict()
        rows["images, captions in the annotations"] = f"{annotated.images:,}, {annotated.captions:,}"
        expected = published(args)
        if expected:
            written["published"] = expected._asdict()
            rows["published"] = f"{expected.images:,}, {expected.captions:,}"
            rows["annotations less published"] = ", ".join(
                f"{got - wanted:+,}" for got, wanted in zip(annotated, expected, strict=True)
            )
    for problem, count in found["problems"].items():
        rows[f"left out: {problem}"] = count
    path = args.out.with_suffix(".report.json")
    path.write_text(json.dumps(written, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    show(str(args.out), rows)
    if not found["rows"]:
        sys.exit(f"error: no image could be used; {args.out.with_suffix('.problems.tsv')} says why for each")


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    formats = parser.add_subparsers(dest="format", required=True, metavar="FORMAT")
    for name, form in FORMATS.items():
        added = formats.add_parser(name, help=form.help, description=form.help)
        added.add_argument("files", nargs="+", help="annotation files, paths or glob patterns")
        added.add_argument("--images", required=name != "images", help="folder or URL that the images lie in")
        added.add_argument("--retry", action="store_true", help="look again for images that were missing")
        form.options(added)
        _common_options(added, form.source)
    about = "tars as img2dataset writes them, images and captions together"
    added = formats.add_parser("webdataset", help=about, description=about)
    added.add_argument("files", nargs="+", help="tars, paths or glob patterns")
    _common_options(added, "web")
    args = parser.parse_args()
    if args.out.suffix != ".parquet":
        parser.error(f"--out {args.out}: a manifest's name ends in .parquet")
    args.files = matching(args.files)
    if args.format == "images":
        if len(args.files) > 1 or not os.path.isdir(args.files[0]):
            parser.error(f"images: one folder is read, got {' '.join(args.files)}")
        args.images = args.files[0]
    if args.root is None:
        args.root = args.images if args.format != "webdataset" else os.path.dirname(args.files[0])
    return args


def _common_options(parser: argparse.ArgumentParser, source: str) -> None:
    parser.add_argument("--root", help="folder that the manifest's references start from (default: that of the images)")
    parser.add_argument("--out", type=Path, required=True, help="the manifest, a .parquet file")
    parser.add_argument("--source", default=source, help=f"the set's name in the manifest (default: {source})")
    parser.add_argument("--split-captions", action="store_true", help="a row for each caption, not for each image")
    add_engine_options(parser)


def main() -> None:
    args = parse_args()
    parts = args.out.with_suffix(".parts")
    args.out.parent.mkdir(parents=True, exist_ok=True)
    try:
        listed, read = (
            ([], import_tars(args, parts)) if args.format == "webdataset" else import_annotations(args, parts)
        )
        exit_if_failed(read)
        found = merge([outcome.shard.output for outcome in read], args.out, args.split_captions)
    except (OSError, ValueError, ImportError) as error:
        sys.exit(f"error: {error}")
    report(args, listed, found)


if __name__ == "__main__":
    main()

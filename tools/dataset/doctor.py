"""Examine data before a GPU is rented for them: what is there, what is broken, double or leaked, and is it fast enough.

    python tools/dataset/doctor.py data/imagenet/train
    python tools/dataset/doctor.py data/cc3m data/coco/manifest.parquet --root data/coco --against data/coco/val2014
    python tools/dataset/doctor.py data/wikipedia/*.parquet --config configs/momo/stage2_vitb.py --gpus 8 --gpu a100

A path is whatever a reader knows: a folder of images, a tar or a folder of tars, a manifest or another table, text. Of
larger data --samples are drawn, the same each time. A table is printed; doctor.json has all figures and doctor.html,
which needs no other file, shows samples to look at.

The verdict compares the loader, run here with the config's own transforms, with what a training step takes: its matrix
products, counted in the model, at an assumed share of the GPU's peak. Both assumptions are printed and can be given.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any, NamedTuple

import torch
from examination.findings import Group, Histogram, Leak, duplicates, histograms, leaks, shares, summary
from examination.page import write_page
from examination.samples import Sample, choose, examine_all
from examination.sources import Names, Source, open_source
from examination.speed import PEAKS, Assumptions, Need, Throughput, measure, need, verdict
from examination.terminal import as_json, print_report
from mmengine.config import Config

from momo.datasets import TooManyBroken

CONFIGS = {"image": "stage1_vitb.py", "text": "stage2_vitb.py", "image_text": "stage3_vitb.py"}


class Speed(NamedTuple):
    """What is given, what is needed, under which assumptions, and the sentence that sums it up."""

    gives: Throughput
    needs: Need
    assumptions: Assumptions
    verdict: str


class Examination(NamedTuple):
    """All that is known of a source. speed: None where it was not measured."""

    source: Source
    samples: list[Sample]
    summary: dict[str, Any]
    duplicates: list[Group]
    leaks: list[Leak]
    against: dict[str, Source]
    histograms: dict[str, Histogram]
    shares: dict[str, dict[str, float]]
    speed: Speed | None


def main() -> None:
    args = parse_args()
    torch.set_num_threads(1)
    names = Names(args.image, args.caption, args.text, args.root)
    try:
        against = {path: open_source(path, Names(), args.cache_dir) for path in args.against}
        sources = [open_source(path, names, args.cache_dir) for path in args.paths]
        configs = [find_config(source, args.config) for source in sources]
    except (FileNotFoundError, ValueError) as error:
        sys.exit(f"error: {error}")
    theirs = {path: examined(source, args) for path, source in against.items()}
    done = [
        examine_source(source, config, against, theirs, args) for source, config in zip(sources, configs, strict=True)
    ]
    args.out.mkdir(parents=True, exist_ok=True)
    print_report(done)
    (args.out / "doctor.json").write_text(as_json(done), encoding="utf-8", errors="backslashreplace")
    write_page(args.out / "doctor.html", done)
    print(f"wrote {args.out / 'doctor.html'} and {args.out / 'doctor.json'}")


def find_config(source: Source, given: Path | None) -> Path:
    """What the source's data are for.

    Raises: FileNotFoundError if the config is not there; ValueError if it trains on data of another kind.
    """
    path = given or Path(__file__).parents[2] / "configs/momo" / CONFIGS[source.modality]
    loaders = Config.fromfile(path).train_dataloader["loaders"]
    if source.modality not in loaders:
        raise ValueError(f"--config {path} trains on {sorted(loaders)}, and {source.path} is for {source.modality}")
    return path


def examined(source: Source, args: argparse.Namespace) -> list[Sample]:
    chosen = choose(len(source.dataset), args.samples)
    return examine_all(source.dataset, chosen, args.workers, f"examining {source.path}")


def examine_source(
    source: Source,
    config: Path,
    against: dict[str, Source],
    theirs: dict[str, list[Sample]],
    args: argparse.Namespace,
) -> Examination:
    samples = examined(source, args)
    return Examination(
        source,
        samples,
        summary(samples, len(source.dataset)),
        duplicates(samples),
        leaks(samples, theirs),
        against,
        histograms(samples),
        shares(samples),
        measure_speed(source, config, args) if args.seconds > 0 else None,
    )


def measure_speed(source: Source, config: Path, args: argparse.Namespace) -> Speed | None:
    """None where next to nothing can be read."""
    cfg = Config.fromfile(config)
    peak = PEAKS[args.gpu] if args.gpu in PEAKS else float(args.gpu)
    assumptions = Assumptions(config, args.gpus, args.gpu, peak, args.utilisation)
    try:
        gives = measure(source, cfg, args.tokenizer, args.workers, args.seconds)
    except TooManyBroken:
        return None
    needs = need(source.modality, assumptions, cfg, gives.words)
    return Speed(gives, needs, assumptions, verdict(source, gives, needs, assumptions))


def gpu(text: str) -> str:
    """A name in PEAKS, or a number."""
    if text.lower() in PEAKS:
        return text.lower()
    if float(text) <= 0:
        raise ValueError(text)
    return text


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("paths", nargs="+", metavar="PATH", help="data to examine")
    parser.add_argument("--against", nargs="+", default=[], metavar="PATH", help="sets that it must not overlap")
    parser.add_argument(
        "--samples",
        type=int,
        default=20_000,
        help="0 for all, a GB a million (default: 20,000)",
    )
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="processes (default: one a core)")
    parser.add_argument("--out", type=Path, default=Path("work_dirs/doctor"), help="folder of the report")
    data = parser.add_argument_group("how data are named")
    data.add_argument("--root", help="folder that references to images start from (default: the table's)")
    data.add_argument("--image", default="image", help="column of images (default: image)")
    data.add_argument("--caption", help="column of captions, or entry of a WebDataset's .json (default: the readers')")
    data.add_argument("--text", default="text", help="column of texts (default: text)")
    data.add_argument("--cache-dir", help="folder of indexes (default: beside the data)")
    speed = parser.add_argument_group("what they are for")
    speed.add_argument("--config", type=Path, help="what is trained (default: the base model's stage 1, 2 or 3)")
    speed.add_argument("--tokenizer", help="folder of the tokenizer (default: the config's)")
    speed.add_argument("--gpus", type=int, default=64, help="default: the paper's 64")
    speed.add_argument("--gpu", type=gpu, default="a100", help=f"{', '.join(PEAKS)}, or TFLOP/s (default: a100)")
    speed.add_argument("--utilisation", type=float, default=0.4, help="share of the peak reached (default: 0.4)")
    speed.add_argument("--seconds", type=float, default=10, help="how long to run the loader, 0 for not at all")
    args = parser.parse_args()
    if args.samples < 0 or args.workers < 0 or args.gpus < 1 or not 0 < args.utilisation <= 1 or args.seconds < 0:
        parser.error("--samples, --workers and --seconds are at least 0, --gpus 1, and --utilisation lies in (0, 1]")
    return args


if __name__ == "__main__":
    main()

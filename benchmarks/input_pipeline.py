"""How many images, pairs and tokens a second one core prepares, beside other pipelines, and what workers add.

python benchmarks/input_pipeline.py --out work_dirs/input_pipeline.json
python benchmarks/input_pipeline.py --parts images texts --rounds 3

All cases read the same files, made on the fly, and run in turn; figures are medians over the rounds. 'per core' counts
the processor time of all processes that take part, which other work on the machine disturbs little; 'wall' is the
clock's. mmpretrain comes with the requirements; WebDataset's loader with `pip install -r requirements/benchmarks.txt`.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from made_data import words_of, write_pairs, write_tokenizer
from rich.console import Console
from rich.table import Table
from timing import Rate, interleaved

from momo.datasets import ImageFolder, PackedCollate, SampleKey, TextCorpus, Tokenize, build_loader

SIZES = ((500, 375), (1024, 768))
CROP = dict(type="torchvision/RandomResizedCrop", size=224, scale=(0.2, 1.0), interpolation="bicubic", antialias=True)
AUGMENT = dict(type="torchvision/RandAugment", num_ops=2, magnitude=9)
BATCH, EPOCHS = 32, 8


def images(folder: Path, rounds: int, count: int) -> dict[str, Rate]:
    """Decode, crop to 224 and, in a second row, RandAugment: files to tensors, in this process."""
    rates = {}
    for width, height in SIZES:
        root = write_pairs(folder / f"{width}", (width, height), count)["images"]
        for augment in (False, True):
            cases = {
                "MoMo": _momo_images(root, augment),
                "mmpretrain": _mmpretrain_images(root, augment),
                "torchvision on PIL": _torchvision_images(root, augment),
            }
            mean = np.mean([path.stat().st_size for path in root.iterdir()]) / 1024
            title = f"{width}x{height} of {mean:.0f} KB{' + RandAugment' if augment else ''}"
            rates |= {f"{title} | {name}": rate for name, rate in interleaved(cases, rounds).items()}
    return rates


def _momo_images(root: Path, augment: bool) -> Callable[[], int]:
    dataset = ImageFolder(str(root), [dict(type="LoadImage"), CROP, *([AUGMENT] if augment else [])])
    epochs = iter(range(10**6))

    def run() -> int:
        epoch = next(epochs)
        for index in range(len(dataset)):
            dataset[SampleKey.of(0, epoch, index)]
        return len(dataset)

    return run


def _mmpretrain_images(root: Path, augment: bool) -> Callable[[], int]:
    import mmpretrain.datasets  # noqa: F401
    from mmcv.transforms import Compose

    randaugment = dict(
        type="mmpretrain.RandAugment", policies="timm_increasing", num_policies=2, magnitude_level=9, total_level=31
    )
    crop = dict(
        type="mmpretrain.RandomResizedCrop",
        scale=224,
        crop_ratio_range=(0.2, 1.0),
        backend="pillow",
        interpolation="bicubic",
    )
    pipeline = Compose(
        [
            dict(type="mmcv.LoadImageFromFile"),
            crop,
            *([randaugment] if augment else []),
            dict(type="mmpretrain.PackInputs"),
        ]
    )
    return _all_files(root, lambda path: pipeline({"img_path": path}))


def _torchvision_images(root: Path, augment: bool) -> Callable[[], int]:
    """What most training scripts do: torchvision's transforms on a PIL image."""
    from PIL import Image
    from torchvision.transforms import InterpolationMode, v2

    transform = v2.Compose(
        [
            v2.RandomResizedCrop(224, (0.2, 1.0), interpolation=InterpolationMode.BICUBIC),
            *([v2.RandAugment(2, 9)] if augment else []),
            v2.PILToTensor(),
        ]
    )
    return _all_files(root, lambda path: transform(Image.open(path).convert("RGB")))


def _all_files(root: Path, read: Callable[[str], Any]) -> Callable[[], int]:
    paths = sorted(map(str, root.glob("*.jpg")))

    def run() -> int:
        for path in paths:
            read(path)
        return len(paths)

    return run


def texts(folder: Path, rounds: int, count: int) -> dict[str, Rate]:
    """Captions of 9 words and documents of 300 to batches, in this process: texts a second, then tokens."""
    from transformers import BertTokenizerFast

    tokenizer = write_tokenizer(folder / "tokenizer")
    peer, rates = BertTokenizerFast.from_pretrained(tokenizer), {}
    for name, words, number in (("captions", 9, 20 * count), ("documents", 300, count)):
        path = folder / f"{name}.txt"
        path.write_text("".join(words_of(i, words) + "\n" for i in range(number)), encoding="utf-8")
        lines, tokenize = path.read_text().splitlines(), Tokenize(tokenizer, max_len=512)
        cases = {
            "MoMo, to packed batches": _momo_texts(path, tokenizer),
            "MoMo, Tokenize alone": lambda lines=lines, tokenize=tokenize: len([tokenize({"text": x}) for x in lines]),
            "transformers, one by one": lambda lines=lines: len([peer(text) for text in lines]),
            "transformers, padded batches": lambda lines=lines: _padded(peer, lines),
        }
        tokens = np.mean([len(tokenize({"text": text})["words"]) for text in lines])
        for case, rate in interleaved(cases, rounds).items():
            rates[f"{name} | {case}"] = rate
            rates[f"tokens of {name} | {case}"] = Rate(*(tokens * value for value in rate))
    return rates


def _momo_texts(path: Path, tokenizer: str) -> Callable[[], int]:
    dataset, collate = TextCorpus(str(path), [dict(type="Tokenize", tokenizer=tokenizer)]), PackedCollate()

    def run() -> int:
        for first in range(0, len(dataset), BATCH):
            collate([dataset[i] for i in range(first, min(first + BATCH, len(dataset)))])
        return len(dataset)

    return run


def _padded(tokenizer, lines: list[str]) -> int:
    for first in range(0, len(lines), BATCH):
        tokenizer(lines[first : first + BATCH], padding=True, truncation=True, max_length=512, return_tensors="pt")
    return len(lines)


def pairs(folder: Path, rounds: int, count: int, workers: list[int]) -> dict[str, Rate]:
    """Pairs to batches through whole loaders, starting the workers included, by their number; eight epochs a run."""
    tokenizer, size = write_tokenizer(folder / "tokenizer"), SIZES[0]
    count = 4 * max(count, BATCH)
    data = write_pairs(folder / "pairs", size, count)
    count *= EPOCHS
    cases = {}
    for number in workers:
        cases[f"{number} workers | MoMo"] = _momo_pairs(data, tokenizer, number, count)
        try:
            cases[f"{number} workers | WebDataset"] = _webdataset_pairs(data, tokenizer, number, count)
        except ImportError:
            print("WebDataset is left out: pip install -r requirements/benchmarks.txt")
    return interleaved(cases, rounds)


def _momo_pairs(data: dict[str, Path], tokenizer: str, workers: int, count: int) -> Callable[[], int]:
    pipeline = [dict(type="LoadImage"), CROP, dict(type="Tokenize", tokenizer=tokenizer, max_len=64)]
    dataset = dict(type="ImageText", annotations=str(data["pairs"]), root=str(data["images"]), pipeline=pipeline)

    def run() -> int:
        loader = build_loader(dict(dataset=dataset, batch_size=BATCH, num_workers=workers), None, seed=0)
        return sum(len(batch["keys"]) for batch in islice(loader, count // BATCH))

    return run


def _webdataset_pairs(data: dict[str, Path], tokenizer: str, workers: int, count: int) -> Callable[[], int]:
    """As open_clip and others set it up: PIL, torchvision's crop, a tokenizer that pads to 64."""
    import webdataset
    from torchvision.transforms import InterpolationMode, v2
    from transformers import BertTokenizerFast

    encode = BertTokenizerFast.from_pretrained(tokenizer)
    crop = v2.Compose(
        [v2.RandomResizedCrop(224, (0.2, 1.0), interpolation=InterpolationMode.BICUBIC), v2.PILToTensor()]
    )

    def words(text: str) -> torch.Tensor:
        return encode(text, padding="max_length", truncation=True, max_length=64, return_tensors="pt").input_ids[0]

    # The same tar again and again: each worker reads tars of its own.
    urls = [str(data["tar"])] * (EPOCHS * max(workers, 1))
    share = count // BATCH // max(workers, 1)

    def run() -> int:
        dataset = webdataset.WebDataset(urls, shardshuffle=False, nodesplitter=None).shuffle(100).decode("pil")
        dataset = dataset.to_tuple("jpg", "txt").map_tuple(crop, words).batched(BATCH)
        loader = webdataset.WebLoader(islice_of(dataset, share), batch_size=None, num_workers=workers)
        return sum(len(images) for images, _ in loader)

    return run


class islice_of(torch.utils.data.IterableDataset):
    """The first batches of a dataset, in each worker."""

    def __init__(self, dataset, number: int) -> None:
        self.dataset, self.number = dataset, number

    def __iter__(self):
        return islice(iter(self.dataset), self.number)


def resume(folder: Path) -> dict[str, float]:
    """Seconds to the first batch of 256 captions at step 0 and at step 1,000,000, and their ratio: medians of nine."""
    tokenizer, path = write_tokenizer(folder / "tokenizer"), folder / "resume.txt"
    path.write_text("".join(words_of(i, 9) + "\n" for i in range(20_000)), encoding="utf-8")
    dataset = dict(type="TextCorpus", files=str(path), pipeline=[dict(type="Tokenize", tokenizer=tokenizer)])
    loader = build_loader(dict(dataset=dataset, batch_size=256), None, seed=0)
    seconds: dict[int, list[float]] = {0: [], 10**6: []}
    for _ in range(9):
        for start, column in seconds.items():
            loader.batch_sampler.start = start
            begin = time.perf_counter()
            next(iter(loader))
            column.append(time.perf_counter() - begin)
    fresh, late = (float(np.median(column)) for column in seconds.values())
    return {"step 0": fresh, "step 1,000,000": late, "ratio": late / fresh}


def show(console: Console, title: str, rates: dict[str, Rate]) -> None:
    """A table; its last column tells how many times as fast per core the first case of a group is."""
    table = Table("case", "per core /s", "wall /s", "times as fast", title=title)
    first: dict[str, float] = {}
    for name, rate in rates.items():
        group = name.partition(" | ")[0]
        ratio = first.setdefault(group, rate.per_core) / rate.per_core
        table.add_row(name, f"{rate.per_core:,.0f}", f"{rate.wall:,.0f}", f"{ratio:.2f}")
    console.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", default=["images", "texts", "pairs", "resume"])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--images", type=int, default=32, help="different images of each size")
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--out", type=Path, help="JSON file of all figures")
    args = parser.parse_args()
    torch.set_num_threads(1)
    console, found = Console(), {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if "images" in args.parts:
            found["images"] = images(folder, args.rounds, args.images)
            show(console, "Images: files to 224 x 224 tensors", found["images"])
        if "texts" in args.parts:
            found["texts"] = texts(folder, args.rounds, 10 * args.images)
            show(console, "Texts and tokens", found["texts"])
        if "pairs" in args.parts:
            found["pairs"] = pairs(folder, args.rounds, args.images, args.workers)
            show(console, f"Pairs, {SIZES[0][0]}x{SIZES[0][1]}, through loaders", found["pairs"])
        if "resume" in args.parts:
            found["resume"] = resume(folder)
            console.print("First batch:", {key: round(value, 4) for key, value in found["resume"].items()})
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        figures = {
            part: {name: value._asdict() if isinstance(value, Rate) else value for name, value in rows.items()}
            for part, rows in found.items()
        }
        args.out.write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()

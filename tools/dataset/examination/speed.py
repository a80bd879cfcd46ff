"""What a loader gives, and what training needs."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.registry import DefaultScope

from momo.datasets import build_loader

from .sources import Source

sys.path.insert(0, str(Path(__file__).parents[2] / "analysis"))

from cost import count_step  # noqa: E402
from meta_step import reads_tokens  # noqa: E402
from training_plan import GPUS  # noqa: E402

PEAKS = {name: gpu.flops["amp"] / 1e12 for name, gpu in GPUS.items()}  # TFLOP/s in mixed precision
NAMES = {"image": "images", "text": "documents", "image_text": "pairs"}


class Throughput(NamedTuple):
    """samples_per_s with `workers`; words: mean length of the texts in word pieces, None without texts or tokenizer;
    steps: names of the pipeline's steps.
    """

    samples_per_s: float
    workers: int
    words: float | None
    steps: list[str]


class Assumptions(NamedTuple):
    """config: what is trained. peak: TFLOP/s of a GPU. utilisation: share of it that training reaches."""

    config: Path
    gpus: int
    gpu: str
    peak: float
    utilisation: float


class Need(NamedTuple):
    """What a training run takes from a source.

    Attributes:
        samples_per_s: Over all GPUs, of the source's modality.
        batch: Samples a GPU and step of each modality.
        tflop: Of a GPU and step, forward and backward, 10^12.
        step_s: Seconds a step.
    """

    samples_per_s: float
    batch: dict[str, int]
    tflop: float
    step_s: float


# ------------------------------------------------------------------ what the loader gives
def measure(source: Source, cfg: Config, tokenizer: str | None, workers: int, seconds: float) -> Throughput:
    """Run the source's data through the pipeline and loader that the config trains with.

    Raises: TooManyBroken if next to nothing can be read.
    """
    pipeline = training_pipeline(cfg, source.modality, tokenizer)
    batch = min(64, len(source.dataset))
    dataset = {**source.cfg, "pipeline": pipeline, "max_bad_fraction": 1.0}
    loader = build_loader(dict(dataset=dataset, batch_size=batch, num_workers=workers), None, seed=0)
    words: list[int] = []
    with _unlogged():
        batches = iter(loader)
        for _ in range(2 * max(workers, 1)):  # what workers had ready before the clock ran
            next(batches)
        count, started = 0, time.perf_counter()
        while time.perf_counter() - started < seconds:
            loaded = next(batches)
            count += len(loaded["keys"])
            words += loaded["word_counts"].tolist() if "word_counts" in loaded else []
        rate = count / (time.perf_counter() - started)
    return Throughput(rate, workers, float(np.mean(words)) if words else None, [step["type"] for step in pipeline])


@contextmanager
def _unlogged() -> Iterator[None]:
    """Broken samples are on the page, by reason; they need not be in a log too."""
    logger = MMLogger.get_current_instance()
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)


def training_pipeline(cfg: Config, modality: str, tokenizer: str | None) -> list[dict[str, Any]]:
    """The config's transforms of a modality; without tokenising where there is no tokenizer.

    Where the config reads token files, texts are cut as those were.
    """
    dataset, steps = cfg.train_dataloader["loaders"][modality]["dataset"], []
    cut = dict(type="Tokenize", tokenizer=dataset.get("tokenizer"), max_len=dataset.get("max_len", 512))
    for step in [cut, *dataset.get("pipeline", [])] if reads_tokens(dataset) else dataset["pipeline"]:
        step = dict(step)
        if step["type"] == "Tokenize":
            step["tokenizer"] = tokenizer or step["tokenizer"]
            if not Path(step["tokenizer"]).is_dir():
                continue
        steps.append(step)
    return steps


# ------------------------------------------------------------------ what training needs
def need(modality: str, assumptions: Assumptions, cfg: Config, words: float | None) -> Need:
    """Samples a second that a run of the config takes of one modality: a step takes its FLOPs at the assumed rate.

    Args:
        words: Mean length of the source's texts; None: see `cost.count_step`.
    """
    with DefaultScope.overwrite_default_scope("momo"):
        cost = count_step(cfg, words={modality: max(1, round(words))} if words else {})
    step = cost.flops / (1e12 * assumptions.peak * assumptions.utilisation)
    return Need(cost.samples[modality] * assumptions.gpus / step, cost.samples, cost.flops / 1e12, step)


def verdict(source: Source, gives: Throughput, needs: Need, assumptions: Assumptions) -> str:
    """One sentence: what is needed, what there is, and how many workers make up for it."""
    noun = NAMES[source.modality]
    per_gpu, workers = needs.samples_per_s / assumptions.gpus, max(gives.workers, 1)
    wanted = int(np.ceil(per_gpu * workers / gives.samples_per_s))
    give = f"this gives {gives.samples_per_s:,.0f} with {workers} worker{'s'[: workers != 1]}"
    return (
        f"{assumptions.config.stem} on {assumptions.gpus} GPUs needs {needs.samples_per_s:,.0f} {noun}/s, "
        f"{per_gpu:,.0f} for each GPU; {give}. With num_workers={wanted}, on cores like these, the loader keeps up."
    )

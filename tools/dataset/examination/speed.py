"""What a loader gives, and what training needs."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.registry import DefaultScope
from torch.utils.flop_counter import FlopCounterMode

from momo.datasets import PackedCollate, build_loader
from momo.registry import MODELS

from .sources import Source

# Makers' data sheets: dense 16-bit matrix products, TFLOP/s. The paper trained on V100s.
PEAKS = {"v100": 125.0, "a100": 312.0, "h100": 989.0, "h200": 989.0}
BACKWARD = 2  # a backward pass costs twice its forward pass
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
        gflops: Of one sample of each modality, forward and backward.
        batch: Samples a GPU and step of each modality.
        step_s: Seconds a step.
    """

    samples_per_s: float
    gflops: dict[str, float]
    batch: dict[str, int]
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
    """The config's transforms of a modality; without tokenising where there is no tokenizer."""
    steps = []
    for step in cfg.train_dataloader["loaders"][modality]["dataset"]["pipeline"]:
        step = dict(step)
        if step["type"] == "Tokenize":
            step["tokenizer"] = tokenizer or step["tokenizer"]
            if not Path(step["tokenizer"]).is_dir():
                continue
        steps.append(step)
    return steps


# ------------------------------------------------------------------ what training needs
def need(modality: str, assumptions: Assumptions, cfg: Config, words: float | None) -> Need:
    """Samples a second that a run of the config takes of one modality.

    A step costs what its batches cost, and takes that many FLOPs at the assumed rate.

    Args:
        words: Mean length of the source's texts; None: 12, the paper's average caption, or the pipeline's max_len.
    """
    loaders = cfg.train_dataloader["loaders"]
    batch = {name: own.get("batch_size", cfg.train_dataloader.get("batch_size")) for name, own in loaders.items()}
    model = _model(cfg)
    gflops = {name: sample_gflops(model, name, _text_length(cfg, name, modality, words)) for name in loaders}
    step = sum(gflops[name] * batch[name] for name in loaders) / (1e3 * assumptions.peak * assumptions.utilisation)
    return Need(batch[modality] * assumptions.gpus / step, gflops, batch, step)


def _text_length(cfg: Config, name: str, modality: str, words: float | None) -> int:
    if "text" not in name:
        return 0
    if name == modality and words is not None:
        return max(1, round(words))
    if name == "image_text":
        return 12  # MoMo 3.4
    steps = cfg.train_dataloader["loaders"][name]["dataset"]["pipeline"]
    return next((step.get("max_len", 512) for step in steps if step["type"] == "Tokenize"), 512)


def _model(cfg: Config) -> torch.nn.Module:
    with DefaultScope.overwrite_default_scope("momo"):
        return MODELS.build(cfg.model)


@torch.no_grad()
def sample_gflops(model: torch.nn.Module, modality: str, words: int, count: int = 2) -> float:
    """Matrix products of a training step, forward and backward, for one sample: counted while `count` of them, random
    ones, pass through the model, so that what it skips is not counted.
    """
    rng = np.random.default_rng(0)
    size = model.backbone.image_embed.base_grid[0] * model.backbone.patch_size
    samples = []
    for number in range(count):
        sample: dict[str, Any] = {"key": number, "sample_id": str(number)}
        if "image" in modality:
            sample |= {"image": torch.zeros(3, size, size, dtype=torch.uint8), "image_id": number}
        if "text" in modality:
            sample["words"] = rng.integers(model.backbone.text_embed.words.num_embeddings, size=words)
        samples.append(sample)
    batch = PackedCollate(model.planners(modality))(samples)
    inputs = model.data_preprocessor({modality: batch}, training=True)
    with FlopCounterMode(display=False) as counter:
        model(**inputs, mode="loss")
    return counter.get_total_flops() * (1 + BACKWARD) / count / 1e9


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

"""Training runs on generated data, from a config to MMEngine's runner."""

from __future__ import annotations

import json
from copy import deepcopy
from itertools import count
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import Tensor

from .data import VOCABULARY, write_images, write_pairs, write_texts, write_tokenizer
from .tiny import STAGES, tiny_config

_runs = count()


def write_data(folder: Path) -> dict[str, dict[str, Any]]:
    """Configs of datasets by modality: 12 images, 20 texts, 12 pairs."""
    images = folder / "images"
    root = write_images(images, 12)
    load = dict(type="LoadImage")
    crop = dict(type="torchvision/RandomResizedCrop", size=32, scale=(0.5, 1.0), interpolation="bicubic")
    tokenize = dict(type="Tokenize", tokenizer=write_tokenizer(folder / "tokenizer"), max_len=6)
    return dict(
        image=dict(type="ImageFolder", root=root, pipeline=[load, crop]),
        text=dict(type="TextCorpus", files=write_texts(folder / "text.txt", 20), pipeline=[tokenize]),
        image_text=dict(
            type="ImageText",
            annotations=write_pairs(folder / "pairs.json", images),
            root=root,
            pipeline=[load, crop, tokenize],
        ),
    )


def run_config(
    data: dict[str, dict[str, Any]],
    work_dir: Path,
    stage: int = 2,
    primary: str = "text",
    max_epochs: int = 2,
    **settings: Any,
) -> dict[str, Any]:
    """Config of a short run: 5 steps of 4 texts an epoch, 3 of 4 images or pairs."""
    objectives = STAGES[stage]
    loaders = {modality: dict(dataset=data[modality]) for modality in objectives}
    return dict(
        model=tiny_config(objectives, vocab_size=len(VOCABULARY), drop_path_rate=0.3),
        work_dir=str(work_dir),
        train_dataloader=dict(batch_size=4, primary=primary, loaders=loaders),
        train_cfg=dict(type="MultiModalTrainLoop", max_epochs=max_epochs),
        optim_wrapper=dict(
            type="OptimWrapper",
            constructor="DecayMatricesOnly",
            optimizer=dict(type="AdamW", lr=1e-3, betas=(0.9, 0.95), weight_decay=0.05),
        ),
        param_scheduler=[
            dict(type="LinearLR", start_factor=0.1, begin=0, end=0.4, convert_to_iter_based=True),
            dict(type="CosineAnnealingLR", eta_min=0.0, begin=0.4, convert_to_iter_based=True),
        ],
        default_hooks=dict(
            timer=dict(type="IterTimerHook"),
            logger=dict(type="LoggerHook", interval=1),
            param_scheduler=dict(type="ParamSchedulerHook"),
            checkpoint=dict(type="MoMoCheckpointHook", interval=max_epochs),
            sampler_seed=None,
        ),
        log_processor=dict(type="LogProcessor", window_size=1),
        default_scope="momo",
        randomness=dict(seed=3),
        # Two runs in one second would otherwise share a name, and with it their logs.
        experiment_name=f"test_{next(_runs)}",
        log_level="ERROR",
        **deepcopy(settings),
    )


def build_runner(cfg: dict[str, Any]) -> Runner:
    return Runner.from_cfg(cfg if isinstance(cfg, Config) else Config(cfg))


def stop_workers(runner: Runner) -> None:
    """Let data workers go now: garbage collection, which frees a runner much later, waits 5 s for each of them."""
    runner.train_loop._batches = None
    for loader in runner.train_loop.dataloader.loaders.values():
        loader._iterator = None


def logged(work_dir: Path) -> list[dict[str, Any]]:
    """What the run wrote to its log, a dict a line."""
    (path,) = Path(work_dir).glob("*/vis_data/scalars.json")
    return [json.loads(line) for line in path.read_text().splitlines()]


def weights(runner: Runner) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in runner.model.state_dict().items()}


def same_tensors(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


class RecordSamples(Hook):
    """Keeps the sample ids and augmented inputs of every step, by modality."""

    def __init__(self) -> None:
        self.ids: list[dict[str, list[str]]] = []
        self.keys: list[dict[str, list[int]]] = []

    def before_train_iter(self, runner, batch_idx: int, data_batch: dict | None = None) -> None:
        self.ids.append({modality: list(batch["sample_ids"]) for modality, batch in data_batch.items()})
        self.keys.append({modality: batch["keys"].tolist() for modality, batch in data_batch.items()})

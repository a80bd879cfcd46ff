"""A torch DataLoader from a config, with this project's sampling and packing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch.utils.data import DataLoader

from momo.ops import rank, world_size
from momo.registry import DATA_SAMPLERS, DATASETS

from .collate import PackedCollate


def build_loader(
    cfg: Mapping[str, Any],
    planners: Mapping[str, Callable] | None,
    *,
    text_limits: tuple[int, int] | None = None,
    seed: int,
    start: int = 0,
    training: bool = True,
) -> DataLoader:
    """Build a loader of packed batches.

    Args:
        cfg: 'dataset' and 'batch_size' (samples a process and step); optionally 'num_workers' and other DataLoader
            settings.
        planners, text_limits: See PackedCollate.
        seed: What order, augmentation and masks are drawn from.
        start: In training, the step to begin with; a training loader has no end.
    """
    cfg = dict(cfg)
    dataset, batch_size = DATASETS.build(cfg.pop("dataset")), cfg.pop("batch_size")
    sampler = dict(size=len(dataset), batch_size=batch_size, seed=seed, rank=rank(), world_size=world_size())
    if training:
        sampler |= dict(type="GlobalBatchSampler", start=start)
    else:
        sampler |= dict(type="EvalBatchSampler")
    workers = cfg.pop("num_workers", 0)
    cfg = {"pin_memory": torch.cuda.is_available(), **cfg}
    return DataLoader(
        dataset,
        batch_sampler=DATA_SAMPLERS.build(sampler),
        collate_fn=PackedCollate(planners, text_limits),
        num_workers=workers,
        **cfg,
    )

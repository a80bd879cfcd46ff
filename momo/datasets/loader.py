"""A torch DataLoader from a config, with this project's sampling and packing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

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
        cfg: 'dataset', and 'batch_size' (samples a process and step) or, in training on text, 'max_tokens' (tokens a
            process and step, see TokenBatchSampler); optionally 'num_workers' and other DataLoader settings. A dataset
            that lies in shards has `chunks`, where each begins (see GlobalBatchSampler).
        planners, text_limits: See PackedCollate.
        seed: What order, augmentation and masks are drawn from.
        start: In training, the step to begin with; a training loader has no end.
    Raises: ValueError for both or neither of batch_size and max_tokens, and for max_tokens in evaluation or with a
        dataset that has no `lengths`.
    """
    cfg = dict(cfg)
    dataset = DATASETS.build(cfg.pop("dataset"))
    sampler = _sampler(dataset, cfg.pop("batch_size", None), cfg.pop("max_tokens", None), training)
    sampler |= dict(seed=seed, rank=rank(), world_size=world_size()) | (dict(start=start) if training else {})
    workers = cfg.pop("num_workers", 0)
    cfg = {"pin_memory": torch.cuda.is_available(), **cfg}
    return DataLoader(
        dataset,
        batch_sampler=DATA_SAMPLERS.build(sampler),
        collate_fn=PackedCollate(planners, text_limits),
        num_workers=workers,
        **cfg,
    )


def _sampler(dataset: Dataset, batch_size: int | None, max_tokens: int | None, training: bool) -> dict[str, Any]:
    """Config of the sampler, without what all of them take."""
    if (batch_size is None) == (max_tokens is None):
        raise ValueError(
            f"a loader has batch_size={batch_size} and max_tokens={max_tokens}: give one of the two "
            "(batch_size=None beside max_tokens, where a shared batch_size stands)"
        )
    if max_tokens is None:
        if not training:
            return dict(type="EvalBatchSampler", size=len(dataset), batch_size=batch_size)
        chunks = getattr(dataset, "chunks", None)
        return dict(type="GlobalBatchSampler", size=len(dataset), batch_size=batch_size, chunks=chunks)
    if not training:
        raise ValueError(f"max_tokens={max_tokens} is for training; evaluation takes batch_size")
    if getattr(dataset, "lengths", None) is None:
        raise ValueError(
            f"max_tokens={max_tokens} needs to know the lengths of texts beforehand, and {type(dataset).__name__} has "
            "no `lengths`: use token files, which have, or batch_size"
        )
    return dict(type="TokenBatchSampler", lengths=dataset.lengths, max_tokens=max_tokens)

"""Run a model once over data, the samples shared among the processes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import numpy as np
import torch
from rich.progress import track
from torch import Tensor, distributed, nn
from torch.utils.data import DataLoader

from momo.ops import gather_with_grad, rank, world_size

T = TypeVar("T")


def progress(items: Iterable[T], title: str, total: int) -> Iterable[T]:
    """Iterate with a progress bar, on the first process only."""
    return track(items, description=title, total=total, disable=rank() > 0, transient=True)


def as_sampled(values: Tensor, order: list[int]) -> Tensor:
    """Rows of a collated batch, sorted by length, back in the order in which the sampler drew them."""
    return values[torch.from_numpy(np.argsort(order)).to(values.device)]


def embed_share(
    loader: DataLoader,
    name: str,
    model: nn.Module,
    embed: Callable[[dict[str, Any]], Tensor],
    keep: Callable[[dict[str, Any]], None] | None = None,
) -> Tensor:
    """Features of this process's share of a loader, in the sampler's order.

    Args:
        name: What the data preprocessor and the progress bar call the batches.
        embed: From a preprocessed batch to features (B, ...).
        keep: Is shown each batch before it is preprocessed.
    Shapes: the result is (share, ...), share = samples / processes, rounded up.
    """
    features = []
    for batch in progress(loader, f"embed {name}", len(loader)):
        if keep is not None:
            keep(batch)
        inputs = model.data_preprocessor({name: batch})["inputs"][name]
        features.append(as_sampled(embed(inputs), batch["order"]))
    return torch.cat(features)


def gather_shares(share: Tensor, total: int) -> Tensor:
    """The rows of all processes in the order of the samples, of which process r holds r, r + world, ...

    Shares are equally long; what fills up the last ones is left out.

    Shapes: share (ceil(total / world), ...); the result is (total, ...) on every process.
    """
    if world_size() == 1:
        return share[:total]
    return gather_with_grad(share).unflatten(0, (world_size(), len(share))).transpose(0, 1).flatten(0, 1)[:total]


def gather_objects(share: list[T], total: int) -> list[T]:
    """`gather_shares` for anything that can be pickled."""
    if world_size() == 1:
        return share[:total]
    parts: list[list[T]] = [[] for _ in range(world_size())]
    distributed.all_gather_object(parts, share)
    return [item for row in zip(*parts, strict=True) for item in row][:total]


def share_of(total: int) -> Tensor:
    """Numbers of the samples that are this process's, as EvalBatchSampler deals them out."""
    share = -(-total // world_size())
    return (rank() + torch.arange(share) * world_size()) % total


def sum_over_processes(values: Tensor) -> Tensor:
    """Add up what the processes hold, where each entry is known to one of them and 0 to the others."""
    if world_size() > 1:
        distributed.all_reduce(values)
    return values

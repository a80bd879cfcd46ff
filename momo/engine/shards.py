"""Tensors of which each process holds a part, and whole ones."""

from __future__ import annotations

from torch import Tensor
from torch.distributed.tensor import DTensor, distribute_tensor


def whole(value: Tensor) -> Tensor:
    """All of a sharded tensor, gathered from all processes, which must all ask for it; of another tensor itself."""
    return value.full_tensor() if isinstance(value, DTensor) else value


def own_part(value: Tensor) -> Tensor:
    """This process's part of a sharded tensor, which may be empty; of another tensor all."""
    return value.to_local() if isinstance(value, DTensor) else value


def sharded_as(value: Tensor, like: Tensor) -> Tensor:
    """This process's part of a whole tensor that all processes have, cut as `like` is; nothing is sent.

    A tensor of another shape, or for a `like` that is not sharded, stays as it is.
    """
    if not isinstance(like, DTensor) or isinstance(value, DTensor) or value.shape != like.shape:
        return value
    return distribute_tensor(value, like.device_mesh, like.placements, src_data_rank=None)

"""Collectives that a loss can be differentiated through."""

from __future__ import annotations

import torch
from torch import Tensor, distributed


def world_size() -> int:
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


def rank() -> int:
    return distributed.get_rank() if world_size() > 1 else 0


class _GatherWithGrad(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        ctx.rows = x.shape[0]
        parts = [torch.empty_like(x) for _ in range(world_size())]
        distributed.all_gather(parts, x.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx, grad: Tensor) -> Tensor:
        grad = grad.contiguous()
        distributed.all_reduce(grad)
        return grad.narrow(0, rank() * ctx.rows, ctx.rows)


def gather_with_grad(x: Tensor) -> Tensor:
    """Rows of all ranks, in rank order; the gradient flows back to the rank that each row came from.

    The gradient of a rank's rows is the sum of what every rank's loss asks of them, so that the average over ranks that
    DDP takes afterwards is the gradient of the average loss.

    Shapes: x (B, C), the same on every rank; the result is (world * B, C). With one process, x itself.
    """
    return x if world_size() == 1 else _GatherWithGrad.apply(x)


def global_mean(total: Tensor, count: Tensor | int) -> Tensor:
    """Sum over rows divided by the number of rows of ALL ranks, times the world size.

    Ranks hold different numbers of masked tokens. Averaged over ranks, as DDP averages gradients, this is the mean over
    all of them: the same as one process with the joined batch. No rows at all give 0 with a gradient of 0.

    Shapes: total (), a sum over this rank's rows; count, this rank's rows; the result is ().
    """
    if world_size() == 1:
        return total / max(int(count), 1) if isinstance(count, int) else total / count.clamp(min=1)
    number = torch.as_tensor(count, dtype=torch.float32, device=total.device).clone()
    distributed.all_reduce(number)
    return total * world_size() / number.clamp(min=1)

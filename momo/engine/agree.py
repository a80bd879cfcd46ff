"""What the processes of a run have in common."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from mmengine.dist import broadcast_object_list
from torch import Tensor, distributed

from momo.ops import rank, world_size

T = TypeVar("T")


def largest_of_ranks(value: Tensor) -> Tensor:
    """The largest that any process has, in place. On a GPU it is computed there: nothing waits until it is read."""
    if world_size() > 1:
        distributed.all_reduce(value, distributed.ReduceOp.MAX)
    return value


def from_first_rank(function: Callable[[], T]) -> T:
    """Call a function on the first process and give its result to all, or raise what it raised on all."""
    outcome: list = [None, None]
    if rank() == 0:
        try:
            outcome[0] = function()
        except Exception as error:
            if world_size() == 1:
                raise
            outcome[1] = error
    broadcast_object_list(outcome)
    result, error = outcome
    if error is not None:
        raise error
    return result

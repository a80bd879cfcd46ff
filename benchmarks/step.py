"""What a side of a comparison does, and how a step of it is taken and counted."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count


class Work(NamedTuple):
    """call: what is timed. trains: the model whose gradients the call's result, a loss, gives. infers: the call runs
    without gradients. With neither, the call takes a whole training step by itself.
    """

    call: Callable[[], Any]
    trains: nn.Module | None = None
    infers: bool = False


def step_of(work: Work, half: bool) -> Callable[[], Any]:
    """A step: forward and backward in training, forward in inference; `half`: autocast to bfloat16."""
    if work.trains is not None:
        work.trains.train()

    def step() -> Any:
        autocast = torch.autocast("cpu", torch.bfloat16) if half else nullcontext()
        with autocast, torch.inference_mode() if work.infers else nullcontext():
            result = work.call()
        if work.trains is not None:
            result.backward()
            work.trains.zero_grad(set_to_none=True)
            return result.detach()
        return result

    return step


def count_flops(step: Callable[[], Any]) -> int:
    """FLOPs of one step's matrix products, 2 for a multiply-add."""
    aten = torch.ops.aten
    attention = {  # the kernels that run on processors, which torch's counter does not know
        aten._scaled_dot_product_flash_attention_for_cpu: _attention,
        aten._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward,
    }
    torch.backends.mha.set_fastpath_enabled(False)  # it would hide its products from the counter
    with FlopCounterMode(display=False, custom_mapping=attention) as counter:
        step()
    torch.backends.mha.set_fastpath_enabled(True)
    return counter.get_total_flops()


def _attention(q: tuple, k: tuple, v: tuple, *_: Any, **__: Any) -> int:
    return sdpa_flop_count(q, k, v)


def _attention_backward(grad: tuple, q: tuple, k: tuple, v: tuple, *_: Any, **__: Any) -> int:
    return sdpa_backward_flop_count(grad, q, k, v)

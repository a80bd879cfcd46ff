"""What a training step costs: FLOPs, bytes in memory and bytes sent, counted on the meta device.

FLOPs are 2 for each multiply-add of a matrix product; what `with_cp` computes again is counted again. Bytes are those
of the storages that are alive, as an allocator that rounds nothing would report them. Attention is counted as kernels
that do not write its maps out: they keep queries, keys, values, the output and a log-sum-exp a row.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import torch
from meta_step import MetaStep
from mmengine.config import Config
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from momo.engine import MoMoFullyShardedDataParallel
from momo.models.layers import Block
from momo.registry import MODEL_WRAPPERS


class Backward(NamedTuple):
    """FLOPs of one backward and of its forward, and whether the gradients are exchanged with it."""

    forward_flops: int
    backward_flops: int
    exchanges: bool


class StepCost(NamedTuple):
    """A step of one process.

    samples: by modality. All others are bytes, of sharded parameters, optimizer and gradients those of this process's
    part. buckets: the copies of gradients that DistributedDataParallel sends; of sharded weights what is whole at once.
    kept: what a forward leaves for backward. peak: the most that is ever alive, everything included. exchanged: what it
    sends of gradients, and of sharded weights, for an update. gathered: what the losses themselves send.
    """

    samples: dict[str, int]
    num_parameters: int
    parameters: int
    optimizer: int
    gradients: int
    buckets: int
    kept: int
    peak: int
    exchanged: float
    gathered: float
    backwards: list[Backward]

    @property
    def flops(self) -> int:
        return sum(part.forward_flops + part.backward_flops for part in self.backwards)


class LiveBytes(TorchDispatchMode):
    """While entered, add up the storages on the meta device that are alive; `peak` is the most there ever was.

    Args:
        tensors: What is alive already.
    """

    def __init__(self, tensors: Iterable[Any]) -> None:
        super().__init__()
        self.bytes = self.peak = 0
        self._alive: dict[int, weakref.ref] = {}
        self._add(tensors)

    def _add(self, values: Iterable[Any]) -> None:
        for tensor in _on_meta(values):
            storage = tensor.untyped_storage()
            key, size = id(storage), storage.nbytes()
            if key not in self._alive:
                self._alive[key] = weakref.ref(storage, lambda _, key=key, size=size: self._free(key, size))
                self.bytes += size
        self.peak = max(self.peak, self.bytes)

    def _free(self, key: int, size: int) -> None:
        del self._alive[key]
        self.bytes -= size

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        result = func(*args, **(kwargs or {}))
        self._add(tree_leaves(result))
        return result


class Traffic(TorchDispatchMode):
    """While entered, add up what this process sends in the collectives of N processes in a ring: to gather, its part
    N - 1 times; to sum, `ring_bytes`.
    """

    def __init__(self, processes: int) -> None:
        super().__init__()
        self.processes, self.bytes = processes, 0.0

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        if func is torch.ops.c10d.allgather_.default:
            self.bytes += (self.processes - 1) * _bytes(args[1])
        elif func is torch.ops.c10d.allreduce_.default:
            self.bytes += ring_bytes(_bytes(args[0]), self.processes)
        return func(*args, **(kwargs or {}))


def ring_bytes(size: float, processes: int) -> float:
    """What each process sends to add `size` bytes up over all of them in a ring."""
    return 2 * (processes - 1) / processes * size


def _on_meta(values: Iterable[Any]) -> Iterable[Tensor]:
    return (value for value in values if isinstance(value, Tensor) and value.device.type == "meta")


def _bytes(values: Iterable[Any]) -> int:
    return sum(tensor.nbytes for tensor in _on_meta(values))


def _attention_backward_flops(grad: tuple, query: tuple, key: tuple, value: tuple, *_: Any, **__: Any) -> int:
    """Four products, twice those of the forward pass; the kernel's second look at the scores is left out."""
    *heads, queries, width = query
    return 2 * 4 * int(np.prod(heads)) * queries * key[-2] * width


def _count_flops(step: MetaStep, gpus: int, half: torch.dtype | None) -> list[Backward]:
    kernel = torch.ops.aten._scaled_dot_product_efficient_attention_backward
    with FlopCounterMode(display=False, custom_mapping={kernel: _attention_backward_flops}) as counter:
        totals = [0, *(counter.get_total_flops() for _ in step.run(gpus, half))]
    spent = [after - before for before, after in pairwise(totals)]
    return [Backward(*part) for part in zip(spent[::2], spent[1::2], step.exchanges(), strict=True)]


def count_step(
    cfg: Config, *, gpus: int = 1, half: torch.dtype | None = None, words: Mapping[str, int] | None = None
) -> StepCost:
    """Count a step of a pre-training config: forward, backward and update.

    FLOPs and bytes are counted in a run each, because torch's counter keeps alive what `with_cp` computes again.

    Args:
        gpus: Processes that train together.
        half: Precision of autocast, None for float32.
        words: Word pieces of a text by modality; see `meta_step.sample_sizes` for those that are not named.
    Raises: ValueError as MetaStep.
    """
    step = MetaStep(cfg, words or {})
    backwards = _count_flops(step, gpus, half)

    sharded = gpus > 1 and is_sharded(cfg)
    step.give_gradients()
    gradient_bytes = _bytes(parameter.grad for parameter in step.model.parameters())
    parameters = [*step.model.parameters(), *step.model.buffers()]
    state = [value for values in step.optimizer.state.values() for value in values.values()]
    live = LiveBytes([*parameters, *_gradients_of_earlier_steps(step, cfg, sharded), *state])
    traffic = Traffic(gpus)
    between_steps = live.bytes
    with live, traffic:
        after = [live.bytes for _ in step.run(gpus, half)]
    buckets = gradient_bytes if gpus > 1 else 0
    cost = StepCost(
        samples={name: len(batch["keys"]) for name, batch in step.batches.items()},
        num_parameters=sum(parameter.numel() for parameter in step.model.parameters()),
        parameters=_bytes(parameters),
        optimizer=_bytes(state),
        gradients=gradient_bytes,
        buckets=buckets,
        kept=max(after[::2]) - between_steps,
        peak=live.peak + buckets,
        exchanged=ring_bytes(gradient_bytes, gpus),
        gathered=traffic.bytes,
        backwards=backwards,
    )
    return _in_parts(cost, step.model, gpus) if sharded else cost


def _gradients_of_earlier_steps(step: MetaStep, cfg: Config, sharded: bool) -> list[Tensor | None]:
    """The whole gradients that are there when a step begins; of sharded weights none outlives its part."""
    if sharded:
        for parameter in step.model.parameters():
            parameter.register_post_accumulate_grad_hook(_let_go)
    if sharded or cfg.optim_wrapper.get("accumulative_counts", 1) == 1:
        step.optimizer.zero_grad()
    return [parameter.grad for parameter in step.model.parameters()]


def is_sharded(cfg: Config) -> bool:
    """Whether a config trains with MoMoFullyShardedDataParallel."""
    wrapper = cfg.get("model_wrapper_cfg") or {}
    return "type" in wrapper and MODEL_WRAPPERS.get(wrapper["type"]) is MoMoFullyShardedDataParallel


def _let_go(parameter: nn.Parameter) -> None:
    parameter.grad = None


def _in_parts(cost: StepCost, model: nn.Module, gpus: int) -> StepCost:
    """The cost of a step where each process keeps its part of the parameters, their state and their gradients.

    Whole at once are what lies outside of blocks with its gradients, the block that runs and the next, and one block's
    gradients with the copy that is sent. Weights are gathered for forward and for backward, gradients sent once.
    """
    blocks = [_bytes(module.parameters()) for module in model.modules() if isinstance(module, Block)]
    whole = 2 * (cost.gradients - sum(blocks)) + 4 * max(blocks)
    parts = {name: getattr(cost, name) // gpus for name in ("parameters", "optimizer", "gradients")}
    activations = cost.peak - cost.buckets - cost.parameters - cost.optimizer
    return cost._replace(
        **parts, buckets=whole, peak=activations + sum(parts.values()) + whole, exchanged=1.5 * cost.exchanged
    )

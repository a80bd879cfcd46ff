"""Data-parallel training of models whose weights, gradients and optimizer do not fit one device."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch
from mmengine.dist import broadcast
from torch import Tensor, distributed, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard

from momo.models.layers import Block
from momo.ops import world_size
from momo.registry import MODEL_WRAPPERS

from .shards import sharded_as


@MODEL_WRAPPERS.register_module()
class MoMoFullyShardedDataParallel(nn.Module):
    """torch's `fully_shard` (FSDP2) around a model: each process holds 1 / N of every weight, gradient and moment.

    The blocks of encoder and decoders are gathered one after the other while they run; what lies outside of them, the
    embeddings first of all, while the model does. Between steps everything is shards, but names, shapes, `state_dict`
    and `load_state_dict` are those of the whole model: whole weights can be loaded, and checkpoints hold whole weights.

    With accumulative_counts, gradients are exchanged in each backward, so that no process keeps them whole.

    Args:
        module: The model, on its device, of which the first process's weights count.
        param_dtype: 'bfloat16' gathers blocks and computes them in it, the residual stream inside included. Weights,
            optimizer and sums of gradients stay float32, and so does what lies outside of blocks unless --amp is given.
            None: as --amp says.
    Raises: ValueError for another param_dtype.
    """

    def __init__(self, module: nn.Module, param_dtype: Literal["bfloat16"] | None = None) -> None:
        super().__init__()
        if param_dtype not in (None, "bfloat16"):
            raise ValueError(f"model_wrapper_cfg.param_dtype={param_dtype!r}: 'bfloat16', or None for float32")
        policy = MixedPrecisionPolicy()
        if param_dtype is not None:
            policy = MixedPrecisionPolicy(torch.bfloat16, reduce_dtype=torch.float32, output_dtype=torch.float32)
        _initialize(module)
        scalars = {parameter for parameter in module.parameters() if parameter.ndim == 0}  # they cannot be cut
        for scalar in scalars:
            if scalar.requires_grad:
                scalar.register_hook(_mean_of_ranks)
        mesh = init_device_mesh(next(module.parameters()).device.type, (world_size(),))
        for child in module.modules():
            if isinstance(child, Block):
                fully_shard(child, mesh=mesh, mp_policy=policy, reshard_after_forward=True)
        # Backward begins with what the forward pass has ended with: it would be gathered again at once.
        fully_shard(module, mesh=mesh, ignored_params=scalars, reshard_after_forward=False)
        for child in module.modules():
            child.register_load_state_dict_pre_hook(_take_own_parts)
        module.__deepcopy__ = lambda memo: _weights_of(module)  # EMAHook's copy, which never runs
        type(module).init_weights = property(_is_initialized)
        self.module = module

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.module(*args, **kwargs)

    def train_step(self, data: Any, optim_wrapper: Any) -> dict[str, Tensor]:
        with optim_wrapper.optim_context(self.module):  # not `self`: MMEngine would ask for its no_sync
            losses = self(**self.module.data_preprocessor(data, True), mode="loss")
        loss, log = self.module.parse_losses(losses)
        optim_wrapper.update_params(loss)
        return log

    def val_step(self, data: Any) -> list:
        results = self.module.val_step(data)
        self.module.reshard()  # as backward does in training
        return results

    def test_step(self, data: Any) -> list:
        results = self.module.test_step(data)
        self.module.reshard()
        return results

    @contextmanager
    def no_sync(self) -> Iterator[None]:
        """Gradients of a backward in here are kept whole and exchanged with those of the next one outside."""
        self.module.set_requires_gradient_sync(False)
        try:
            yield
        finally:
            self.module.set_requires_gradient_sync(True)


@contextmanager
def whole_weights(model: nn.Module) -> Iterator[None]:
    """All of a sharded model is whole meanwhile: a process may call any part of it, and as often as it has data.

    Otherwise all processes must call the same blocks equally often.
    """
    sharded = [part for part in model.modules() if isinstance(part, FSDPModule)]
    for part in sharded:
        part.set_reshard_after_forward(False, recurse=False)
        part.unshard()
    try:
        yield
    finally:
        for part in sharded:
            part.reshard()
            part.set_reshard_after_forward(part is not model, recurse=False)


def _initialize(module: nn.Module) -> None:
    """Do what MMEngine would do later, to shards: initialise, and give all processes the first one's weights."""
    if hasattr(module, "init_weights"):
        module.init_weights()
    for value in module.state_dict().values():
        broadcast(value)


def _is_initialized(module: nn.Module) -> None:
    """MMEngine would give all processes the first one's part of each weight, of a model that has `init_weights`."""
    raise AttributeError(f"{type(module).__name__} is initialised and sharded")


def _mean_of_ranks(gradient: Tensor) -> Tensor:
    gradient = gradient / world_size()
    distributed.all_reduce(gradient)
    return gradient


def _take_own_parts(module: nn.Module, state_dict: dict[str, Tensor], prefix: str, *_: Any) -> None:
    """Let weights that are loaded be whole ones."""
    for name, own in module.named_parameters(recurse=False):
        if prefix + name in state_dict:
            state_dict[prefix + name] = sharded_as(state_dict[prefix + name], own)


def _weights_of(module: nn.Module) -> nn.Module:
    """A module with the names and copies of the weights of another, and nothing else."""
    copy = nn.Module()
    for name, value in module.named_parameters(recurse=False):
        copy.register_parameter(name, nn.Parameter(value.detach().clone()))
    for name, value in module.named_buffers(recurse=False):
        copy.register_buffer(name, value.clone(), persistent=name not in module._non_persistent_buffers_set)
    for name, child in module.named_children():
        copy.add_module(name, _weights_of(child))
    copy.register_load_state_dict_pre_hook(_take_own_parts)
    return copy

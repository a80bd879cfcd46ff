"""The state of a run in host memory, where training can no longer change it."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Mapping
from typing import Any

import mmengine
import torch
from mmengine.model import is_model_wrapper
from torch import Tensor
from torch.distributed.tensor import DTensor

from momo.engine.shards import whole
from momo.ops import world_size

from .order import parameter_order
from .state import split_state
from .storage import Snapshot

WEIGHTS = "state_dict"  # MMEngine's name for them


class HostCopy:
    """Copies tensors into memory that is claimed once and used again, pinned if they come from a GPU.

    Claiming memory takes several times as long as copying. The copies are valid until the next call. What is sharded is
    gathered, one tensor at a time.
    """

    def __init__(self) -> None:
        self._buffers: dict[str, Tensor] = {}

    def claim(self, tensors: Mapping[str, Tensor]) -> None:
        """Get the memory for tensors like these, which are not read."""
        self._buffers = {name: self._buffer(name, value) for name, value in tensors.items()}

    def __call__(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        self.claim(tensors)
        for name, value in tensors.items():
            self._buffers[name].copy_(whole(value), non_blocking=True)
        if any(value.is_cuda for value in tensors.values()):
            torch.cuda.synchronize()
        return dict(self._buffers)

    def _buffer(self, name: str, like: Tensor) -> Tensor:
        known = self._buffers.get(name)
        if known is not None and known.shape == like.shape and known.dtype == like.dtype:
            return known
        # Filled, for a system hands memory out when it is first written to.
        return torch.empty(like.shape, dtype=like.dtype, pin_memory=like.is_cuda).zero_()


class Snapshots:
    """Takes snapshots of a run, one at a time."""

    def __init__(self) -> None:
        self._copy = HostCopy()

    def take(self, runner, epoch: int, step: int, run: str) -> Snapshot:
        """Args: epoch, step: where training is to go on."""
        tree, tensors = split_state(runner_state(runner, epoch, step))
        copies, weights = self._copy(tensors), tree.pop(WEIGHTS)
        return Snapshot(
            {name: copies.pop(place["$tensor"]) for name, place in weights.items()},
            copies,
            tree,
            step,
            epoch,
            world_size(),
            run,
        )

    def claim(self, runner) -> Callable[[], None]:
        """A function that gets the memory for snapshots of this run, for a thread to call."""
        _, tensors = split_state(runner_state(runner, 0, 0))
        return functools.partial(self._copy.claim, tensors)


def help_gather(runner, epoch: int, step: int) -> None:
    """On the other processes, while the first takes a snapshot: take part in gathering what is sharded."""
    if any(isinstance(parameter, DTensor) for parameter in runner.model.parameters()):
        for value in split_state(runner_state(runner, epoch, step))[1].values():
            whole(value)


def runner_state(runner, epoch: int, step: int) -> dict[str, Any]:
    """What MMEngine's runner would save and can resume from, less the text of the config, which the log has."""
    model = runner.model.module if is_model_wrapper(runner.model) else runner.model
    meta = dict(
        epoch=epoch,
        iter=step,
        seed=runner.seed,
        experiment_name=runner.experiment_name,
        time=time.strftime("%Y%m%d_%H%M%S"),
        mmengine_version=mmengine.__version__,
        parameter_order=parameter_order(runner),
        dataset_meta=getattr(runner.train_dataloader.dataset, "metainfo", None),
    )
    state = dict(
        meta=meta,
        state_dict=model.state_dict(),
        message_hub=runner.message_hub.state_dict(),
        optimizer=runner.optim_wrapper.state_dict(),
        param_schedulers=_scheduler_states(runner.param_schedulers),
    )
    runner.call_hook("before_save_checkpoint", checkpoint=state)  # where EMAHook adds its average
    return state


def _scheduler_states(schedulers: Any) -> Any:
    """One optimizer has a list of schedulers, several have a dict of lists."""
    if isinstance(schedulers, dict):
        return {name: _scheduler_states(group) for name, group in schedulers.items()}
    return [scheduler.state_dict() for scheduler in schedulers or ()]

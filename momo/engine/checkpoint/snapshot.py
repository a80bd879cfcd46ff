"""The state of a run in host memory, where training can no longer change it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import mmengine
import torch
from mmengine.model import is_model_wrapper
from torch import Tensor

from momo.ops import world_size

from .order import parameter_order
from .state import split_state
from .storage import Snapshot


class HostCopy:
    """Copies tensors into memory that is claimed once and used again, pinned if they come from a GPU.

    New memory costs several times as much as the copy. The copies are valid until the next call.
    """

    def __init__(self) -> None:
        self._buffers: dict[str, Tensor] = {}

    def __call__(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        self._buffers = {name: self._buffer(name, value) for name, value in tensors.items()}
        for name, value in tensors.items():
            self._buffers[name].copy_(value, non_blocking=True)
        if any(value.is_cuda for value in tensors.values()):
            torch.cuda.synchronize()
        return self._buffers

    def _buffer(self, name: str, like: Tensor) -> Tensor:
        known = self._buffers.get(name)
        if known is not None and known.shape == like.shape and known.dtype == like.dtype:
            return known
        return torch.empty(like.shape, dtype=like.dtype, pin_memory=like.is_cuda)


class Snapshots:
    """Takes snapshots of a run, one at a time."""

    def __init__(self) -> None:
        self._copy_weights, self._copy_tensors = HostCopy(), HostCopy()

    def take(self, runner, epoch: int, step: int, run: str) -> Snapshot:
        """Args: epoch, step: where training is to go on."""
        state = runner_state(runner, epoch, step)
        weights = self._copy_weights(state.pop("state_dict"))
        tree, tensors = split_state(state)
        return Snapshot(weights, self._copy_tensors(tensors), tree, step, epoch, world_size(), run)


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

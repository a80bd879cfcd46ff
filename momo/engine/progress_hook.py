"""Speed and memory in the training log."""

from __future__ import annotations

import resource
import sys
import time

import torch
from mmengine.hooks import Hook

from momo.ops import world_size
from momo.registry import HOOKS


@HOOKS.register_module()
class ProgressHook(Hook):
    """Log samples per second of each modality, over all ranks; without a GPU, also this process's peak memory in MB.

    MMEngine's own log adds epoch, iteration, ETA, learning rate and, with a GPU, its memory.
    """

    priority = "NORMAL"  # before LoggerHook reads the scalars

    def before_train(self, runner) -> None:
        self._last = time.perf_counter()

    def after_train_iter(self, runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        now = time.perf_counter()
        seconds, self._last = now - self._last, now
        for modality, batch in data_batch.items():
            rate = len(batch["keys"]) * world_size() / seconds
            runner.message_hub.update_scalar(f"train/{modality}/samples_per_s", rate)
        if not torch.cuda.is_available():
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            runner.message_hub.update_scalar("train/memory", peak / (1024**2 if sys.platform == "darwin" else 1024))

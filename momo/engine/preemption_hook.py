"""Leaving in order when the scheduler, or a person, asks for it."""

from __future__ import annotations

import os
import signal
from types import FrameType

import torch
from mmengine.hooks import Hook
from torch import distributed

from momo.ops import world_size
from momo.registry import HOOKS

from .agree import largest_of_ranks
from .checkpoint import MoMoCheckpointHook
from .within import within_training

SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)
EXIT_PREEMPTED = os.EX_TEMPFAIL  # 75: to be run again with --resume
EXIT_INTERRUPTED = 128 + signal.SIGINT  # 130: a person pressed Ctrl-C


@HOOKS.register_module()
class PreemptionHook(Hook):
    """On SIGTERM, SIGUSR1 or Ctrl-C, finish the step on all processes, save a checkpoint and exit.

    The handler sets a flag only. Ranks agree in every step by the maximum of one number, which on a GPU is computed
    beside the step and read when its losses have been read: no further wait. A second Ctrl-C stops at once. A signal
    during validation takes effect at the next step.

    The exit code is EXIT_PREEMPTED (75), after Ctrl-C EXIT_INTERRUPTED (130). Loops that can resume at an epoch's end
    only (those of other toolkits) exit without a new checkpoint.

    Raises: SystemExit with that code.
    """

    priority = "LOWEST"  # all others have seen the step

    def __init__(self) -> None:
        self._signal = 0
        self._previous: dict[signal.Signals, object] = {}

    def before_train(self, runner) -> None:
        self._device = next(runner.model.parameters()).device
        self._previous = {number: signal.signal(number, self._remember) for number in SIGNALS}

    def after_train(self, runner) -> None:
        self._give_back()

    def _give_back(self) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _remember(self, number: int, frame: FrameType | None) -> None:
        if not within_training(frame):  # it has failed, and its program goes on
            self._give_back()
            os.kill(os.getpid(), number)
        if self._signal == number == signal.SIGINT:
            raise KeyboardInterrupt
        self._signal = self._signal or number

    def before_train_iter(self, runner, batch_idx: int, data_batch=None) -> None:
        self._agreed = largest_of_ranks(torch.full((), self._signal, device=self._device))

    def after_train_iter(self, runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        number = int(self._agreed)
        if number:
            self._leave(runner, signal.Signals(number))

    def _leave(self, runner, number: signal.Signals) -> None:
        saver = next((hook for hook in runner.hooks if isinstance(hook, MoMoCheckpointHook)), None)
        step = runner.iter + 1
        if saver is not None and getattr(runner.train_loop, "resumes_within_epoch", False):
            saver.save(runner, f"iter_{step}", runner.epoch, step, wait=True)
            saved = "a checkpoint is saved"
        else:
            saved = "the last checkpoint stands"
        if world_size() > 1:
            distributed.barrier()  # no process may leave, and have the others ended, before the first has saved
        runner.logger.warning(f"{number.name}: stopped after step {step}, {saved}; go on with --resume")
        self._give_back()
        raise SystemExit(EXIT_INTERRUPTED if number == signal.SIGINT else EXIT_PREEMPTED)

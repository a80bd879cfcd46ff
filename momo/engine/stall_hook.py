"""An end with a name for a run that has come to a stop."""

from __future__ import annotations

import faulthandler
import json
import os
import socket
import sys
import threading
import time

from mmengine.dist import all_gather_object
from mmengine.hooks import Hook
from torch.distributed import DistError
from torch.distributed.distributed_c10d import _get_default_store

from momo.ops import rank, world_size
from momo.registry import HOOKS

from .within import within_training

EXIT_STALLED = 1
ANSWER = 5.0  # seconds that a living store may take
PHASES = ("waits for the data of step {}", "is in step {}")


@HOOKS.register_module()
class StallHook(Hook):
    """End the process if a training step does not end in time, and say which rank is behind.

    Each process tells the others, through the store by which they met, which step it is at. When its own step takes
    longer than `timeout`, it logs the ranks that are behind the others or have fallen silent, prints where each of its
    threads is, and ends; the launcher then ends the rest. Validation is not watched.

    Args:
        timeout: Seconds from one step's end to the next one's; less than that of the process group (NCCL: 600).
    """

    def __init__(self, timeout: float = 540.0) -> None:
        self.timeout, self._period = timeout, min(10.0, timeout / 4)
        self._place: tuple[int, int] | None = None  # step and phase; None: not to be watched
        self._beats = 0

    def before_train(self, runner) -> None:
        self._logger, self._store = runner.logger, _get_default_store() if world_size() > 1 else None
        self._over, self._thread = threading.Event(), threading.get_ident()
        threading.Thread(target=self._watch, name="stall", daemon=True).start()
        if self._store is not None:
            self._tell()
            own = f"process {os.getpid()} on {socket.gethostname()}"
            self._processes = all_gather_object(own)  # and none may end, and take the store along, before all have told
            threading.Thread(target=self._keep_telling, name="stall beats", daemon=True).start()

    def before_train_epoch(self, runner) -> None:
        self._reach(runner.iter + 1, 0)

    def before_train_iter(self, runner, batch_idx: int, data_batch=None) -> None:
        self._reach(runner.iter + 1, 1)

    def after_train_iter(self, runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        self._reach(runner.iter + 2, 0)

    def after_train_epoch(self, runner) -> None:
        self._place = None

    def after_train(self, runner) -> None:
        self._over.set()

    def _reach(self, step: int, phase: int) -> None:
        self._since, self._place = time.monotonic(), (step, phase)

    def _watch(self) -> None:
        while not self._over.wait(self._period):
            place = self._place
            if not within_training(sys._current_frames().get(self._thread)):
                return
            if place is not None and time.monotonic() - self._since > self.timeout:
                self._give_up(place)

    def _keep_telling(self) -> None:
        while not self._over.wait(self._period):
            try:
                self._tell()
            except DistError:  # rank 0 has ended, and with it the store
                return

    def _tell(self) -> None:
        self._beats += 1
        self._store.set(_key(rank()), json.dumps([*(self._place or (0, 0)), self._beats]))

    def _give_up(self, place: tuple[int, int]) -> None:
        behind = "" if self._store is None else f"; {self._ask_the_store()}"
        self._logger.error(
            f"No training step has ended for {self.timeout:.0f} s: rank {rank()} {PHASES[place[1]].format(place[0])}"
            f"{behind}. This process ends; below is where each of its threads was."
        )
        faulthandler.dump_traceback(file=sys.stderr)
        sys.stderr.flush()
        os._exit(EXIT_STALLED)

    def _ask_the_store(self) -> str:
        """Which ranks are behind; a store that does not answer is an answer too."""
        found: list[str] = []
        reader = threading.Thread(target=lambda: found.append(self._who_is_behind()), daemon=True)
        reader.start()
        reader.join(3 * self._period + ANSWER)
        keeper = f"rank 0 ({self._processes[0]}) or the launcher"
        return found[0] if found else f"{keeper}, which keeps the store, is silent"

    def _who_is_behind(self) -> str:
        first = [self._beat(other) for other in range(world_size())]
        time.sleep(2 * self._period)
        second = [self._beat(other) for other in range(world_size())]
        silent = [
            f"rank {other} ({self._processes[other]}) is silent"
            for other, (before, now) in enumerate(zip(first, second, strict=True))
            if other != rank() and before[2] == now[2]
        ]
        least = min(tuple(beat[:2]) for beat in second)
        slow = [
            f"rank {other} ({self._processes[other]}) {PHASES[beat[1]].format(beat[0])}"
            for other, beat in enumerate(second)
            if tuple(beat[:2]) == least
        ]
        return "; ".join(silent) if silent else f"behind: {', '.join(slow)}"

    def _beat(self, other: int) -> list:
        return json.loads(self._store.get(_key(other)))


def _key(number: int) -> str:
    return f"momo/stall/{number}"

"""A process that trains by tools/train.py, keeps a ledger of its steps, and meets the fault that it is given."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import torch
import train
from mmengine.hooks import Hook

from momo.engine.train_loop import unwrap
from momo.ops import rank
from momo.registry import HOOKS, TRANSFORMS


def weights_digest(model: torch.nn.Module) -> str:
    digest = hashlib.sha256()
    for value in unwrap(model).state_dict().values():
        digest.update(value.detach().contiguous().view(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


@HOOKS.register_module()
class Ledger(Hook):
    """Adds a line for every step to <work_dir>/ledger_<rank>.jsonl: step, losses bit for bit, samples by modality."""

    priority = "HIGHEST"

    def __init__(self, digests: bool = False, pause: float = 0.0) -> None:
        self.digests, self.pause = digests, pause

    def before_train(self, runner) -> None:
        path = Path(runner.work_dir, f"ledger_{rank()}.jsonl")
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    def after_train_iter(self, runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        line: dict[str, Any] = {
            "step": runner.iter + 1,
            "losses": {name: float(value).hex() for name, value in outputs.items()},
            "samples": {modality: list(batch["sample_ids"]) for modality, batch in data_batch.items()},
        }
        if self.digests:
            line["weights"] = weights_digest(runner.model)
        os.write(self._file, (json.dumps(line) + "\n").encode())  # one call: there whole, or not at all
        time.sleep(self.pause)


@HOOKS.register_module()
class Poison(Hook):
    """Makes a loss, or the gradient of a weight, not finite in one step of one rank."""

    priority = "HIGHEST"

    def __init__(self, step: int, rank: int, what: str, value: str) -> None:
        self.step, self.rank, self.what, self.value = step, rank, what, float(value)
        self._now = False

    def before_train(self, runner) -> None:
        model = unwrap(runner.model)
        model.register_forward_hook(self._on_loss)
        next(p for p in model.parameters() if p.ndim > 1).register_hook(self._on_gradient)

    def before_train_iter(self, runner, batch_idx: int, data_batch=None) -> None:
        self._now = runner.iter + 1 == self.step and rank() == self.rank

    def _on_loss(self, model, args, output) -> dict | None:
        if self._now and self.what in output:
            return {**output, self.what: output[self.what] * self.value}
        return None

    def _on_gradient(self, gradient: torch.Tensor) -> torch.Tensor | None:
        return gradient * self.value if self._now and self.what == "gradient" else None


@TRANSFORMS.register_module()
class Misbehave:
    """In a data worker, on its n-th sample: be killed, or hang."""

    def __init__(self, sample: int, how: str) -> None:
        self.left, self.how = sample, how

    def __call__(self, sample: dict) -> dict:
        self.left -= 1
        if self.left == 0 and torch.utils.data.get_worker_info() is not None:
            if self.how == "killed":
                os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(3600)
        return sample


def main(arguments: list[str], fault: Callable[[], None] | None = None) -> None:
    """Train. Raises: what tools/train.py raises, SystemExit among it."""
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    if fault is not None:
        fault()
    sys.argv = ["tools/train.py", *arguments]
    train.run()

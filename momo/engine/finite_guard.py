"""No update from a loss or gradient that is not finite."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from mmengine.hooks import Hook
from torch import Tensor, nn
from torch.nn.utils import get_total_norm

from momo.ops import rank
from momo.registry import HOOKS

from .agree import largest_of_ranks
from .shards import own_part

ACTIONS = ("skip", "stop")
SKIPPED = "skipped_steps"  # in the message hub, and so in checkpoints


class NonFiniteError(RuntimeError):
    """A loss or gradient was not finite, once too often."""


class Check(NamedTuple):
    """One optimizer step. Tensors on the device: losses of this process (n,), and two numbers that are 1 if something
    was not finite: this process's gradients, and anything of any process."""

    names: list[str]
    losses: Tensor
    bad_gradients: Tensor
    bad_anywhere: Tensor


@HOOKS.register_module()
class FiniteGuard(Hook):
    """Keep weights and optimizer bit for bit as they are if any process has a loss or gradient that is not finite.

    Losses are taken from the model's output, gradients before the optimizer's step, and ranks agree on one number. A
    fused optimizer decides on the GPU, as it does for AMP's loss scaling, and the number is read after the losses have
    been: nothing waits. Another optimizer waits for the number before each step. With float16's dynamic loss scale
    infinite gradients are its business, and only losses are looked at.

    What was not finite is written to `<work_dir>/non_finite/step_<n>_rank_<r>.json`: names of losses, their values, and
    the samples by modality, from the ranks whose own loss it was; if it was no loss, from all.

    Args:
        action: 'skip' the step on all ranks, or 'stop'.
        limit: Skipped steps, over the whole run, at which it stops too.
    Raises: ValueError for another action; NonFiniteError on all ranks at once.
    """

    priority = "ABOVE_NORMAL"  # before a checkpoint is saved, after the losses have been read

    def __init__(self, action: str = "skip", limit: int = 20) -> None:
        if action not in ACTIONS:
            raise ValueError(f"FiniteGuard.action={action!r} is unknown; choose one of {ACTIONS}")
        self.action, self.limit = action, limit
        self._losses: dict[str, Tensor] = {}
        self._checks: list[Check] = []
        self._scalers: Tensor | None = None

    def before_train(self, runner) -> None:
        wrapper = runner.optim_wrapper
        scaler = getattr(wrapper, "loss_scaler", None)
        dynamic = scaler is not None and wrapper._scale_update_param is None
        self._look_at_gradients = not dynamic
        self._handles = [
            runner.model.register_forward_hook(self._keep_losses),
            wrapper.optimizer.register_step_pre_hook(self._before_step),
            wrapper.optimizer.register_step_post_hook(self._after_step),
        ]

    def after_train(self, runner) -> None:
        for handle in self._handles:
            handle.remove()

    def _keep_losses(self, model: nn.Module, args: Any, output: Any) -> None:
        if torch.is_grad_enabled() and isinstance(output, Mapping):
            for name, value in output.items():
                if "loss" in name:  # as MMEngine chooses what it sums up
                    parts = [value] if isinstance(value, Tensor) else value
                    self._losses[name] = torch.stack([part.detach().float().mean() for part in parts]).sum()

    def _before_step(self, optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        check = self._check([p for group in optimizer.param_groups for p in group["params"] if p.grad is not None])
        self._checks.append(check)
        self._losses = {}
        if getattr(optimizer, "_step_supports_amp_scaling", False):
            self._scalers = getattr(optimizer, "found_inf", None)  # what a loss scaler has found
            bad = check.bad_anywhere
            optimizer.found_inf = bad if self._scalers is None else torch.maximum(bad, self._scalers)
        elif check.bad_anywhere.item():
            for group in optimizer.param_groups:
                for parameter in group["params"]:
                    parameter.grad = None  # an optimizer leaves such parameters and their state alone

    def _after_step(self, optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        if hasattr(optimizer, "found_inf") and self._scalers is None:  # a scaler deletes its own
            del optimizer.found_inf

    def _check(self, parameters: list[nn.Parameter]) -> Check:
        device = parameters[0].device
        losses = torch.stack(list(self._losses.values())) if self._losses else torch.zeros(1, device=device)
        bad_gradients = torch.zeros((), device=device)
        if self._look_at_gradients:
            gradients = [own_part(parameter.grad) for parameter in parameters]
            largest = get_total_norm([part for part in gradients if part.numel()], norm_type=torch.inf)
            bad_gradients = (~largest.isfinite()).float()
        bad = torch.maximum(bad_gradients, (~losses.isfinite()).any().float())
        return Check(list(self._losses), losses, bad_gradients, largest_of_ranks(bad.clone()))

    def after_train_iter(self, runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        checks, self._checks, self._losses = self._checks, [], {}
        bad = [check for check in checks if check.bad_anywhere.item()]
        if not bad:
            return
        where = _write_down(runner, bad, data_batch)
        skipped = runner.message_hub.get_info(SKIPPED, 0) + 1
        runner.message_hub.update_info(SKIPPED, skipped)
        what = f"a loss or gradient was not finite in step {runner.iter + 1}, so that it changed no weight; see {where}"
        if self.action == "stop" or skipped >= self.limit:
            raise NonFiniteError(
                f"{what}. {skipped} such steps, FiniteGuard.action={self.action!r}, limit={self.limit}"
            )
        runner.logger.warning(f"{what}. {skipped} of at most {self.limit} such steps")


def _write_down(runner, checks: list[Check], data_batch: Any) -> Path:
    """Write what this process knows, unless it was another's loss; the folder."""
    folder = Path(runner.work_dir, "non_finite")
    losses = {name: value for check in checks for name, value in zip(check.names, check.losses.tolist(), strict=False)}
    own = {name: repr(value) for name, value in losses.items() if not math.isfinite(value)}
    a_loss_anywhere = largest_of_ranks(torch.full((), float(bool(own)), device=checks[0].losses.device))
    if own or not a_loss_anywhere:
        samples = {
            modality: list(batch["sample_ids"])
            for modality, batch in (data_batch.items() if isinstance(data_batch, dict) else ())
            if isinstance(batch, dict) and "sample_ids" in batch
        }
        content = {
            "step": runner.iter + 1,
            "rank": rank(),
            "losses_not_finite": own,
            "modalities": sorted({name.split("/")[0] for name in own}),
            "losses": {name: repr(value) for name, value in losses.items()},
            "gradients_not_finite": any(bool(check.bad_gradients) for check in checks),
            "samples": samples,
        }
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"step_{runner.iter + 1}_rank_{rank()}.json"
        path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return folder

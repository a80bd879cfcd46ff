"""The training loop over several modalities, with cross-modality gradient accumulation (CMGA)."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import nullcontext
from typing import Any

import torch
from mmengine.model import is_model_wrapper
from mmengine.runner import EpochBasedTrainLoop
from torch import nn

from momo.ops import key_of, rank, world_size
from momo.registry import LOOPS

from .data_workers import explain
from .loaders import MultiModalLoader, build_multimodal_loaders

CMGA_MODES = ("joint", "sequential", "off")


def unwrap(model: nn.Module) -> nn.Module:
    """The model inside a distributed wrapper."""
    return model.module if is_model_wrapper(model) else model


@LOOPS.register_module()
class MultiModalTrainLoop(EpochBasedTrainLoop):
    """Each step draws a batch of every modality and makes one update from the gradients of all (MoMo 3.5).

    Args:
        dataloader: Config with 'loaders' by modality and 'primary', whose data makes an epoch; see MultiModalLoader.
        max_epochs, val_begin, val_interval: As in EpochBasedTrainLoop.
        max_iters: Instead of max_epochs, how many steps to train; the last epoch may be a short one. A scheduler that
            is to end with it counts steps too: `by_epoch=False`.
        cmga: 'joint': one packed forward over all modalities, one backward, one update. 'sequential': a forward and
            backward a modality, then one update: less memory, the same gradient. 'off': an update a modality (the
            ablation of Table 6).
    Raises: ValueError for an unknown `cmga`, and unless exactly one of `max_epochs` and `max_iters` is given.
    """

    resumes_within_epoch = True

    def __init__(
        self,
        runner,
        dataloader: dict,
        max_epochs: int | None = None,
        val_begin: int = 1,
        val_interval: int = 1,
        cmga: str = "joint",
        max_iters: int | None = None,
    ) -> None:
        if (max_epochs is None) == (max_iters is None) or (max_iters is not None and max_iters < 1):
            raise ValueError(
                f"train_cfg has max_epochs={max_epochs} and max_iters={max_iters}: give one of the two, at least 1 step"
            )
        if cmga not in CMGA_MODES:
            raise ValueError(f"train_cfg.cmga={cmga!r} is unknown; choose one of {CMGA_MODES}")
        if runner.cfg.get("randomness", {}).get("diff_rank_seed"):
            raise ValueError("randomness.diff_rank_seed=True: ranks share one order of samples, so they need one seed")
        loaders = build_multimodal_loaders(dataloader, unwrap(runner.model), key="train_dataloader", seed=runner.seed)
        loader = MultiModalLoader(loaders, dataloader["primary"])
        dataloader["batch_size"] = loader.batch_size  # what MMEngine's auto_scale_lr reads
        epochs = -(-max_iters // len(loader)) if max_epochs is None else max_epochs
        super().__init__(runner, loader, epochs, val_begin, val_interval)
        if max_iters is not None:
            self._max_iters = max_iters
        self.cmga = cmga

    def run(self) -> nn.Module:
        """Train from wherever a checkpoint left off, inside an epoch too."""
        if self.cmga != "joint" and self.runner.optim_wrapper._accumulative_counts > 1:
            raise ValueError(f"optim_wrapper.accumulative_counts > 1 does not work with train_cfg.cmga={self.cmga!r}")
        self._check_position()
        self.dataloader.start_at(self._iter, self.runner.seed)
        self._batches = iter(self.dataloader)
        try:
            model = super().run()
        except (RuntimeError, OSError, EOFError) as error:
            raise explain(error, self.dataloader.iterators) from error
        self._batches, self.dataloader.iterators = None, {}  # ends the loaders' workers
        return model

    def _check_position(self) -> None:
        """A resumed run must have the same data, global batches and primary modality; ranks may be more or fewer.

        Raises: ValueError with what the checkpoint was made with, and what is found.
        """
        length, plan, hub = len(self.dataloader), self.dataloader.plan, self.runner.message_hub
        before, ranks = (hub.get_info(key) for key in ("data plan", "ranks"))
        ended = self._epoch == self._max_epochs and self._iter == self._max_iters  # perhaps within an epoch
        within = ended or self._epoch * length <= self._iter <= (self._epoch + 1) * length
        if self._iter > 0 and (not within or before not in (None, plan)):
            raise ValueError(
                f"the checkpoint is at epoch {self._epoch}, step {self._iter} of {before}, but now an epoch has "
                f"{length} steps of {plan}: resume with the data and the samples a step, over all processes, that it "
                "was made with"
            )
        if self._iter > 0 and ranks not in (None, world_size()):
            self.runner.logger.warning(
                f"Resumed with {world_size()} processes, not {ranks}: the samples and their order are the same, sums "
                "over processes and dropout are not."
            )
        hub.update_info("data plan", plan)
        hub.update_info("ranks", world_size())

    def run_epoch(self) -> None:
        self.runner.call_hook("before_train_epoch")
        self.runner.model.train()
        first = self._epoch * len(self.dataloader)
        for index in range(self._iter - first, min(len(self.dataloader), self._max_iters - first)):
            self.run_iter(index, next(self._batches))
        self.runner.call_hook("after_train_epoch")
        self._epoch += 1

    def run_iter(self, index: int, batches: dict[str, Any]) -> None:
        self.runner.call_hook("before_train_iter", batch_idx=index, data_batch=batches)
        # Dropout and drop path are drawn for this step alone, so that a resumed run draws the same.
        torch.manual_seed(key_of(self.runner.seed, "step", self._iter, rank()) % 2**63)
        outputs = self._update(batches)
        self.runner.call_hook("after_train_iter", batch_idx=index, data_batch=batches, outputs=outputs)
        self._iter += 1

    def _update(self, batches: dict[str, Any]) -> dict[str, Any]:
        model, optim_wrapper = self.runner.model, self.runner.optim_wrapper
        if self.cmga == "joint":
            return model.train_step(batches, optim_wrapper)
        parts = [{modality: batch} for modality, batch in batches.items()]
        if self.cmga == "off":
            return _merge(model.train_step(part, optim_wrapper) for part in parts)
        return self._accumulate(model, optim_wrapper, parts)

    def _accumulate(self, model: nn.Module, optim_wrapper, parts: list[dict[str, Any]]) -> dict[str, Any]:
        """A backward a modality, gradients exchanged between ranks with the last, one update."""
        logs = []
        for part in parts:
            last = part is parts[-1]
            with model.no_sync() if is_model_wrapper(model) and not last else nullcontext():
                with optim_wrapper.optim_context(model):
                    data = unwrap(model).data_preprocessor(part, training=True)
                    loss, log = unwrap(model).parse_losses(model(**data, mode="loss"))
                optim_wrapper.backward(loss)
            logs.append(log)
        optim_wrapper.step()
        optim_wrapper.zero_grad()
        return _merge(logs)


def _merge(logs: Iterable[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """Losses of all modalities in one dict; 'loss' is their sum."""
    logs = list(logs)
    merged = {name: value for log in logs for name, value in log.items()}
    return {**merged, "loss": sum(log["loss"] for log in logs)}

"""Evaluations that need a whole set before they can judge one sample."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmengine.runner import BaseLoop
from torch import nn

from momo.datasets import build_loader

from .fully_sharded import whole_weights
from .loaders import EvaluationLoader
from .train_loop import unwrap


class WholeSetLoop(BaseLoop):
    """A test loop that hands its evaluator all results at once; to hooks it is an epoch without iterations.

    Args:
        dataloader: 'loaders': a loader config a name; everything else (batch_size, num_workers) is their default.
        names: The loaders that must be there; the first has the samples that are judged.
        purpose: What needs them, for messages.
        text_limits: See PackedCollate.
    Raises: ValueError if there are other loaders.
    """

    def __init__(
        self,
        runner,
        dataloader: Mapping[str, Any],
        evaluator: dict | list,
        *,
        names: Sequence[str],
        purpose: str,
        text_limits: tuple[int, int] | None = None,
    ) -> None:
        shared = dict(dataloader)
        self.settings: Mapping[str, Mapping[str, Any]] = shared.pop("loaders")
        if set(self.settings) != set(names):
            needed = " and ".join(map(repr, names))
            raise ValueError(f"test_dataloader.loaders are {sorted(self.settings)}, {purpose} needs {needed}")
        self.loaders = {
            name: build_loader({**shared, **self.settings[name]}, {}, text_limits=text_limits, seed=0, training=False)
            for name in names
        }
        super().__init__(runner, EvaluationLoader(self.loaders))
        self.evaluator = runner.build_evaluator(evaluator)

    @property
    def model(self) -> nn.Module:
        return unwrap(self.runner.model)

    @abstractmethod
    def measure(self) -> tuple[list[Any], int]:
        """What the evaluator is to process on this process, and the number of results of all processes."""

    @torch.no_grad()
    def run(self) -> dict[str, float]:
        self.runner.call_hook("before_test")
        self.runner.call_hook("before_test_epoch")
        self.runner.model.eval()
        with whole_weights(self.model):
            results, total = self.measure()
        self.evaluator.process(results)
        metrics = self.evaluator.evaluate(total)
        self.runner.call_hook("after_test_epoch", metrics=metrics)
        self.runner.call_hook("after_test")
        return metrics

"""Validation on packed batches."""

from __future__ import annotations

import torch
from mmengine.runner import BaseLoop

from momo.ops import world_size
from momo.registry import LOOPS

from .loaders import EvaluationLoader, build_multimodal_loaders
from .train_loop import unwrap


def _as_sampled(outputs: list, order: list[int]) -> list:
    """One result a sample goes back to the sampler's order, in which those seen twice come last."""
    if len(outputs) != len(order):
        return outputs
    return [output for _, output in sorted(zip(order, outputs, strict=True), key=lambda pair: pair[0])]


class _EvaluationLoop(BaseLoop):
    stage: str

    def __init__(self, runner, dataloader: dict, evaluator: dict | list) -> None:
        key = f"{self.stage}_dataloader"
        loaders = build_multimodal_loaders(dataloader, unwrap(runner.model), key=key, seed=0, training=False)
        self.loaders = loaders
        super().__init__(runner, EvaluationLoader(loaders))
        self.evaluator = runner.build_evaluator(evaluator)
        self.evaluator.dataset_meta = self.dataloader.dataset.metainfo

    @torch.no_grad()
    def run(self) -> dict[str, float]:
        self.runner.call_hook(f"before_{self.stage}")
        self.runner.call_hook(f"before_{self.stage}_epoch")
        self.runner.model.eval()
        step = getattr(self.runner.model, f"{self.stage}_step")
        index = results = 0
        for modality, loader in self.loaders.items():
            seen = returned = 0
            for batch in loader:
                self.runner.call_hook(f"before_{self.stage}_iter", batch_idx=index, data_batch=batch)
                outputs = _as_sampled(step({modality: batch}), batch["order"])
                self.evaluator.process(outputs, batch)
                self.runner.call_hook(f"after_{self.stage}_iter", batch_idx=index, data_batch=batch, outputs=outputs)
                index, seen, returned = index + 1, seen + len(batch["keys"]), returned + len(outputs)
            # One result a sample: those that were seen twice to fill the last batches are not counted.
            results += len(loader.dataset) if returned == seen else returned * world_size()
        metrics = self.evaluator.evaluate(results)
        self.runner.call_hook(f"after_{self.stage}_epoch", metrics=metrics)
        self.runner.call_hook(f"after_{self.stage}")
        return metrics


@LOOPS.register_module()
class MultiModalValLoop(_EvaluationLoop):
    """Run the model over each modality's whole loader, with the same masks every time, and evaluate what it returns.

    Args:
        dataloader: Config with 'loaders' by modality, as for training but without 'primary'.
        evaluator: Metrics that take what the model returns in 'predict' mode, such as MeanLoss for pre-training.
    """

    stage = "val"


@LOOPS.register_module()
class MultiModalTestLoop(_EvaluationLoop):
    """MultiModalValLoop for `test_cfg`."""

    stage = "test"

"""What could not be read, in the training log."""

from __future__ import annotations

from mmengine.dist import all_reduce
from mmengine.hooks import Hook
from torch.utils.data import DataLoader

from momo.datasets.broken import REASONS
from momo.registry import HOOKS

from .loaders import MultiModalLoader


@HOOKS.register_module()
class BrokenSamplesHook(Hook):
    """Log at the end of an epoch how many samples were broken and replaced by others, by reason, where any were.

    They are summed over workers and ranks, each time that a sample is read; what workers have read ahead is in it.
    """

    def before_train(self, runner) -> None:
        self._before = {}

    def after_train_epoch(self, runner) -> None:
        for name, loader in _loaders(runner.train_dataloader).items():
            broken = getattr(loader.dataset, "broken", None)
            if broken is None:
                continue
            failed = broken.failed
            all_reduce(failed)
            new = failed - self._before.get(name, 0)
            self._before[name] = failed
            if new.any():
                reasons = ", ".join(
                    f"{reason} {count:,}" for reason, count in zip(REASONS, new.tolist(), strict=True) if count
                )
                runner.logger.warning(
                    f"Epoch {runner.epoch + 1}, {name}: {int(new.sum()):,} broken samples were replaced: {reasons}"
                )


def _loaders(loader: DataLoader | MultiModalLoader) -> dict[str, DataLoader]:
    """By modality, or the only one by the name of its data set."""
    if isinstance(loader, MultiModalLoader):
        return loader.loaders
    return {type(loader.dataset).__name__: loader}

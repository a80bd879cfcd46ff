"""The hand-over from one training stage to the next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import NamedTuple

from mmengine.hooks import Hook
from torch import Tensor, nn

from momo.registry import HOOKS

from .checkpoint import find_checkpoint, load_weights
from .train_loop import unwrap


class HandOver(NamedTuple):
    """Names of weights: taken over, new in this stage, left over from the last, and of another shape."""

    loaded: list[str]
    new: list[str]
    unused: list[str]
    mismatched: list[str]


def hand_over(model: nn.Module, weights: Mapping[str, Tensor]) -> HandOver:
    """Copy weights into a model where name and shape agree."""
    own = model.state_dict()
    mismatched = [name for name in own if name in weights and own[name].shape != weights[name].shape]
    loaded = [name for name in own if name in weights and name not in mismatched]
    model.load_state_dict({name: weights[name] for name in loaded}, strict=False)
    new = [name for name in own if name not in weights]
    return HandOver(loaded, new, [name for name in weights if name not in own], mismatched)


@HOOKS.register_module()
class StageHook(Hook):
    """Start a stage from the weights of the stage before (MoMo 3.2), once, when a run is fresh.

    A resumed run keeps its own weights. What was loaded, what is new and what is left over is logged as a table; a
    difference that the config does not name is an error, so that nothing is re-initialised in silence.

    Args:
        checkpoint: A checkpoint, a file of weights, or the work_dir of the previous stage, whose newest checkpoint
            counts; None starts from random weights.
        made_by: The command that makes it, for the message if it is missing.
        new: Patterns of weights that this stage may add, such as 'decoders.text.*'.
        unused: Patterns of weights that the previous stage may leave over.
    Raises: FileNotFoundError if there is no checkpoint; ValueError for a difference that is not named.
    """

    priority = "VERY_HIGH"  # before EMAHook copies the weights

    def __init__(
        self, checkpoint: str | None, made_by: str = "", new: Sequence[str] = (), unused: Sequence[str] = ()
    ) -> None:
        self.checkpoint, self.made_by = checkpoint, made_by
        self.new, self.unused = tuple(new), tuple(unused)

    def before_train(self, runner) -> None:
        if runner.iter > 0 or self.checkpoint is None:
            return
        path = find_checkpoint(self.checkpoint)
        if path is None:
            hint = f" Make it with:\n  {self.made_by}\nor" if self.made_by else ""
            raise FileNotFoundError(
                f"StageHook.checkpoint={self.checkpoint!r}: this stage starts from the weights of the one before, "
                f"and there is no checkpoint.{hint} point StageHook.checkpoint to a file or work_dir that has one."
            )
        weights, own = load_weights(path), unwrap(runner.model).state_dict()
        result = hand_over(unwrap(runner.model), weights)
        runner.logger.info(self._table(path, result))
        shapes = {name: (tuple(weights[name].shape), tuple(own[name].shape)) for name in result.mismatched}
        self._refuse_unnamed(path, result, shapes)

    def _refuse_unnamed(self, path, result: HandOver, shapes: Mapping[str, tuple]) -> None:
        problems = [f"  {name}: {found} in the checkpoint, {own} wanted" for name, (found, own) in shapes.items()]
        for names, patterns, meaning in (
            (result.new, self.new, "is not in the checkpoint (allow it with StageHook.new)"),
            (result.unused, self.unused, "is in the checkpoint only (allow it with StageHook.unused)"),
        ):
            problems += [f"  {name}: {meaning}" for name in names if not _matches(name, patterns)]
        if problems:
            shown = "\n".join(problems[:20]) + (f"\n  ... {len(problems) - 20} more" if len(problems) > 20 else "")
            raise ValueError(f"{path} does not fit this stage's model:\n{shown}")

    def _table(self, path, result: HandOver) -> str:
        lines = [f"Weights from {path}:"]
        for title, names in zip(("loaded", "new", "left over", "other shape"), result, strict=True):
            parts = sorted({".".join(name.split(".")[:2]) for name in names})
            lines.append(f"  {title:<12} {len(names):>5}  {', '.join(parts)}")
        return "\n".join(lines)


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)

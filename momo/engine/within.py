"""Whether training is still going on, for what would otherwise outlive a run that failed in a program that did not."""

from __future__ import annotations

from types import FrameType

from mmengine.runner import Runner


def within_training(frame: FrameType | None) -> bool:
    """Whether a frame was called, however deep, by a runner's `train`."""
    while frame is not None:
        if frame.f_code is Runner.train.__code__:
            return True
        frame = frame.f_back
    return False

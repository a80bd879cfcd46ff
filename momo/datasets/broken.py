"""Samples that cannot be read: why, how many, and how many are too many."""

from __future__ import annotations

import json
import logging

import torch
from mmengine.logging import print_log
from torch.utils.data import get_worker_info

REASONS = (
    "missing",
    "empty",
    "truncated",
    "not an image",
    "too large",
    "empty text",
    "bad text",
    "bad row",
    "outside the root",
    "unreadable",
)
# Our choice: what max_bad_fraction is taken of at first, so that one broken sample among the first ten stops nothing.
FIRST = 1000
_REASON_OF = {FileNotFoundError: "missing", UnicodeDecodeError: "bad text", json.JSONDecodeError: "bad row"}
_WORKERS = 1024  # rows of the tally; a machine has fewer processors


class BrokenSample(ValueError):
    """A sample whose data cannot be used; a dataset that tolerates such takes another one in its place.

    Args:
        reason: One of REASONS.
    Raises: KeyError for another reason.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        if reason not in REASONS:
            raise KeyError(f"{reason!r} is not one of {REASONS}")
        self.reason = reason

    def __reduce__(self) -> tuple:
        return type(self), (self.reason, str(self))


class TooManyBroken(RuntimeError):
    """More samples cannot be read than the dataset's `max_bad_fraction` allows."""


class BrokenSamples:
    """Counts of broken samples in memory that the workers of a loader share.

    Each sample has a byte that says why it is broken, and each worker a row that it alone writes to, so nothing is
    locked and nothing is lost. A process of a distributed run counts what it reads itself.

    Args:
        name: Of the dataset, for messages.
        size: Its number of samples.
        max_bad_fraction: Reads that may fail, of all reads or of 1,000, whichever are more.
    Raises: ValueError if `max_bad_fraction` is not in [0, 1].
    """

    def __init__(self, name: str, size: int, max_bad_fraction: float) -> None:
        if not 0 <= max_bad_fraction <= 1:
            raise ValueError(f"max_bad_fraction must lie in [0, 1], got {max_bad_fraction}")
        self.name, self.max_bad_fraction = name, max_bad_fraction
        self._reasons = torch.zeros(size, dtype=torch.uint8).share_memory_()  # 0: not known to be broken
        # Reads, then those that failed by reason.
        self._tally = torch.zeros(_WORKERS, 1 + len(REASONS), dtype=torch.int64).share_memory_()

    def count_read(self) -> None:
        self._tally[_worker(), 0] += 1

    def count(self, index: int, reason: str, message: str) -> None:
        """A sample was found broken; it is logged when that is news.

        Raises: TooManyBroken if it is one too many.
        """
        self._tally[_worker(), 1 + REASONS.index(reason)] += 1
        if self._reasons[index] == 0:
            self._reasons[index] = 1 + REASONS.index(reason)
            # As an error, because MMEngine's loggers of all ranks but the first print nothing less.
            print_log(f"{self.name}: a sample is replaced ({reason}): {message}", "current", logging.ERROR)
        read, *failed = self._tally.sum(0).tolist()
        replaced = sum(failed)
        if replaced > self.max_bad_fraction * max(read, FIRST):
            found = ", ".join(f"{reason} {count}" for reason, count in self.counts().items())
            raise TooManyBroken(
                f"{self.name}: {replaced} of {read} reads failed, more than max_bad_fraction={self.max_bad_fraction} "
                f"of {max(read, FIRST)}. Broken samples: {found}. The last: {message}. "
                "tools/dataset/doctor.py lists them all; repair the data, or raise max_bad_fraction"
            )

    @property
    def failed(self) -> torch.Tensor:
        """How many reads have failed, and were replaced by others, for each of REASONS, (R,) int64."""
        return self._tally[:, 1:].sum(0)

    def counts(self) -> dict[str, int]:
        """How many different samples are known to be broken, by reason."""
        numbers = torch.bincount(self._reasons, minlength=len(REASONS) + 1)[1:].tolist()
        return {reason: number for reason, number in zip(REASONS, numbers, strict=True) if number}

    @property
    def indices(self) -> list[int]:
        """The samples known to be broken."""
        return self._reasons.nonzero().flatten().tolist()


def _worker() -> int:
    """The row of this process: 0 outside of a loader's workers."""
    info = get_worker_info()
    return 0 if info is None else 1 + info.id % (_WORKERS - 1)


def why_broken(error: Exception) -> str:
    """The reason, one of REASONS, for an error while reading."""
    if isinstance(error, BrokenSample):
        return error.reason
    return next((reason for kind, reason in _REASON_OF.items() if isinstance(error, kind)), "unreadable")

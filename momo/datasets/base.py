"""What the datasets here share."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import Dataset

from momo.registry import TRANSFORMS

from .keys import SampleKey, torch_seeded


class KeyedDataset(Dataset):
    """A dataset whose samples are functions of a SampleKey; a plain index stands for seed 0, epoch 0.

    Args:
        pipeline: Configs of transforms, applied in turn to the sample that `read` returns.
    """

    def __init__(self, pipeline: Sequence[dict]) -> None:
        self.pipeline = [TRANSFORMS.build(step) for step in pipeline]

    @property
    def metainfo(self) -> dict[str, Any]:
        """What MMEngine shows of a dataset."""
        return {"dataset": type(self).__name__}

    def read(self, index: int) -> dict[str, Any]:
        """The raw sample: at least 'sample_id'. Random choices draw from torch's generator."""
        raise NotImplementedError

    def __getitem__(self, key: SampleKey | int) -> dict[str, Any]:
        if not isinstance(key, SampleKey):
            key = SampleKey.of(0, 0, int(key))
        with torch_seeded(key.key):
            sample = self.read(key.index)
            sample["key"] = key.key
            for transform in self.pipeline:
                sample = transform(sample)
        return sample


def existing(path: str | Path, key: str, what: str) -> Path:
    """The path, if something is there.

    Raises: FileNotFoundError that names the config key and what should lie there.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{key}={str(path)!r} does not exist; {what} should lie there")
    return path


def pick(options: Any) -> Any:
    """One of a list, drawn from torch's generator; anything else is itself."""
    if not isinstance(options, list):
        return options
    return options[int(torch.randint(len(options), ()))]

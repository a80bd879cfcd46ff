"""What the datasets here share."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import Dataset

from momo.ops import key_of
from momo.registry import TRANSFORMS

from .broken import BrokenSample, BrokenSamples, TooManyBroken, why_broken
from .keys import SampleKey, torch_seeded

SUBSTITUTES = 10  # tried in the place of one broken sample


class KeyedDataset(Dataset):
    """A dataset whose samples are functions of a SampleKey; a plain index stands for seed 0, epoch 0.

    A sample that cannot be read is an error, unless the dataset's `__init__` ends with `tolerate`: then another sample,
    which is a function of the key too, takes its place, and `broken` counts it.

    Args:
        pipeline: Configs of transforms, applied in turn to the sample that `read` returns.
    """

    broken: BrokenSamples | None = None

    def __init__(self, pipeline: Sequence[dict]) -> None:
        self.pipeline = [TRANSFORMS.build(step) for step in pipeline]

    @property
    def metainfo(self) -> dict[str, Any]:
        """What MMEngine shows of a dataset."""
        return {"dataset": type(self).__name__}

    def tolerate(self, max_bad_fraction: float) -> None:
        """Replace samples that cannot be read, up to this fraction; see BrokenSamples."""
        self.broken = BrokenSamples(type(self).__name__, len(self), max_bad_fraction)

    def read(self, index: int) -> dict[str, Any]:
        """The raw sample: at least 'sample_id'. Random choices draw from torch's generator."""
        raise NotImplementedError

    def sample_id(self, index: int) -> str:
        """The dataset's own name of a sample, which needs no reading."""
        return f"sample {index}"

    def __getitem__(self, key: SampleKey | int) -> dict[str, Any]:
        """Raises: TooManyBroken if too many samples cannot be read."""
        if not isinstance(key, SampleKey):
            key = SampleKey.of(0, 0, int(key))
        index = key.index
        for attempt in range(SUBSTITUTES + 1):
            sample = self._load(index, key.key)
            if sample is not None:
                return sample
            index = key_of(key.key, "substitute", attempt) % len(self)
        raise TooManyBroken(f"{type(self).__name__}: {self.sample_id(key.index)} and {SUBSTITUTES} others are broken")

    def _load(self, index: int, key: int) -> dict[str, Any] | None:
        """A transformed sample; None, and counted, if it is broken and that is tolerated."""
        sample: dict[str, Any] = {}
        if self.broken is not None:
            self.broken.count_read()
        try:
            with torch_seeded(key):
                sample = {**self.read(index), "key": key}
                for transform in self.pipeline:
                    sample = transform(sample)
            return sample
        except (ValueError, OSError) as error:
            # Once an image is decoded, a plain ValueError is a transform's own and nobody's bad data.
            own = "image" in sample and not isinstance(error, BrokenSample)
            if self.broken is None or own:
                raise
            name, message = self.sample_id(index), str(error)
            self.broken.count(index, why_broken(error), message if name in message else f"{name}: {message}")
            return None


def existing(path: str | Path, key: str, what: str) -> Path:
    """The path, if something is there.

    Raises: FileNotFoundError that names the config key and what should lie there.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{key}={str(path)!r} does not exist; {what} should lie there")
    return path


def pick(options: Any) -> Any:
    """One of a list, drawn from torch's generator, None of an empty one; anything else is itself.

    Where there is no choice nothing is drawn, so that a list of one and its only item make the same sample.
    """
    if not isinstance(options, list):
        return options
    if len(options) < 2:
        return options[0] if options else None
    return options[int(torch.randint(len(options), ()))]


def checked_text(text: Any) -> str:
    """`text`, if there is something to learn from; bytes are taken for UTF-8.

    Raises: BrokenSample if it is not a string, blank, or has a NUL in it, which no text has; UnicodeDecodeError.
    """
    if isinstance(text, bytes):
        text = text.decode("utf-8")
    if not isinstance(text, str):
        raise BrokenSample("bad text", f"the text is {text!r}, not a string")
    if not text.strip():
        raise BrokenSample("empty text", f"the text is {text[:40]!r}")
    if "\0" in text:
        raise BrokenSample("bad text", f"the text has a NUL in it: {text[:40]!r}")
    return text

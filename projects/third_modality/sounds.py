"""Made sounds of eight kinds, and their spectrograms: data for a modality that the toolkit does not know."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from transformers.audio_utils import mel_filter_bank, spectrogram, window_function

from momo.datasets.base import KeyedDataset
from momo.ops import key_of, keyed_generator
from momo.registry import DATASETS, TRANSFORMS

KINDS = ("tone", "buzz", "rising", "falling", "vibrato", "tremolo", "pluck", "hiss")
RATE = 8000  # samples a second; a sound lasts one


def make_sound(kind: str, rng: np.random.Generator) -> np.ndarray:
    """One second of a kind of sound, at a random pitch, from a random moment on, over faint noise.

    Shapes: the result is (RATE,), float64.
    Raises: ValueError for a kind that is not in KINDS.
    """
    t = np.arange(RATE) / RATE
    pitch = 150 * 8 ** rng.random()  # 150 to 1,200 Hz
    begin, lasts = 0.4 * rng.random(), 0.3 + 0.3 * rng.random()
    since = np.clip(t - begin, 0, None)
    within = (t >= begin) & (t < begin + lasts)
    phase = 2 * np.pi * pitch * since
    if kind == "tone":
        wave = np.sin(phase)
    elif kind in ("buzz", "pluck"):
        wave = sum(np.sin(k * phase) / k for k in range(1, 7) if k * pitch < RATE / 2)
        wave = wave * np.exp(-8 * since / lasts) if kind == "pluck" else wave
    elif kind in ("rising", "falling"):
        change = (1.0 if kind == "rising" else -0.5) / lasts  # an octave up or down
        wave = np.sin(phase * (1 + change * since / 2))
    elif kind == "vibrato":
        wave = np.sin(phase + 0.08 * pitch / 8 * np.sin(2 * np.pi * 8 * since))
    elif kind == "tremolo":
        wave = np.sin(phase) * (0.5 + 0.5 * np.cos(2 * np.pi * 10 * since))
    elif kind == "hiss":
        wave = rng.standard_normal(RATE)
    else:
        raise ValueError(f"kind={kind!r} is unknown; choose one of {KINDS}")
    return wave * within + 0.003 * rng.standard_normal(RATE)


@DATASETS.register_module()
class MadeSounds(KeyedDataset):
    """Sounds by formula, each a function of its number and the split; all kinds are equally frequent.

    Args:
        split: Any name; different splits hold different sounds.
        size: How many.
        pipeline: Transforms; the first is usually MelSpectrogram.
    """

    def __init__(self, split: str, size: int, pipeline: Sequence[dict]) -> None:
        super().__init__(pipeline)
        self.split, self.size = split, size

    def __len__(self) -> int:
        return self.size

    def read(self, index: int) -> dict[str, Any]:
        kind = KINDS[index % len(KINDS)]
        name = f"{self.split} {index} {kind}"
        wave = make_sound(kind, keyed_generator("sound", self.split, index))
        return {"sample_id": name, "waveform": wave, "image_id": key_of(name)}


@TRANSFORMS.register_module()
class MelSpectrogram:
    """sample['waveform'] to sample['image'], (1, mels, frames) uint8: 255 is the loudest, 0 is 80 dB below.

    Batches carry any picture-like array under 'image'; this one has a channel, rows of frequency and columns of time.

    Args:
        mels: Bands from 60 Hz to half the sampling rate.
        frames: Columns a second.
    """

    def __init__(self, mels: int = 64, frames: int = 64) -> None:
        self.frames, self.window = frames, window_function(512, "hann")
        self.filters = mel_filter_bank(257, mels, 60.0, RATE / 2, RATE)

    def __call__(self, sample: dict[str, Any]) -> dict[str, Any]:
        hop = RATE // self.frames
        settings = dict(power=2.0, mel_filters=self.filters, log_mel="dB", db_range=80.0)
        decibel = spectrogram(sample.pop("waveform"), self.window, 512, hop, **settings)[:, : self.frames]
        scaled = (decibel - decibel.max() + 80).clip(0) / 80 * 255
        sample["image"] = torch.from_numpy(scaled.round().astype(np.uint8))[None]
        return sample

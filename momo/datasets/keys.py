"""What a sampler hands to a dataset: not only which sample, but all that its randomness depends on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch

from momo.ops import key_of


class SampleKey(NamedTuple):
    """`index` of the sample in its dataset, the `epoch` it is seen in, and the 64-bit `key` of both and the seed.

    Augmentation, caption choice and masks are functions of `key` alone, so they do not depend on workers or ranks, and
    nothing has to be saved to draw them again.
    """

    index: int
    epoch: int
    key: int

    @classmethod
    def of(cls, seed: int, epoch: int, index: int) -> SampleKey:
        return cls(index, epoch, key_of(seed, epoch, index))


@contextmanager
def torch_seeded(key: int) -> Iterator[None]:
    """Let torchvision's transforms, which draw from torch's CPU generator, draw from `key` instead."""
    state = torch.random.get_rng_state()
    torch.default_generator.manual_seed(key % 2**63)
    try:
        yield
    finally:
        torch.random.set_rng_state(state)

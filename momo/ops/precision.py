"""How precisely losses are computed."""

from __future__ import annotations

import torch
from torch import Tensor


def at_least_float32(x: Tensor) -> Tensor:
    """`x` in float32, for losses under autocast; float64 stays, so that identities can be shown in it."""
    return x if x.dtype == torch.float64 else x.float()

"""From encoded sequences to the space where images and texts are compared."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn
from torch.nn import functional as F

from momo.ops import PackedTokens, at_least_float32
from momo.registry import MODELS

POOLINGS = {"cls": PackedTokens.first, "mean": PackedTokens.mean}


def pooling_by_name(pooling: str) -> Callable[[PackedTokens], Tensor]:
    """From encoded sequences to one vector each: 'cls' or 'mean'.

    Raises: ValueError for another name.
    """
    if pooling not in POOLINGS:
        raise ValueError(f"pooling={pooling!r} is unknown; choose one of {sorted(POOLINGS)}")
    return POOLINGS[pooling]


@MODELS.register_module()
class ContrastiveProjection(nn.Module):
    """One vector a sequence, one linear layer a modality, then unit length.

    Args:
        embed_dim: Width of the encoder.
        out_dim: Width of the shared space; None keeps the encoder's.
        pooling: 'cls' takes the [CLS] token (MoMo 3.6); 'mean' the mean of the other tokens, which learns
            sooner in short runs.
    Raises: ValueError for another pooling.
    Source: FLAVA's contrastive head (the paper gives none).
    """

    def __init__(self, embed_dim: int = 768, out_dim: int | None = None, pooling: str = "cls") -> None:
        super().__init__()
        self.pool, self.cls_only = pooling_by_name(pooling), pooling == "cls"
        out_dim = out_dim or embed_dim
        self.image = nn.Linear(embed_dim, out_dim)
        self.text = nn.Linear(embed_dim, out_dim)
        for layer in (self.image, self.text):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)

    def project_image(self, encoded: PackedTokens) -> Tensor:
        """Features (B, out_dim) of B encoded images, unit length."""
        return F.normalize(at_least_float32(self.image(self.pool(encoded))), dim=-1)

    def project_text(self, encoded: PackedTokens) -> Tensor:
        """Features (B, out_dim) of B encoded texts, unit length."""
        return F.normalize(at_least_float32(self.text(self.pool(encoded))), dim=-1)

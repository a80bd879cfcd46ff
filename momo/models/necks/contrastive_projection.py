"""From [CLS] to the space where images and texts are compared."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from momo.ops import at_least_float32
from momo.registry import MODELS


@MODELS.register_module()
class ContrastiveProjection(nn.Module):
    """One linear layer a modality, then unit length.

    Args:
        embed_dim: Width of the encoder.
        out_dim: Width of the shared space; None keeps the encoder's.
    Source: FLAVA's contrastive head (the paper gives none).
    """

    def __init__(self, embed_dim: int = 768, out_dim: int | None = None) -> None:
        super().__init__()
        out_dim = out_dim or embed_dim
        self.image = nn.Linear(embed_dim, out_dim)
        self.text = nn.Linear(embed_dim, out_dim)
        for layer in (self.image, self.text):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)

    def project_image(self, features: Tensor) -> Tensor:
        """Shapes: (B, C) [CLS] of images; the result is (B, out_dim), unit length."""
        return F.normalize(at_least_float32(self.image(features)), dim=-1)

    def project_text(self, features: Tensor) -> Tensor:
        """Shapes: (B, C) [CLS] of texts; the result is (B, out_dim), unit length."""
        return F.normalize(at_least_float32(self.text(features)), dim=-1)

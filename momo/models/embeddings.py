"""Inputs to tokens: the only parts of the encoder that know what a modality is."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from momo.ops import cached_sincos_2d, grid_size, patchify


class ImageEmbedding(nn.Module):
    """Project patches and add fixed sine-cosine positions, of the visible patches only.

    Args:
        img_size: Side in pixels that the positions are defined on; other resolutions interpolate them.
        patch_size: Side of a patch in pixels.
    Source: He et al. 2022, arXiv:2111.06377: positions are added before masking.
    """

    def __init__(self, dim: int, img_size: int = 224, patch_size: int = 16, in_channels: int = 3) -> None:
        super().__init__()
        self.patch_size = patch_size
        self.base_grid = grid_size(img_size, img_size, patch_size)
        self.proj = nn.Linear(in_channels * patch_size**2, dim)

    def forward(self, images: Tensor, visible: Tensor) -> Tensor:
        """Embed the visible patches.

        Shapes: images (B, channels, height, width); visible (V,), rows of the flat (B * L) patches; the result
            is (V, C).
        """
        grid = grid_size(*images.shape[-2:], self.patch_size)
        patches = patchify(images, self.patch_size).flatten(0, 1).index_select(0, visible)
        tokens = self.proj(patches).to(self.proj.weight.dtype)  # positions are added in full precision
        positions = cached_sincos_2d(grid, tokens.shape[1], self.base_grid, tokens.device, tokens.dtype)
        return tokens + positions.index_select(0, visible % positions.shape[0])


class TextEmbedding(nn.Module):
    """Word pieces plus learnt positions, normalised as in BERT so that they arrive at the scale of patches.

    Args:
        vocab_size: Entries of the tokenizer's vocabulary (BERT-uncased: 30,522).
        max_len: Longest text in word pieces, without [CLS].
    Source: Devlin et al. 2019, arXiv:1810.04805, section 3; no segment embedding (our choice).
    """

    def __init__(self, dim: int, vocab_size: int = 30522, max_len: int = 512) -> None:
        super().__init__()
        self.max_len = max_len
        self.words = nn.Embedding(vocab_size, dim)
        self.positions = nn.Embedding(max_len, dim)
        self.norm = nn.LayerNorm(dim, eps=1e-6)

    def forward(self, words: Tensor, positions: Tensor) -> Tensor:
        """Embed word pieces.

        Shapes: words (T,) ids, positions (T,) places in their texts, < max_len; the result is (T, C).
        """
        return self.norm(self.words(words) + self.positions(positions))


def new_token(dim: int) -> nn.Parameter:
    """A learnt token such as [CLS], (1, C)."""
    return nn.Parameter(torch.empty(1, dim).normal_(std=0.02))

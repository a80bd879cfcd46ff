"""The shallow decoder that restores what was hidden from the encoder."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from momo.models.layers import Block, init_transformer, run_block
from momo.ops import DecodePlan, PackedTokens, cached_sincos_2d, sincos_1d
from momo.registry import MODELS


@MODELS.register_module()
class MoMoDecoder(nn.Module):
    """Put mask tokens where the encoder saw nothing, run a shallow transformer, predict pixels or words of hidden rows.

    Objectives refer to a decoder by its name in the config: two that name the same one share it (Table 6).

    Args:
        embed_dim: Width of the encoder.
        outputs: 'pixels', 'tokens' or both.
        decoder_dim, depth, num_heads: Its own size (MoMo 3.3: 8 layers of 512; 16 heads as in MAE).
        patch_size, in_channels: What a pixel prediction covers.
        img_size: Side in pixels on which positions are defined, as in the encoder.
        vocab_size: Entries of the vocabulary.
        max_text_len: Longest text in word pieces.
    Source: He et al. 2022, arXiv:2111.06377, section 3; positions are fixed sine-cosine for patches and words, one mask
        token a kind tells them apart, and words are predicted through Linear, GELU and LayerNorm into the encoder's
        word embedding (BERT's head; MoMo 3.3: 'the token embedding weights and the language modeling output head
        weights are tied'): our reading.
    """

    def __init__(
        self,
        embed_dim: int = 768,
        outputs: Sequence[str] = ("pixels",),
        decoder_dim: int = 512,
        depth: int = 8,
        num_heads: int = 16,
        img_size: int = 224,
        patch_size: int = 16,
        in_channels: int = 3,
        vocab_size: int = 30522,
        max_text_len: int = 512,
        with_cp: bool = False,
    ) -> None:
        super().__init__()
        unknown = set(outputs) - {"pixels", "tokens"}
        if unknown or not outputs:
            raise ValueError(f"outputs={tuple(outputs)} must name 'pixels', 'tokens' or both")
        self.outputs, self.with_cp = tuple(outputs), with_cp
        self.base_grid = (img_size // patch_size, img_size // patch_size)
        self.embed = nn.Linear(embed_dim, decoder_dim)
        self.mask_tokens = nn.Embedding(2, decoder_dim)  # row 0 stands for a hidden patch, row 1 for a hidden word
        self.blocks = nn.ModuleList(Block(decoder_dim, num_heads) for _ in range(depth))
        self.norm = nn.LayerNorm(decoder_dim, eps=1e-6)
        words = sincos_1d(torch.arange(max_text_len, device="cpu"), decoder_dim).float()
        self.register_buffer("word_positions", words, persistent=False)
        if "pixels" in outputs:
            self.pixel_head = nn.Linear(decoder_dim, in_channels * patch_size**2)
        if "tokens" in outputs:
            self.token_head = nn.Sequential(
                nn.Linear(decoder_dim, embed_dim), nn.GELU(), nn.LayerNorm(embed_dim, eps=1e-6)
            )
            self.token_bias = nn.Parameter(torch.zeros(vocab_size))
        init_transformer(self)

    def forward(self, encoded: PackedTokens, plan: DecodePlan, grid: tuple[int, int] | None) -> PackedTokens:
        """Restore the full sequences.

        Shapes: encoded (V, C) visible tokens; the result is (N, D), N tokens of plan.layout.
        Args:
            grid: Patches down and across, None for text alone.
        """
        visible = self.embed(encoded.x).to(self.mask_tokens.weight.dtype)  # the residual stream keeps full precision
        table = [visible.new_zeros(1, visible.shape[1])]
        if grid is not None:
            table.append(cached_sincos_2d(grid, visible.shape[1], self.base_grid, visible.device, visible.dtype))
        table.append(self.word_positions.to(visible.dtype))
        num_patches = grid[0] * grid[1] if grid is not None else 0
        masks = self.mask_tokens((plan.positions > num_patches).long())
        x = masks.index_copy(0, plan.visible, visible) + torch.cat(table).index_select(0, plan.positions)
        for block in self.blocks:
            x = run_block(block, x, plan.layout, self.with_cp)
        return PackedTokens(x, plan.layout)

    def predict_pixels(self, decoded: PackedTokens, rows: Tensor) -> Tensor:
        """Pixels of the patches at some rows.

        Shapes: rows (M,); the result is (M, channels * p * p), laid out as `ops.patchify` does.
        """
        return self.pixel_head(self.norm(decoded.x.index_select(0, rows)))

    def predict_words(self, decoded: PackedTokens, rows: Tensor, word_embedding: Tensor) -> Tensor:
        """Vocabulary logits of the words at some rows, and of no others.

        Shapes: rows (M,); word_embedding (vocabulary, C), the encoder's; the result is (M, vocabulary).
        """
        return self.word_logits(self.word_features(decoded, rows), word_embedding)

    def word_features(self, decoded: PackedTokens, rows: Tensor) -> Tensor:
        """What the words at some rows (M,) are predicted from: (M, C), the encoder's width."""
        return self.token_head(self.norm(decoded.x.index_select(0, rows)))

    def word_logits(self, features: Tensor, word_embedding: Tensor) -> Tensor:
        """Vocabulary logits (M, vocabulary) of `word_features` (M, C)."""
        return F.linear(features, word_embedding, self.token_bias)

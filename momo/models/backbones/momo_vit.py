"""The shared encoder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.nn import functional as F

from momo.models.embeddings import ImageEmbedding, TextEmbedding, new_token
from momo.models.layers import Block, init_transformer, recomputed, run_block
from momo.ops import EncodePlan, PackedTokens, SequenceLayout, grid_size, plan_sequences
from momo.registry import MODELS

# base: section 3.3; large: section 4.1 ('we replace ViT-B with ViT-L'); the others are ViT's and DeiT's sizes.
ARCHS = {
    "tiny": dict(embed_dim=192, depth=12, num_heads=3),
    "small": dict(embed_dim=384, depth=12, num_heads=6),
    "base": dict(embed_dim=768, depth=12, num_heads=12),
    "large": dict(embed_dim=1024, depth=24, num_heads=16),
    "huge": dict(embed_dim=1280, depth=32, num_heads=16),
}


def arch_settings(arch: str | dict) -> dict[str, Any]:
    """The sizes behind `arch`: embed_dim, depth, num_heads, mlp_ratio.

    Raises: ValueError for a name that is not in ARCHS, or a dict with other keys than those four.
    """
    if isinstance(arch, str):
        if arch not in ARCHS:
            raise ValueError(f"arch={arch!r} is unknown; choose one of {sorted(ARCHS)} or give a dict of sizes")
        arch = ARCHS[arch]
    needed = {"embed_dim", "depth", "num_heads"}
    if not needed <= set(arch) <= needed | {"mlp_ratio"}:
        raise ValueError(f"arch needs {sorted(needed)} and may have mlp_ratio, got {sorted(arch)}")
    return {"mlp_ratio": 4.0, **arch}


@MODELS.register_module()
class MoMoViT(BaseModule):
    """One transformer encoder for images, text and image-text pairs.

    Whatever the input, the encoder sees packed sequences of [CLS], visible patches, visible words, and does not know
    which is which: all modalities share every encoder weight, `cls_token` included (MoMo 3.3, 3.6).

    As an OpenMMLab backbone, `forward(images)` returns a tuple with one feature per entry of `out_indices`.

    Args:
        arch: A name in ARCHS, or a dict with embed_dim, depth, num_heads and optionally mlp_ratio.
        img_size: Side in pixels of the training images; any other multiple of patch_size works too.
        vocab_size: Entries of the vocabulary; 0 leaves the text embedding out (an image backbone for other toolkits).
        max_text_len: Longest text in word pieces, without [CLS].
        drop_path_rate: Chance of the last block to skip a residual branch; earlier blocks' chances rise linearly to it.
        with_cp: Compute activations again in backward instead of keeping them (less memory, a third more time).
        chunk_tokens: Encode at most so many tokens at a time, at least one sequence, and each such chunk again in
            backward: of the encoder a step keeps its input, its output, and one chunk's activations. For contrastive
            batches larger than memory (gradient caching, Gao et al. 2021, arXiv:2101.06983): the gradient is that of
            the whole batch. Costs a forward more. None: everything at once.
        out_type: What `forward` returns: 'cls_token' (B, C), 'avg_featmap' (B, C), 'featmap' (B, C, rows, columns) or
            'raw' (B, 1 + L, C).
        out_indices: Blocks whose output `forward` returns, negative from the end.
        frozen_stages: -1 trains everything; 0 freezes the embeddings; n freezes them and the first n blocks, with all
            blocks the final norm too.
    """

    OUT_TYPES = ("cls_token", "avg_featmap", "featmap", "raw")

    def __init__(
        self,
        arch: str | dict = "base",
        img_size: int = 224,
        patch_size: int = 16,
        in_channels: int = 3,
        vocab_size: int = 30522,
        max_text_len: int = 512,
        drop_path_rate: float = 0.0,
        with_cp: bool = False,
        chunk_tokens: int | None = None,
        out_type: str = "cls_token",
        out_indices: int | Sequence[int] = -1,
        frozen_stages: int = -1,
        init_cfg: dict | list | None = None,
    ) -> None:
        super().__init__(init_cfg)
        sizes = arch_settings(arch)
        dim, depth = sizes["embed_dim"], sizes["depth"]
        if out_type not in self.OUT_TYPES:
            raise ValueError(f"out_type={out_type!r} is unknown; choose one of {self.OUT_TYPES}")
        indices = [out_indices] if isinstance(out_indices, int) else list(out_indices)
        if any(not -depth <= index < depth for index in indices):
            raise ValueError(f"out_indices={out_indices} must lie within the {depth} blocks")
        if chunk_tokens is not None and chunk_tokens < 1:
            raise ValueError(f"chunk_tokens={chunk_tokens} must be at least 1, or None to encode everything at once")
        if not -1 <= frozen_stages <= depth:
            raise ValueError(f"frozen_stages={frozen_stages} must lie between -1 and the {depth} blocks")

        self.embed_dim, self.num_layers, self.patch_size = dim, depth, patch_size
        self.out_type, self.with_cp, self.frozen_stages = out_type, with_cp, frozen_stages
        self.chunk_tokens = chunk_tokens
        self.out_indices = [index % depth for index in indices]
        self.cls_token = new_token(dim)
        self.image_embed = ImageEmbedding(dim, img_size, patch_size, in_channels)
        self.text_embed = TextEmbedding(dim, vocab_size, max_text_len) if vocab_size else None
        rates = torch.linspace(0, drop_path_rate, depth, device="cpu").tolist()
        self.blocks = nn.ModuleList(Block(dim, sizes["num_heads"], sizes["mlp_ratio"], rate) for rate in rates)
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        init_transformer(self)
        self._freeze()

    # ------------------------------------------------------------------ inputs to tokens
    def embed_image(self, images: Tensor, plan: EncodePlan) -> PackedTokens:
        """Visible patches of images (B, channels, height, width) as packed sequences."""
        return self.assemble([self.image_embed(images, plan.patches)], plan.assemble, plan.layout)

    def embed_text(self, word_tokens: Tensor, plan: EncodePlan) -> PackedTokens:
        """Visible words of texts as packed sequences.

        Shapes: word_tokens (T, C): what `text_embed` gives for all words, texts back to back.
        """
        return self.assemble([F.embedding(plan.words, word_tokens)], plan.assemble, plan.layout)

    def embed_pair(self, images: Tensor, word_tokens: Tensor, plan: EncodePlan) -> PackedTokens:
        """Visible patches and words of image-text pairs, one packed sequence a pair; see the two above."""
        tokens = [self.image_embed(images, plan.patches), F.embedding(plan.words, word_tokens)]
        return self.assemble(tokens, plan.assemble, plan.layout)

    def assemble(self, tokens: list[Tensor], rows: Tensor, layout) -> PackedTokens:
        """Pick rows of [CLS token; tokens] in the order of the sequences."""
        return PackedTokens(F.embedding(rows, torch.cat([self.cls_token, *tokens])), layout)

    # ------------------------------------------------------------------ the encoder
    def encode(self, tokens: PackedTokens, cls_only: bool = False) -> PackedTokens:
        """Run the shared blocks over packed sequences of any modality.

        Shapes: (N, C) in; (N, C) out, with `cls_only` (S, C): [CLS] of each sequence, the same as among all tokens, but
            the last block has nothing else to compute.
        """
        (encoded,) = self.encode_together([tokens], [cls_only])
        return encoded

    def encode_together(self, parts: Sequence[PackedTokens], cls_only: Sequence[bool]) -> list[PackedTokens]:
        """`encode` of several packed tensors in one pass, each with its own `cls_only`."""
        if self.chunk_tokens is not None:
            return [self._encode_in_chunks(part, only) for part, only in zip(parts, cls_only, strict=True)]
        return self._encode(parts, cls_only)

    def _encode(self, parts: Sequence[PackedTokens], cls_only: Sequence[bool]) -> list[PackedTokens]:
        *blocks, last = self.blocks
        sides = [[index for index, only in enumerate(cls_only) if only is side] for side in (False, True)]
        joined = PackedTokens.cat([parts[index] for side in sides for index in side])
        x = joined.x
        for block in blocks:
            x = run_block(block, x, joined.layout, self.with_cp)
        before_last = PackedTokens(x, joined.layout).split(
            [SequenceLayout.cat(parts[index].layout for index in side) for side in sides]
        )
        encoded: dict[int, PackedTokens] = {}
        for side, tokens, only in zip(sides, before_last, (False, True), strict=True):
            if side:
                x = self.norm(run_block(last, tokens.x, tokens.layout, self.with_cp, only))
                layouts = [parts[index].layout.firsts if only else parts[index].layout for index in side]
                encoded |= zip(side, PackedTokens(x, SequenceLayout.cat(layouts)).split(layouts), strict=True)
        return [encoded[index] for index in range(len(parts))]

    def _encode_in_chunks(self, tokens: PackedTokens, cls_only: bool) -> PackedTokens:
        chunks = tokens.split(tokens.layout.chunks(self.chunk_tokens))
        # Tensors are handed over bare: by them `checkpoint` finds the device whose random numbers it is to draw again.
        encoded = [recomputed(self._encode_chunk, chunk.x, chunk.layout, cls_only) for chunk in chunks]
        return PackedTokens(torch.cat(encoded), tokens.layout.firsts if cls_only else tokens.layout)

    def _encode_chunk(self, x: Tensor, layout: SequenceLayout, cls_only: bool) -> Tensor:
        (encoded,) = self._encode([PackedTokens(x, layout)], [cls_only])
        return encoded.x

    def encode_images(self, images: Tensor, cls_only: bool = False) -> PackedTokens:
        """Encode whole images (B, channels, height, width)."""
        plan = _whole(images.device, len(images), self._num_patches(images), np.zeros(len(images), dtype=np.int64))
        return self.encode(self.embed_image(images, plan), cls_only)

    def encode_texts(
        self, words: Tensor, positions: Tensor, word_counts: np.ndarray, cls_only: bool = False
    ) -> PackedTokens:
        """Encode whole texts.

        Shapes: words, positions (T,), all texts back to back; word_counts (B,) on the host.
        """
        plan = _whole(words.device, len(word_counts), 0, word_counts)
        return self.encode(self.embed_text(self.text_embed(words, positions), plan), cls_only)

    def encode_pairs(
        self, images: Tensor, words: Tensor, positions: Tensor, word_counts: np.ndarray, cls_only: bool = False
    ) -> PackedTokens:
        """Encode whole image-text pairs; shapes as in `encode_images` and `encode_texts`."""
        plan = _whole(images.device, len(images), self._num_patches(images), word_counts)
        return self.encode(self.embed_pair(images, self.text_embed(words, positions), plan), cls_only)

    def _num_patches(self, images: Tensor) -> int:
        rows, columns = grid_size(*images.shape[-2:], self.patch_size)
        return rows * columns

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Features of whole images, as OpenMMLab's heads and necks expect them.

        Shapes: images (B, channels, height, width); each feature as `out_type` says. The final LayerNorm is applied to
        the last block's output only.
        """
        batch, grid = len(images), grid_size(*images.shape[-2:], self.patch_size)
        plan = _whole(images.device, batch, grid[0] * grid[1], np.zeros(batch, dtype=np.int64))
        tokens = self.embed_image(images, plan)
        x, features = tokens.x, []
        for index, block in enumerate(self.blocks):
            last = index == self.num_layers - 1
            x = run_block(block, x, tokens.layout, self.with_cp, last and self.out_type == "cls_token")
            if index in self.out_indices:
                features.append(self._format((self.norm(x) if last else x).view(batch, -1, self.embed_dim), grid))
        return tuple(features)

    def _format(self, x: Tensor, grid: tuple[int, int]) -> Tensor:
        if self.out_type == "raw":
            return x
        if self.out_type == "cls_token":
            return x[:, 0]
        if self.out_type == "avg_featmap":
            return x[:, 1:].mean(1)
        return x[:, 1:].transpose(1, 2).unflatten(2, grid).contiguous()

    # ------------------------------------------------------------------ freezing
    def _frozen_modules(self) -> list[nn.Module]:
        if self.frozen_stages < 0:
            return []
        embeddings = [module for module in (self.image_embed, self.text_embed) if module is not None]
        last = [self.norm] if self.frozen_stages == self.num_layers else []
        return embeddings + list(self.blocks[: self.frozen_stages]) + last

    def _freeze(self) -> None:
        if self.frozen_stages >= 0:
            self.cls_token.requires_grad_(False)
        for module in self._frozen_modules():
            module.eval().requires_grad_(False)

    def get_layer_depth(self, param_name: str, prefix: str = "") -> tuple[int, int]:
        """Depth of a parameter and the number of depths, by which mmpretrain's optimizers lower learning rates.

        Embeddings are 0, block i is i + 1, and what follows the blocks, heads included, is last.
        """
        name, depths = param_name.removeprefix(prefix), self.num_layers + 2
        if not param_name.startswith(prefix) or name.startswith("norm."):
            return depths - 1, depths
        return (int(name.split(".")[1]) + 1 if name.startswith("blocks.") else 0), depths

    def train(self, mode: bool = True) -> MoMoViT:
        super().train(mode)
        for module in self._frozen_modules():
            module.eval()
        return self


def _whole(device: torch.device, batch: int, num_patches: int, word_counts: np.ndarray) -> EncodePlan:
    """The plan that hides nothing, on a device."""
    plan, _ = plan_sequences(batch, num_patches, word_counts)
    return EncodePlan(*(part.to(device) if isinstance(part, Tensor) else part for part in plan))

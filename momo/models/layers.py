"""The transformer block that encoder and decoders are made of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from momo.ops import PackedTokens, SequenceLayout, cls_attention, packed_attention

T = TypeVar("T")


class Attention(nn.Module):
    """Multi-head self-attention within each packed sequence."""

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        if dim % num_heads:
            raise ValueError(f"num_heads={num_heads} does not divide the width {dim}")
        self.num_heads = num_heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor, layout: SequenceLayout, cls_only: bool = False) -> Tensor:
        if not cls_only:
            return self.proj(packed_attention(self.qkv(x), layout, self.num_heads))
        sizes = [x.shape[1], 2 * x.shape[1]]
        (q_weight, kv_weight), (q_bias, kv_bias) = self.qkv.weight.split(sizes), self.qkv.bias.split(sizes)
        q = F.linear(PackedTokens(x, layout).first(), q_weight, q_bias)
        return self.proj(cls_attention(q, F.linear(x, kv_weight, kv_bias), layout, self.num_heads))


class MLP(nn.Module):
    """Two linear layers with GELU between."""

    def __init__(self, dim: int, hidden_dim: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden_dim)
        self.fc2 = nn.Linear(hidden_dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x)))


class Block(nn.Module):
    """Pre-norm transformer block on packed tokens.

    Args:
        drop_path: Chance that a sequence skips a residual branch in training; the branch is scaled up to keep its mean.
    Source: Dosovitskiy et al. 2021, arXiv:2010.11929, section 3.1 (MoMo 3.3: 'we follow the design of ViT'); LayerNorm
        eps 1e-6 as in MAE; drop path: Huang et al. 2016, arXiv:1603.09382.
    """

    def __init__(self, dim: int, num_heads: int, mlp_ratio: float = 4.0, drop_path: float = 0.0) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=1e-6)
        self.attn = Attention(dim, num_heads)
        self.norm2 = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = MLP(dim, int(dim * mlp_ratio))
        self.drop_path = drop_path

    def forward(self, x: Tensor, layout: SequenceLayout, cls_only: bool = False) -> Tensor:
        """Shapes: x (N, C); the result is (N, C), with `cls_only` (S, C): the first token of each sequence alone."""
        branch = self.attn(self.norm1(x), layout, cls_only)
        if cls_only:
            x, layout = PackedTokens(x, layout).first(), layout.firsts
        x = x + self._drop(branch, layout)
        return x + self._drop(self.mlp(self.norm2(x)), layout)

    def _drop(self, branch: Tensor, layout: SequenceLayout) -> Tensor:
        if not (self.training and self.drop_path):
            return branch
        keep = 1 - self.drop_path
        kept = torch.empty(layout.num_sequences, device=branch.device, dtype=branch.dtype).bernoulli_(keep) / keep
        lengths = layout.length_index(branch.device)
        return branch * kept.repeat_interleave(lengths, output_size=layout.num_tokens)[:, None]


def recomputed(function: Callable[..., T], *args: Any) -> T:
    """The function's result; its activations are forgotten and computed again in backward."""
    return checkpoint(function, *args, use_reentrant=False) if torch.is_grad_enabled() else function(*args)


def run_block(block: Block, x: Tensor, layout: SequenceLayout, recompute: bool, cls_only: bool = False) -> Tensor:
    """Run a block; with `recompute`, forget its activations and compute them again in backward (less memory)."""
    return recomputed(block, x, layout, cls_only) if recompute else block(x, layout, cls_only)


def init_transformer(module: nn.Module) -> None:
    """MAE's initialisation: Xavier-uniform linear layers, zero biases, unit LayerNorms, embeddings N(0, 0.02)."""
    for child in module.modules():
        if isinstance(child, nn.Linear):
            nn.init.xavier_uniform_(child.weight)
            if child.bias is not None:
                nn.init.zeros_(child.bias)
        elif isinstance(child, nn.LayerNorm):
            nn.init.ones_(child.weight)
            nn.init.zeros_(child.bias)
        elif isinstance(child, nn.Embedding):
            nn.init.normal_(child.weight, std=0.02)

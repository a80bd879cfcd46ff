"""Self-attention within each sequence of a packed tensor.

Legend: N tokens, C channels, H heads, D = C / H, B sequences of L tokens in a run.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from .packing import Run, SequenceLayout, cu_seqlens

try:
    from torch.nn.attention.varlen import varlen_attn
except ImportError:  # a build of torch without the kernel: runs of equal length do the same
    varlen_attn = None

MAX_EXPLICIT = 384  # tokens; measured with 12 and 16 heads of 64 and 32 channels (docs/log.md)


def packed_attention(qkv: Tensor, layout: SequenceLayout, num_heads: int) -> Tensor:
    """Attention in which every token sees its own sequence and nothing else.

    A run of equal lengths is a view of the packed rows and one SDPA call: no copy in, no mask. A ragged group on CUDA
    in half precision goes through the variable-length flash kernel instead.

    Shapes: qkv (N, 3C), queries, keys and values side by side; the result is (N, C).
    Args:
        num_heads: Heads, a divisor of C.
    Source: softmax(q k^T / sqrt(D)) v, Vaswani et al. 2017, arXiv:1706.03762, section 3.2.
    """
    parts = qkv.split([sum(run.tokens for run in group) for group in layout.groups])
    outputs: list[Tensor] = []
    for part, group in zip(parts, layout.groups, strict=True):
        if len(group) > 1 and _has_varlen_kernel(part):
            outputs.append(_varlen(*part.view(len(part), 3, num_heads, -1).unbind(1), group, group))
        else:
            runs = part.split([run.tokens for run in group])
            outputs += [_equal_length(x, run, num_heads) for x, run in zip(runs, group, strict=True)]
    return outputs[0] if len(outputs) == 1 else torch.cat(outputs)


def cls_attention(q: Tensor, kv: Tensor, layout: SequenceLayout, num_heads: int) -> Tensor:
    """Attention in which the first token of each sequence sees its own sequence, and no other token asks.

    Equal to the first rows of `packed_attention`, at a fraction of the work.

    Shapes: q (S, C), of the first tokens; kv (N, 2C), keys and values of all tokens side by side; the result is (S, C).
    Args:
        num_heads: Heads, a divisor of C.
    """
    q_parts = q.split([sum(run.count for run in group) for group in layout.groups])
    kv_parts = kv.split([sum(run.tokens for run in group) for group in layout.groups])
    outputs: list[Tensor] = []
    for q_part, kv_part, group in zip(q_parts, kv_parts, layout.groups, strict=True):
        if len(group) > 1 and _has_varlen_kernel(kv_part):
            k_NHD, v_NHD = kv_part.view(len(kv_part), 2, num_heads, -1).unbind(1)
            q_SHD = q_part.view(len(q_part), num_heads, -1)
            outputs.append(_varlen(q_SHD, k_NHD, v_NHD, (Run(len(q_part), 1),), group))
        else:
            q_runs, kv_runs = q_part.split([run.count for run in group]), kv_part.split([run.tokens for run in group])
            outputs += [_firsts(*parts, num_heads) for parts in zip(q_runs, kv_runs, group, strict=True)]
    return outputs[0] if len(outputs) == 1 else torch.cat(outputs)


def _firsts(q: Tensor, kv: Tensor, run: Run, num_heads: int) -> Tensor:
    q_BH1D = q.view(run.count, num_heads, 1, -1)
    k_BHLD, v_BHLD = kv.view(run.count, run.length, 2, num_heads, -1).permute(2, 0, 3, 1, 4)
    return F.scaled_dot_product_attention(q_BH1D, k_BHLD, v_BHLD).reshape(run.count, -1)


def _equal_length(qkv: Tensor, run: Run, num_heads: int) -> Tensor:
    q_BHLD, k_BHLD, v_BHLD = qkv.view(run.count, run.length, 3, num_heads, -1).permute(2, 0, 3, 1, 4)
    out_BHLD = _sdpa(q_BHLD, k_BHLD, v_BHLD)
    return out_BHLD.transpose(1, 2).reshape(run.tokens, -1)


def _sdpa(q_BHLD: Tensor, k_BHLD: Tensor, v_BHLD: Tensor) -> Tensor:
    """SDPA; but its backward in bfloat16 on processors takes 2 to 10 times as long as plain products do, up to here."""
    slow = q_BHLD.is_cpu and q_BHLD.dtype is torch.bfloat16 and q_BHLD.requires_grad
    if slow and q_BHLD.shape[-2] <= MAX_EXPLICIT:
        return attention_map(q_BHLD, k_BHLD) @ v_BHLD
    return F.scaled_dot_product_attention(q_BHLD, k_BHLD, v_BHLD)


def attention_map(q_BHLD: Tensor, k_BHLD: Tensor) -> Tensor:
    """softmax(q k^T / sqrt(D)), (B, H, L, L)."""
    return (q_BHLD * q_BHLD.shape[-1] ** -0.5 @ k_BHLD.transpose(-2, -1)).softmax(-1)


def _has_varlen_kernel(qkv: Tensor) -> bool:
    if varlen_attn is None or not qkv.is_cuda or qkv.dtype not in (torch.float16, torch.bfloat16):
        return False
    return torch.cuda.get_device_capability(qkv.device) >= (8, 0)  # flash attention knows nothing older than Ampere


def _varlen(q_NHD: Tensor, k_NHD: Tensor, v_NHD: Tensor, queries: tuple[Run, ...], keys: tuple[Run, ...]) -> Tensor:
    bounds = [cu_seqlens(runs, q_NHD.device) for runs in (queries, keys)]
    longest = [max(run.length for run in runs) for runs in (queries, keys)]
    return varlen_attn(q_NHD, k_NHD, v_NHD, *bounds, *longest).flatten(1)


class AttentionMaps(TorchFunctionMode):
    """While entered, attention is computed through explicit maps, and these are kept in `maps`, in the order of layers.

        with AttentionMaps() as recorded:
            y = model(x)
        gradients = torch.autograd.grad(y, recorded.maps)

    It takes the place of SDPA calls alone, one a run of equal lengths, so the layers need no switch and cost nothing
    more outside. Outputs differ from SDPA's by rounding. The maps are part of the graph even where no weight is
    trained. Use it in float32: in half precision not all attention goes through SDPA, and some leaves no maps.

    Shapes: each map (B, H, L, L), queries down, keys across; rows sum to 1.
    """

    def __init__(self) -> None:
        super().__init__()
        self.maps: list[Tensor] = []

    def __torch_function__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        if func is not F.scaled_dot_product_attention:
            return func(*args, **(kwargs or {}))
        return self._attend(*args, **(kwargs or {}))

    def _attend(self, q_BHLD: Tensor, k_BHLD: Tensor, v_BHLD: Tensor) -> Tensor:
        map_BHLL = attention_map(q_BHLD, k_BHLD)
        if torch.is_grad_enabled() and not map_BHLL.requires_grad:
            map_BHLL.requires_grad_()
        self.maps.append(map_BHLL)
        return map_BHLL @ v_BHLD

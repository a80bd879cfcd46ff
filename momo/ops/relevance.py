"""Which input tokens an output rests on, read from attention maps and their gradients.

A map A says how much each token takes from each other token, its gradient G how much the output would gain from taking
more. What pushed the output up is the positive part of G * A; averaged over heads it is C, the layer's contributions.
Relevance R has a row a token and a column an input. It starts as the identity, every token being about itself, and each
layer adds what its tokens take in: R <- R + C R, the R being the residual branch.

An encoder that sees the visible tokens alone, and a decoder that sees them between mask tokens, are one such chain. The
first layer of the decoder takes a visible token where the encoder put it, and a mask token that no input went into:

    R of the decoder [visible rows] = R of the encoder,    R of the decoder [mask rows] = 0

and then R <- R + C R goes on. The rows of the mask tokens fill up as they attend. Were mask tokens inputs with columns
of their own, the columns of the visible tokens would be the same, because C mixes rows and never columns.

Legend: B sequences, H heads, V visible tokens (the inputs), N tokens of the full sequence.
Source: Chefer, Gur and Wolf 2021, arXiv:2103.15679, equations 5 and 6: self-attention in a single stream, where what
passes through positions that are not inputs is the same rule on other columns.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor


def contributions(attention: Tensor, gradient: Tensor) -> Tensor:
    """What one layer's tokens took from each other in favour of the output.

    Shapes: attention and its gradient (..., H, N, N); the result is (..., N, N), never negative.
    """
    return (gradient * attention).clamp(min=0).mean(-3)


def propagate_relevance(relevance: Tensor, layers: Iterable[tuple[Tensor, Tensor]]) -> Tensor:
    """Carry relevance through layers of self-attention.

    Shapes: relevance (..., N, V), what the tokens hold before these layers; (attention, gradient) of each layer, first
        first, (..., H, N, N); the result is (..., N, V).
    """
    for attention, gradient in layers:
        relevance = relevance + contributions(attention, gradient) @ relevance
    return relevance


def relevance_of_visible(
    encoder: Sequence[tuple[Tensor, Tensor]], decoder: Sequence[tuple[Tensor, Tensor]], visible: Tensor, num_tokens: int
) -> Tensor:
    """What each token of a restored sequence holds of each visible one.

    Shapes: (attention, gradient) of each layer, first first: (H, V, V) in the encoder, at least one, and (H, N, N) in
        the decoder; visible (V,), distinct rows; the result is (N, V), never negative.
    Args:
        num_tokens: N, tokens of the full sequence, hidden ones included.
    """
    first = encoder[0][0]
    relevance = propagate_relevance(torch.eye(len(visible), dtype=first.dtype, device=first.device), encoder)
    restored = relevance.new_zeros(num_tokens, len(visible)).index_copy(0, visible, relevance)
    return propagate_relevance(restored, decoder)

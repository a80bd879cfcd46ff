"""Relevance by hand, by the rule written out in loops, and where it must be nothing."""

import torch
from torch import Tensor

from momo.ops import AttentionMaps, SequenceLayout, packed_attention, relevance_of_visible
from momo.ops.relevance import contributions, propagate_relevance

Layers = list[tuple[Tensor, Tensor]]


def random_layers(depth: int, tokens: int, heads: int = 3) -> Layers:
    """Maps whose rows sum to 1, and gradients of both signs."""
    return [
        (
            torch.randn(heads, tokens, tokens, dtype=torch.float64).softmax(-1),
            torch.randn(heads, tokens, tokens, dtype=torch.float64),
        )
        for _ in range(depth)
    ]


def by_loops(layers: Layers, start: list[list[float]]) -> list[list[float]]:
    """The rule of the paper, a number at a time."""
    relevance = start
    for attention, gradient in layers:
        heads, tokens, _ = attention.shape
        updated = [row[:] for row in relevance]
        for i in range(tokens):
            for j in range(tokens):
                products = [float(attention[h, i, j] * gradient[h, i, j]) for h in range(heads)]
                taken = sum(max(product, 0.0) for product in products) / heads
                for column, held in enumerate(relevance[j]):
                    updated[i][column] += taken * held
        relevance = updated
    return relevance


def test_contributions_by_hand() -> None:
    """Two heads. What has a gradient below 0 counts for nothing, even where the other head's outweighs it."""
    attention = torch.tensor([[[0.5, 0.5], [0.2, 0.8]], [[1.0, 0.0], [0.5, 0.5]]])
    gradient = torch.tensor([[[2.0, -4.0], [0.0, 1.0]], [[1.0, 9.0], [-1.0, 2.0]]])
    expected = torch.tensor([[(1 + 1) / 2, 0.0], [0.0, (0.8 + 1) / 2]])
    torch.testing.assert_close(contributions(attention, gradient), expected)


def test_relevance_through_a_mask_token_by_hand() -> None:
    """Visible a, b; full sequence a, mask, b. In the encoder b takes 0.5 from a. In the decoder the mask takes 0.25
    from a and 0.1 from b in the first layer, and b takes 2 from the mask in the second."""
    encoder = [(torch.tensor([[[1.0, 0.0], [0.5, 0.5]]]), torch.tensor([[[0.0, 0.0], [1.0, 0.0]]]))]
    first, second = torch.zeros(1, 3, 3), torch.zeros(1, 3, 3)
    first[0, 1, 0], first[0, 1, 2], second[0, 2, 1] = 0.25, 0.1, 2.0
    decoder = [(x, torch.ones_like(x)) for x in (first, second)]
    found = relevance_of_visible(encoder, decoder, torch.tensor([0, 2]), 3)
    mask = [0.25 + 0.1 * 0.5, 0.1]
    expected = torch.tensor([[1.0, 0.0], mask, [0.5 + 2 * mask[0], 1 + 2 * mask[1]]])
    torch.testing.assert_close(found, expected)


def test_equals_the_rule_in_loops() -> None:
    encoder, decoder, visible = random_layers(3, 4), random_layers(2, 6), [0, 1, 3, 4]
    inner = by_loops(encoder, torch.eye(4).tolist())
    start = [inner[visible.index(i)] if i in visible else [0.0] * 4 for i in range(6)]
    expected = torch.tensor(by_loops(decoder, start), dtype=torch.float64)
    found = relevance_of_visible(encoder, decoder, torch.tensor(visible), 6)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    assert (found >= 0).all()


def test_mask_tokens_as_inputs_change_no_other_column() -> None:
    """With columns of their own the chain is one of square matrices, and the visible columns are the same."""
    decoder, encoder, visible, hidden = random_layers(3, 5), random_layers(2, 3), [0, 2, 3], [1, 4]
    inner = propagate_relevance(torch.eye(3, dtype=torch.float64), encoder)
    square = torch.eye(5, dtype=torch.float64)
    for i, row in enumerate(visible):
        square[row, visible] = inner[i]
    for attention, gradient in decoder:
        square = (torch.eye(5) + contributions(attention, gradient)) @ square
    found = relevance_of_visible(encoder, decoder, torch.tensor(visible), 5)
    torch.testing.assert_close(found, square[:, visible], rtol=1e-12, atol=1e-12)
    assert square[:, hidden].abs().sum() > 2  # they do have relevance of their own


def test_no_contribution_leaves_every_token_about_itself() -> None:
    layers = [(attention, -gradient.abs()) for attention, gradient in random_layers(2, 4)]
    found = relevance_of_visible(layers, [], torch.arange(4), 4)
    assert torch.equal(found, torch.eye(4, dtype=torch.float64))


def test_more_attention_where_the_gradient_is_positive_gives_more_relevance() -> None:
    attention, gradient = random_layers(1, 4)[0]
    gradient, raised = gradient.abs(), attention.clone()
    raised[:, 2, 1] += 0.1
    before, after = (relevance_of_visible([(x, gradient)], [], torch.arange(4), 4) for x in (attention, raised))
    changed = (after - before) != 0
    assert changed.sum() == 1 and after[2, 1] > before[2, 1]


def test_tokens_of_another_sequence_have_no_relevance() -> None:
    """Two packed sequences, an output that reads the first: the maps of the second get no gradient."""
    qkv = torch.randn(8, 24, dtype=torch.float64, requires_grad=True)
    layout = SequenceLayout.equal(2, 4)
    with AttentionMaps() as recorded:
        x = packed_attention(qkv, layout, 2)
        x = packed_attention(x.repeat(1, 3) + qkv, layout, 2)
    gradients = torch.autograd.grad(x[1].square().sum(), recorded.maps)
    start = torch.eye(4, dtype=torch.float64).expand(2, 4, 4)
    first, second = propagate_relevance(start, zip(recorded.maps, gradients, strict=True))
    assert torch.equal(second, torch.eye(4, dtype=torch.float64))
    assert (first[1] > 0).all()  # what is read took something from every token of its own

"""From encoded sequences to features that are compared."""

import pytest
import torch
from helpers.tiny import preprocessed, tiny_batches, tiny_pretrainer

from momo.models import ContrastiveProjection
from momo.ops import PackedTokens, SequenceLayout

LENGTHS = [1, 3, 5]


@pytest.mark.parametrize("modality", ["image", "text"])
@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_features_are_pooled_projected_and_of_unit_length(pooling: str, modality: str) -> None:
    neck = ContrastiveProjection(4, 3, pooling).double()
    torch.nn.init.normal_(getattr(neck, modality).bias)
    x = torch.randn(sum(LENGTHS), 4, dtype=torch.float64)
    features = getattr(neck, f"project_{modality}")(PackedTokens(x, SequenceLayout.ragged(LENGTHS)))
    for sequence, feature in zip(x.split(LENGTHS), features, strict=True):
        others = sequence[1:] if pooling == "mean" and len(sequence) > 1 else sequence[:1]
        layer = getattr(neck, modality)
        expected = layer.weight @ others.mean(0) + layer.bias
        torch.testing.assert_close(feature, expected / expected.norm(), rtol=0, atol=1e-14)


def test_pooling_is_chosen_in_the_config() -> None:
    losses = []
    for pooling in ("cls", "mean"):
        model = tiny_pretrainer({"image_text": {"itc": dict(type="ITC", pooling=pooling)}})
        losses.append(model(preprocessed(model, tiny_batches(model)))["image_text/itc_loss"])
        losses[-1].backward()
        assert model.backbone.cls_token.grad.abs().max() > 0
    assert losses[0] != losses[1]


def test_refuses_another_pooling() -> None:
    with pytest.raises(ValueError, match=r"pooling='max' is unknown; choose one of \['cls', 'mean'\]"):
        ContrastiveProjection(pooling="max")

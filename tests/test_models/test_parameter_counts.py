"""Sizes of the encoder against Table 1 of the paper, without allocating a weight."""

import pytest
import torch

from momo.models import ContrastiveProjection, MoMoViT

# Millions of parameters that a task uses: image, text, multimodal.
TABLE_1 = {"base": (86, 110, 110), "large": (303, 335, 335)}


def millions(*modules: torch.nn.Module | torch.nn.Parameter) -> float:
    parameters = (p for m in modules for p in ([m] if isinstance(m, torch.nn.Parameter) else m.parameters()))
    return sum(p.numel() for p in parameters) / 1e6


@pytest.mark.parametrize("arch", TABLE_1)
def test_counts_of_table_1(arch: str) -> None:
    with torch.device("meta"):
        encoder = MoMoViT(arch=arch)
        projection = ContrastiveProjection(encoder.embed_dim)
    shared = millions(encoder.cls_token, encoder.blocks, encoder.norm)
    counts = (
        shared + millions(encoder.image_embed, projection.image),
        shared + millions(encoder.text_embed, projection.text),
        shared + millions(encoder.image_embed, encoder.text_embed),
    )
    assert counts == pytest.approx(TABLE_1[arch], rel=0.01)


def test_image_encoder_has_the_size_of_vit_base() -> None:
    """ViT-B/16 has 85,798,656 parameters; 197 x 768 of them are learnt positions, which are fixed here."""
    with torch.device("meta"):
        encoder = MoMoViT(arch="base", vocab_size=0)
    assert sum(p.numel() for p in encoder.parameters()) == 85_798_656 - 197 * 768

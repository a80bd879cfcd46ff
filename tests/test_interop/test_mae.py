"""Public MAE weights under this project's names."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from momo.engine.checkpoint import load_weights
from momo.interop import convert_mae
from momo.ops import patchify
from momo.registry import MODELS

ROOT = Path(__file__).parents[2]
DIM, PATCH, DECODER = 16, 4, 8


def facebook_weights() -> dict[str, torch.Tensor]:
    """Names and shapes as in the published files, one block each."""
    generator = torch.Generator().manual_seed(0)

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator)

    weights = {
        "cls_token": random(1, 1, DIM),
        "pos_embed": random(1, 5, DIM),
        "patch_embed.proj.weight": random(DIM, 3, PATCH, PATCH),
        "patch_embed.proj.bias": random(DIM),
        "mask_token": random(1, 1, DECODER),
        "decoder_pos_embed": random(1, 5, DECODER),
        "decoder_embed.weight": random(DECODER, DIM),
        "decoder_embed.bias": random(DECODER),
        "decoder_pred.weight": random(PATCH * PATCH * 3, DECODER),
        "decoder_pred.bias": random(PATCH * PATCH * 3),
    }
    for prefix, norm, dim in (("blocks.0", "norm", DIM), ("decoder_blocks.0", "decoder_norm", DECODER)):
        for name in (norm, f"{prefix}.norm1", f"{prefix}.norm2"):
            weights |= {f"{name}.weight": random(dim), f"{name}.bias": random(dim)}
        for name, rows, columns in (
            ("attn.qkv", 3 * dim, dim),
            ("attn.proj", dim, dim),
            ("mlp.fc1", 4 * dim, dim),
            ("mlp.fc2", dim, 4 * dim),
        ):
            weights |= {f"{prefix}.{name}.weight": random(rows, columns), f"{prefix}.{name}.bias": random(rows)}
    return weights


def stage1_model() -> torch.nn.Module:
    return MODELS.build(
        dict(
            type="MoMoPretrainer",
            backbone=dict(
                type="MoMoViT",
                arch=dict(embed_dim=DIM, depth=1, num_heads=2),
                img_size=8,
                patch_size=PATCH,
                vocab_size=0,
            ),
            decoders=dict(image=dict(type="MoMoDecoder", decoder_dim=DECODER, depth=1, num_heads=2)),
            objectives=dict(image=dict(mim=dict(type="MIM", decoder="image"))),
        )
    )


def test_converted_weights_are_all_that_stage_1_has() -> None:
    stage1_model().load_state_dict(convert_mae(facebook_weights()), strict=True)


def test_patches_and_predictions_keep_their_meaning() -> None:
    weights = facebook_weights()
    model = stage1_model()
    model.load_state_dict(convert_mae(weights))
    images = torch.randn(2, 3, 8, 8)
    convolved = torch.nn.functional.conv2d(
        images, weights["patch_embed.proj.weight"], weights["patch_embed.proj.bias"], stride=PATCH
    )
    embedded = model.backbone.image_embed.proj(patchify(images, PATCH))
    torch.testing.assert_close(embedded, convolved.flatten(2).transpose(1, 2), rtol=0, atol=1e-5)

    hidden = torch.randn(3, DECODER)
    channel_last = torch.nn.functional.linear(hidden, weights["decoder_pred.weight"], weights["decoder_pred.bias"])
    expected = channel_last.view(3, PATCH, PATCH, 3).permute(0, 3, 1, 2).flatten(1)
    torch.testing.assert_close(model.decoders["image"].pixel_head(hidden), expected)


def test_foreign_weights_are_refused() -> None:
    with pytest.raises(ValueError, match="'fc.weight' is not a weight of a public MAE"):
        convert_mae({"fc.weight": torch.zeros(1)})


def test_the_tool_writes_what_stage_2_reads(tmp_path: Path) -> None:
    torch.save({"model": facebook_weights()}, tmp_path / "mae.pth")
    command = [sys.executable, ROOT / "tools/convert_mae.py", tmp_path / "mae.pth", tmp_path / "stage1"]
    subprocess.run(command, check=True, capture_output=True, cwd=ROOT)
    weights = load_weights(tmp_path / "stage1" / "mae.safetensors")
    assert weights.keys() == convert_mae(facebook_weights()).keys()

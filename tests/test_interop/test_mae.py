"""Public MAE weights under this project's names."""

import logging
import runpy
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from helpers import mae as reference
from helpers.tiny import perturb

from momo.engine import StageHook
from momo.engine.checkpoint import load_weights
from momo.interop import convert_mae
from momo.ops import patchify, sincos_2d
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
        "pos_embed": torch.cat([torch.zeros(1, DIM), sincos_2d((2, 2), DIM)])[None],
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


@torch.no_grad()
def test_facebooks_mae_keeps_its_features_and_loss() -> None:
    """Against MAE's formulas (arXiv:2111.06377, section 3), written out for the published names."""
    weights = facebook_weights()
    weights["decoder_pos_embed"] = torch.cat([torch.zeros(1, DECODER), sincos_2d((2, 2), DECODER)])[None]
    model = stage1_model().eval()
    model.load_state_dict(convert_mae(weights))
    images, noise = torch.randn(3, 3, 8, 8), torch.rand(3, 4)
    close = dict(rtol=1e-5, atol=1e-5)
    features = facebook_encoder(weights, images, torch.arange(4).expand(3, -1))
    torch.testing.assert_close(model.backbone.encode_images(images).x, features.flatten(0, 1), **close)
    expected = facebook_loss(weights, images, noise)
    torch.testing.assert_close(reference.loss_with_noise(model, images, noise), expected, **close)
    encoder = {name: value for name, value in weights.items() if "decoder" not in name and name != "mask_token"}
    model.backbone.load_state_dict(_backbone(convert_mae(encoder)))  # the file of the encoder alone


def facebook_block(weights: dict[str, torch.Tensor], name: str, x: torch.Tensor, heads: int = 2) -> torch.Tensor:
    F = torch.nn.functional

    def linear(part: str, value: torch.Tensor) -> torch.Tensor:
        return F.linear(value, weights[f"{name}.{part}.weight"], weights[f"{name}.{part}.bias"])

    qkv = linear("attn.qkv", facebook_norm(weights, f"{name}.norm1", x))
    q, k, v = qkv.unflatten(-1, (3, heads, -1)).permute(2, 0, 3, 1, 4)
    attention = (q @ k.transpose(-2, -1) / q.shape[-1] ** 0.5).softmax(-1)
    x = x + linear("attn.proj", (attention @ v).transpose(1, 2).flatten(2))
    return x + linear("mlp.fc2", F.gelu(linear("mlp.fc1", facebook_norm(weights, f"{name}.norm2", x))))


def facebook_norm(weights: dict[str, torch.Tensor], name: str, x: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.layer_norm(x, x.shape[-1:], weights[f"{name}.weight"], weights[f"{name}.bias"], 1e-6)


def facebook_encoder(weights: dict[str, torch.Tensor], images: torch.Tensor, kept: torch.Tensor) -> torch.Tensor:
    """[CLS] and the kept patches (B, K)."""
    kernel, bias = weights["patch_embed.proj.weight"], weights["patch_embed.proj.bias"]
    x = torch.nn.functional.conv2d(images, kernel, bias, stride=PATCH).flatten(2).transpose(1, 2)
    x = (x + weights["pos_embed"][:, 1:]).gather(1, kept[..., None].expand(-1, -1, DIM))
    first = (weights["cls_token"] + weights["pos_embed"][:, :1]).expand(len(x), -1, -1)
    return facebook_norm(weights, "norm", facebook_block(weights, "blocks.0", torch.cat([first, x], 1)))


def facebook_loss(weights: dict[str, torch.Tensor], images: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
    """Squared error of the three of four patches whose noise is not the smallest."""
    order = noise.argsort(1)
    linear = torch.nn.functional.linear
    x = linear(
        facebook_encoder(weights, images, order[:, :1]), weights["decoder_embed.weight"], weights["decoder_embed.bias"]
    )
    full = weights["mask_token"].expand(len(x), 4, -1).clone()
    for row, place in enumerate(order[:, 0]):
        full[row, place] = x[row, 1]
    x = torch.cat([x[:, :1], full], 1) + weights["decoder_pos_embed"]
    x = facebook_norm(weights, "decoder_norm", facebook_block(weights, "decoder_blocks.0", x))[:, 1:]
    predicted = linear(x, weights["decoder_pred.weight"], weights["decoder_pred.bias"])
    target = images.unflatten(3, (2, PATCH)).unflatten(2, (2, PATCH)).permute(0, 2, 4, 3, 5, 1).reshape(3, 4, -1)
    error = (predicted - target).square().mean(-1)
    return error.gather(1, order[:, 1:]).mean()


def test_foreign_weights_are_refused() -> None:
    with pytest.raises(ValueError, match=r"not the weights of a public MAE in a format of .*: \['fc.weight'\]"):
        convert_mae({"fc.weight": torch.zeros(1)})
    with pytest.raises(ValueError, match="'fc.weight' is not a weight of a public MAE"):
        convert_mae({**facebook_weights(), "fc.weight": torch.zeros(1)})
    with pytest.raises(ValueError, match="learnt positions cannot be taken over"):
        convert_mae({**facebook_weights(), "pos_embed": torch.ones(1, 5, DIM)})


@torch.no_grad()
def test_transformers_mae_keeps_its_features_and_loss() -> None:
    mae = reference.random_mae(norm_pix=False, **reference.SMALL)
    model = reference.same_model(mae)
    perturb(model, 1.0)  # nothing of what the reference put in is left
    model.load_state_dict(convert_mae(mae.state_dict()))
    images, noise = torch.randn(2, 3, 32, 32), torch.rand(2, 16)
    expected = mae(images, noise=noise).loss
    torch.testing.assert_close(reference.loss_with_noise(model, images, noise), expected, rtol=0, atol=1e-5)

    encoder = mae.vit
    encoder.config.mask_ratio = 0.0
    expected = encoder(images, noise=torch.arange(16.0).expand(2, -1)).last_hidden_state
    model.backbone.load_state_dict(_backbone(convert_mae(encoder.state_dict())))
    torch.testing.assert_close(model.backbone.encode_images(images).x, expected.flatten(0, 1), rtol=0, atol=1e-5)


@pytest.mark.slow  # mmpretrain takes seconds to import
@torch.no_grad()
def test_mmpretrains_mae_keeps_its_features_and_loss() -> None:
    mae = mmpretrain_mae()
    model = reference.same_model(reference.random_mae(norm_pix=False, **reference.SMALL))
    model.load_state_dict(convert_mae(mae.state_dict()))
    images = torch.randn(2, 3, 32, 32)
    torch.manual_seed(1)
    expected = mae.loss(images, [])["loss"]
    torch.manual_seed(1)
    noise = torch.rand(2, 16)  # mmpretrain draws its mask from it
    torch.testing.assert_close(reference.loss_with_noise(model, images, noise), expected, rtol=0, atol=1e-5)
    (expected,) = mae.extract_feat(images)
    expected = expected.flatten(0, 1).roll(16, 1)  # its positions, and so its channels, are the other way around
    torch.testing.assert_close(model.backbone.encode_images(images).x, expected, rtol=0, atol=1e-5)


def mmpretrain_mae() -> torch.nn.Module:
    """mmpretrain's model, of the sizes in the helper, with random weights."""
    from mmengine.registry import DefaultScope
    from mmpretrain.registry import MODELS as MMPRETRAIN

    arch = dict(embed_dims=32, num_layers=2, num_heads=4, feedforward_channels=128)
    neck = dict(embed_dim=32, decoder_embed_dim=16, decoder_depth=2, decoder_num_heads=2, mlp_ratio=4.0)
    loss = dict(type="PixelReconstructionLoss", criterion="L2")
    with DefaultScope.overwrite_default_scope("mmpretrain"):
        mae = MMPRETRAIN.build(
            dict(
                type="MAE",
                backbone=dict(type="MAEViT", arch=arch, img_size=32, patch_size=8, mask_ratio=0.75),
                neck=dict(type="MAEPretrainDecoder", num_patches=16, patch_size=8, in_chans=3, **neck),
                head=dict(type="MAEPretrainHead", norm_pix=False, patch_size=8, loss=loss),
            )
        )
        mae.init_weights()
    positions = {name: p.clone() for name, p in mae.named_parameters() if not p.requires_grad}
    perturb(mae)
    for name, value in positions.items():  # fixed, not learnt
        mae.get_parameter(name).data = value
    return mae.eval()


def _backbone(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name.removeprefix("backbone."): value for name, value in weights.items() if name.startswith("backbone.")}


def test_the_tool_writes_what_stage_2_reads(tmp_path: Path) -> None:
    torch.save({"model": facebook_weights()}, tmp_path / "mae.pth")
    command = [sys.executable, ROOT / "tools/convert_mae.py", tmp_path / "mae.pth", tmp_path / "stage1"]
    subprocess.run(command, check=True, capture_output=True, cwd=ROOT)
    weights = load_weights(tmp_path / "stage1" / "mae.safetensors")
    assert weights.keys() == convert_mae(facebook_weights()).keys()


def test_a_folder_of_transformers_is_taken_by_stage_hook_and_init_cfg(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mae = reference.random_mae(norm_pix=False, **reference.SMALL)
    mae.save_pretrained(tmp_path / "vit-mae")
    monkeypatch.setattr(sys, "argv", ["convert_mae.py", str(tmp_path / "vit-mae"), str(tmp_path / "stage1")])
    runpy.run_path(str(ROOT / "tools/convert_mae.py"), run_name="__main__")

    model = perturb(reference.same_model(mae), 1.0)
    runner = SimpleNamespace(iter=0, model=model, logger=logging.getLogger("test"))
    StageHook(str(tmp_path / "stage1")).before_train(runner)  # all weights fit, or it raises
    cls_token = mae.vit.embeddings.cls_token[0]
    assert torch.equal(model.backbone.cls_token, cls_token)

    checkpoint = str(tmp_path / "stage1" / "vit-mae.safetensors")
    init = dict(type="Pretrained", checkpoint=checkpoint, prefix="backbone.")
    arch = dict(embed_dim=32, depth=2, num_heads=4)
    backbone = MODELS.build(dict(type="MoMoViT", arch=arch, img_size=32, patch_size=8, vocab_size=0, init_cfg=init))
    backbone.init_weights()
    assert torch.equal(backbone.cls_token, cls_token)
    assert torch.equal(backbone.blocks[1].attn.qkv.weight, model.backbone.blocks[1].attn.qkv.weight)

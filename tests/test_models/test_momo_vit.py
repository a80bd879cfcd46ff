"""The encoder as an OpenMMLab backbone."""

import pytest
import torch
from helpers.tiny import perturb, tiny_vit

from momo.models.backbones import ARCHS, arch_settings
from momo.models.layers import Attention, Block
from momo.ops import SequenceLayout, patchify, sincos_2d

IMAGES = (2, 3, 32, 32)


def same_weights(**settings):
    """The tiny encoder, always with the same weights, whatever its other settings."""
    torch.manual_seed(0)
    return perturb(tiny_vit(**settings)).eval()


def test_features_of_every_type_come_from_the_same_tokens() -> None:
    images = torch.randn(IMAGES)
    encoder = same_weights()
    tokens = encoder.encode_images(images).x.view(2, 17, 32)
    features = {kind: same_weights(out_type=kind)(images) for kind in encoder.OUT_TYPES}
    assert all(isinstance(value, tuple) and len(value) == 1 for value in features.values())
    close = dict(rtol=0, atol=1e-6)
    torch.testing.assert_close(features["raw"][0], tokens, **close)
    torch.testing.assert_close(features["cls_token"][0], tokens[:, 0], **close)
    torch.testing.assert_close(features["avg_featmap"][0], tokens[:, 1:].mean(1), **close)
    featmap = features["featmap"][0]
    assert featmap.shape == (2, 32, 4, 4) and featmap.is_contiguous()
    for row in range(4):
        for column in range(4):
            torch.testing.assert_close(featmap[:, :, row, column], tokens[:, 1 + 4 * row + column], **close)


def test_out_indices_name_blocks_and_only_the_last_is_normalised() -> None:
    images = torch.randn(IMAGES)
    encoder = same_weights(out_type="raw", out_indices=[0, 1])
    first, last = encoder(images)
    layout = SequenceLayout.equal(2, 17)
    x = torch.cat([encoder.cls_token.expand(2, 1, -1), embedded(encoder, images)], 1).flatten(0, 1)
    x = encoder.blocks[0](x, layout)
    torch.testing.assert_close(first.flatten(0, 1), x, rtol=0, atol=1e-6)
    torch.testing.assert_close(last.flatten(0, 1), encoder.norm(encoder.blocks[1](x, layout)), rtol=0, atol=1e-6)
    assert torch.equal(same_weights(out_type="raw", out_indices=-2)(images)[0], first)
    assert torch.equal(same_weights(out_type="raw", out_indices=1)(images)[0], last)


def embedded(encoder, images: torch.Tensor) -> torch.Tensor:
    grid = tuple(side // 8 for side in images.shape[2:])
    return encoder.image_embed.proj(patchify(images, 8)) + sincos_2d(grid, 32, (4, 4))


@pytest.mark.parametrize("size", [(48, 48), (16, 40), (8, 8)])
def test_other_resolutions_interpolate_positions(size: tuple[int, int]) -> None:
    images = torch.randn(2, 3, *size)
    encoder = same_weights(out_type="featmap")
    grid = (size[0] // 8, size[1] // 8)
    (featmap,) = encoder(images)
    assert featmap.shape == (2, 32, *grid)
    length = 1 + grid[0] * grid[1]
    x = torch.cat([encoder.cls_token.expand(2, 1, -1), embedded(encoder, images)], 1).flatten(0, 1)
    for block in encoder.blocks:
        x = block(x, SequenceLayout.equal(2, length))
    expected = encoder.norm(x).view(2, length, 32)[:, 1:]
    torch.testing.assert_close(featmap.flatten(2).transpose(1, 2), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("stages", "frozen"),
    [
        (-1, ()),
        (0, ("cls_token", "image_embed.", "text_embed.")),
        (1, ("cls_token", "image_embed.", "text_embed.", "blocks.0.")),
        (2, ("cls_token", "image_embed.", "text_embed.", "blocks.0.", "blocks.1.", "norm.")),
    ],
)
def test_frozen_stages(stages: int, frozen: tuple[str, ...]) -> None:
    encoder = tiny_vit(frozen_stages=stages, drop_path_rate=0.5)
    for _ in range(2):  # before and after someone asks for training
        for name, parameter in encoder.named_parameters():
            assert parameter.requires_grad is not name.startswith(frozen or "?"), name
        encoder.train()
        for name, module in encoder.named_modules():
            if name:
                assert module.training is not f"{name}.".startswith(frozen or "?"), name
    features = encoder(torch.randn(IMAGES))[0].square().sum()
    if features.requires_grad:
        features.backward()
    reached = {name for name, parameter in encoder.named_parameters() if parameter.grad is not None}
    trained = {name for name, _ in encoder.named_parameters() if not name.startswith(frozen or "?")}
    assert reached == {name for name in trained if not name.startswith("text_embed.")}
    assert not encoder.eval().blocks[-1].training


def test_drop_path_drops_whole_sequences_and_keeps_the_mean() -> None:
    count, length = 3000, 2
    block = Block(8, 2, drop_path=0.25).train()
    kept = block._drop(torch.ones(count * length, 3), SequenceLayout.equal(count, length)).view(count, -1)
    assert (kept == kept[:, :1]).all()
    assert set(kept.unique().tolist()) == {0.0, torch.tensor(1 / 0.75).item()}
    deviation = (0.25 / 0.75 / count) ** 0.5
    assert abs(kept[:, 0].mean().item() - 1) < 5 * deviation
    block.eval()
    branch = torch.randn(6, 3)
    assert block._drop(branch, SequenceLayout.ragged([1, 3, 2])) is branch


def test_drop_path_of_ragged_sequences_and_rising_rates() -> None:
    block = Block(8, 2, drop_path=0.5).train()
    lengths = [1, 4, 2, 7] * 50
    kept = block._drop(torch.ones(sum(lengths), 1), SequenceLayout.ragged(lengths)).split(lengths)
    assert all(len(sequence.unique()) == 1 for sequence in kept)
    encoder = tiny_vit(arch=dict(embed_dim=8, depth=5, num_heads=2), drop_path_rate=0.2)
    assert [block.drop_path for block in encoder.blocks] == pytest.approx([0.0, 0.05, 0.1, 0.15, 0.2])


def test_recomputed_activations_give_the_same_gradients() -> None:
    images = torch.randn(IMAGES)
    slopes = []
    for with_cp in (False, True):
        encoder = same_weights(with_cp=with_cp, drop_path_rate=0.5).train()
        torch.manual_seed(1)  # drop path draws the same, twice in the same step too
        encoder(images)[0].square().sum().backward()
        slopes.append([p.grad for name, p in encoder.named_parameters() if not name.startswith("text_embed.")])
    assert all(torch.equal(a, b) for a, b in zip(*slopes, strict=True))


def test_archs() -> None:
    assert arch_settings("base") == dict(embed_dim=768, depth=12, num_heads=12, mlp_ratio=4.0)
    assert arch_settings(dict(embed_dim=8, depth=1, num_heads=2, mlp_ratio=2.0))["mlp_ratio"] == 2.0
    assert all(sizes["embed_dim"] == 64 * sizes["num_heads"] for name, sizes in ARCHS.items() if name != "huge")
    assert tiny_vit(arch=dict(embed_dim=8, depth=1, num_heads=2, mlp_ratio=2.0)).blocks[0].mlp.fc1.out_features == 16


def test_without_a_vocabulary_there_is_no_text_embedding() -> None:
    encoder = tiny_vit(vocab_size=0)
    assert encoder.text_embed is None
    assert not [name for name in encoder.state_dict() if "text" in name]
    assert encoder.train()(torch.randn(IMAGES))[0].shape == (2, 32)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (dict(arch="giant"), r"arch='giant' is unknown; choose one of \['base', 'huge'"),
        (dict(arch=dict(embed_dim=8, depth=2)), r"arch needs .* got \['depth', 'embed_dim'\]"),
        (dict(arch=dict(embed_dim=8, depth=2, num_heads=2, heads=2)), "arch needs .*'heads'"),
        (dict(arch=dict(embed_dim=8, depth=2, num_heads=3)), "num_heads=3 does not divide the width 8"),
        (dict(out_type="patches"), r"out_type='patches' is unknown; choose one of \('cls_token'"),
        (dict(out_indices=2), "out_indices=2 must lie within the 2 blocks"),
        (dict(out_indices=[0, -3]), r"out_indices=\[0, -3\] must lie within the 2 blocks"),
        (dict(chunk_tokens=0), "chunk_tokens=0 must be at least 1, or None"),
        (dict(frozen_stages=3), "frozen_stages=3 must lie between -1 and the 2 blocks"),
        (dict(frozen_stages=-2), "frozen_stages=-2 must lie between"),
        (dict(img_size=30), "30 x 30 pixels is not made of 8-pixel patches"),
    ],
)
def test_refuses_settings_that_cannot_work(settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        tiny_vit(**settings)


def test_refuses_images_that_patches_do_not_fill() -> None:
    with pytest.raises(ValueError, match="32 x 30 pixels is not made of 8-pixel patches"):
        tiny_vit()(torch.zeros(1, 3, 32, 30))


def test_attention_refuses_heads_that_do_not_divide_the_width() -> None:
    with pytest.raises(ValueError, match="num_heads=5 does not divide the width 8"):
        Attention(8, 5)

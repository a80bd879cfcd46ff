"""Weights of the public masked autoencoders (MAE), to this project's names."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from momo.ops import sincos_2d

# Patterns that turn a format's names into facebookresearch's. The format is the first that one of the names fits.
_FORMATS: dict[str, tuple[str, dict[str, str]]] = {
    "facebookresearch": (r"patch_embed\.proj\.weight", {}),
    "transformers": (
        r"(vit\.)?embeddings\.patch_embeddings\.projection\.weight",
        {
            r"^vit\.": "",
            r"^embeddings\.cls_token": "cls_token",
            r"^embeddings\.position_embeddings": "pos_embed",
            r"^embeddings\.patch_embeddings\.projection": "patch_embed.proj",
            r"^encoder\.layer\.": "blocks.",
            r"^decoder\.decoder_layers\.": "decoder_blocks.",
            r"^decoder\.": "",
            r"^layernorm\.": "norm.",
            r"attention\.attention\.": "attn.",
            r"attention\.output\.dense": "attn.proj",
            r"layernorm_before": "norm1",
            r"layernorm_after": "norm2",
            r"intermediate\.dense": "mlp.fc1",
            r"output\.dense": "mlp.fc2",
        },
    ),
    "mmpretrain": (
        r"backbone\.patch_embed\.projection\.weight",
        {
            r"^backbone\.ln1": "norm",
            r"^neck\.ln1": "decoder_norm",
            r"^(backbone|neck)\.": "",
            r"^patch_embed\.projection": "patch_embed.proj",
            r"^layers\.": "blocks.",
            r"\.ln([12])\.": r".norm\1.",
            r"ffn\.layers\.0\.0": "mlp.fc1",
            r"ffn\.layers\.1": "mlp.fc2",
        },
    ),
}
# First part of facebookresearch's names -> ours. What is fixed (positions) is computed here and left out.
_ENCODER = {"patch_embed.proj": "backbone.image_embed.proj", "blocks": "backbone.blocks", "norm": "backbone.norm"}
_DECODER = {
    "decoder_embed": "decoders.image.embed",
    "decoder_blocks": "decoders.image.blocks",
    "decoder_norm": "decoders.image.norm",
    "decoder_pred": "decoders.image.pixel_head",
}
_FIXED = {"pos_embed", "decoder_pos_embed"}


def convert_mae(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename and reshape the weights of a public MAE, with or without its decoder.

    Patches are flattened channel first here; MAE's decoder predicts them channel last, so its rows are permuted.

    Args:
        weights: Of facebookresearch's .pth files, of transformers' ViTMAE, or of mmpretrain's MAE; which of them is
            seen from the names.
    Raises: ValueError for weights of another model, a weight that MAE does not have, or learnt positions.
    """
    converted: dict[str, Tensor] = {}
    published = _as_published(weights)
    swap = _positions_are_swapped(published)
    for name, value in published.items():
        value = _swap_halves(name, value) if swap else value
        if name in _FIXED:
            continue
        if name == "cls_token":
            converted["backbone.cls_token"] = value[0]
        elif name == "mask_token":
            converted["decoders.image.mask_tokens.weight"] = value[0].expand(2, -1).clone()
        else:
            converted[_rename(name)] = _reshape(name, value)
    return converted


def _as_published(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights under facebookresearch's names, queries, keys and values in one."""
    renames = _renames_of(weights)
    named: dict[str, Tensor] = {}
    for name, value in weights.items():
        for pattern, new in renames.items():
            name = re.sub(pattern, new, name)
        named[name] = value
    for name in [name for name in named if ".attn.query." in name]:
        parts = [named.pop(name.replace("query", part)) for part in ("query", "key", "value")]
        named[name.replace("query", "qkv")] = torch.cat(parts)
    return named


def _renames_of(weights: Mapping[str, Tensor]) -> dict[str, str]:
    for sign, renames in _FORMATS.values():
        if any(re.fullmatch(sign, name) for name in weights):
            return renames
    raise ValueError(f"these are not the weights of a public MAE in a format of {list(_FORMATS)}: {list(weights)[:3]}")


def _positions_are_swapped(weights: Mapping[str, Tensor]) -> bool:
    """Whether the first half of a position codes the row and the second the column, as mmpretrain's do."""
    if "pos_embed" not in weights:
        return False
    table = weights["pos_embed"][0, 1:]
    side, dim = round(len(table) ** 0.5), table.shape[1]
    ours = sincos_2d((side, side), dim)
    for swapped, expected in ((False, ours), (True, ours.roll(dim // 2, 1))):
        if table.shape == expected.shape and torch.allclose(table, expected, atol=1e-4):
            return swapped
    raise ValueError("pos_embed is not MAE's fixed table of sines and cosines: learnt positions cannot be taken over")


def _swap_halves(name: str, value: Tensor) -> Tensor:
    """The same function with the channels of both residual streams rotated by half: positions then lie as MAE's."""
    if re.search(r"patch_embed\.proj|norm|attn\.proj|mlp\.fc2|decoder_embed", name):
        value = value.roll(value.shape[0] // 2, 0)
    if re.search(r"(qkv|fc1|decoder_embed|decoder_pred)\.weight|_token$", name):
        value = value.roll(value.shape[-1] // 2, -1)
    return value


def _rename(name: str) -> str:
    for old, new in (_DECODER | _ENCODER).items():
        if name.startswith(f"{old}."):
            return new + name.removeprefix(old)
    raise ValueError(f"{name!r} is not a weight of a public MAE")


def _reshape(name: str, value: Tensor) -> Tensor:
    if name == "patch_embed.proj.weight":
        return value.flatten(1)
    if name.startswith("decoder_pred."):
        side = round((value.shape[0] / 3) ** 0.5)
        rows = torch.arange(value.shape[0]).view(side, side, 3).permute(2, 0, 1).flatten()
        return value[rows]
    return value

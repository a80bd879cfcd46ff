"""Weights of the public masked autoencoders (MAE), to this project's names."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

# First part of MAE's names -> ours. What is fixed (positions) is computed here and left out.
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
        weights: As facebookresearch's .pth files hold them under 'model'.
    Raises: ValueError for a weight that MAE does not have.
    """
    converted: dict[str, Tensor] = {}
    for name, value in weights.items():
        if name in _FIXED:
            continue
        if name == "cls_token":
            converted["backbone.cls_token"] = value[0]
        elif name == "mask_token":
            converted["decoders.image.mask_tokens.weight"] = value[0].expand(2, -1).clone()
        else:
            converted[_rename(name)] = _reshape(name, value)
    return converted


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

"""Other projects' MAE and this project's model with the same weights."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from transformers import ViTMAEConfig, ViTMAEForPreTraining

from momo.models import MoMoPretrainer
from momo.models.objectives.masked import MaskedPlan
from momo.ops import plan_sequences, random_masking

from .tiny import perturb

SMALL = dict(
    hidden_size=32,
    num_hidden_layers=2,
    num_attention_heads=4,
    intermediate_size=128,
    image_size=32,
    patch_size=8,
    decoder_hidden_size=16,
    decoder_num_hidden_layers=2,
    decoder_num_attention_heads=2,
    decoder_intermediate_size=64,
)
BASE = dict(decoder_num_hidden_layers=8)  # ViTMAEConfig's own sizes are those of MAE's base model


def random_mae(norm_pix: bool, **sizes: int) -> ViTMAEForPreTraining:
    """transformers' model with random weights; its default epsilon of 1e-12 is not MAE's."""
    torch.manual_seed(0)
    config = ViTMAEConfig(**sizes, layer_norm_eps=1e-6, mask_ratio=0.75, norm_pix_loss=norm_pix)
    config._attn_implementation = "eager"  # softmax written out: nothing shared with the code under test
    model = ViTMAEForPreTraining(config).eval()
    # transformers leaves the decoder's positions at zero; the published weights hold MAE's.
    model.decoder.initialize_weights(model.vit.embeddings.num_patches)
    positions = {name: p.clone() for name, p in model.named_parameters() if not p.requires_grad}
    perturb(model, 0.02)
    for name, value in positions.items():  # fixed, not learnt
        model.get_parameter(name).data = value
    return model


def same_model(mae: ViTMAEForPreTraining) -> MoMoPretrainer:
    """This project's stage 1 model with the weights of transformers'."""
    config = mae.config
    sizes = dict(embed_dim=config.hidden_size, depth=config.num_hidden_layers, num_heads=config.num_attention_heads)
    model = MoMoPretrainer(
        backbone=dict(
            type="MoMoViT", arch=sizes, img_size=config.image_size, patch_size=config.patch_size, vocab_size=0
        ),
        decoders=dict(
            image=dict(
                type="MoMoDecoder",
                decoder_dim=config.decoder_hidden_size,
                depth=config.decoder_num_hidden_layers,
                num_heads=config.decoder_num_attention_heads,
            )
        ),
        objectives=dict(image=dict(mim=dict(type="MIM", decoder="image", norm_pix=config.norm_pix_loss))),
    )
    model.load_state_dict(renamed(mae))
    return model.eval()


def renamed(mae: ViTMAEForPreTraining) -> dict[str, Tensor]:
    """transformers' weights under this project's names."""
    theirs = mae.state_dict()
    patch, decoder = mae.config.patch_size, mae.config.decoder_hidden_size
    mask_token = theirs["decoder.mask_token"].view(1, decoder)
    # transformers predicts (row, column, channel) of a patch, this project (channel, row, column).
    order = torch.arange(patch * patch * 3).view(patch, patch, 3).permute(2, 0, 1).flatten()
    ours = {
        "backbone.cls_token": theirs["vit.embeddings.cls_token"][0],
        "backbone.image_embed.proj.weight": theirs["vit.embeddings.patch_embeddings.projection.weight"].flatten(1),
        "backbone.image_embed.proj.bias": theirs["vit.embeddings.patch_embeddings.projection.bias"],
        "decoders.image.mask_tokens.weight": torch.cat([mask_token, torch.zeros(1, decoder)]),
        "decoders.image.pixel_head.weight": theirs["decoder.decoder_pred.weight"][order],
        "decoders.image.pixel_head.bias": theirs["decoder.decoder_pred.bias"][order],
    }
    for kind in ("weight", "bias"):
        ours[f"backbone.norm.{kind}"] = theirs[f"vit.layernorm.{kind}"]
        ours[f"decoders.image.embed.{kind}"] = theirs[f"decoder.decoder_embed.{kind}"]
        ours[f"decoders.image.norm.{kind}"] = theirs[f"decoder.decoder_norm.{kind}"]
        for index in range(mae.config.num_hidden_layers):
            ours |= _block(theirs, f"vit.encoder.layer.{index}", f"backbone.blocks.{index}", kind)
        for index in range(mae.config.decoder_num_hidden_layers):
            ours |= _block(theirs, f"decoder.decoder_layers.{index}", f"decoders.image.blocks.{index}", kind)
    return ours


def _block(theirs: dict[str, Tensor], old: str, new: str, kind: str) -> dict[str, Tensor]:
    qkv = [theirs[f"{old}.attention.attention.{part}.{kind}"] for part in ("query", "key", "value")]
    return {
        f"{new}.norm1.{kind}": theirs[f"{old}.layernorm_before.{kind}"],
        f"{new}.attn.qkv.{kind}": torch.cat(qkv),
        f"{new}.attn.proj.{kind}": theirs[f"{old}.attention.output.dense.{kind}"],
        f"{new}.norm2.{kind}": theirs[f"{old}.layernorm_after.{kind}"],
        f"{new}.mlp.fc1.{kind}": theirs[f"{old}.intermediate.dense.{kind}"],
        f"{new}.mlp.fc2.{kind}": theirs[f"{old}.output.dense.{kind}"],
    }


def loss_with_noise(model: MoMoPretrainer, images: Tensor, noise: Tensor) -> Tensor:
    """This project's loss where MAE keeps the patches of smallest noise: `random_masking` hides those."""
    count, patches = noise.shape
    hidden = random_masking(np.full(count, patches), 0.75, -noise.flatten().numpy())
    plan = MaskedPlan(*plan_sequences(count, patches, np.zeros(count, dtype=int), hidden_patches=hidden))
    batch = {"images": images, "keys": np.arange(count), "plans": {"mim": plan}}
    return model({"image": batch})["image/mim_loss_pixels"]

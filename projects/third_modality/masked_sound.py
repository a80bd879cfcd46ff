"""Sound as a third modality: an embedder beside the encoder's own two, and an objective that uses it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from momo.models import MIM, MoMoDataPreprocessor, MoMoViT
from momo.models.embeddings import ImageEmbedding
from momo.models.layers import init_transformer
from momo.models.objectives import Request
from momo.ops import EncodePlan, PackedTokens
from momo.registry import MODELS


@MODELS.register_module()
class SoundMoMoViT(MoMoViT):
    """The shared encoder with an embedder of spectrograms; every block stays shared with images and text.

    Args:
        spectrogram_size: Bands and frames of a spectrogram, a multiple of patch_size.
        settings: MoMoViT's.
    """

    def __init__(self, spectrogram_size: int = 64, **settings: Any) -> None:
        super().__init__(**settings)
        self.sound_embed = ImageEmbedding(self.embed_dim, spectrogram_size, self.patch_size, in_channels=1)
        init_transformer(self.sound_embed)

    def embed_sound(self, spectrograms: Tensor, plan: EncodePlan) -> PackedTokens:
        """Visible patches of spectrograms (B, 1, bands, frames) as packed sequences."""
        return self.assemble([self.sound_embed(spectrograms, plan.patches)], plan.assemble, plan.layout)


@MODELS.register_module()
class MaskedSound(MIM):
    """Masked modelling of spectrograms: MIM with another embedder, and a decoder of one channel.

    Source: Huang et al. 2022, arXiv:2207.06405, masks 0.8 of a spectrogram's patches; the default here is MIM's 0.75.
    """

    def request(self, backbone, batch, plan, similarity) -> Request:
        return Request([backbone.embed_sound(batch["images"], plan.encode)])


@MODELS.register_module()
class SoundPreprocessor(MoMoDataPreprocessor):
    """MoMoDataPreprocessor that normalises the modality 'sound' by statistics of its own.

    Args:
        sound_mean, sound_std: Of spectrograms, on the scale of 0 to 255.
        settings: MoMoDataPreprocessor's.
    """

    def __init__(self, sound_mean: float, sound_std: float, **settings: Any) -> None:
        super().__init__(**settings)
        self.sound_mean, self.sound_std = sound_mean, sound_std

    def forward(self, data: dict[str, dict[str, Any]], training: bool = False) -> dict[str, Any]:
        known = {modality: batch for modality, batch in data.items() if modality != "sound"}
        inputs = super().forward(known, training)["inputs"]
        if "sound" in data:
            batch = self.cast_data(data["sound"])
            images = (batch["images"].to(torch.float32) - self.sound_mean) / self.sound_std
            inputs["sound"] = {**batch, "images": images}
        return {"inputs": inputs}

"""What is put on the encoder: comparison of images and texts, classifiers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers.modeling_outputs import (
    BaseModelOutputWithPooling,
    ImageClassifierOutput,
    SequenceClassifierOutput,
)
from transformers.utils import ModelOutput, can_return_tuple

from .configuration_momo import MoMoConfig
from .modeling_momo import MoMoModel, MoMoPreTrainedModel, pool


@dataclass
class MoMoRetrievalOutput(ModelOutput):
    """logits_per_image (images, texts), logits_per_text its transpose; embeddings of unit length."""

    loss: Tensor | None = None
    logits_per_image: Tensor | None = None
    logits_per_text: Tensor | None = None
    image_embeds: Tensor | None = None
    text_embeds: Tensor | None = None
    image_model_output: BaseModelOutputWithPooling | None = None
    text_model_output: BaseModelOutputWithPooling | None = None


INITIAL_LOG_SCALE = math.log(1 / 0.07)  # CLIP's and FLAVA's


def contrastive_loss(logits: Tensor) -> Tensor:
    """Of images with texts and back: logits (B, B), row i and column i belong together; the result is ()."""
    target = torch.arange(len(logits), device=logits.device)
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2


class MoMoForImageTextRetrieval(MoMoPreTrainedModel):
    """Features of images and of texts that are compared by dot product, and a head that judges pairs."""

    def __init__(self, config: MoMoConfig) -> None:
        super().__init__(config)
        self.momo = MoMoModel(config)
        self.image_projection = nn.Linear(config.hidden_size, config.projection_dim)
        self.text_projection = nn.Linear(config.hidden_size, config.projection_dim)
        self.matching_head = nn.Linear(config.hidden_size, 2)
        self.logit_scale = nn.Parameter(torch.zeros(()))
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if module is self:
            nn.init.constant_(self.logit_scale, INITIAL_LOG_SCALE)

    def get_image_features(self, pixel_values: Tensor) -> Tensor:
        """Unit-length features (B, projection_dim)."""
        return F.normalize(self.image_projection(self.momo(pixel_values=pixel_values).pooler_output), dim=-1)

    def get_text_features(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """Unit-length features (B, projection_dim)."""
        return F.normalize(self.text_projection(self.momo(input_ids, attention_mask).pooler_output), dim=-1)

    def get_matching_scores(
        self, input_ids: Tensor, pixel_values: Tensor, attention_mask: Tensor | None = None
    ) -> Tensor:
        """Log-odds (B,) that image i and text i belong together."""
        x, valid = self.momo.embed(input_ids, attention_mask, pixel_values)
        logits = self.matching_head(pool(self.momo.encode(x, valid).last_hidden_state, valid, "cls"))
        return logits[:, 1] - logits[:, 0]

    @can_return_tuple
    def forward(
        self,
        input_ids: Tensor,
        pixel_values: Tensor,
        attention_mask: Tensor | None = None,
        return_loss: bool | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
    ) -> MoMoRetrievalOutput:
        """Compare every image with every text; with `return_loss`, image i belongs to text i."""
        wanted = dict(output_attentions=output_attentions, output_hidden_states=output_hidden_states)
        image, text = self.momo(pixel_values=pixel_values, **wanted), self.momo(input_ids, attention_mask, **wanted)
        image_embeds = F.normalize(self.image_projection(image.pooler_output), dim=-1)
        text_embeds = F.normalize(self.text_projection(text.pooler_output), dim=-1)
        logits = self.logit_scale.exp() * image_embeds @ text_embeds.T
        loss = contrastive_loss(logits) if return_loss else None
        return MoMoRetrievalOutput(loss, logits, logits.T, image_embeds, text_embeds, image, text)


class _LinearClassifier(MoMoPreTrainedModel):
    """Dropout and a linear layer on what the encoder pools."""

    def __init__(self, config: MoMoConfig) -> None:
        super().__init__(config)
        self.momo = MoMoModel(config)
        self.dropout = nn.Dropout(config.classifier_dropout)
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)
        self.post_init()

    def _classify(self, labels: Tensor | None, **inputs: Any) -> dict[str, Any]:
        output = self.momo(**inputs)
        logits = self.classifier(self.dropout(output.pooler_output))
        loss = None if labels is None else self.loss_function(labels, logits, self.config)
        return dict(loss=loss, logits=logits, hidden_states=output.hidden_states, attentions=output.attentions)


class MoMoForSequenceClassification(_LinearClassifier):
    """A linear classifier of texts; one label is a number to be predicted."""

    @can_return_tuple
    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        labels: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
    ) -> SequenceClassifierOutput:
        """Logits (B, num_labels)."""
        wanted = dict(output_attentions=output_attentions, output_hidden_states=output_hidden_states)
        texts = dict(input_ids=input_ids, attention_mask=attention_mask)
        return SequenceClassifierOutput(**self._classify(labels, **texts, **wanted))


class MoMoForImageClassification(_LinearClassifier):
    """A linear classifier of images."""

    main_input_name = "pixel_values"

    @can_return_tuple
    def forward(
        self,
        pixel_values: Tensor,
        labels: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
    ) -> ImageClassifierOutput:
        """Logits (B, num_labels)."""
        wanted = dict(output_attentions=output_attentions, output_hidden_states=output_hidden_states)
        return ImageClassifierOutput(**self._classify(labels, pixel_values=pixel_values, **wanted))


class MoMoForQuestionAnswering(MoMoPreTrainedModel):
    """Choose among frequent answers, from the [CLS] of a picture with a question."""

    def __init__(self, config: MoMoConfig) -> None:
        super().__init__(config)
        self.momo = MoMoModel(config)
        dim = config.hidden_size
        self.classifier = nn.Sequential(
            nn.Linear(dim, 2 * dim), nn.LayerNorm(2 * dim), nn.GELU(), nn.Linear(2 * dim, config.num_labels)
        )
        self.post_init()

    @can_return_tuple
    def forward(
        self,
        input_ids: Tensor,
        pixel_values: Tensor,
        attention_mask: Tensor | None = None,
        labels: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
    ) -> SequenceClassifierOutput:
        """Logits (B, num_labels). `labels` (B, num_labels) are scores in [0, 1]."""
        x, valid = self.momo.embed(input_ids, attention_mask, pixel_values)
        output = self.momo.encode(x, valid, output_attentions, output_hidden_states)
        logits = self.classifier(pool(output.last_hidden_state, valid, "cls"))
        loss = None
        if labels is not None:
            loss = F.binary_cross_entropy_with_logits(logits, labels, reduction="sum") / len(logits)
        return SequenceClassifierOutput(loss, logits, output.hidden_states, output.attentions)

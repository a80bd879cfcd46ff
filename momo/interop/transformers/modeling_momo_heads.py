"""What is put on the encoder: comparison of images and texts, hidden words, classifiers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers.modeling_outputs import (
    BaseModelOutput,
    BaseModelOutputWithPooling,
    ImageClassifierOutput,
    MaskedLMOutput,
    SequenceClassifierOutput,
)
from transformers.utils import ModelOutput, can_return_tuple

from .configuration_momo import MoMoConfig
from .modeling_momo import MoMoBlock, MoMoModel, MoMoPreTrainedModel, PatchPositions, pool, sincos_1d, text_places


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


class MoMoDecoder(nn.Module):
    """Put mask tokens where the encoder saw nothing, and run a shallow transformer over the whole sequences.

    Args:
        outputs: 'pixels', 'tokens' or both.
    """

    def __init__(self, config: MoMoConfig, outputs: Sequence[str] = ("tokens",)) -> None:
        super().__init__()
        dim = config.decoder_hidden_size
        self.embed = nn.Linear(config.hidden_size, dim)
        self.mask_tokens = nn.Embedding(2, dim)  # for a hidden patch and a hidden word
        self.blocks = nn.ModuleList(
            MoMoBlock(config, dim, config.decoder_num_attention_heads, 4 * dim)
            for _ in range(config.decoder_num_hidden_layers)
        )
        self.norm = nn.LayerNorm(dim, eps=config.layer_norm_eps)
        if "pixels" in outputs:
            self.pixel_head = nn.Linear(dim, config.num_channels * config.patch_size**2)
        if "tokens" in outputs:
            self.token_head = nn.Sequential(
                nn.Linear(dim, config.hidden_size),
                nn.GELU(),
                nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps),
            )
        words = sincos_1d(torch.arange(config.max_position_embeddings, device="cpu"), dim).float()
        self.register_buffer("word_positions", F.pad(words, (0, 0, 1, 0)), persistent=False)  # row 0: [CLS] has none
        self.patch_positions = PatchPositions(config, dim)

    def forward(
        self, x: Tensor, hidden: Tensor, places: Tensor, grid: tuple[int, int] | None, valid: Tensor | None
    ) -> Tensor:
        """Features of all tokens, for `predict_words` and `predict_pixels`.

        Shapes: x (B, S, C), encoded; hidden, valid (B, S); places (B, T), zeros (B, 1) for an image alone; the result
            is (B, S, decoder_hidden_size).
        """
        patch, word = self.mask_tokens.weight
        masks = torch.cat([word.expand(places.shape[1], -1), patch.expand(x.shape[1] - places.shape[1], -1)])
        x = torch.where(hidden[..., None], masks, self.embed(x))
        positions = self.word_positions[places.clamp(min=0)]
        if grid is not None:
            patches = self.patch_positions(grid).expand(len(x), -1, -1)
            positions = torch.cat([positions, patches], dim=1)
        x, mask = x + positions.to(x.dtype), None if valid is None else valid[:, None, None, :]
        for block in self.blocks:
            x, _ = block(x, mask, False)
        return self.norm(x)

    def predict_words(self, x: Tensor, count: int) -> Tensor:
        """Features (B, T, C) of the first `count` tokens, the words, ready for the vocabulary."""
        return self.token_head(x[:, :count])

    def predict_pixels(self, x: Tensor, count: int) -> Tensor:
        """Pixels (B, L, channels * p * p) of the last `count` tokens, the patches."""
        return self.pixel_head(x[:, -count:])


@dataclass
class Restored:
    """What an encoder and a decoder make of inputs of which a part is hidden.

    encoded: the encoder's output. decoded (B, S, decoder_hidden_size): the decoder's. grid: patches down and across.
    """

    encoded: BaseModelOutput
    decoded: Tensor
    grid: tuple[int, int] | None


def restore(
    momo: MoMoModel,
    decoder: MoMoDecoder,
    input_ids: Tensor | None,
    attention_mask: Tensor | None,
    pixel_values: Tensor | None,
    bool_masked_pos: Tensor | None,
    **wanted: bool | None,
) -> Restored:
    """Encode what is neither [MASK] nor named by `bool_masked_pos` (B, L), decode the whole sequence."""
    x, valid = momo.embed(input_ids, attention_mask, pixel_values)
    words = x.new_zeros(x.shape[0], 1, dtype=torch.bool)  # an image's [CLS]
    places, grid = words.long(), None
    if input_ids is not None:
        words, places = input_ids == momo.config.mask_token_id, text_places(input_ids, attention_mask)
    if pixel_values is not None:
        grid = momo.image_embed.grid(pixel_values)
    hidden = hidden_tokens(words, bool_masked_pos, x.shape[1])
    encoded = momo.encode(x, visible_tokens(valid, hidden), **wanted)
    return Restored(encoded, decoder(encoded.last_hidden_state, hidden, places, grid, valid), grid)


def hidden_tokens(words: Tensor, patches: Tensor | None, length: int) -> Tensor:
    """What is hidden among words (B, T), then patches (B, length - T), none of them if None."""
    if patches is None:
        return F.pad(words, (0, length - words.shape[1]))
    return torch.cat([words, patches], dim=1)


def visible_tokens(valid: Tensor | None, hidden: Tensor) -> Tensor:
    """Real tokens that are not hidden, (B, S); `valid` None: all are real."""
    return ~hidden if valid is None else valid & ~hidden


class MoMoForMaskedLM(MoMoPreTrainedModel):
    """Guess the words behind [MASK], from the text around them or with the help of an image.

    The encoder does not see [MASK]: no token attends to it there. The decoder then puts a mask token in its place.
    """

    _tied_weights_keys = ["lm_head.weight"]

    def __init__(self, config: MoMoConfig) -> None:
        super().__init__(config)
        self.momo = MoMoModel(config)
        self.decoder = MoMoDecoder(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size)
        self.post_init()

    def get_output_embeddings(self) -> nn.Module:
        return self.lm_head

    def set_output_embeddings(self, value: nn.Module) -> None:
        self.lm_head = value

    @can_return_tuple
    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        pixel_values: Tensor | None = None,
        labels: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
    ) -> MaskedLMOutput:
        """Logits (B, T, vocabulary). `labels` (B, T) are word ids, or -100 where nothing was hidden."""
        wanted = dict(output_attentions=output_attentions, output_hidden_states=output_hidden_states)
        restored = restore(self.momo, self.decoder, input_ids, attention_mask, pixel_values, None, **wanted)
        logits = self.lm_head(self.decoder.predict_words(restored.decoded, input_ids.shape[1]))
        loss = None
        if labels is not None:
            loss = self.loss_function(logits, labels, vocab_size=self.config.vocab_size)
        return MaskedLMOutput(loss, logits, restored.encoded.hidden_states, restored.encoded.attentions)


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

"""Pre-training in transformers' manner: restore what is hidden, compare images with texts, judge pairs.

Legend: B samples, T word pieces with [CLS], L patches, S tokens of a sequence, C channels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers.utils import ModelOutput, can_return_tuple

from .configuration_momo import MoMoConfig
from .modeling_momo import MoMoModel, MoMoPreTrainedModel, pool
from .modeling_momo_heads import INITIAL_LOG_SCALE, contrastive_loss
from .modeling_momo_masked import MoMoDecoder, hidden_tokens, restore, visible_tokens

PREDICTS = {"mim": {"pixels"}, "mlm": {"tokens"}, "cmm": {"pixels", "tokens"}}  # what an objective's decoder must
MAX_LOG_SCALE = math.log(100)  # as in this project's contrastive loss


@dataclass
class MoMoForPreTrainingOutput(ModelOutput):
    """loss: the sum of those that follow. predicted_pixels (B, L, channels * p * p), each patch channel first. logits
    (B, T, vocabulary). logits_per_image (B, B). States and attentions of the pass whose tokens are restored."""

    loss: Tensor | None = None
    pixels_loss: Tensor | None = None
    words_loss: Tensor | None = None
    contrastive_loss: Tensor | None = None
    matching_loss: Tensor | None = None
    predicted_pixels: Tensor | None = None
    logits: Tensor | None = None
    logits_per_image: Tensor | None = None
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None


class MoMoForPreTraining(MoMoPreTrainedModel):
    """The objectives of `config.objectives` around one encoder; masked images, masked texts or pairs, by what is given.

    The encoder never sees patches that `bool_masked_pos` names. What is to be restored it reads without the words that
    are [MASK]; contrast and matching read whole captions. A process compares within its own batch. Matching draws a
    mismatch for every image and every text, likelier the more similar; captions that are equal are no mismatch.

    Raises: ValueError for an objective that is unknown or lacks its decoder, or matching without contrast.
    """

    def __init__(self, config: MoMoConfig) -> None:
        super().__init__(config)
        outputs = _decoder_outputs(config)
        self.momo = MoMoModel(config)
        self.decoders = nn.ModuleDict({name: MoMoDecoder(config, kinds) for name, kinds in outputs.items()})
        speaking = [name for name, kinds in outputs.items() if "tokens" in kinds]
        self.word_bias = nn.ParameterDict({name: torch.zeros(config.vocab_size) for name in speaking})
        if "itc" in config.objectives:
            self.image_projection = nn.Linear(config.hidden_size, config.projection_dim)
            self.text_projection = nn.Linear(config.hidden_size, config.projection_dim)
            self.logit_scale = nn.Parameter(torch.zeros(()))
        if "itm" in config.objectives:
            self.matching_head = nn.Linear(config.hidden_size, 2)
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, nn.ParameterDict):
            for bias in module.values():
                nn.init.zeros_(bias)
        elif module is self and "itc" in self.config.objectives:
            nn.init.constant_(self.logit_scale, INITIAL_LOG_SCALE)

    def resize_token_embeddings(self, *args: Any, **kwargs: Any) -> nn.Module:
        words = super().resize_token_embeddings(*args, **kwargs)
        for name, bias in self.word_bias.items():
            self.word_bias[name] = nn.Parameter(F.pad(bias.data, (0, len(words.weight) - len(bias))))
        return words

    @can_return_tuple
    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        pixel_values: Tensor | None = None,
        bool_masked_pos: Tensor | None = None,
        labels: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
    ) -> MoMoForPreTrainingOutput:
        """Losses of images, of texts, or of pairs.

        Shapes: input_ids, attention_mask, labels (B, T); pixel_values (B, channels, height, width); bool_masked_pos
            (B, L).
        Args:
            bool_masked_pos: True hides a patch. Without it all are seen, and pixels have no loss.
            labels: The words behind [MASK], -100 elsewhere. Without them words have no loss.
        Raises: ValueError for inputs that no objective of the config reads.
        """
        is_pair = input_ids is not None and pixel_values is not None
        objectives, task = self.config.objectives, "cmm" if is_pair else "mim" if input_ids is None else "mlm"
        values: dict[str, Any] = {}
        if task in objectives:
            wanted = dict(output_attentions=output_attentions, output_hidden_states=output_hidden_states)
            inputs = input_ids, attention_mask, pixel_values, bool_masked_pos, labels
            values |= self._restore(objectives[task], *inputs, **wanted)
        if is_pair and "itc" in objectives:
            captions = input_ids if labels is None else torch.where(labels == -100, input_ids, labels)
            values |= self._compare(captions, attention_mask, pixel_values, bool_masked_pos)
        if not values:
            raise ValueError(f"config.objectives={sorted(objectives)} have no {task!r}, which these inputs are for")
        losses = [value for name, value in values.items() if name.endswith("_loss")]
        return MoMoForPreTrainingOutput(loss=sum(losses) if losses else None, **values)

    def _restore(
        self,
        settings: dict[str, Any],
        input_ids: Tensor | None,
        attention_mask: Tensor | None,
        pixel_values: Tensor | None,
        bool_masked_pos: Tensor | None,
        labels: Tensor | None,
        **wanted: bool | None,
    ) -> dict[str, Any]:
        """Encode what is visible, restore the rest."""
        decoder = self.decoders[settings["decoder"]]
        restored = restore(self.momo, decoder, input_ids, attention_mask, pixel_values, bool_masked_pos, **wanted)
        encoded, decoded, grid = restored.encoded, restored.decoded, restored.grid

        values: dict[str, Any] = {"hidden_states": encoded.hidden_states, "attentions": encoded.attentions}
        weight = settings.get("loss_weight", 1.0)
        if pixel_values is not None:
            values["predicted_pixels"] = decoder.predict_pixels(decoded, grid[0] * grid[1])
            if bool_masked_pos is not None:
                target = self.momo.image_embed.patches(pixel_values)
                loss = pixels_loss(values["predicted_pixels"], target, bool_masked_pos, settings.get("norm_pix", False))
                values["pixels_loss"] = weight * loss
        if input_ids is not None:
            features = decoder.predict_words(decoded, input_ids.shape[1])
            bias = self.word_bias[settings["decoder"]]
            values["logits"] = F.linear(features, self.momo.text_embed.words.weight, bias)
            if labels is not None:
                values["words_loss"] = weight * words_loss(values["logits"], labels)
        return values

    def _compare(
        self, captions: Tensor, attention_mask: Tensor | None, pixel_values: Tensor, bool_masked_pos: Tensor | None
    ) -> dict[str, Tensor]:
        """Contrast and, if the config has it, matching."""
        objectives = self.config.objectives
        image, _ = self.momo.embed(None, None, pixel_values)
        visible = None
        if bool_masked_pos is not None:
            visible = ~hidden_tokens(bool_masked_pos.new_zeros(len(image), 1), bool_masked_pos, image.shape[1])
        image = pool(self.momo.encode(image, visible).last_hidden_state, visible, self.config.pooling)
        text = self.momo(captions, attention_mask).pooler_output
        image = F.normalize(self.image_projection(image).float(), dim=-1)
        text = F.normalize(self.text_projection(text).float(), dim=-1)
        logits = self.logit_scale.clamp(max=MAX_LOG_SCALE).exp().float() * image @ text.T
        loss = contrastive_loss(logits)
        values = {"logits_per_image": logits, "contrastive_loss": objectives["itc"].get("loss_weight", 1.0) * loss}
        if "itm" in objectives:
            loss = self._match(captions, attention_mask, pixel_values, bool_masked_pos, logits.detach())
            values["matching_loss"] = objectives["itm"].get("loss_weight", 1.0) * loss
        return values

    def _match(
        self,
        captions: Tensor,
        attention_mask: Tensor | None,
        pixel_values: Tensor,
        bool_masked_pos: Tensor | None,
        similarity: Tensor,
    ) -> Tensor:
        """Tell true pairs from images with a wrong text and texts with a wrong image."""
        real = captions if attention_mask is None else captions.masked_fill(attention_mask == 0, -1)
        candidates = (real[:, None] != real).any(-1)
        draws = [draw_mismatches(scores, candidates) for scores in (similarity, similarity.T)]
        own = torch.arange(len(captions), device=captions.device)
        images, texts = torch.cat([own, own, draws[1]]), torch.cat([own, draws[0], own])

        count = captions.shape[1]
        x, valid = self.momo.embed(captions, attention_mask, pixel_values)
        hidden = hidden_tokens(torch.zeros_like(captions, dtype=torch.bool), bool_masked_pos, x.shape[1])
        visible = visible_tokens(valid, hidden)
        x = torch.cat([x[texts, :count], x[images, count:]], dim=1)
        visible = torch.cat([visible[texts, :count], visible[images, count:]], dim=1)
        logits = self.matching_head(pool(self.momo.encode(x, visible).last_hidden_state, visible, "cls")).float()
        target = torch.cat([torch.ones_like(own), torch.zeros_like(own), torch.zeros_like(own)])
        can = candidates.any(1)  # where nothing differs, the true pair stands alone
        counted = torch.cat([torch.ones_like(can), can, can])
        return (F.cross_entropy(logits, target, reduction="none") * counted).sum() / counted.sum()


def pixels_loss(predicted: Tensor, target: Tensor, masked: Tensor, norm_pix: bool) -> Tensor:
    """Mean squared error of hidden patches; with `norm_pix` of pixels with zero mean and unit variance in each.

    Shapes: predicted, target (B, L, pixels); masked (B, L); the result is (), 0 where nothing is hidden.
    """
    target = target.float()
    if norm_pix:
        variance, mean = torch.var_mean(target, dim=-1, keepdim=True)
        target = (target - mean) / (variance + 1e-6).sqrt()
    error = F.mse_loss(predicted.float(), target, reduction="none").mean(-1)
    return (error * masked).sum() / masked.sum().clamp(min=1)


def words_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean cross-entropy (B, T, vocabulary) where labels (B, T) are not -100, 0 where there are none."""
    total = F.cross_entropy(logits.flatten(0, 1).float(), labels.flatten(), reduction="sum", ignore_index=-100)
    return total / (labels != -100).sum().clamp(min=1)


def draw_mismatches(similarity: Tensor, candidates: Tensor) -> Tensor:
    """For each row draw a column from the softmax over its candidates; an arbitrary one where there is none.

    Shapes: similarity, candidates (bool) (B, B); the result is (B,).
    """
    gumbel = -torch.empty_like(similarity).exponential_().log()
    return (similarity + gumbel).masked_fill(~candidates, -torch.inf).argmax(1)


def _decoder_outputs(config: MoMoConfig) -> dict[str, set[str]]:
    """What each decoder predicts, by its name."""
    outputs: dict[str, set[str]] = {}
    for name, settings in config.objectives.items():
        if name in PREDICTS:
            if "decoder" not in settings:
                raise ValueError(f"config.objectives[{name!r}]={settings} needs the name of its 'decoder'")
            outputs.setdefault(settings["decoder"], set()).update(PREDICTS[name])
        elif name not in ("itc", "itm"):
            raise ValueError(f"config.objectives[{name!r}] is unknown; known are {[*PREDICTS, 'itc', 'itm']}")
    if "itm" in config.objectives and "itc" not in config.objectives:
        raise ValueError("config.objectives['itm'] draws mismatches by the similarity of 'itc', which is not there")
    return outputs

"""What restores what the encoder did not see: the decoder, and hidden words guessed by it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers.modeling_outputs import BaseModelOutput, MaskedLMOutput
from transformers.utils import can_return_tuple

from .configuration_momo import MoMoConfig
from .modeling_momo import MoMoBlock, MoMoModel, MoMoPreTrainedModel, PatchPositions, sincos_1d, text_places


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

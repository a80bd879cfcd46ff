"""The encoder in transformers' manner: dense tensors and attention masks. Nothing here needs the rest of momo.

Legend: B samples, T word pieces with [CLS], L patches, S tokens of a sequence (T, 1 + L or T + L), C channels, H heads.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PreTrainedModel
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_outputs import BaseModelOutput, BaseModelOutputWithPooling
from transformers.utils import can_return_tuple

from .configuration_momo import MoMoConfig


def sincos_1d(positions: Tensor, dim: int) -> Tensor:
    """Sines, then cosines: (n,) to (n, dim), in float64."""
    omega = torch.arange(dim // 2, dtype=torch.float64, device=positions.device) / (dim / 2)
    angles = positions.double()[:, None] / 10000**omega
    return torch.cat([angles.sin(), angles.cos()], dim=1)


def sincos_2d(grid: tuple[int, int], dim: int, base: int) -> Tensor:
    """Positions (rows * columns, dim) of a grid of patches; any grid spans the range of a square one of side `base`."""
    axes = [(torch.arange(n, dtype=torch.float64, device="cpu") + 0.5) * (base / n) - 0.5 for n in grid]
    row, column = torch.meshgrid(*axes, indexing="ij")
    return torch.cat([sincos_1d(column.flatten(), dim // 2), sincos_1d(row.flatten(), dim // 2)], dim=1).float()


class PatchPositions(nn.Module):
    """Fixed positions of patches: a table for the size trained on, others computed when they are asked for."""

    def __init__(self, config: MoMoConfig, dim: int) -> None:
        super().__init__()
        self.base = config.image_size // config.patch_size
        self.register_buffer("table", sincos_2d((self.base, self.base), dim, self.base), persistent=False)

    def forward(self, grid: tuple[int, int]) -> Tensor:
        if grid == (self.base, self.base):
            return self.table
        return sincos_2d(grid, self.table.shape[1], self.base).to(self.table)


class MoMoImageEmbedding(nn.Module):
    """Project patches and add fixed positions."""

    def __init__(self, config: MoMoConfig) -> None:
        super().__init__()
        self.patch_size = config.patch_size
        self.proj = nn.Linear(config.num_channels * config.patch_size**2, config.hidden_size)
        self.positions = PatchPositions(config, config.hidden_size)

    def grid(self, pixel_values: Tensor) -> tuple[int, int]:
        """Patches down and across.

        Raises: ValueError if the patch size does not divide the image.
        """
        height, width = pixel_values.shape[-2:]
        if height % self.patch_size or width % self.patch_size:
            raise ValueError(f"images of {height} x {width} pixels are not made of {self.patch_size}-pixel patches")
        return height // self.patch_size, width // self.patch_size

    def patches(self, pixel_values: Tensor) -> Tensor:
        """Pixels of the patches (B, L, channels * p * p), row by row, each channel first."""
        grid, side = self.grid(pixel_values), self.patch_size
        patches = pixel_values.unflatten(3, (grid[1], side)).unflatten(2, (grid[0], side))
        return patches.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)

    def forward(self, pixel_values: Tensor) -> Tensor:
        tokens = self.proj(self.patches(pixel_values).to(self.proj.weight.dtype))
        return tokens + self.positions(self.grid(pixel_values)).to(tokens.dtype)


class MoMoTextEmbedding(nn.Module):
    """Word pieces plus learnt positions, normalised."""

    def __init__(self, config: MoMoConfig) -> None:
        super().__init__()
        self.words = nn.Embedding(config.vocab_size, config.hidden_size)
        self.positions = nn.Embedding(config.max_position_embeddings, config.hidden_size)
        self.norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(self, input_ids: Tensor, places: Tensor) -> Tensor:
        return self.norm(self.words(input_ids) + self.positions(places))


class MoMoAttention(nn.Module):
    def __init__(self, config: MoMoConfig, dim: int, num_heads: int) -> None:
        super().__init__()
        self.config, self.num_heads = config, num_heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor, mask: Tensor | None, output_attentions: bool) -> tuple[Tensor, Tensor | None]:
        q_BHSD, k_BHSD, v_BHSD = self.qkv(x).unflatten(2, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
        if not output_attentions and self.config._attn_implementation == "sdpa":
            weights, out_BHSD = None, F.scaled_dot_product_attention(q_BHSD, k_BHSD, v_BHSD, attn_mask=mask)
        else:
            scores = q_BHSD @ k_BHSD.transpose(-2, -1) * q_BHSD.shape[-1] ** -0.5
            if mask is not None:
                scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
            weights = scores.softmax(-1, dtype=torch.float32).to(q_BHSD.dtype)
            out_BHSD = weights @ v_BHSD
        return self.proj(out_BHSD.transpose(1, 2).flatten(2)), weights


class MoMoMLP(nn.Module):
    def __init__(self, dim: int, hidden_dim: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden_dim)
        self.fc2 = nn.Linear(hidden_dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x)))


class MoMoBlock(GradientCheckpointingLayer):
    """Pre-norm transformer block; returns its output and, if asked for, its attention weights (B, H, S, S)."""

    def __init__(self, config: MoMoConfig, dim: int, num_heads: int, hidden_dim: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=config.layer_norm_eps)
        self.attn = MoMoAttention(config, dim, num_heads)
        self.norm2 = nn.LayerNorm(dim, eps=config.layer_norm_eps)
        self.mlp = MoMoMLP(dim, hidden_dim)

    def forward(self, x: Tensor, mask: Tensor | None, output_attentions: bool) -> tuple[Tensor, Tensor | None]:
        attended, weights = self.attn(self.norm1(x), mask, output_attentions)
        x = x + attended
        return x + self.mlp(self.norm2(x)), weights


class MoMoPreTrainedModel(PreTrainedModel):
    config_class = MoMoConfig
    base_model_prefix = "momo"
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    _no_split_modules = ["MoMoBlock"]

    def _init_weights(self, module: nn.Module) -> None:
        """As MAE: Xavier-uniform linear layers, zero biases, unit norms, embeddings of a small deviation."""
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            nn.init.zeros_(module.bias)
        elif isinstance(module, nn.LayerNorm):
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=self.config.initializer_range)
        elif isinstance(module, MoMoModel):
            nn.init.normal_(module.cls_token, std=self.config.initializer_range)


class MoMoModel(MoMoPreTrainedModel):
    """One encoder for texts, images, and pairs of both.

    `input_ids` begin with [CLS], as the tokenizer that is saved beside the weights writes them, and may be padded left
    or right. An image alone gets its [CLS] here. The sequence is [CLS], words, patches.
    """

    def __init__(self, config: MoMoConfig) -> None:
        super().__init__(config)
        self.cls_token = nn.Parameter(torch.zeros(1, config.hidden_size))
        self.image_embed = MoMoImageEmbedding(config)
        self.text_embed = MoMoTextEmbedding(config) if config.vocab_size else None
        sizes = config.hidden_size, config.num_attention_heads, config.intermediate_size
        self.blocks = nn.ModuleList(MoMoBlock(config, *sizes) for _ in range(config.num_hidden_layers))
        self.norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.post_init()

    def get_input_embeddings(self) -> nn.Module | None:
        return self.text_embed.words if self.text_embed is not None else None

    def set_input_embeddings(self, value: nn.Module) -> None:
        self.text_embed.words = value

    def embed(
        self, input_ids: Tensor | None, attention_mask: Tensor | None, pixel_values: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """Tokens (B, S, C), and which of them are real (B, S); None if all are.

        Raises: ValueError without input, for text where the model reads none, or a text without [CLS] or too long.
        """
        if input_ids is None and pixel_values is None:
            raise ValueError("give input_ids, pixel_values or both")
        if input_ids is None:
            parts = [self.cls_token.expand(pixel_values.shape[0], 1, -1)]
        else:
            parts = [self._embed_text(input_ids, attention_mask)]
        if pixel_values is not None:
            parts.append(self.image_embed(pixel_values))
        x = torch.cat(parts, dim=1)
        if input_ids is None or attention_mask is None:
            return x, None
        return x, F.pad(attention_mask.bool(), (0, x.shape[1] - input_ids.shape[1]), value=True)

    def _embed_text(self, input_ids: Tensor, attention_mask: Tensor | None) -> Tensor:
        if self.text_embed is None:
            raise ValueError("config.vocab_size=0: this model reads images only")
        longest = 1 + self.config.max_position_embeddings
        if input_ids.shape[1] > longest:
            raise ValueError(f"{input_ids.shape[1]} tokens, this model reads {longest}: tokenize with truncation=True")
        places = text_places(input_ids, attention_mask)
        is_cls = (places == 0) & (input_ids == self.config.cls_token_id)
        if not torch.compiler.is_compiling() and not bool(is_cls.any(1).all()):
            raise ValueError(f"each text must begin with [CLS], config.cls_token_id={self.config.cls_token_id}")
        words = self.text_embed(input_ids, (places - 1).clamp(min=0))
        return torch.where(is_cls[..., None], self.cls_token.to(words.dtype), words)

    def encode(
        self,
        x: Tensor,
        visible: Tensor | None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
    ) -> BaseModelOutput:
        """Run the blocks; only `visible` tokens (B, S) are attended to, all if None."""
        if output_attentions is None:
            output_attentions = self.config.output_attentions
        if output_hidden_states is None:
            output_hidden_states = self.config.output_hidden_states
        mask = None if visible is None else visible[:, None, None, :]
        states, maps = [x], []
        for block in self.blocks:
            x, weights = block(x, mask, output_attentions)
            states.append(x)
            maps.append(weights)
        return BaseModelOutput(
            last_hidden_state=self.norm(x),
            hidden_states=tuple(states) if output_hidden_states else None,
            attentions=tuple(maps) if output_attentions else None,
        )

    @can_return_tuple
    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        pixel_values: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
    ) -> BaseModelOutputWithPooling:
        """Encode texts, images or pairs.

        Shapes: input_ids, attention_mask (B, T); pixel_values (B, channels, height, width); last_hidden_state
            (B, S, C), normalised; pooler_output (B, C).
        """
        x, valid = self.embed(input_ids, attention_mask, pixel_values)
        output = self.encode(x, valid, output_attentions, output_hidden_states)
        last = output.last_hidden_state
        pooled = pool(last, valid, self.config.pooling)
        return BaseModelOutputWithPooling(last, pooled, output.hidden_states, output.attentions)


def text_places(input_ids: Tensor, attention_mask: Tensor | None) -> Tensor:
    """Places (B, T) of tokens in their texts, 0 for the first that is real, -1 for padding on its left."""
    if attention_mask is None:
        return torch.arange(input_ids.shape[1], device=input_ids.device).expand_as(input_ids)
    places = attention_mask.long().cumsum(1) - 1
    return places.masked_fill(attention_mask == 0, -1)


def pool(x: Tensor, valid: Tensor | None, pooling: str) -> Tensor:
    """One vector a sequence (B, C): [CLS], or the mean of the other tokens (a lone [CLS] stands for itself)."""
    if valid is None:
        valid = x.new_ones(x.shape[:2], dtype=torch.bool)
    is_cls = valid & (valid.long().cumsum(1) == 1)
    first = x[torch.arange(x.shape[0], device=x.device), is_cls.long().argmax(1)]
    if pooling == "cls":
        return first
    rest = (valid & ~is_cls)[..., None]
    count = rest.sum(1)
    return torch.where(count > 0, (x * rest).sum(1) / count.clamp(min=1), first)

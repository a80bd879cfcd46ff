"""Sizes of the transformers classes."""

from __future__ import annotations

from typing import Any

from transformers import PretrainedConfig


class MoMoConfig(PretrainedConfig):
    """Configuration of the encoder and of what is put on it.

    Args:
        hidden_size, num_hidden_layers, num_attention_heads, intermediate_size: Sizes of the encoder.
        image_size: Side in pixels that positions are defined on; other multiples of patch_size interpolate them.
        vocab_size: Entries of the vocabulary, 0 for images alone.
        max_position_embeddings: Longest text in word pieces, without [CLS].
        pooling: What `pooler_output` is: 'cls' for [CLS], 'mean' for the mean of the other tokens.
        projection_dim: Width of the space where images and texts are compared; None is the encoder's.
        decoder_hidden_size, decoder_num_hidden_layers, decoder_num_attention_heads: Sizes of the decoder for words.
        classifier_dropout: On the pooled features, before a linear classifier.
        objectives: Of pre-training: 'mim', 'mlm', 'cmm' with the name of their 'decoder', 'itc', 'itm'; each may have a
            'loss_weight', those with pixels 'norm_pix'. None: those of stage 3.
    Raises: ValueError for another pooling.
    """

    model_type = "momo"

    def __init__(
        self,
        hidden_size: int = 768,
        num_hidden_layers: int = 12,
        num_attention_heads: int = 12,
        intermediate_size: int = 3072,
        image_size: int = 224,
        patch_size: int = 16,
        num_channels: int = 3,
        vocab_size: int = 30522,
        max_position_embeddings: int = 512,
        pooling: str = "cls",
        projection_dim: int | None = None,
        decoder_hidden_size: int = 512,
        decoder_num_hidden_layers: int = 8,
        decoder_num_attention_heads: int = 16,
        classifier_dropout: float = 0.0,
        objectives: dict[str, dict[str, Any]] | None = None,
        initializer_range: float = 0.02,
        layer_norm_eps: float = 1e-6,
        pad_token_id: int = 0,
        cls_token_id: int = 101,
        mask_token_id: int = 103,
        **kwargs: Any,
    ) -> None:
        if pooling not in ("cls", "mean"):
            raise ValueError(f"pooling={pooling!r} is unknown; choose 'cls' or 'mean'")
        if objectives is None:
            objectives = {"mlm": {"decoder": "text"}, "cmm": {"decoder": "cross_modal"}, "itc": {}, "itm": {}}
        super().__init__(pad_token_id=pad_token_id, **kwargs)
        self.hidden_size, self.num_hidden_layers = hidden_size, num_hidden_layers
        self.num_attention_heads, self.intermediate_size = num_attention_heads, intermediate_size
        self.image_size, self.patch_size, self.num_channels = image_size, patch_size, num_channels
        self.vocab_size, self.max_position_embeddings = vocab_size, max_position_embeddings
        self.pooling, self.projection_dim = pooling, projection_dim or hidden_size
        self.decoder_hidden_size, self.decoder_num_hidden_layers = decoder_hidden_size, decoder_num_hidden_layers
        self.decoder_num_attention_heads, self.classifier_dropout = decoder_num_attention_heads, classifier_dropout
        self.objectives = objectives
        self.initializer_range, self.layer_norm_eps = initializer_range, layer_norm_eps
        self.cls_token_id, self.mask_token_id = cls_token_id, mask_token_id

"""Pure functions, most of them on tensors: no registry, no MMEngine."""

from .answers import clean_answer, normalize_answer
from .attention import AttentionMaps, cls_attention, packed_attention
from .gather import gather_with_grad, global_mean, rank, world_size
from .masking import check_mask_ratio, key_of, keyed_generator, num_hidden, random_masking
from .packing import PackedTokens, Run, SequenceLayout
from .patches import denormalize_patches, grid_size, normalize_patches, patchify, unpatchify
from .positions import cached_sincos_2d, sincos_1d, sincos_2d
from .precision import at_least_float32, without_autocast
from .relevance import relevance_of_visible
from .sequences import DecodePlan, EncodePlan, plan_pairs, plan_sequences, plan_subset

__all__ = [
    "AttentionMaps",
    "DecodePlan",
    "EncodePlan",
    "PackedTokens",
    "Run",
    "SequenceLayout",
    "at_least_float32",
    "cached_sincos_2d",
    "check_mask_ratio",
    "cls_attention",
    "clean_answer",
    "denormalize_patches",
    "gather_with_grad",
    "global_mean",
    "grid_size",
    "key_of",
    "keyed_generator",
    "normalize_answer",
    "normalize_patches",
    "num_hidden",
    "packed_attention",
    "patchify",
    "plan_pairs",
    "plan_sequences",
    "plan_subset",
    "random_masking",
    "rank",
    "relevance_of_visible",
    "sincos_1d",
    "sincos_2d",
    "unpatchify",
    "without_autocast",
    "world_size",
]

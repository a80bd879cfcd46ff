"""This project's models to transformers' and back. Weights keep their shapes, so only names are changed."""

from __future__ import annotations

from copy import deepcopy
from typing import Any, NamedTuple

from tokenizers.processors import TemplateProcessing
from torch import Tensor, nn
from transformers import (
    BertTokenizerFast,
    PreTrainedModel,
    VisionTextDualEncoderProcessor,
    ViTImageProcessorFast,
)

from momo.models import CMM, ITC, ITM, MIM, MLM, MoMoViT, TextClassifier, VQAClassifier
from momo.models.necks.contrastive_projection import POOLINGS
from momo.models.pretrainers import find_objective

from .configuration_momo import MoMoConfig
from .modeling_momo import MoMoModel
from .modeling_momo_heads import (
    MoMoForImageClassification,
    MoMoForImageTextRetrieval,
    MoMoForQuestionAnswering,
    MoMoForSequenceClassification,
)
from .modeling_momo_masked import MoMoForMaskedLM
from .modeling_momo_pretraining import MoMoForPreTraining

PARTS = ("encoder", "pretraining", "retrieval", "masked-lm", "masked-caption", "classifier")


class _Part(NamedTuple):
    """names: how transformers' names begin -> how ours do, the first that fits counts. settings: of its config."""

    cls: type[PreTrainedModel]
    names: dict[str, str]
    settings: dict[str, Any]


def to_transformers(model: nn.Module, part: str, tokenizer: BertTokenizerFast | None = None) -> PreTrainedModel:
    """A part of a model in transformers' classes, with its weights, in evaluation mode.

    Args:
        model: A pre-training model, TextClassifier, VQAClassifier, or mmpretrain's ImageClassifier with MoMoViT.
        part: 'encoder'; of a pre-training model also 'retrieval', 'masked-lm' (hidden words in text) and
            'masked-caption' (with the help of an image), 'pretraining' (all of it); of the others 'classifier'.
        tokenizer: What the model was trained with; its ids of special tokens go into the config.
    Raises: ValueError for a part that the model does not have, or a tokenizer of more words than the model's.
    """
    described = _describe(model, part)
    settings = _encoder_settings(model.backbone) | described.settings
    if tokenizer is not None:
        if len(tokenizer) > settings["vocab_size"] > 0:
            raise ValueError(f"the tokenizer has {len(tokenizer)} words, the model {settings['vocab_size']}")
        settings |= {f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("pad", "cls", "mask")}
    result = described.cls(MoMoConfig(**settings)).eval()
    weights = model.state_dict()
    own = {name: weights[_our_name(name, described.names)] for name in _names_of(result)}
    result.load_state_dict(own, strict=False)  # all but tied weights, which are there already
    return result


def from_transformers(converted: PreTrainedModel, model: nn.Module, part: str) -> dict[str, Tensor]:
    """Weights of a transformers model under the names that they have in this project's model.

    Args:
        model: Says where the part lies; its own weights are not read.
        part: See `to_transformers`.
    Raises: ValueError if it is not a model of that part.
    """
    described = _describe(model, part)
    if not isinstance(converted, described.cls):
        raise ValueError(f"part={part!r} is a {described.cls.__name__}, got a {type(converted).__name__}")
    weights = converted.state_dict()
    return {_our_name(name, described.names): weights[name] for name in _names_of(converted)}


def processor_for(
    model: nn.Module, tokenizer: BertTokenizerFast | None = None
) -> VisionTextDualEncoderProcessor | ViTImageProcessorFast:
    """What prepares inputs as this project does: images squeezed to a square, texts as [CLS] A or [CLS] A [SEP] B.

    Args:
        tokenizer: What the model was trained with. Without, images alone are prepared.
    """
    mean, std = (getattr(model.data_preprocessor, name).flatten() / 255 for name in ("mean", "std"))
    side = model.backbone.image_embed.base_grid[0] * model.backbone.patch_size
    images = ViTImageProcessorFast(
        size={"height": side, "width": side},
        resample=3,  # bicubic
        image_mean=mean.tolist(),
        image_std=std.tolist(),
        do_convert_rgb=True,
    )
    if tokenizer is None:
        return images
    tokenizer = deepcopy(tokenizer)  # asked to pad once, a tokenizer goes on padding; this project must not
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A",
        pair="[CLS] $A [SEP] $B",
        special_tokens=[("[CLS]", tokenizer.cls_token_id), ("[SEP]", tokenizer.sep_token_id)],
    )
    tokenizer.model_input_names = ["input_ids", "attention_mask"]
    tokenizer.init_kwargs["model_input_names"] = tokenizer.model_input_names
    if model.backbone.text_embed is not None:
        tokenizer.model_max_length = 1 + model.backbone.text_embed.max_len
    return VisionTextDualEncoderProcessor(images, tokenizer)


def _names_of(model: PreTrainedModel) -> list[str]:
    tied = model._tied_weights_keys or []
    return [name for name in model.state_dict() if name not in tied]


def _our_name(name: str, names: dict[str, str]) -> str:
    for theirs, ours in names.items():
        if name.startswith(theirs):
            return ours + name.removeprefix(theirs)
    raise ValueError(f"{name!r} has no counterpart")


def _describe(model: nn.Module, part: str) -> _Part:
    if part not in PARTS:
        raise ValueError(f"part={part!r} is unknown; choose one of {PARTS}")
    if part == "encoder":
        return _Part(MoMoModel, {"": "backbone."}, {})
    if part == "classifier":
        return _classifier(model)
    if not hasattr(model, "objectives"):
        raise ValueError(f"part={part!r}: a {type(model).__name__} has an encoder and a classifier only")
    if part == "pretraining":
        return _pretraining(model)
    return _retrieval(model) if part == "retrieval" else _masked(model, MLM if part == "masked-lm" else CMM)


def _pretraining(model: nn.Module) -> _Part:
    """All objectives; where a kind is there for several modalities, the first."""
    names, settings, objectives = {"momo.": "backbone.", "decoders.": "decoders."}, {}, {}
    there = {type(objective) for table in model.objectives.values() for objective in table.values()}
    unknown = there - {MIM, MLM, CMM, ITC, ITM}
    if unknown:
        raise ValueError(f"transformers' class has no objective {sorted(kind.__name__ for kind in unknown)}")
    for kind in (MIM, MLM, CMM):
        if kind in there:
            found = find_objective(model, kind)
            name = found.objective.decoder
            sizes = _decoder_settings(found.decoder)
            if settings and sizes != settings:
                raise ValueError(f"decoders.{name} is of another size than others; transformers' class has one")
            settings = sizes
            names[f"word_bias.{name}"] = f"decoders.{name}.token_bias"
            wanted = {"decoder": name, "norm_pix": found.objective.image_loss.norm_pix}
            objectives[kind.__name__.lower()] = wanted | {"loss_weight": found.objective.loss_weight}
    for kind, described in ((ITC, _contrast), (ITM, _matching)):
        if kind in there:
            new_names, new_settings = described(model)
            names, settings = names | new_names, settings | new_settings
            objectives[kind.__name__.lower()] = {"loss_weight": find_objective(model, kind).objective.loss_weight}
    return _Part(MoMoForPreTraining, names, settings | {"objectives": objectives})


def _contrast(model: nn.Module) -> tuple[dict[str, str], dict[str, Any]]:
    """Names and settings of the contrastive objective."""
    itc = find_objective(model, ITC)
    prefix, neck = f"objectives.{itc.modality}.{itc.name}", itc.objective.neck
    names = {
        "image_projection.": f"{prefix}.neck.image.",
        "text_projection.": f"{prefix}.neck.text.",
        "logit_scale": f"{prefix}.contrastive.logit_scale",
    }
    return names, dict(projection_dim=neck.image.out_features, pooling=_pooling(neck.pool))


def _matching(model: nn.Module) -> tuple[dict[str, str], dict[str, Any]]:
    itm = find_objective(model, ITM)
    return {"matching_head.": f"objectives.{itm.modality}.{itm.name}.head."}, {}


def _retrieval(model: nn.Module) -> _Part:
    (contrast, settings), (matching, _) = _contrast(model), _matching(model)
    return _Part(MoMoForImageTextRetrieval, {"momo.": "backbone.", **contrast, **matching}, settings)


def _masked(model: nn.Module, kind: type) -> _Part:
    found = find_objective(model, kind)
    prefix = f"decoders.{found.objective.decoder}."
    names = {"momo.": "backbone.", "decoder.": prefix, "lm_head.bias": f"{prefix}token_bias"}
    return _Part(MoMoForMaskedLM, names, _decoder_settings(found.decoder))


def _decoder_settings(decoder: nn.Module) -> dict[str, int]:
    return dict(
        decoder_hidden_size=decoder.embed.out_features,
        decoder_num_hidden_layers=len(decoder.blocks),
        decoder_num_attention_heads=decoder.blocks[0].attn.num_heads,
    )


def _classifier(model: nn.Module) -> _Part:
    names = {"momo.": "backbone.", "classifier.": "head."}
    if isinstance(model, TextClassifier):
        settings = dict(pooling=_pooling(model.pool), classifier_dropout=model.dropout.p)
        return _Part(MoMoForSequenceClassification, names, settings | {"num_labels": model.head.out_features})
    if isinstance(model, VQAClassifier):
        return _Part(MoMoForQuestionAnswering, names, {"num_labels": model.head[-1].out_features})
    if isinstance(model.backbone, MoMoViT) and hasattr(getattr(model, "head", None), "fc"):  # mmpretrain's
        poolings = {"cls_token": "cls", "avg_featmap": "mean"}
        if model.backbone.out_type not in poolings:
            raise ValueError(f"backbone.out_type={model.backbone.out_type!r} is not one of {sorted(poolings)}")
        settings = dict(pooling=poolings[model.backbone.out_type], num_labels=model.head.fc.out_features)
        return _Part(MoMoForImageClassification, names | {"classifier.": "head.fc."}, settings)
    raise ValueError(f"a {type(model).__name__} has no classifier that transformers' classes know")


def _pooling(pool: Any) -> str:
    return next(name for name, function in POOLINGS.items() if function is pool)


def _encoder_settings(backbone: MoMoViT) -> dict[str, Any]:
    block, text = backbone.blocks[0], backbone.text_embed
    side = backbone.image_embed.base_grid[0] * backbone.patch_size
    settings = dict(
        hidden_size=backbone.embed_dim,
        num_hidden_layers=backbone.num_layers,
        num_attention_heads=block.attn.num_heads,
        intermediate_size=block.mlp.fc1.out_features,
        image_size=side,
        patch_size=backbone.patch_size,
        num_channels=backbone.image_embed.proj.in_features // backbone.patch_size**2,
        vocab_size=0,
    )
    if text is not None:
        settings |= dict(vocab_size=text.words.num_embeddings, max_position_embeddings=text.max_len)
    return settings

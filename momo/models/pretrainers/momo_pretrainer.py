"""The pre-training model: objectives around one shared encoder."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from mmengine.model import BaseModel
from torch import Tensor, nn

from momo.models.objectives import Objective, Request
from momo.models.objectives.base import Batch, Planner
from momo.ops import PackedTokens
from momo.registry import MODELS


@MODELS.register_module()
class MoMoPretrainer(BaseModel):
    """Collect what the objectives of all modalities want encoded, encode it in one packed pass, hand it back.

    Objectives that are guided by another's similarity (ITM by ITC) share a second pass.

    Args:
        backbone: Config of the shared encoder.
        decoders: Configs of decoders by name; sizes that both must agree on are taken from the backbone.
        objectives: Configs of objectives by modality and name, as section 3.2 lists them for each stage.
        data_preprocessor: Config of the data preprocessor.
    Raises: ValueError if an objective names a decoder, a guide or an objective to reuse that is not there or does not
        fit.
    """

    def __init__(
        self,
        backbone: dict,
        decoders: dict[str, dict],
        objectives: dict[str, dict[str, dict]],
        data_preprocessor: dict | nn.Module | None = None,
        init_cfg: dict | list | None = None,
    ) -> None:
        if not isinstance(data_preprocessor, nn.Module):
            data_preprocessor = MODELS.build(data_preprocessor or dict(type="momo.MoMoDataPreprocessor"))
        super().__init__(data_preprocessor, init_cfg)
        self.backbone = MODELS.build(backbone)
        shared = _shared_sizes(backbone, self.backbone.embed_dim)
        self.decoders = nn.ModuleDict({name: MODELS.build({**shared, **cfg}) for name, cfg in decoders.items()})
        self.objectives = nn.ModuleDict(
            {
                modality: nn.ModuleDict({name: self._build_objective(cfg) for name, cfg in table.items()})
                for modality, table in objectives.items()
            }
        )
        self._check_references()

    def _build_objective(self, cfg: dict) -> Objective:
        cls = MODELS.get(cfg["type"])
        needs_width = "embed_dim" in inspect.signature(cls).parameters
        return MODELS.build({"embed_dim": self.backbone.embed_dim, **cfg} if needs_width else cfg)

    def _check_references(self) -> None:
        for modality, table in self.objectives.items():
            for name, objective in table.items():
                self._check_decoder(f"objectives.{modality}.{name}.decoder", objective)
                guides = [other for other in table if table[other].gives_similarity]
                if objective.guide is not None and objective.guide not in guides:
                    raise ValueError(f"objectives.{modality}.{name}.guide={objective.guide!r} is not one of {guides}")
                self._check_reuse(f"objectives.{modality}.{name}", objective, table)

    def _check_reuse(self, key: str, objective: Objective, table: nn.ModuleDict) -> None:
        if objective.reuses is None:
            return
        there = [name for name, other in table.items() if other.encodes_pairs]
        if objective.reuses not in there:
            raise ValueError(f"{key}.reuses={objective.reuses!r} is not one of {there}")
        theirs = table[objective.reuses].max_pairs
        if theirs != objective.max_pairs:
            raise ValueError(
                f"{key}.max_pairs={objective.max_pairs} must be that of {objective.reuses!r}, {theirs}, whose pairs it "
                "reuses"
            )

    def _check_decoder(self, key: str, objective: Objective) -> None:
        if objective.decoder is None:
            return
        if objective.decoder not in self.decoders:
            raise ValueError(f"{key}={objective.decoder!r} is not one of {sorted(self.decoders)}")
        lacking = set(objective.decoder_outputs) - set(self.decoders[objective.decoder].outputs)
        if lacking:
            raise ValueError(f"{key}={objective.decoder!r}: that decoder's outputs lack {sorted(lacking)}")
        if "tokens" in objective.decoder_outputs and self.backbone.text_embed is None:
            raise ValueError(f"{key}: predicting words needs model.backbone.vocab_size above 0")

    @property
    def modalities(self) -> tuple[str, ...]:
        return tuple(self.objectives)

    def planners(self, modality: str) -> dict[str, Planner]:
        """Picklable functions, by objective, that draw masks and index tables for a batch in the loader's workers."""
        table = self.objectives[modality]
        planners = {
            name: objective.planner(self.backbone.patch_size, f"{modality}/{name}") for name, objective in table.items()
        }
        for name, objective in table.items():
            if objective.reuses is not None:
                planners[name] = planners[name].with_masks_of(planners[objective.reuses])
        return planners

    def forward(
        self, inputs: dict[str, Batch], data_samples: Any = None, mode: str = "loss"
    ) -> dict[str, Tensor] | list[dict[str, tuple[float, int]]]:
        """Losses of every objective of the modalities that are in `inputs`.

        Args:
            inputs: Collated and preprocessed batches by modality.
            mode: 'loss', or 'predict' for validation.
        Returns: scalars named '<modality>/<objective>_<loss>'; those with 'loss' in the name are summed for backward.
            In validation, a list of one: the same as floats, each with the number of samples, as MeanLoss reads them.
        """
        if mode not in ("loss", "predict"):
            raise ValueError(f"mode={mode!r}: a pre-training model knows 'loss' and 'predict'")
        losses = self._losses(inputs)
        if mode == "loss":
            return losses
        counts = {modality: len(batch["keys"]) for modality, batch in inputs.items()}
        return [{name: (float(value), counts[name.split("/")[0]]) for name, value in losses.items()}]

    def _losses(self, inputs: dict[str, Batch]) -> dict[str, Tensor]:
        unknown = set(inputs) - set(self.objectives)
        if unknown:
            raise ValueError(f"no objectives for {sorted(unknown)}; this model has them for {sorted(self.objectives)}")
        inputs = self.with_word_tokens(inputs)
        losses: dict[str, Tensor] = {}
        similarities: dict[tuple[str, str], Tensor | None] = {}
        done: dict[tuple[str, str], list[PackedTokens]] = {}
        for guided in (False, True):
            chosen = [
                (modality, name, objective)
                for modality in inputs
                for name, objective in self.objectives[modality].items()
                if (objective.guide is not None) is guided
            ]
            requests = [
                objective.request(
                    self.backbone,
                    inputs[modality],
                    inputs[modality]["plans"][name],
                    similarities.get((modality, objective.guide)),
                )
                for modality, name, objective in chosen
            ]
            for (modality, name, objective), encoded in zip(chosen, self._encode(requests), strict=True):
                batch, plan = inputs[modality], inputs[modality]["plans"][name]
                done[modality, name] = encoded.tokens
                if objective.reuses is not None:
                    encoded = encoded._replace(tokens=[*encoded.tokens, *done[modality, objective.reuses]])
                decoder = self.decoders[objective.decoder] if objective.decoder else None
                result = objective.loss(encoded, batch, plan, self.backbone, decoder)
                losses |= {f"{modality}/{name}_{key}": value for key, value in result.losses.items()}
                similarities[modality, name] = result.similarity
        return losses

    def with_word_tokens(self, inputs: dict[str, Batch]) -> dict[str, Batch]:
        """Embed the words of all modalities at once: the gradient of each look-up is as large as the vocabulary."""
        texts = {modality: batch for modality, batch in inputs.items() if "words" in batch}
        if not texts:
            return inputs
        words, positions = (torch.cat([batch[key] for batch in texts.values()]) for key in ("words", "positions"))
        tokens = self.backbone.text_embed(words, positions).split([len(batch["words"]) for batch in texts.values()])
        embedded = dict(zip(texts, tokens, strict=True))
        return {
            modality: {**batch, "word_tokens": embedded[modality]} if modality in embedded else batch
            for modality, batch in inputs.items()
        }

    def _encode(self, requests: list[Request]) -> list[Request]:
        """Encode the tokens of all requests in one packed pass."""
        parts = [tokens for request in requests for tokens in request.tokens]
        if not parts:
            return requests
        cls_only = [request.cls_only for request in requests for _ in request.tokens]
        encoded = iter(self.backbone.encode_together(parts, cls_only))
        return [request._replace(tokens=[next(encoded) for _ in request.tokens]) for request in requests]


def _shared_sizes(backbone: dict, embed_dim: int) -> dict[str, Any]:
    keys = ("img_size", "patch_size", "in_channels", "vocab_size", "max_text_len")
    return {"embed_dim": embed_dim, **{key: backbone[key] for key in keys if key in backbone}}

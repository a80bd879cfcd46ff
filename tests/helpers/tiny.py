"""Models and batches small enough for tests: width 32, depth 2, images of 32 pixels in 16 patches, 100 word pieces."""

from __future__ import annotations

from copy import deepcopy
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from mmengine.optim import OptimWrapper
from torch import Tensor, nn

from momo.datasets import PackedCollate
from momo.engine import MultiModalTrainLoop
from momo.models import MoMoPretrainer, MoMoViT
from momo.ops import key_of, keyed_generator

IMG_SIZE, PATCH_SIZE, VOCAB_SIZE, MAX_WORDS = 32, 8, 100, 12
NUM_PATCHES = (IMG_SIZE // PATCH_SIZE) ** 2

BACKBONE = dict(
    type="MoMoViT",
    arch=dict(embed_dim=32, depth=2, num_heads=4),
    img_size=IMG_SIZE,
    patch_size=PATCH_SIZE,
    vocab_size=VOCAB_SIZE,
    max_text_len=MAX_WORDS,
)
_DECODER = dict(type="MoMoDecoder", decoder_dim=16, depth=1, num_heads=2)
DECODERS = dict(
    image=dict(**_DECODER, outputs=["pixels"]),
    text=dict(**_DECODER, outputs=["tokens"]),
    cross_modal=dict(**_DECODER, outputs=["pixels", "tokens"]),
)
_MIM = dict(type="MIM", decoder="image", mask_ratio=0.75)
_MLM = dict(type="MLM", decoder="text", mask_ratio=0.15)
_PAIRS = dict(
    cmm=dict(type="CMM", decoder="cross_modal"),
    itc=dict(type="ITC"),
    itm=dict(type="ITM"),
)
STAGES = {
    1: dict(image=dict(mim=_MIM)),
    2: dict(image=dict(mim=_MIM), text=dict(mlm=_MLM)),
    3: dict(text=dict(mlm=_MLM), image_text=_PAIRS),
    "all": dict(image=dict(mim=_MIM), text=dict(mlm=_MLM), image_text=_PAIRS),
}


def tiny_vit(**settings: Any) -> MoMoViT:
    """The tiny encoder alone."""
    return MoMoViT(**{**{key: value for key, value in BACKBONE.items() if key != "type"}, **settings})


def tiny_config(objectives: dict, **backbone: Any) -> dict:
    """Config of a pre-training model with these objectives and the decoders that they name."""
    named = {cfg.get("decoder") for table in objectives.values() for cfg in table.values()}
    return dict(
        type="MoMoPretrainer",
        backbone={**BACKBONE, **backbone},
        decoders={name: cfg for name, cfg in deepcopy(DECODERS).items() if name in named},
        objectives=deepcopy(objectives),
    )


def tiny_pretrainer(stage: int | str | dict, seed: int = 0, **backbone: Any) -> MoMoPretrainer:
    """The model of a stage, or of a table of objectives, with random weights that are a function of the seed.

    Everything is moved away from its initial value: zero biases and unit norms would hide mistakes.
    """
    torch.manual_seed(seed)
    cfg = tiny_config(STAGES[stage] if isinstance(stage, (int, str)) else stage, **backbone)
    model = MoMoPretrainer(**{key: value for key, value in cfg.items() if key != "type"})
    return perturb(model)


def perturb(model: nn.Module, std: float = 0.05) -> nn.Module:
    """Add noise to every parameter."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * std)
    return model


def tiny_samples(modality: str, count: int, start: int = 0, size: int = IMG_SIZE) -> list[dict[str, Any]]:
    """Samples as a dataset returns them, distinct, with texts of 1 to MAX_WORDS pieces; functions of their number."""
    samples = []
    for index in range(start, start + count):
        draw = keyed_generator("tiny", modality, index)
        sample: dict[str, Any] = {"key": key_of(modality, index), "sample_id": f"{modality}/{index}"}
        if "image" in modality:
            sample["image"] = torch.from_numpy(draw.integers(0, 256, (3, size, size), dtype=np.uint8))
            sample["image_id"] = index
        if "text" in modality:
            sample["words"] = draw.integers(5, VOCAB_SIZE, 1 + (5 * index + 3) % MAX_WORDS)
        samples.append(sample)
    return samples


def tiny_batch(model: MoMoPretrainer, modality: str, count: int = 4, start: int = 0, **settings: Any) -> dict[str, Any]:
    """A collated batch with the plans of the model's objectives, as the loop hands it to the model."""
    return PackedCollate(model.planners(modality))(tiny_samples(modality, count, start, **settings))


def tiny_batches(model: MoMoPretrainer, count: int = 4, start: int = 0) -> dict[str, dict[str, Any]]:
    """A batch of every modality of the model; sizes differ."""
    return {name: tiny_batch(model, name, count + i, start) for i, name in enumerate(model.modalities)}


def preprocessed(model: MoMoPretrainer, batches: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Batches as the model's `forward` takes them: images normalised."""
    return model.data_preprocessor(batches, True)["inputs"]


def with_word_tokens(model: MoMoPretrainer, batch: dict[str, Any]) -> dict[str, Any]:
    """A preprocessed batch as objectives see it."""
    return model.with_word_tokens({"any": batch})["any"]


def gradients(model: nn.Module) -> dict[str, Tensor]:
    """Copies of all gradients by name, zeros where there is none."""
    return {
        name: torch.zeros_like(p) if p.grad is None else p.grad.clone()
        for name, p in model.named_parameters()
        if p.requires_grad
    }


class RecordingOptimWrapper(OptimWrapper):
    """Keeps the gradients of every step and changes nothing."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__(torch.optim.SGD(model.parameters(), lr=0.0))
        self.model, self.steps = model, []

    def step(self, **kwargs) -> None:
        self.steps.append(gradients(self.model))


def update_gradients(model: nn.Module, batches: dict[str, Any], cmga: str) -> tuple[list[dict[str, Tensor]], dict]:
    """What the training loop's own update does: the gradients of each optimizer step, and the log."""
    loop = MultiModalTrainLoop.__new__(MultiModalTrainLoop)
    inner = model.module if hasattr(model, "module") else model
    optim_wrapper = RecordingOptimWrapper(inner)
    loop._runner, loop.cmga = SimpleNamespace(model=model, optim_wrapper=optim_wrapper), cmga
    log = loop._update(batches)
    return optim_wrapper.steps, log

"""A training step on the meta device: the model's own code on tensors that have shapes and no values."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any
from unittest import mock

import torch
from mmengine.config import Config
from torch import Tensor, distributed, nn
from torch.nn import functional as F
from torch.testing._internal.distributed.fake_pg import FakeStore  # also makes the backend 'fake' known

from momo.datasets import PackedCollate
from momo.engine.loaders import text_limits
from momo.models import MoMoPretrainer
from momo.ops import key_of, keyed_generator
from momo.registry import MODELS, OPTIM_WRAPPER_CONSTRUCTORS

CAPTION_WORDS = 12  # MoMo 3.4: captions have about 12 tokens on average


# ------------------------------------------------------------------ batches
def batch_size(cfg: Config, modality: str, words: int | None = None) -> int:
    """Samples of a modality in a step of one process; with `max_tokens`, as many texts of equal length as it holds.

    Args:
        words: As in `sample_sizes`.
    Raises: ValueError naming the key if the config has neither, or for texts that are too long for the budget.
    """
    key, loader = (
        f"train_dataloader.loaders.{modality}",
        {**cfg.train_dataloader, **cfg.train_dataloader.loaders[modality]},
    )
    size, budget = loader.get("batch_size"), loader.get("max_tokens")
    if size is not None:
        return size
    if budget is None:
        raise ValueError(f"{key} has neither batch_size nor max_tokens, and train_dataloader has none")
    _, length = sample_sizes(cfg, modality, words)
    if not length or length > budget:
        raise ValueError(f"{key}.max_tokens={budget} does not hold a text of {length} word pieces")
    return budget // length


def reads_tokens(dataset: Mapping[str, Any]) -> bool:
    """Whether a dataset's config reads texts that are cut into word pieces already."""
    return dataset["type"].rpartition(".")[2] == "TokenCorpus"


def sample_sizes(cfg: Config, modality: str, words: int | None) -> tuple[tuple[int, int] | None, int | None]:
    """Pixels of an image, and word pieces of a text, None where a modality has none, as its pipeline makes them.

    Args:
        words: Word pieces of a text, None for the default: the most that Tokenize lets through, for captions 12.
    Raises: ValueError if the pipeline makes neither, or cuts texts shorter than `words`.
    """
    key = f"train_dataloader.loaders.{modality}.dataset.pipeline"
    dataset = cfg.train_dataloader.loaders[modality].dataset
    pipeline = dataset.get("pipeline", [])
    size = length = None
    if any(step.type.endswith("LoadImage") for step in pipeline):
        size = ([step.size for step in pipeline if "size" in step] or [cfg.model.backbone.get("img_size", 224)])[-1]
        size = (size, size) if isinstance(size, int) else tuple(size)
    limits = [step.get("max_len", 512) for step in pipeline if step.type.endswith("Tokenize")]
    limits += [dataset.get("max_len", 512)] if reads_tokens(dataset) else []
    if limits:
        length = words or (min(CAPTION_WORDS, limits[-1]) if size else limits[-1])
        if length > limits[-1]:
            raise ValueError(f"{key} cuts texts at {limits[-1]} word pieces: {modality}={length} is too many")
    elif words:
        raise ValueError(f"{key} has no Tokenize: {modality}={words} names the words of nothing")
    if size is None and length is None:
        raise ValueError(f"{key} has neither LoadImage nor Tokenize: it is not known what its samples are")
    return size, length


def synthetic_batch(cfg: Config, model: MoMoPretrainer, modality: str, words: int | None = None) -> dict[str, Any]:
    """A batch as the loaders collate it, its masks drawn by the model's own planners; all texts are equally long."""
    size, length = sample_sizes(cfg, modality, words)
    samples = []
    for index in range(batch_size(cfg, modality, words)):
        sample: dict[str, Any] = {"key": key_of(modality, index), "sample_id": f"{modality}/{index}"}
        if size is not None:
            sample |= {"image": torch.zeros(3, *size, dtype=torch.uint8), "image_id": index}
        if length is not None:
            vocabulary = model.backbone.text_embed.words.num_embeddings
            sample["words"] = keyed_generator(modality, index).integers(vocabulary, size=length)
        samples.append(sample)
    return PackedCollate(model.planners(modality), text_limits(model))(samples)


# ------------------------------------------------------------------ surroundings
class GpuKernels:
    """While entered, layers run on meta as on a GPU: attention without maps; with `half`, linear layers and attention
    in that precision and LayerNorm in float32, as under autocast, which meta does not have.

    All else in this project's models follows its inputs, and the losses ask for float32 themselves. Functions are
    replaced by name: torch leaves a TorchFunctionMode during backward, where `with_cp` runs layers once more.
    """

    def __init__(self, half: torch.dtype | None) -> None:
        self.half = half
        self.cast_weights: dict[int, Tensor] | None = None  # a dict while weights, once cast, are kept
        self._linear, self._layer_norm = F.linear, F.layer_norm
        self._replaced = mock.patch.multiple(
            F, linear=self.linear, layer_norm=self.layer_norm, scaled_dot_product_attention=self.attention
        )

    def __enter__(self) -> GpuKernels:
        self._replaced.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._replaced.stop()

    def _cast(self, x: Tensor | None) -> Tensor | None:
        if self.half is None or x is None:
            return x
        if self.cast_weights is None or not isinstance(x, nn.Parameter):
            return x.to(self.half)
        if id(x) not in self.cast_weights:
            self.cast_weights[id(x)] = x.to(self.half)
        return self.cast_weights[id(x)]

    def linear(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        return self._linear(self._cast(x), self._cast(weight), self._cast(bias))

    def layer_norm(self, x: Tensor, *args: Any) -> Tensor:
        return self._layer_norm(x if self.half is None else x.float(), *args)

    def attention(self, q_BHLD: Tensor, k_BHLD: Tensor, v_BHLD: Tensor) -> Tensor:
        parts = [self._cast(x) for x in (q_BHLD, k_BHLD, v_BHLD)]
        return torch.ops.aten._scaled_dot_product_efficient_attention(*parts, None, torch.is_grad_enabled())[0]


@contextmanager
def as_one_of(processes: int) -> Iterator[None]:
    """Be the first of so many processes, the others being torch's fake ones, that answer and send nothing."""
    if processes == 1:
        yield
        return
    distributed.init_process_group("fake", store=FakeStore(), rank=0, world_size=processes)
    try:
        yield
    finally:
        distributed.destroy_process_group()


# ------------------------------------------------------------------ the step
class MetaStep:
    """A step of a pre-training config, as `MultiModalTrainLoop` makes it.

    Args:
        words: Word pieces of a text by modality; see `sample_sizes` for those that are not named.
    Raises: ValueError as `batch_size` and `sample_sizes`.
    """

    def __init__(self, cfg: Config, words: Mapping[str, int]) -> None:
        self.cmga = cfg.train_cfg.get("cmga", "joint")
        with torch.device("meta"):
            self.model = MODELS.build(cfg.model).to("meta").train()  # `to` tells the preprocessor, too
        self.optimizer = _build_optimizer(cfg.optim_wrapper, self.model)
        self.batches = {name: synthetic_batch(cfg, self.model, name, words.get(name)) for name in self.model.modalities}
        _draw_on_host(self.model, self.batches)
        self.give_gradients()
        self.optimizer.step()  # makes its state
        self.optimizer.zero_grad()

    def give_gradients(self) -> None:
        for parameter in self.model.parameters():
            if parameter.requires_grad:
                parameter.grad = torch.empty_like(parameter)

    def exchanges(self) -> list[bool]:
        """Of each backward, whether its gradients are exchanged and used at once."""
        if self.cmga == "joint":
            return [True]
        return [self.cmga == "off" or name == self.model.modalities[-1] for name in self.model.modalities]

    def run(self, gpus: int, half: torch.dtype | None) -> Iterator[None]:
        """Run it as one of `gpus` processes, stopping after each forward and each backward."""
        parts = [self.batches] if self.cmga == "joint" else [{name: batch} for name, batch in self.batches.items()]
        with as_one_of(gpus), GpuKernels(half) as kernels:
            for part, exchanges in zip(parts, self.exchanges(), strict=True):
                data = self.model.data_preprocessor(part, training=True)
                kernels.cast_weights = {}
                loss, _ = self.model.parse_losses(self.model(**data, mode="loss"))
                kernels.cast_weights = None  # autocast ends with the forward pass
                yield
                loss.backward()
                yield
                if exchanges:
                    self.optimizer.step()
                    self.optimizer.zero_grad()


def _build_optimizer(cfg: Config, model: nn.Module) -> torch.optim.Optimizer:
    settings = {key: value for key, value in cfg.optimizer.items() if key != "fused"}  # no such kernel on meta
    constructor = OPTIM_WRAPPER_CONSTRUCTORS.build(
        dict(
            type=cfg.get("constructor", "DefaultOptimWrapperConstructor"),
            optim_wrapper_cfg=dict(type="OptimWrapper", optimizer=settings),
            paramwise_cfg=cfg.get("paramwise_cfg"),
        )
    )
    optimizer = constructor(model).optimizer
    for group in optimizer.param_groups:
        group["foreach"] = not cfg.optimizer.get("fused")  # what torch chooses for parameters on a GPU
    return optimizer


def _draw_on_host(model: MoMoPretrainer, batches: dict[str, dict[str, Any]]) -> None:
    """Let objectives that draw by similarity draw on the host, as if all pairs were equally similar: meta tensors have
    no values to draw by.
    """

    def request(original: Callable, host: Any, backbone: nn.Module, batch: dict, plan: Any, similarity: Tensor) -> Any:
        plan = plan._replace(candidates=host.candidates, noise=host.noise)  # what is drawn by
        return original(backbone, batch, plan, torch.zeros(similarity.shape))

    for modality, table in model.objectives.items():
        for name, objective in table.items():
            if objective.guide is not None:
                objective.request = partial(request, objective.request, batches[modality]["plans"][name])

"""This project's side of each comparison: its own code and shipped configs, random weights, made inputs."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from itertools import count as numbers
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.runner import Runner
from sizes import Size, token_lengths
from step import Work
from torch import distributed
from torch.testing._internal.distributed.fake_pg import FakeStore  # also makes the backend 'fake' known
from torch.utils.data import Dataset

from momo.datasets import PackedCollate
from momo.engine import MultiModalTrainLoop
from momo.models import MoMoPretrainer, MoMoViT
from momo.models.downstream.retrieval import image_features, text_features
from momo.models.losses import GlobalContrastiveLoss
from momo.ops import PackedTokens, SequenceLayout, key_of, keyed_generator
from momo.registry import DATASETS, LOOPS, MODELS

ROOT = Path(__file__).parents[1]
Texts = tuple[int, int, int | None]  # the arguments of `token_lengths`


@DATASETS.register_module()
class MadeSamples(Dataset):
    """Samples as data sets return them: noise for images, random words. [CLS] is one of `tokens`."""

    def __init__(self, number: int, tokens: list[int] | None, image: int | None, vocabulary: int) -> None:
        self.number, self.tokens, self.image, self.vocabulary = number, tokens, image, vocabulary

    def __len__(self) -> int:
        return self.number

    def __getitem__(self, key: Any) -> dict[str, Any]:
        index = getattr(key, "index", key)
        draw = keyed_generator("made", index)
        sample: dict[str, Any] = {"key": key_of("made", index), "sample_id": str(index)}
        if self.image is not None:
            pixels = draw.integers(0, 256, (3, self.image, self.image), dtype=np.uint8)
            sample |= {"image": torch.from_numpy(pixels), "image_id": index}
        if self.tokens is not None:
            sample["words"] = draw.integers(5, self.vocabulary, self.tokens[index] - 1)
        return sample


def _made(modality: str, size: Size, number: int, texts: Texts | None) -> dict[str, Any]:
    """Config of a data set of a modality."""
    tokens = token_lengths(*texts).tolist() if texts is not None else None
    image = size.image if "image" in modality else None
    return dict(type="MadeSamples", number=number, tokens=tokens, image=image, vocabulary=size.vocabulary)


def _resize(model: dict[str, Any], size: Size) -> dict[str, Any]:
    """A shipped config of a model with the encoder and the decoders of a size."""
    shared = dict(img_size=size.image, patch_size=size.patch)
    arch = dict(embed_dim=size.width, depth=size.depth, num_heads=size.heads)
    model["backbone"].update(shared, arch=arch)
    if model["backbone"].get("vocab_size") != 0:
        model["backbone"]["vocab_size"] = size.vocabulary
    for decoder in model.get("decoders", {}).values():
        decoder.update(decoder_dim=size.decoder_width, depth=size.decoder_depth, num_heads=size.decoder_heads)
    return model


def _pretrainer(stage: int, size: Size, options: Mapping[str, Mapping[str, Any]] | None = None) -> MoMoPretrainer:
    """A stage's model as shipped, but for its size and `options`, by objective."""
    model = _resize(Config.fromfile(ROOT / f"configs/_base_/models/stage{stage}.py").model.to_dict(), size)
    for table in model["objectives"].values():
        for name, objective in table.items():
            objective.update((options or {}).get(name, {}))
    return MODELS.build(model)


# ------------------------------------------------------------------ forward and backward
def pretraining(
    size: Size, stage: int, images: int = 0, texts: Texts | None = None, pairs: Texts | None = None, options=None
) -> Work:
    """A stage's losses on the modalities that have inputs."""
    model, inputs = _pretrainer(stage, size, options), {}
    wanted = {"image": (images, None), "text": (texts and texts[0], texts), "image_text": (pairs and pairs[0], pairs)}
    for modality, (number, lengths) in wanted.items():
        if number:
            samples = DATASETS.build(_made(modality, size, number, lengths))
            inputs[modality] = PackedCollate(model.planners(modality))([samples[i] for i in range(number)])
    inputs = model.data_preprocessor(inputs, True)["inputs"]
    return Work(lambda: model.parse_losses(model(inputs))[0], trains=model)


def packed_tokens(size: Size, tokens: int, length: int) -> Work:
    """One block of the encoder on sequences of `length` tokens, `tokens` in all."""
    arch = dict(embed_dim=size.width, depth=1, num_heads=size.heads)
    encoder = MoMoViT(arch, size.image, size.patch, vocab_size=0)
    packed = PackedTokens(torch.randn(tokens, size.width), SequenceLayout.equal(tokens // length, length))
    return Work(lambda: encoder.encode(packed).x.square().mean(), trains=encoder)


def contrastive(size: Size, local: int, everywhere: int) -> Work:
    """The contrastive loss of the first of many processes, `everywhere` pairs on all of them; the others are torch's
    fake ones, which answer and send nothing."""
    if not distributed.is_initialized():
        distributed.init_process_group("fake", store=FakeStore(), rank=0, world_size=everywhere // local)
    loss = GlobalContrastiveLoss()
    image, text = (torch.nn.functional.normalize(torch.randn(local, size.width)).requires_grad_() for _ in range(2))
    return Work(lambda: loss(image, text).loss, trains=loss)


# ------------------------------------------------------------------ inference
def vqa(size: Size, texts: Texts) -> Work:
    """Logits of answers to questions about pictures."""
    backbone = _resize(dict(backbone=dict(type="MoMoViT")), size)["backbone"]
    model = MODELS.build(dict(type="VQAClassifier", backbone=backbone)).eval()
    inputs = _inputs(model, "image_text", size, texts[0], texts)
    return Work(lambda: model(inputs, mode="tensor"), infers=True)


def image_embeddings(size: Size, images: int) -> Work:
    """Unit-length features of whole images."""
    model = _pretrainer(3, size).eval()
    batch = _inputs(model, "image", size, images, None)["image"]
    return Work(lambda: image_features(model, batch["images"]), infers=True)


def text_embeddings(size: Size, texts: Texts) -> Work:
    """Unit-length features of texts."""
    model = _pretrainer(3, size).eval()
    batch = _inputs(model, "text", size, texts[0], texts)["text"]
    words = batch["words"], batch["positions"], batch["word_counts"]
    return Work(lambda: text_features(model, *words), infers=True)


def _inputs(model: Any, modality: str, size: Size, number: int, texts: Texts | None) -> dict[str, Any]:
    """A preprocessed batch without masks."""
    samples = DATASETS.build(_made(modality, size, number, texts))
    batches = {modality: PackedCollate()([samples[i] for i in range(number)])}
    return model.data_preprocessor(batches, False)["inputs"]


# ------------------------------------------------------------------ whole training steps
@LOOPS.register_module()
class PausedLoop(MultiModalTrainLoop):
    """Makes everything ready and takes no step: the benchmark takes them one by one."""

    def run(self) -> torch.nn.Module:
        self.runner.call_hook("before_train")
        self.runner.call_hook("before_train_epoch")
        self.runner.model.train()
        return self.runner.model


def training(
    size: Size, config: str, batches: dict[str, tuple], part: str, steps: int = 1, cmga: str = "joint"
) -> Work:
    """Steps of a shipped training config on batches that are there already.

    Args:
        batches: By modality, (number, None) of images or the lengths of texts.
        part: 'loop': the loop's iteration with all hooks. 'update': the loop's update without hooks. 'step': the
            model's own `train_step`, the bare step.
        steps: How many make one step of the benchmark, which is also how often the loop logs.
    """
    loop = _paused_loop(size, config, batches, steps, cmga)
    inputs, index, runner = next(iter(loop.dataloader)), numbers(), loop.runner
    once = {
        "loop": lambda: loop.run_iter(next(index), inputs),
        "update": lambda: loop._update(inputs),
        "step": lambda: runner.model.train_step(inputs, runner.optim_wrapper),
    }[part]

    def call() -> None:
        for _ in range(steps):
            once()

    return Work(call)


def _paused_loop(size: Size, config: str, batches: dict[str, tuple], interval: int, cmga: str) -> PausedLoop:
    cfg = Config.fromfile(ROOT / config)
    _resize(cfg.model, size)
    cfg.train_dataloader.update(num_workers=0)
    for modality, loader in cfg.train_dataloader.loaders.items():
        number, texts = batches[modality][0], batches[modality] if "text" in modality else None
        loader["dataset"] = _made(modality, size, number, texts)  # `update` would merge the two
        loader.update(batch_size=number, num_workers=0)
    cfg.train_cfg.update(type="PausedLoop", cmga=cmga)
    cfg.default_hooks.logger.interval = interval
    cfg.custom_hooks = [dict(type="ProgressHook")]  # no stage before this one
    cfg.val_dataloader = cfg.val_cfg = cfg.val_evaluator = None
    cfg.work_dir = tempfile.mkdtemp(prefix="momo_benchmark_")
    runner = Runner.from_cfg(cfg)
    runner.train()
    return runner.train_loop

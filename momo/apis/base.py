"""What all inferencers share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from torch import Tensor, nn

from momo.datasets import BrokenSample, load_tokenizer
from momo.models import MoMoPretrainer
from momo.models.objectives import Objective
from momo.models.pretrainers import find_objective

from .inputs import ImageSource, as_list, read_batches
from .model import get_model


class Inferencer:
    """A trained model that is called with images or texts, as paths, URLs, pictures of Pillow, arrays or tensors.

    Single inputs and lists go in, lists come out, one result an input. Images are squeezed to the size that the model
    was trained on and read by threads, a batch ahead of the model; several batches show a progress bar.

    Args:
        model: What `get_model` returns, which several inferencers may share; or a config and, with `checkpoint`, its
            weights: see `get_model`.
        tokenizer: A folder with a BERT tokenizer, or a fast tokenizer; None takes the first folder that the model's
            config names.
        device: Where the model runs, such as 'cuda'; None leaves it where it is.
    Raises: ValueError if the model was not trained for this, for a config without a checkpoint, or for both a model and
        a checkpoint.
    """

    needs: tuple[type[Objective], ...] = ()  # the model has to be trained with one of them

    def __init__(
        self,
        model: nn.Module | Config | str | Path,
        checkpoint: str | Path | None = None,
        *,
        tokenizer: Any = None,
        device: str | torch.device | None = None,
    ) -> None:
        if isinstance(model, nn.Module) != (checkpoint is None):
            raise ValueError("give a config with its checkpoint, or a model, which has its weights, alone")
        self.model = model if isinstance(model, nn.Module) else get_model(model, checkpoint)
        reason = self.why_not(self.model)
        if reason:
            raise ValueError(reason)
        self.model.to(device)
        self._tokenizer = tokenizer

    @classmethod
    def why_not(cls, model: nn.Module) -> str | None:
        """Why a model cannot be used here; None if it can."""
        if not isinstance(model, MoMoPretrainer):
            return f"{cls.__name__} needs a pre-trained MoMoPretrainer, got a {type(model).__name__}"
        try:
            find_objective(model, *cls.needs)
        except ValueError as error:
            return f"{cls.__name__}: {error}"
        return None

    def trained_with(self, *kinds: type[Objective]) -> bool:
        """Whether the model has an objective of one of these kinds."""
        return any(isinstance(module, kinds) for module in self.model.objectives.modules())

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width that the model was trained on."""
        rows, columns = self.model.backbone.image_embed.base_grid
        return rows * self.model.backbone.patch_size, columns * self.model.backbone.patch_size

    @cached_property
    def tokenizer(self) -> Any:
        """Raises: ValueError if none is known or it is not the model's; FileNotFoundError if it is not there."""
        found = self._tokenizer or first_in_config(getattr(self.model, "_config", None), "tokenizer")
        if found is None:
            raise ValueError("the model's config names no tokenizer; give tokenizer=FOLDER")
        tokenizer = load_tokenizer(str(found)) if isinstance(found, (str, Path)) else found
        vocabulary = self.model.backbone.text_embed.words.num_embeddings
        if len(tokenizer) > vocabulary:
            name = tokenizer.name_or_path
            raise ValueError(f"tokenizer={name!r} has {len(tokenizer)} pieces, but the model knows {vocabulary}")
        return tokenizer

    def read(self, images: ImageSource | Sequence[ImageSource], batch_size: int, title: str) -> Iterator[Tensor]:
        """Batches (B, 3, height, width) uint8 at the model's size.

        Raises: BrokenSample, a ValueError, naming the first image that cannot be read.
        """
        for batch in read_batches(as_list(images, "images"), self.image_size, batch_size, title):
            for image in batch:
                if isinstance(image, BrokenSample):
                    raise image
            yield torch.stack(batch)


def first_in_config(cfg: Any, key: str, within: str | None = None) -> str | None:
    """The first string that a config has under a key, at any depth.

    Args:
        within: Only in a dict of this `type`.
    """
    if isinstance(cfg, Config):
        cfg = cfg.to_dict()
    if isinstance(cfg, dict):
        if isinstance(cfg.get(key), str) and within in (None, str(cfg.get("type")).rpartition(".")[2]):
            return cfg[key]
        cfg = list(cfg.values())
    if isinstance(cfg, (list, tuple)):
        return next(filter(None, (first_in_config(item, key, within) for item in cfg)), None)
    return None

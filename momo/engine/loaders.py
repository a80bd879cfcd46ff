"""Several data loaders that behave as one, where MMEngine expects one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from torch import nn
from torch.utils.data import DataLoader

from momo.datasets import build_loader
from momo.ops import world_size

from . import data_workers


class MultiModalLoader:
    """One endless loader a modality; an epoch is as long as the primary one's data.

    The others go on where they were: a shorter one starts its data again within the epoch, a longer one is seen whole
    only after several epochs (MoMo 3.6). Hooks and the log processor read `len`, `dataset`, `batch_size` and `sampler`.

    Args:
        loaders: By modality.
        primary: The modality whose length counts.
    Raises: ValueError if `primary` is not among the loaders.
    """

    def __init__(self, loaders: Mapping[str, DataLoader], primary: str) -> None:
        if primary not in loaders:
            raise ValueError(f"train_dataloader.primary={primary!r} is not one of the loaders {sorted(loaders)}")
        self.loaders, self.primary = dict(loaders), primary
        self.iterators: dict[str, Iterator] = {}
        self.dataset = self.loaders[primary].dataset
        self.sampler = self.loaders[primary].sampler
        self.batch_size = self.loaders[primary].batch_sampler.batch_size

    def __len__(self) -> int:
        return len(self.loaders[self.primary])

    def start_at(self, step: int, seed: int) -> None:
        """Begin with the batches of a training step, in O(1)."""
        for loader in self.loaders.values():
            loader.batch_sampler.start, loader.batch_sampler.seed = step, seed

    @property
    def plan(self) -> dict[str, Any]:
        """What order and position follow from, beside the seed: a run can be resumed where this is the same."""
        sizes = {
            modality: {"samples": len(loader.dataset), "global batch": loader.batch_sampler.batch_size * world_size()}
            for modality, loader in self.loaders.items()
        }
        return {"primary": self.primary, **sizes}

    def __iter__(self) -> Iterator[dict[str, Any]]:
        self.iterators = {modality: iter(loader) for modality, loader in self.loaders.items()}
        for batches in zip(*self.iterators.values(), strict=True):
            yield dict(zip(self.loaders, batches, strict=True))


class EvaluationLoader(MultiModalLoader):
    """Loaders that are run through one after the other; its length is that of all."""

    def __init__(self, loaders: Mapping[str, DataLoader]) -> None:
        super().__init__(loaders, primary=next(iter(loaders)))

    def __len__(self) -> int:
        return sum(len(loader) for loader in self.loaders.values())


def text_limits(model: nn.Module) -> tuple[int, int] | None:
    """The longest text and the size of the vocabulary of a model, None if it takes no text."""
    embedding = model.backbone.text_embed
    return None if embedding is None else (embedding.max_len, embedding.words.num_embeddings)


def build_multimodal_loaders(
    cfg: Mapping[str, Any], model: Any, *, key: str, seed: int, training: bool = True
) -> dict[str, DataLoader]:
    """Loaders for the modalities of a pre-training model, with the masks that its objectives ask for.

    Args:
        cfg: 'loaders': a loader config a modality; everything else (batch_size, num_workers) is their default.
        model: The (unwrapped) pre-training model.
        key: Name of this config, for messages.
    Raises: ValueError if loaders and objectives are not for the same modalities (in validation: fewer is fine).
    """
    cfg = dict(cfg)
    loaders = cfg.pop("loaders")
    cfg.pop("primary", None)
    unknown, missing = set(loaders) - set(model.modalities), set(model.modalities) - set(loaders)
    if unknown or (missing and training):
        raise ValueError(
            f"{key}.loaders are for {sorted(loaders)}, but model.objectives for {sorted(model.modalities)}: "
            "each modality needs both"
        )
    limits = text_limits(model)
    built = {}
    for modality, own in loaders.items():
        settings, planners = _with_watched_workers({**cfg, **own}), model.planners(modality)
        built[modality] = build_loader(settings, planners, text_limits=limits, seed=seed, training=training)
    return built


def _with_watched_workers(cfg: dict[str, Any]) -> dict[str, Any]:
    timeout = data_workers.TIMEOUT if cfg.get("num_workers") else 0
    return {"timeout": timeout, **cfg, "worker_init_fn": data_workers.start_worker}

"""From what a step costs to what a training takes on given GPUs, and what would take less memory."""

from __future__ import annotations

from copy import deepcopy
from typing import Any, NamedTuple

import torch
from cost import StepCost, count_step, ring_bytes
from meta_step import batch_size
from mmengine.config import Config

from momo.engine.config_check import ConfigError

GIB, DAY = 2**30, 86400
USABLE = 0.9  # our choice: the rest is for CUDA's context, NCCL, workspaces of kernels and fragments
PER_NODE = 8


class Gpu(NamedTuple):
    """memory: GiB of the versions there are. Dense FLOP/s by precision; half is the type that --amp takes. GB/s one
    way: of a GPU within its node, and of a node's network.
    """

    memory: tuple[int, ...]
    flops: dict[str, float]
    half: torch.dtype
    in_node: float
    network: float


# FLOP/s, memory and NVLink (half of the published sum of both ways): NVIDIA's data sheets of V100 SXM2, A100 SXM and
# H100 SXM (there with sparsity: halved). Networks are our assumption: 100, 400 and 3200 Gbit/s a node of 8.
GPUS = {
    "v100": Gpu((16, 32), dict(fp32=15.7e12, amp=125e12), torch.float16, 150, 12.5),
    "a100": Gpu((40, 80), dict(fp32=19.5e12, tf32=156e12, amp=312e12), torch.bfloat16, 300, 50),
    "h100": Gpu((80,), dict(fp32=67e12, tf32=495e12, amp=989e12), torch.bfloat16, 450, 400),
}

# Samples of the paper's data (3.4) by where the shipped configs read them; ImageNet-1K, "1M images" there, counted out.
PAPER_SAMPLES = {
    "data/imagenet/train": 1_281_167,
    "data/wikipedia/*.parquet": 6_600_000,
    "data/pmd_subset/train.json": 26_600_000,
}


class Setup(NamedTuple):
    """What is rented, and how it is used.

    memory: GiB. precision: a key of Gpu.flops. mfu: the share of that rate which a step reaches. bandwidth: GB/s that
    a ring over all GPUs passes on. words: see `cost.count_step`. samples: of the primary modality, None for the
    paper's.
    """

    gpus: int
    gpu: str
    memory: int
    precision: str
    mfu: float
    bandwidth: float
    words: dict[str, int]
    samples: int | None


# ------------------------------------------------------------------ the plan
def num_steps(cfg: Config, setup: Setup) -> int:
    """Steps of the config's schedule.

    Raises: ConfigError if it is in epochs and the number of samples is not known, or is below one global batch.
    """
    if cfg.train_cfg.get("max_iters"):
        return cfg.train_cfg.max_iters
    primary = cfg.train_dataloader.primary
    samples = setup.samples or _paper_samples(cfg.train_dataloader.loaders[primary].dataset)
    if samples is None:
        raise ConfigError(f"how many samples train_dataloader.loaders.{primary} has is not known: give --samples")
    size = batch_size(cfg, primary, setup.words.get(primary))
    steps = samples // (setup.gpus * size)
    if not steps:
        raise ConfigError(f"{samples} samples do not fill a global batch of {setup.gpus} x {size}")
    return cfg.train_cfg.max_epochs * steps


def _paper_samples(dataset: Config) -> int | None:
    places = [place for value in dataset.values() for place in (value if isinstance(value, list) else [value])]
    known = [PAPER_SAMPLES[place] for place in places if isinstance(place, str) and place in PAPER_SAMPLES]
    return known[0] if known else None


def step_seconds(cost: StepCost, setup: Setup, accumulative_counts: int) -> dict[str, float]:
    """Seconds of a step: computing, exchanging gradients, gathering for losses, and all together.

    The exchange runs beside the backward that it belongs to, and only what is longer than that adds to the step.
    """
    rate = GPUS[setup.gpu].flops[setup.precision] * setup.mfu
    exchange = ring_bytes(cost.gradients, setup.gpus) / (setup.bandwidth * 1e9)
    gather = cost.gathered / (setup.bandwidth * 1e9)
    waits = [max(exchange - part.backward_flops / rate, 0) for part in cost.backwards if part.exchanges]
    compute, exchanges = cost.flops / rate, len(waits) / accumulative_counts
    total = compute + sum(waits) / accumulative_counts + gather
    return dict(compute=compute, exchange=exchange * exchanges, gather=gather, step=total)


def make_plan(cfg: Config, setup: Setup) -> dict[str, Any]:
    """Bytes, seconds and days of a config's training.

    Raises: ConfigError and ValueError naming what is missing.
    """
    steps = num_steps(cfg, setup)
    half = GPUS[setup.gpu].half if setup.precision == "amp" else None
    cost = count_step(cfg, gpus=setup.gpus, half=half, words=setup.words)
    seconds = step_seconds(cost, setup, cfg.optim_wrapper.get("accumulative_counts", 1))
    days = steps * seconds["step"] / DAY
    return dict(
        **{name: value for name, value in cost._asdict().items() if name != "backwards"},
        flops=cost.flops,
        usable=int(USABLE * setup.memory * GIB),
        fits=cost.peak <= USABLE * setup.memory * GIB,
        seconds=seconds,
        samples_per_second={name: setup.gpus * count / seconds["step"] for name, count in cost.samples.items()},
        steps=steps,
        days=days,
        gpu_hours=24 * days * setup.gpus,
    )


# ------------------------------------------------------------------ what else would do
class Change(NamedTuple):
    """name: what is typed. options: as of --cfg-options. setup: fields that are replaced."""

    name: str
    options: dict[str, Any]
    setup: dict[str, Any]


def changes(cfg: Config, setup: Setup) -> list[Change]:
    """What saves memory and is not in use yet; the last is all together that go together."""
    found = []
    parts = {"model.backbone": cfg.model.backbone}
    parts |= {f"model.decoders.{name}": decoder for name, decoder in cfg.model.decoders.items()}
    keeps = {f"{key}.with_cp": True for key, part in parts.items() if not part.get("with_cp")}
    if keeps:
        found.append(Change("with_cp=True of encoder and decoders", keeps, {}))
    if setup.precision != "amp":
        found.append(Change("--amp", {}, {"precision": "amp"}))
    joint = cfg.train_cfg.get("cmga", "joint") == "joint"
    counts = cfg.optim_wrapper.get("accumulative_counts", 1)
    alone = []
    if joint and counts == 1 and len(cfg.model.objectives) > 1:
        alone.append(Change("train_cfg.cmga=sequential", {"train_cfg.cmga": "sequential"}, {}))
    halves = _half_batches(cfg)
    if halves:
        alone.append(Change(f"half the batch a GPU, {2 * setup.gpus} GPUs", halves, {"gpus": 2 * setup.gpus}))
    if halves and joint:
        longer = {"train_cfg.max_iters": 2 * cfg.train_cfg.max_iters} if cfg.train_cfg.get("max_iters") else {}
        accumulate = {**halves, **longer, "optim_wrapper.accumulative_counts": 2 * counts}
        found.append(Change(f"half the batch a GPU, accumulative_counts={2 * counts}", accumulate, {}))
    if len(found) < 2:
        return [*found, *alone]
    options = {key: value for change in found for key, value in change.options.items()}
    together = {key: value for change in found for key, value in change.setup.items()}
    return [*found, *alone, Change(" + ".join(change.name for change in found), options, together)]


def _half_batches(cfg: Config) -> dict[str, int]:
    """Options that halve the batch of every modality; none if one is odd."""
    sizes = {}
    for name, loader in cfg.train_dataloader.loaders.items():
        budget = loader.get("max_tokens")
        sizes[f"{name}.max_tokens" if budget else f"{name}.batch_size"] = budget or batch_size(cfg, name)
    if any(size % 2 for size in sizes.values()):
        return {}
    return {f"train_dataloader.loaders.{key}": size // 2 for key, size in sizes.items()}


def with_change(cfg: Config, setup: Setup, change: Change) -> dict[str, Any]:
    """The plan after a change."""
    cfg = deepcopy(cfg)
    cfg.merge_from_dict(change.options)
    return make_plan(cfg, setup._replace(**change.setup))

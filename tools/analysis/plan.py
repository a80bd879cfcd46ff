"""Memory, step time and days of a pre-training config on GPUs that are not rented yet. Needs no GPU and no data.

    python tools/analysis/plan.py configs/momo/stage3_vitb.py --gpus 64 --gpu v100 --amp
    python tools/analysis/plan.py configs/demo/stage3.py --gpus 2 --gpu h100 --samples 4000 --words text=40 image_text=4

A step is run on the meta device, where tensors have shapes and no values, and counted. What is counted, what is assumed
and what is left out: docs/planning.md. Where the step does not fit into the GPU's memory, it says what would.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from mmengine.config import Config, DictAction
from rich.console import Console
from rich.progress import track
from rich.table import Table
from training_plan import GIB, GPUS, PER_NODE, USABLE, Setup, changes, make_plan, with_change

from momo.engine.config_check import ConfigError
from momo.engine.launch import load_config
from momo.models import MoMoPretrainer
from momo.registry import MODELS


def as_tables(config: str, setup: Setup, plan: dict[str, Any], alternatives: list[dict[str, Any]]) -> list[Table]:
    """The plan, and where it does not fit, what the changes make of it."""
    gpus = f"{setup.gpus} x {setup.gpu} of {setup.memory} GiB"
    table = Table("a GPU and a step", "", title=f"{config} on {gpus}, {setup.precision}", title_justify="left")
    rows = (
        ("parameters", "parameters"),
        ("optimizer's state", "optimizer"),
        ("gradients", "gradients"),
        ("whole at once" if plan["sharded"] else "copies of them to send", "buckets"),
        ("kept for backward", "kept"),
        ("peak, all included", "peak"),
        (f"usable: {USABLE:.0%}", "usable"),
    )
    for name, key in rows:
        table.add_row(name, f"{plan[key] / GIB:.2f} GiB")
    table.add_row("fits", "yes" if plan["fits"] else "no", end_section=True)
    seconds, sent = plan["seconds"], plan["exchanged"]
    table.add_row("samples", ", ".join(f"{count} {name}" for name, count in plan["samples"].items()))
    table.add_row("computing", f"{plan['flops'] / 1e12:.2f} TFLOP")
    table.add_row(f"at {setup.mfu:.0%} of the GPU's rate", f"{seconds['compute']:.3f} s")
    at = f"at {setup.bandwidth:g} GB/s, beside backward"
    table.add_row(
        "weights and gradients sent" if plan["sharded"] else "gradients sent",
        f"{sent / 1e9:.2f} GB: {seconds['exchange']:.3f} s {at}",
    )
    table.add_row("sent for losses", f"{plan['gathered'] / 1e9:.2f} GB: {seconds['gather']:.3f} s")
    table.add_row("step", f"{seconds['step']:.3f} s", end_section=True)
    rates = ", ".join(f"{rate:,.0f} {name}" for name, rate in plan["samples_per_second"].items())
    table.add_row("samples a second, all GPUs", rates)
    table.add_row("steps of the schedule", f"{plan['steps']:,}")
    table.add_row("training", f"{plan['days']:.1f} days, {plan['gpu_hours']:,.0f} GPU-hours")
    if not alternatives:
        return [table]
    other = Table("what to change", "peak, GiB", "fits", "step, s", "days", "GPU-hours", title="what would fit")
    for row in alternatives:
        figures = f"{row['peak'] / GIB:.2f}", "yes" if row["fits"] else "no", f"{row['seconds']['step']:.3f}"
        other.add_row(row["change"], *figures, f"{row['days']:.1f}", f"{row['gpu_hours']:,.0f}")
    return [table, other]


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", help="config of a pre-training stage")
    parser.add_argument("--gpus", type=int, required=True, help="how many in all")
    parser.add_argument("--gpu", choices=sorted(GPUS), required=True)
    parser.add_argument("--memory", type=int, help="GiB of a GPU, where there are two versions; default: the larger")
    parser.add_argument("--amp", action="store_true", help="mixed precision, as tools/train.py --amp")
    parser.add_argument("--tf32", action="store_true", help="float32 with TORCH_ALLOW_TF32_CUBLAS_OVERRIDE=1 set")
    parser.add_argument("--mfu", type=float, default=0.4, help="share of the GPU's rate that a step reaches")
    parser.add_argument("--bandwidth", type=float, help="GB/s around a ring of all GPUs; see docs/planning.md")
    parser.add_argument("--samples", type=int, help="samples of the primary modality; default: the paper's")
    parser.add_argument(
        "--words", nargs="+", default=[], metavar="MODALITY=N",
        help="mean word pieces of a text; default: 12 for captions, else the most that Tokenize lets through",
    )  # fmt: skip
    parser.add_argument("--cfg-options", nargs="+", action=DictAction, default={}, metavar="KEY=VALUE")
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    args = parser.parse_args()
    if args.gpus < 1:
        parser.error(f"--gpus {args.gpus}: at least 1")
    if args.memory not in (None, *GPUS[args.gpu].memory):
        parser.error(f"--memory {args.memory}: a {args.gpu} has {' or '.join(map(str, GPUS[args.gpu].memory))} GiB")
    if args.amp and args.tf32:
        parser.error("--amp and --tf32: give one of the two")
    if args.tf32 and "tf32" not in GPUS[args.gpu].flops:
        parser.error(f"--tf32: a {args.gpu} has none")
    if not 0 < args.mfu <= 1:
        parser.error(f"--mfu {args.mfu}: above 0, at most 1")
    for name, value in (("bandwidth", args.bandwidth), ("samples", args.samples)):
        if value is not None and value <= 0:
            parser.error(f"--{name} {value}: above 0")
    return args


def read_words(entries: list[str], modalities: list[str]) -> dict[str, int]:
    """`MODALITY=N` entries as a dict.

    Raises: ConfigError for an entry of another form or of a modality that is not there.
    """
    words = {}
    for entry in entries:
        name, _, number = entry.partition("=")
        if not number.isdecimal() or int(number) < 1 or name not in modalities:
            raise ConfigError(f"--words {entry}: give MODALITY=N, N at least 1, of {sorted(modalities)}")
        words[name] = int(number)
    return words


def load_pretraining(path: str, options: dict[str, Any]) -> Config:
    """A checked config of a pre-training stage.

    Raises: ConfigError for another kind of config; else as `load_config`.
    """
    cfg = load_config(path, options)
    if cfg.get("train_cfg") is None or not issubclass(MODELS.get(cfg.model.type), MoMoPretrainer):
        raise ConfigError(f"{path} pre-trains nothing, model.type={cfg.model.type!r}: only pre-training is planned")
    return cfg


def main() -> None:
    args = parse_args()
    cfg = load_pretraining(args.config, args.cfg_options)
    gpu = GPUS[args.gpu]
    setup = Setup(
        gpus=args.gpus,
        gpu=args.gpu,
        memory=args.memory or max(gpu.memory),
        precision="amp" if args.amp else "tf32" if args.tf32 else "fp32",
        mfu=args.mfu,
        bandwidth=args.bandwidth or (gpu.in_node if args.gpus <= PER_NODE else gpu.network),
        words=read_words(args.words, list(cfg.train_dataloader.loaders)),
        samples=args.samples,
    )
    plan = make_plan(cfg, setup)
    alternatives = []
    if not plan["fits"]:
        for change in track(changes(cfg, setup), "what would fit", transient=True, console=Console(stderr=True)):
            alternatives.append({"change": change.name, "options": change.options, **with_change(cfg, setup, change)})
    Console(width=120).print(*as_tables(args.config, setup, plan, alternatives))
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        result = {"config": args.config, "setup": setup._asdict(), "plan": plan, "alternatives": alternatives}
        args.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    try:
        main()
    except (ValueError, FileNotFoundError) as error:
        sys.exit(f"error: {error}")

"""Active parameters, FLOPs and measured latency of a task's forward pass, beside transformers' FLAVA in the same run.

    python tools/analysis/complexity.py
    python tools/analysis/complexity.py --arch large --batch 1 8 --words 16 --rounds 5 --out complexity.json

Both models have random weights. An image is encoded for classification, a text of --words pieces for retrieval or
classification, a pair for questions and matching; FLAVA runs its image, its text, or all three of its encoders, as
transformers does, which writes its attention out where this project calls torch's own. The models take turns in every
round, so that what else the machine does falls on both.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from count_parameters import PAPER, active_parameters, beside_paper, count
from fvcore.nn import FlopCountAnalysis
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor, nn

from momo.models import MoMoViT
from momo.ops import grid_size, plan_sequences

TASKS = ("image", "text", "image_text")


class Inputs(NamedTuple):
    """images (B, 3, 224, 224), words (B, T)."""

    images: Tensor
    words: Tensor


class Task(nn.Module):
    """One task's forward pass of an encoder, as fvcore and the clock see it; index tables are drawn up beforehand, as
    loaders do.
    """

    def __init__(self, backbone: MoMoViT, task: str, inputs: Inputs) -> None:
        super().__init__()
        self.backbone, self.task = backbone, task
        (batch, length), (height, width) = inputs.words.shape, inputs.images.shape[-2:]
        rows, columns = grid_size(height, width, backbone.patch_size)
        patches = rows * columns if "image" in task else 0
        self.plan, _ = plan_sequences(batch, patches, np.full(batch, length if "text" in task else 0))
        self.positions = torch.arange(length).repeat(batch)

    def forward(self, images: Tensor, words: Tensor) -> Tensor:
        backbone = self.backbone
        if self.task == "image":
            tokens = backbone.embed_image(images, self.plan)
        else:
            word_tokens = backbone.text_embed(words.flatten(), self.positions)
            if self.task == "text":
                tokens = backbone.embed_text(word_tokens, self.plan)
            else:
                tokens = backbone.embed_pair(images, word_tokens, self.plan)
        return backbone.encode(tokens).x


class FlavaTask(nn.Module):
    """The same of FLAVA."""

    def __init__(self, flava: nn.Module, task: str) -> None:
        super().__init__()
        self.flava, self.task = flava, task

    def forward(self, images: Tensor, words: Tensor) -> Tensor:
        if self.task == "image":
            return self.flava.image_model(images)[0]
        if self.task == "text":
            return self.flava.text_model(words)[0]
        return self.flava(input_ids=words, pixel_values=images).multimodal_embeddings


def flava_parameters(flava: nn.Module) -> dict[str, int]:
    """Parameters that each task's pass uses, counted as `active_parameters` does: with the projections that retrieval
    compares by."""
    unimodal = flava.image_model, flava.text_model
    joint = flava.multimodal_model, flava.image_to_mm_projection, flava.text_to_mm_projection
    return {
        "image": count(flava.image_model, flava.image_projection),
        "text": count(flava.text_model, flava.text_projection),
        "image_text": count(*unimodal, *joint),
    }


def attention_flops(inputs: list[Any], outputs: list[Any]) -> int:
    """Multiply-adds of scaled dot-product attention, which fvcore does not know: two products of (L, D) with (D, L)."""
    shapes = [value.type().sizes() for value in inputs[:2]]
    *heads, queries, width = shapes[0]
    return 2 * int(np.prod(heads)) * queries * shapes[1][-2] * width


def flops(model: nn.Module, inputs: Inputs) -> int:
    """Multiply-adds of a forward pass, as fvcore counts them: matrix products, and 5 for each value of a LayerNorm."""
    counter = FlopCountAnalysis(model, tuple(inputs))
    counter.set_op_handle("aten::scaled_dot_product_attention", attention_flops)
    counter.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    return int(counter.total())


def latencies(models: list[Callable], inputs: Inputs, rounds: int) -> list[float]:
    """Median seconds of each model's pass; the models take turns in every round."""
    seconds: list[list[float]] = [[] for _ in models]
    for number in range(rounds + 1):  # the first is for warming up
        for model, column in zip(models, seconds, strict=True):
            started = time.perf_counter()
            model(*inputs)
            if number:
                column.append(time.perf_counter() - started)
    return [statistics.median(column) for column in seconds]


def build_flava(arch: str) -> nn.Module:
    """FLAVA as published; for another arch than base, with the same widths and depths as this project's encoder."""
    from transformers import FlavaConfig, FlavaModel

    if arch == "base":
        return FlavaModel(FlavaConfig())
    encoder = MoMoViT(arch)
    sizes = dict(
        hidden_size=encoder.embed_dim,
        num_hidden_layers=encoder.num_layers,
        num_attention_heads=encoder.blocks[0].attn.num_heads,
        intermediate_size=4 * encoder.embed_dim,
    )
    cross = {**sizes, "num_hidden_layers": max(encoder.num_layers // 2, 1)}
    return FlavaModel(
        FlavaConfig(
            image_config=sizes, text_config=sizes, multimodal_config=cross, projection_dim=sizes["hidden_size"],
            hidden_size=sizes["hidden_size"],
        )
    )  # fmt: skip


@torch.inference_mode()
def measure(arch: str, batches: list[int], words: int, rounds: int) -> dict[str, Any]:
    """Both models' parameters by task, and a row a task and batch size with their operations and times."""
    backbone, flava = MoMoViT(arch).eval(), build_flava(arch).eval()
    rows = []
    for task in track(TASKS, "measuring"):
        theirs = FlavaTask(flava, task)
        for batch in batches:
            inputs = Inputs(torch.randn(batch, 3, 224, 224), torch.randint(1000, 30000, (batch, words)))
            ours = Task(backbone, task, inputs)
            seconds = latencies([ours, theirs], inputs, rounds)
            rows.append(
                dict(
                    task=task,
                    batch=batch,
                    gflops=flops(ours, inputs) / 1e9,
                    flava_gflops=flops(theirs, inputs) / 1e9,
                    milliseconds=1e3 * seconds[0],
                    flava_milliseconds=1e3 * seconds[1],
                )
            )
    return dict(
        arch=arch,
        words=words,
        rounds=rounds,
        threads=torch.get_num_threads(),
        parameters=active_parameters(arch),
        flava_parameters=flava_parameters(flava),
        rows=rows,
    )


def as_tables(result: dict[str, Any]) -> list[Table]:
    """Parameters beside the paper's Table 1; operations and times beside FLAVA's."""
    arch, ours, theirs = result["arch"], result["parameters"], result["flava_parameters"]
    parameters = Table("task", arch, "paper", "difference", "FLAVA", "paper", "difference", title="active parameters")
    published = PAPER["FLAVA"] if arch == "base" else {}
    for task in TASKS:
        here = beside_paper(ours[task], PAPER.get(arch, {}).get(task))
        parameters.add_row(task, *here, *beside_paper(theirs[task], published.get(task)))
    title = (
        f"texts of {result['words']} word pieces, float32, {result['threads']} threads, median of {result['rounds']}"
    )
    costs = Table("task", "batch", "GFLOPs", "FLAVA", "ratio", "ms", "FLAVA", "ratio", title=title)
    for row in result["rows"]:
        cells = []
        for key, digits in (("gflops", 2), ("milliseconds", 1)):
            here, there = row[key], row[f"flava_{key}"]
            cells += [f"{here:.{digits}f}", f"{there:.{digits}f}", f"{there / here:.2f} x"]
        costs.add_row(row["task"], str(row["batch"]), *cells)
    return [parameters, costs]


def main() -> None:
    warnings.filterwarnings("ignore", category=FutureWarning)  # transformers' and fvcore's own
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arch", default="base", choices=["tiny", "small", "base", "large"])
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--words", type=int, default=16, help="word pieces of each text")
    parser.add_argument("--rounds", type=int, default=5, help="measured passes, of which the median counts")
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    args = parser.parse_args()
    result = measure(args.arch, args.batch, args.words, args.rounds)
    Console(width=120).print(*as_tables(result))
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()

"""Write the image, text and pair encoders of a trained model as ONNX, and compare them with torch.

    python tools/export_onnx.py configs/momo/stage3_vitb.py work_dirs/stage3_vitb onnx-vitb \\
        --tokenizer data/bert-base-uncased

Needs `pip install 'momo-multimodal[onnx]'`. A stage 3 gives embeddings and matching scores too. Every graph is run on
batches and texts of several sizes, with padding, and must give what torch gives within 1e-4.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter

import torch
from mmengine.registry import DefaultScope
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import nn

from momo.apis import get_config, get_model
from momo.datasets import load_tokenizer
from momo.interop.onnx import INPUTS, OnnxEncoder, OnnxSession, export_onnx, largest_difference
from momo.interop.transformers import processor_for, to_transformers
from momo.models import ITC, ITM

TOLERANCE = 1e-4
COMPARED = ((1, 1), (1, 9), (2, 13), (5, 6), (8, 13))  # batch, tokens of the longest text
TIMED = ((1, 13), (16, 13))
COLUMNS = ("graph", "largest difference", "torch, MB", "onnx, MB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", help="of the model: a file, or a name below configs/")
    parser.add_argument("checkpoint", type=Path, help="a checkpoint, or a work_dir whose newest counts")
    parser.add_argument("out", type=Path, help="the folder to be made")
    parser.add_argument("--tokenizer", type=Path, help="folder of the tokenizer that the model was trained with")
    parser.add_argument("--repeats", type=int, default=20, help="runs that a latency is the median of")
    args = parser.parse_args()
    if args.out.exists():
        parser.error(f"{args.out} is there already")
    config = get_config(args.config)
    with DefaultScope.overwrite_default_scope(config.get("default_scope", "momo")):
        model = get_model(config, args.checkpoint)
    export(model, args.out, args.tokenizer, args.repeats)


def export(model: nn.Module, out: Path, tokenizer_folder: Path | None, repeats: int) -> None:
    """Make the folder: image.onnx and, if the model reads text, text.onnx, pair.onnx; what prepares their inputs."""
    reads_text = model.backbone.text_embed is not None
    if reads_text and tokenizer_folder is None:
        raise ValueError("this model reads text: name the tokenizer that it was trained with, --tokenizer FOLDER")
    tokenizer = load_tokenizer(str(tokenizer_folder)) if reads_text else None
    converted = to_transformers(model, "retrieval" if compares(model) else "encoder", tokenizer)
    out.mkdir(parents=True)
    processor_for(model, tokenizer).save_pretrained(out)
    table = Table(*COLUMNS, *(f"{name}, ms at {batch}" for name in ("torch", "onnx") for batch, _ in TIMED))
    for kind in track(list(INPUTS) if reads_text else ["image"], "export", transient=True):
        encoder, path = OnnxEncoder(converted, kind), out / f"{kind}.onnx"
        export_onnx(encoder, path)
        session = OnnxSession(path)
        difference = largest_difference(encoder, session, inputs_of(encoder, COMPARED))
        if not difference < TOLERANCE:
            raise ValueError(f"{path} is not the model: its outputs differ from torch's by {difference:.1e}")
        weights = sum(parameter.numel() * parameter.element_size() for parameter in encoder.parameters())
        size = sum(file.stat().st_size for file in out.glob(f"{path.name}*"))
        times = [milliseconds(run, encoder, repeats) for run in (encoder, session)]
        row = [kind, f"{difference:.1e}", f"{weights / 1e6:.1f}", f"{size / 1e6:.1f}"]
        table.add_row(*row, *(f"{time:.1f}" for column in times for time in column))
    Console(width=160).print(table)
    print(f"{torch.get_num_threads()} CPU threads; images of {converted.config.image_size} pixels -> {out}")


def compares(model: nn.Module) -> bool:
    """Whether it was trained to compare images with texts."""
    tables = model.objectives.values() if hasattr(model, "objectives") else ()
    return {ITC, ITM} <= {type(objective) for table in tables for objective in table.values()}


def inputs_of(encoder: OnnxEncoder, sizes: tuple[tuple[int, int], ...]) -> list[dict[str, torch.Tensor]]:
    generator = torch.Generator().manual_seed(1)
    longest = 1 + encoder.encoder.config.max_position_embeddings
    return [encoder.example(batch, min(length, longest), generator) for batch, length in sizes]


@torch.inference_mode()
def milliseconds(run: Callable, encoder: OnnxEncoder, repeats: int) -> list[float]:
    """The median time of a call for each of the timed sizes, after one that does not count."""
    times = []
    for inputs in inputs_of(encoder, TIMED):
        run(**inputs)
        seconds = []
        for _ in range(repeats):
            start = perf_counter()
            run(**inputs)
            seconds.append(perf_counter() - start)
        times.append(1000 * median(seconds))
    return times


if __name__ == "__main__":
    try:
        main()
    except ModuleNotFoundError as error:
        if error.name not in ("onnx", "onnxruntime", "onnxscript"):
            raise
        sys.exit(f"error: {error}: pip install 'momo-multimodal[onnx]'")
    except (ValueError, FileNotFoundError) as error:
        sys.exit(f"error: {error}")

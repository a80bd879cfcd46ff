"""Save a part of a trained model as transformers' from_pretrained and pipelines read it, or take it back.

python tools/convert_to_transformers.py configs/momo/stage3_vitb.py work_dirs/stage3_vitb momo-vitb \\
    --part retrieval --tokenizer data/bert-base-uncased
python tools/convert_to_transformers.py configs/momo/stage3_vitb.py momo-vitb work_dirs/tuned/epoch_0 --back

The way back writes a checkpoint that a StageHook starts from; it holds the weights of the part alone.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from mmengine.config import Config
from mmengine.registry import DefaultScope
from torch import nn
from transformers import AutoConfig

from momo.apis import get_config, get_model
from momo.datasets import load_tokenizer
from momo.engine.checkpoint import write_weights
from momo.interop import transformers as interop
from momo.interop.transformers.convert import PARTS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", help="of the model: a file, or a name below configs/")
    parser.add_argument("source", type=Path, help="its checkpoint or work_dir; with --back the folder of transformers")
    parser.add_argument("out", type=Path, help="the folder to be made")
    parser.add_argument("--part", choices=PARTS, help="default: retrieval of a pre-training model, else classifier")
    parser.add_argument("--tokenizer", type=Path, help="folder of the tokenizer that the model was trained with")
    parser.add_argument("--back", action="store_true", help="from transformers to this project")
    args = parser.parse_args()
    if args.out.exists():
        parser.error(f"{args.out} is there already")
    config = get_config(args.config)
    with DefaultScope.overwrite_default_scope(config.get("default_scope", "momo")):
        (_take_back if args.back else _convert)(args, config)


def _convert(args: argparse.Namespace, config: Config) -> None:
    model = get_model(config, args.source)
    if model.backbone.text_embed is not None and args.tokenizer is None:
        raise ValueError("this model reads text: name the tokenizer that it was trained with, --tokenizer FOLDER")
    tokenizer = None if args.tokenizer is None else load_tokenizer(str(args.tokenizer))
    converted = interop.to_transformers(model, _part(args, model), tokenizer)
    converted.save_pretrained(args.out)
    interop.processor_for(model, tokenizer).save_pretrained(args.out)
    print(f"{type(converted).__name__} of {converted.num_parameters():,} parameters -> {args.out}")


def _take_back(args: argparse.Namespace, config: Config) -> None:
    names = AutoConfig.from_pretrained(args.source, local_files_only=True).architectures or ["none"]
    if names[0] not in interop.__all__:
        raise ValueError(f"{args.source} holds a model of class {names[0]}, which is not one of this project's")
    converted = getattr(interop, names[0]).from_pretrained(args.source, local_files_only=True, use_safetensors=True)
    model = get_model(config)
    weights = interop.from_transformers(converted, model, _part(args, model))
    write_weights(args.out, weights)
    print(f"{len(weights)} tensors -> {args.out}")


def _part(args: argparse.Namespace, model: nn.Module) -> str:
    return args.part or ("retrieval" if hasattr(model, "objectives") else "classifier")


if __name__ == "__main__":
    try:
        main()
    except (ValueError, FileNotFoundError) as error:
        sys.exit(f"error: {error}")

"""Make a checkpoint of this project's form from a torch file of weights, which is read as plain data or not at all.

python tools/convert_checkpoint.py old/epoch_3.pth work_dirs/old_stage/epoch_3

Weights only: optimizer and position are not taken over, so it can be started from but not resumed. Where the file's
name was given, give the folder, or the model.safetensors in it.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from momo.engine.checkpoint import CheckpointError, load_weights, write_weights


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="a .pth, .pt or .bin file, or .safetensors")
    parser.add_argument("target", type=Path, help="the checkpoint's folder, which must not be there yet")
    args = parser.parse_args()
    if not args.source.is_file():
        parser.error(f"{args.source} does not exist")
    if args.target.exists():
        parser.error(f"{args.target} is there already")
    weights = load_weights(args.source)
    write_weights(args.target, weights)
    print(f"{len(weights)} tensors -> {args.target}")


if __name__ == "__main__":
    try:
        main()
    except CheckpointError as error:
        sys.exit(f"error: {error}")

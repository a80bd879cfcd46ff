"""Convert the public MAE weights into a stage 1 checkpoint.

python tools/convert_mae.py mae_pretrain_vit_base.pth work_dirs/stage1_vitb

Takes facebookresearch's files (encoder only, 'full' or 'visualize'), the folder or .safetensors file of transformers'
ViTMAE, and mmpretrain's checkpoints of MAE. Without a decoder, allow stage 2 to start with a new one:
--cfg-options "custom_hooks.1.new=[backbone.text_embed.*,decoders.*]"
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from safetensors.torch import save_file

from momo.engine.checkpoint import load_weights, weights_file
from momo.interop import convert_mae


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="the downloaded file or folder")
    parser.add_argument("work_dir", type=Path, help="where stage 2 looks for stage 1")
    args = parser.parse_args()
    if not weights_file(args.source).is_file():
        parser.error(f"{weights_file(args.source)} does not exist")
    try:
        converted = convert_mae(load_weights(args.source))
    except ValueError as error:
        sys.exit(f"error: {args.source}: {error}")
    weights = {name: value.contiguous() for name, value in converted.items()}
    args.work_dir.mkdir(parents=True, exist_ok=True)
    target = args.work_dir / f"{args.source.stem}.safetensors"
    save_file(weights, target)
    (args.work_dir / "last_checkpoint").write_text(str(target))
    print(f"{len(weights)} tensors -> {target}")


if __name__ == "__main__":
    main()

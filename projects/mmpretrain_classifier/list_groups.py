"""Write the demo's emoji and their groups as mmpretrain's CustomDataset reads them: a path and a label a line.

python projects/mmpretrain_classifier/list_groups.py          # after `make demo`
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kit", type=Path, default=Path("data/kit"), help="where the demo's data lie")
    parser.add_argument("--out", type=Path, default=Path("data/kit_groups"))
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    for split in ("train", "val", "test"):
        rows = json.loads((args.kit / f"groups_{split}.json").read_text(encoding="utf-8"))
        lines = [f"{row['image']} {row['label']}\n" for row in rows]
        (args.out / f"{split}.txt").write_text("".join(lines), encoding="utf-8")
        print(f"{len(lines)} {split} images -> {args.out / split}.txt")


if __name__ == "__main__":
    main()

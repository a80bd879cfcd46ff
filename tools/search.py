"""Search a folder of your own pictures, by a caption or by another picture.

    python tools/search.py photos 'a red car'
    python tools/search.py photos --image query.jpg --out found.png
    python tools/search.py s3://bucket/photos 'a red car' --config momo/stage3_vitb --checkpoint work_dirs/stage3_vitb

The first time, all pictures below the folder are embedded, and their features saved in it (for a URL, in
$XDG_CACHE_HOME/momo); from then on a search takes little more than loading the model. Without a query nothing else is
done. The default model is the demo's, which knows emoji: `make demo` trains it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from torchvision.io import write_png
from torchvision.transforms import v2
from torchvision.utils import make_grid

from momo.apis import Match, RetrievalInferencer, read_image

SIDE = 160  # pixels of a picture in the contact sheet


def parse_args(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", help="folder or URL with pictures; its sub-folders are searched too")
    parser.add_argument("caption", nargs="?", help="what to search for")
    parser.add_argument("--image", help="search for pictures that are like this one")
    parser.add_argument("--count", type=int, default=10, help="how many pictures to name")
    parser.add_argument("--out", type=Path, help="also draw them, best first, into this PNG")
    parser.add_argument("--config", default="demo/stage3", help="a config, or its name below configs/")
    parser.add_argument("--checkpoint", default="work_dirs/demo/stage3", help="a file, or a run's work_dir")
    parser.add_argument("--tokenizer", help="its folder; default: the first that the config names")
    parser.add_argument("--cache-dir", help="where features are saved; default: in the folder")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = parser.parse_args(arguments)
    if args.caption and args.image:
        parser.error("give a caption or --image, not both")
    return args


def draw(path: Path, found: Sequence[Match]) -> None:
    """A contact sheet, row by row."""
    fit = v2.Compose([v2.Resize(SIDE, antialias=True), v2.CenterCrop(SIDE)])
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet = make_grid([fit(read_image(match.image)) for match in found], nrow=5, padding=8, pad_value=255)
    write_png(sheet, str(path))


def main(arguments: Sequence[str] | None = None) -> None:
    args = parse_args(arguments)
    try:
        search = RetrievalInferencer(
            args.config,
            args.checkpoint,
            folder=args.folder,
            cache_dir=args.cache_dir,
            tokenizer=args.tokenizer,
            device=args.device,
        )
        print(f"{len(search.index)} pictures, features in {search.index.path}")
        if not (args.caption or args.image):
            return
        query = search.by_text(args.caption, args.count) if args.caption else search.by_image(args.image, args.count)
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")
    print("similarity  picture")
    for match in query[0]:
        print(f"{match.similarity:10.3f}  {match.image}")
    if args.out:
        draw(args.out, query[0])
        print(args.out)


if __name__ == "__main__":
    main()

"""A page in the browser to try a model on: search, restore, fill in, classify, ask.

    python tools/app.py                                                  # the demo's third stage
    python tools/app.py momo/stage3_vitb work_dirs/stage3_vitb --images photos
    python tools/app.py --vqa study/vqa work_dirs/demo/vqa_stage3        # with a model that answers questions

It is served to this machine alone, at http://127.0.0.1:7860. Which tabs there are depends on what the model was trained
for. The first time, the pictures of --images are embedded, and their features saved beside them.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

from momo.apis import first_in_config, get_config, get_model
from momo.apis.image_index import list_images
from momo.datasets import load_tokenizer
from momo.engine.checkpoint import find_checkpoint
from momo.ops import key_of

KIT = Path("data/kit")
SAMPLES = 6  # pictures to pick from


def parse_args(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", nargs="?", default="demo/stage3", help="a config, or its name below configs/")
    parser.add_argument("checkpoint", nargs="?", default="work_dirs/demo/stage3", help="a file, or a run's work_dir")
    parser.add_argument("--images", default=str(KIT / "images/test"), help="the folder that is searched")
    parser.add_argument("--pairs", type=Path, default=KIT / "pairs_test_fluent.json", help="captions to fill in, JSON")
    parser.add_argument("--root", type=Path, default=KIT / "images", help="where the images of --pairs start from")
    parser.add_argument("--vqa", nargs=2, metavar=("CONFIG", "CHECKPOINT"), help="a model that answers questions")
    parser.add_argument("--tokenizer", help="its folder; default: the first that the config names")
    parser.add_argument("--device", help="such as cuda; default: the CPU")
    parser.add_argument("--port", type=int, default=7860)
    return parser.parse_args(arguments)


def checked(args: argparse.Namespace) -> None:
    """Ends with the command that makes it if something is missing."""
    for checkpoint in (args.checkpoint, *(args.vqa or [])[1:]):
        if find_checkpoint(checkpoint) is None:
            sys.exit(
                f"error: there is no checkpoint at {checkpoint}. Train the demo's with\n  make demo\n"
                "or give your own: python tools/app.py CONFIG CHECKPOINT --images FOLDER"
            )
    if "://" not in args.images and not Path(args.images).is_dir():
        sys.exit(f"error: --images {args.images} is no folder; give one with pictures, or run make demo for the demo's")


def load(args: argparse.Namespace):
    """The models, and what there is to pick from, as the page takes them."""
    from analysis.explain import read_pairs
    from page.build import Given

    cfg = get_config(args.config)
    tokenizer = args.tokenizer or first_in_config(cfg.to_dict(), "tokenizer")
    settings = {"tokenizer": load_tokenizer(tokenizer) if tokenizer else None, "device": args.device}
    pictures = sorted(list_images(args.images), key=lambda path: key_of("app", path))
    questions = []
    if args.pairs.exists() and tokenizer:
        pairs = read_pairs(args.pairs, args.root, settings["tokenizer"])[:SAMPLES]
        questions = [(str(pair.image), pair.caption) for pair in pairs]
    return Given(
        model=get_model(cfg, args.checkpoint),
        settings=settings,
        images=args.images,
        samples=pictures[:SAMPLES],
        questions=questions,
        vqa=get_model(*args.vqa) if args.vqa else None,
    )


def main() -> None:
    args = parse_args()
    checked(args)
    os.environ |= {"GRADIO_ANALYTICS_ENABLED": "False", "HF_HUB_OFFLINE": "1"}  # read when Gradio is imported
    with tempfile.TemporaryDirectory(prefix="momo-app-") as uploads:
        os.environ["GRADIO_TEMP_DIR"] = uploads
        try:
            from page.build import build, serve
        except ModuleNotFoundError as error:
            if error.name != "gradio":
                raise
            sys.exit(f"error: {error}. The page needs Gradio: pip install '.[app]', or make app")
        try:
            page = build(load(args), Path(args.config).stem)
        except (ValueError, OSError) as error:
            sys.exit(f"error: {error}")
        serve(page, args.port)


if __name__ == "__main__":
    main()

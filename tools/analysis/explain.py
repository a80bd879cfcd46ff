"""Show which regions of a picture a hidden word is guessed from (Figure 4), and test whether they matter.

    python tools/analysis/explain.py CONFIG CHECKPOINT --image cat.jpg --caption 'a [MASK] on a sofa' --out figure4.png
    python tools/analysis/explain.py configs/demo/stage3.py work_dirs/demo/stage3 --out figure4.png \
        --pairs data/kit/pairs_val_fluent.json --root data/kit/images --count 6 --deletion-test 100

--image and --caption may be repeated. --pairs is a JSON list of {"image", "caption"}; where a caption has no [MASK], a
word of it is hidden and then explained, whether or not it is what the model guesses. Which pairs are shown is decided
by a hash of their captions, so good ones cannot be picked. The deletion test compares what happens to the word's
log-probability when the most relevant patch is hidden from the encoder, and when a random one is.
"""

from __future__ import annotations

import argparse
import json
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torchvision.transforms import v2

from momo.apis import DeletionTest, Explanation, Guess, deletion_test, explain_word, get_config, get_model
from momo.datasets import LoadImage, load_tokenizer
from momo.models import MoMoPretrainer
from momo.ops import key_of

sys.path.insert(0, str(Path(__file__).parents[1] / "demo"))

from examples import blank, mean_and_error


class Question(NamedTuple):
    """A picture's path, a caption with one [MASK], and the word behind it, None if nobody knows."""

    image: Path
    caption: str
    word: str | None


def read_pairs(path: Path, root: Path, tokenizer) -> list[Question]:
    """The pairs of a JSON file that have one word to hide, in the order of a hash of their captions.

    Raises: ValueError naming the file if it holds no such pair.
    """
    questions = []
    for row in json.loads(path.read_text(encoding="utf-8")):
        caption = row["caption"] if isinstance(row["caption"], str) else row["caption"][0]
        if tokenizer.mask_token in caption:
            questions.append(Question(root / row["image"], caption, row.get("word")))
        elif hidden := blank(row.get("annotation", caption), caption, tokenizer):
            questions.append(Question(root / row["image"], hidden.text, hidden.word))
    questions = [question for question in questions if question.caption.count(tokenizer.mask_token) == 1]
    if not questions:
        raise ValueError(f"{path}: no caption has one {tokenizer.mask_token}, nor a word of one piece to hide")
    return sorted(questions, key=lambda question: key_of("explain", question.caption))


def load_image(path: Path, size: tuple[int, int]) -> Tensor:
    """(3, H, W) uint8 at the size that the model was trained on, squeezed to fit."""
    image = LoadImage()({"image_path": str(path)})["image"]
    return image if image.shape[-2:] == size else v2.functional.resize(image, list(size), antialias=True)


def trained_size(model: MoMoPretrainer) -> tuple[int, int]:
    rows, columns = model.backbone.image_embed.base_grid
    return rows * model.backbone.patch_size, columns * model.backbone.patch_size


def find_tokenizer(cfg: Any) -> str | None:
    """The first `tokenizer` that a config names."""
    if isinstance(cfg, dict):
        if isinstance(cfg.get("tokenizer"), str):
            return cfg["tokenizer"]
        cfg = list(cfg.values())
    if isinstance(cfg, (list, tuple)):
        return next(filter(None, map(find_tokenizer, cfg)), None)
    return None


# ------------------------------------------------------------------ the picture
def percent(guess: Guess) -> str:
    return f"{100 * guess.probability:.2g}%"


def draw(path: Path, images: Sequence[Tensor], captions: Sequence[str], explanations: Sequence[Explanation]) -> None:
    """A column a pair: the picture, the picture under its relevance, the relevance of the words."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(
        3, len(images), figsize=(2.9 * len(images), 7.2), squeeze=False, layout="constrained", height_ratios=(1, 1, 0.8)
    )
    for (top, middle, bottom), image, caption, explanation in zip(axes.T, images, captions, explanations, strict=True):
        pixels, extent = image.permute(1, 2, 0).numpy(), (0, image.shape[2], image.shape[1], 0)
        guess, explained = explanation.guess, explanation.explained
        top.set_title(textwrap.fill(caption, 30), fontsize=9)
        top.imshow(pixels, extent=extent)
        label = f"'{explained.word}' {percent(explained)}"
        if guess.word != explained.word:
            label += f"\nlikeliest: '{guess.word}' {percent(guess)}"
        middle.set_title(label, fontsize=9)
        middle.imshow(pixels.mean(-1), cmap="gray", vmin=0, vmax=255, extent=extent)
        heat = explanation.patches.numpy()
        middle.imshow(heat, cmap="jet", alpha=0.55, interpolation="bilinear", extent=extent, vmin=0)
        bottom.barh(range(len(explanation.pieces)), explanation.words.numpy(), color="tab:red")
        bottom.set_yticks(range(len(explanation.pieces)), explanation.pieces, fontsize=7)
        bottom.set_xticks([])
        bottom.invert_yaxis()
        for axis in (top, middle):
            axis.axis("off")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


# ------------------------------------------------------------------ the check
def as_table(results: dict[str, DeletionTest]) -> Table:
    """Mean and standard error of the drops in nats, and of the difference to the most relevant patch, pair by pair."""
    table = Table("word", "hidden patch", "drop, nats", "most relevant - this", "n", title="deletion test")
    for name, result in results.items():
        for kind, drops in result._asdict().items():
            gain = ""
            if kind != "relevant":
                gain = "{:+.4f} ± {:.4f}".format(*mean_and_error(result.relevant - drops))
            mean, error = mean_and_error(drops)
            table.add_row(name, kind.replace("_", ", "), f"{mean:+.4f} ± {error:.4f}", gain, str(len(drops)))
    return table


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", help="config of a model with cross-modal masking: a stage 3")
    parser.add_argument("checkpoint", help="its weights: a file, or a work_dir whose newest counts")
    parser.add_argument("--image", type=Path, action="append", default=[])
    parser.add_argument("--caption", action="append", default=[], help="with one [MASK]; one for each --image")
    parser.add_argument("--pairs", type=Path, help='JSON list of {"image", "caption"}')
    parser.add_argument("--root", type=Path, help="folder that the images of --pairs start from; default: the file's")
    parser.add_argument("--count", type=int, default=6, help="how many of --pairs to show")
    parser.add_argument("--tokenizer", help="its folder; default: the first that the config names")
    parser.add_argument("--out", type=Path, help="the picture to write")
    parser.add_argument("--deletion-test", type=int, default=0, metavar="N", help="test on at most N of --pairs")
    args = parser.parse_args()
    if len(args.image) != len(args.caption):
        parser.error(f"each --image needs a --caption, got {len(args.image)} and {len(args.caption)}")
    if not (args.image or args.pairs):
        parser.error("give --image and --caption, or --pairs")
    if args.deletion_test and not args.pairs:
        parser.error("--deletion-test needs --pairs")
    return args


def main() -> None:
    args = parse_args()
    torch.manual_seed(0)
    cfg = get_config(args.config)
    model = get_model(cfg, args.checkpoint)
    folder = args.tokenizer or find_tokenizer(cfg.to_dict())
    if folder is None:
        sys.exit(f"error: {args.config} names no tokenizer; give --tokenizer FOLDER")
    tokenizer, size = load_tokenizer(folder), trained_size(model)
    pairs = read_pairs(args.pairs, args.root or args.pairs.parent, tokenizer) if args.pairs else []

    shown = [Question(*pair, None) for pair in zip(args.image, args.caption, strict=True)] + pairs[: args.count]
    images = [load_image(question.image, size) for question in shown]
    explanations = []
    for image, (_, caption, word) in zip(images, shown, strict=True):
        explanations.append(explain_word(model, image, caption, tokenizer, word))
        guess, explained, patches, _, _ = explanations[-1]
        row, column = divmod(int(patches.argmax()), patches.shape[1])
        print(
            f"{caption!r}: likeliest {guess.word!r} ({percent(guess)}); '{explained.word}' "
            f"({percent(explained)}) rests most on the patch in row {row}, column {column}"
        )
    if args.out:
        draw(args.out, images, [question.caption for question in shown], explanations)
        print(args.out)
    if args.deletion_test:
        tested = pairs[: args.deletion_test]
        images = [load_image(question.image, size) for question in tested]
        captions, words = [question.caption for question in tested], [question.word for question in tested]
        results = {"likeliest": deletion_test(model, images, captions, tokenizer, [None] * len(tested))}
        if all(words):
            results["hidden"] = deletion_test(model, images, captions, tokenizer, words)
        Console(width=120).print(as_table(results))


if __name__ == "__main__":
    main()

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
from typing import NamedTuple

import torch
from rich.console import Console
from rich.table import Table

from momo.apis import (
    DeletionTest,
    Explanation,
    ExplanationInferencer,
    Guess,
    deletion_test,
    heat_map,
    read_image,
)
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


def columns(questions: Sequence[Question]) -> tuple[list[Path], list[str], list[str | None]]:
    """Images, captions and words."""
    return tuple([question[place] for question in questions] for place in range(3))


# ------------------------------------------------------------------ the picture
def percent(guess: Guess) -> str:
    return f"{100 * guess.probability:.2g}%"


def draw(path: Path, images: Sequence[Path], captions: Sequence[str], explanations: Sequence[Explanation]) -> None:
    """A column a pair: the picture, the picture under its relevance, the relevance of the words."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(
        3, len(images), figsize=(2.9 * len(images), 7.2), squeeze=False, layout="constrained", height_ratios=(1, 1, 0.8)
    )
    for (top, middle, bottom), image, caption, explanation in zip(axes.T, images, captions, explanations, strict=True):
        guess, explained = explanation.guess, explanation.explained
        top.set_title(textwrap.fill(caption, 30), fontsize=9)
        top.imshow(read_image(image).permute(1, 2, 0))
        label = f"'{explained.word}' {percent(explained)}"
        if guess.word != explained.word:
            label += f"\nlikeliest: '{guess.word}' {percent(guess)}"
        middle.set_title(label, fontsize=9)
        middle.imshow(heat_map(image, explanation.patches).permute(1, 2, 0))
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
    explain = ExplanationInferencer(args.config, args.checkpoint, tokenizer=args.tokenizer)
    pairs = read_pairs(args.pairs, args.root or args.pairs.parent, explain.tokenizer) if args.pairs else []

    shown = [Question(*pair, None) for pair in zip(args.image, args.caption, strict=True)] + pairs[: args.count]
    images, captions, words = columns(shown)
    explanations = explain(images, captions, words) if shown else []
    for caption, (guess, explained, patches, _, _) in zip(captions, explanations, strict=True):
        row, column = divmod(int(patches.argmax()), patches.shape[1])
        print(
            f"{caption!r}: likeliest {guess.word!r} ({percent(guess)}); '{explained.word}' "
            f"({percent(explained)}) rests most on the patch in row {row}, column {column}"
        )
    if args.out and shown:
        draw(args.out, images, captions, explanations)
        print(args.out)
    if args.deletion_test:
        tested = pairs[: args.deletion_test]
        images, captions, words = columns(tested)
        pixels = [image for batch in explain.read(images, 64, "read") for image in batch]
        asked = {"likeliest": [None] * len(tested)}
        if all(words):
            asked["hidden"] = words
        results = {
            name: deletion_test(explain.model, pixels, captions, explain.tokenizer, words)
            for name, words in asked.items()
        }
        Console(width=120).print(as_table(results))


if __name__ == "__main__":
    main()

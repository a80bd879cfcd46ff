"""Show what the demo's models do with emoji they never saw: restore, fill in, retrieve.

    python tools/demo/examples.py --kit data/kit --work-dir work_dirs/demo

Writes work_dirs/demo/examples.json and the pictures it names, in work_dirs/demo/examples/. Which emoji are shown is
decided by a hash of their code points, so good ones cannot be picked.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from momo.apis import embed_images, embed_texts, fill_captions, fill_text, get_model, reconstruct_images, top_words
from momo.datasets import LoadImage, PackedCollate, load_tokenizer
from momo.models import MoMoPretrainer
from momo.ops import key_of, keyed_generator

Pair = dict[str, Any]


class Kit:
    """The held-out Fluent pairs, their pictures, and the tokenizer."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.pairs: list[Pair] = json.loads((root / "pairs_test_fluent.json").read_text(encoding="utf-8"))
        self.train: list[Pair] = json.loads((root / "pairs_train.json").read_text(encoding="utf-8"))
        self.captions = [pair["caption"][0] for pair in self.pairs]
        load = LoadImage()
        self.images = [load({"image_path": root / "images" / pair["image"]})["image"] for pair in self.pairs]
        self.tokenizer = load_tokenizer(str(root / "tokenizer"))

    def drawn(self, purpose: str, count: int, candidates: Sequence[int] | None = None) -> list[int]:
        """`count` of the pairs, by a hash of the purpose and the code points."""
        rows = range(len(self.pairs)) if candidates is None else candidates
        return sorted(rows, key=lambda row: key_of("demo", purpose, self.pairs[row]["id"]))[:count]


class Pictures:
    """Where the pictures of the report are put; names are relative to the work_dir."""

    def __init__(self, work_dir: Path, kit: Kit) -> None:
        self.folder, self.kit = work_dir / "examples", kit
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)

    def original(self, row: int) -> str:
        pair = self.kit.pairs[row]
        shutil.copyfile(self.kit.root / "images" / pair["image"], self.folder / f"{pair['id']}.png")
        return f"examples/{pair['id']}.png"

    def save(self, pixels: Tensor, row: int, what: str) -> str:
        """Shapes: pixels (3 or 4, H, W) uint8; the fourth channel is opacity."""
        name = f"{self.kit.pairs[row]['id']}_{what}.png"
        Image.fromarray(pixels.permute(1, 2, 0).numpy()).save(self.folder / name)
        return f"examples/{name}"


# ------------------------------------------------------------------ masked images
def reconstructions(kit: Kit, pictures: Pictures, models: dict[str, MoMoPretrainer], count: int = 6) -> dict:
    """The same masked pictures as each of `models` restores them."""
    rows = kit.drawn("reconstruction", count)
    items = [
        {"id": kit.pairs[row]["id"], "name": kit.pairs[row]["annotation"], "original": pictures.original(row)}
        for row in rows
    ]
    for stage, model in models.items():
        samples = [
            {
                "key": key_of("demo", "mask", kit.pairs[row]["id"]),
                "sample_id": kit.pairs[row]["id"],
                "image_id": row,
                "image": kit.images[row],
            }
            for row in rows
        ]
        original, restored, hidden = reconstruct_images(model, PackedCollate(model.planners("image"))(samples))
        opacity = torch.where(hidden, 0, 255).byte()
        for index, (row, item) in enumerate(zip(rows, items, strict=True)):
            item["masked"] = pictures.save(torch.cat([original[index], opacity[index]]), row, "masked")
            item[stage] = pictures.save(restored[index], row, stage)
    return {"mask_ratio": float(hidden.float().mean()), "items": items}


# ------------------------------------------------------------------ hidden words
class Blank(NamedTuple):
    """A caption with a word hidden wherever it stands in it, so that it cannot be copied from a repetition."""

    text: str
    word: str


def blank(annotation: str, caption: str, tokenizer) -> Blank | None:
    """Hide the annotation's first word of three or more letters that is a single word piece; None if there is none."""
    for word in re.findall(r"[^\W\d_]{3,}", annotation):
        pieces = tokenizer.tokenize(word)
        if len(pieces) == 1 and pieces[0] != tokenizer.unk_token:
            hidden = re.sub(rf"\b{word}\b", tokenizer.mask_token, caption, flags=re.IGNORECASE)
            return Blank(hidden, pieces[0])
    return None


def frequency_log_probabilities(kit: Kit, smoothing: float = 0.05) -> Tensor:
    """What a guess knows that has seen neither picture nor caption, only which words were hidden by the same rule in
    the training captions: (vocabulary,).

    Args:
        smoothing: Added to each count; the best of 1, 0.1, 0.05 and 0.01 on the validation captions.
    """
    blanks = [blank(pair["caption"][0], pair["caption"][0], kit.tokenizer) for pair in kit.train]
    counts = torch.full((len(kit.tokenizer),), smoothing, dtype=torch.float64)
    for word, count in Counter(found.word for found in blanks if found is not None).items():
        counts[kit.tokenizer.convert_tokens_to_ids(word)] += count
    return (counts / counts.sum()).log().float()


def first_of_each(rows: Tensor, blanks: Sequence[Blank], mask_token: str) -> Tensor:
    """Of a row for every [MASK], that of each caption's first."""
    counts = np.array([found.text.count(mask_token) for found in blanks])
    return rows[torch.from_numpy(np.cumsum(counts) - counts)]


def score(log_probabilities: Tensor, answers: Tensor) -> dict[str, float]:
    """Accuracy of the best guess and of the best five, and the mean cross-entropy with its standard error."""
    right = log_probabilities.gather(1, answers[:, None])
    rank = (log_probabilities >= right).sum(1)  # ties count against the answer
    value, error = mean_and_error(-right[:, 0])
    top = {f"top{k}": float((rank <= k).float().mean()) for k in (1, 5)}
    return {**top, "cross_entropy": value, "standard_error": error}


def mean_and_error(values: Tensor) -> tuple[float, float]:
    """Mean and its standard error."""
    return float(values.mean()), float(values.std() / len(values) ** 0.5)


def fill_in(kit: Kit, pictures: Pictures, model: MoMoPretrainer, count: int = 8) -> dict:
    """A hidden word of held-out captions, guessed with the right picture, with a wrong one, and without."""
    found = [blank(pair["annotation"], pair["caption"][0], kit.tokenizer) for pair in kit.pairs]
    rows = [row for row, item in enumerate(found) if item is not None]
    blanks, texts = [found[row] for row in rows], [found[row].text for row in rows]
    answers = torch.tensor(kit.tokenizer.convert_tokens_to_ids([item.word for item in blanks]))
    order = keyed_generator("demo", "wrong picture").permutation(len(rows))
    wrong = np.empty_like(order)
    wrong[order] = np.roll(order, 1)  # one cycle through all: nobody keeps the own picture

    images = [kit.images[row] for row in rows]
    guesses = {
        "right": fill_captions(model, images, texts, kit.tokenizer),
        "wrong": fill_captions(model, [images[other] for other in wrong], texts, kit.tokenizer),
        "text": fill_text(model, texts, kit.tokenizer),
    }
    guesses = {name: first_of_each(guess, blanks, kit.tokenizer.mask_token) for name, guess in guesses.items()}
    guesses["frequency"] = frequency_log_probabilities(kit).expand(len(rows), -1)

    totals = []
    for subset, flags in (("all captions", True), ("without flags", False)):
        kept = torch.tensor([flags or kit.pairs[row]["group"] != "flags" for row in rows])
        scores = {name: score(guess[kept], answers[kept]) for name, guess in guesses.items()}
        losses = {name: -guesses[name][kept].gather(1, answers[kept, None])[:, 0] for name in ("right", "wrong")}
        gain, error = mean_and_error(losses["wrong"] - losses["right"])
        totals.append(
            {"subset": subset, "n": int(kept.sum()), "scores": scores, "gain": {"value": gain, "standard_error": error}}
        )

    items = []
    for row in kit.drawn("fill in", count, rows):
        place, word = rows.index(row), found[row].word
        item = {"image": pictures.original(row), "caption": found[row].text, "word": word}
        for name in ("right", "text"):
            row_of_guess = guesses[name][place : place + 1]
            probability = float(row_of_guess[0, answers[place]].exp())
            words = [guess._asdict() for guess in top_words(row_of_guess, kit.tokenizer)[0]]
            item[name] = {"guesses": words, "answer": probability}
        items.append(item)
    return {"items": items, "totals": totals}


# ------------------------------------------------------------------ retrieval
def retrieval(kit: Kit, pictures: Pictures, model: MoMoPretrainer, count: int = 5, shown: int = 5) -> dict:
    """The best answers to a few captions among all pictures, and to a few pictures among all captions."""
    images, texts = embed_images(model, kit.images), embed_texts(model, kit.captions, kit.tokenizer)
    similarity = (images @ texts.T).numpy()
    same = np.array(kit.captions)[:, None] == np.array(kit.captions)

    def best(query: int, scores: np.ndarray) -> tuple[int, list[tuple[int, bool]]]:
        order = np.argsort(-scores, kind="stable")
        rank = int(np.flatnonzero(same[query][order])[0]) + 1
        return rank, [(int(row), bool(same[query, row])) for row in order[:shown]]

    to_image, to_text = [], []
    for query in kit.drawn("caption query", count):
        rank, answers = best(query, similarity[:, query])
        results = [{"image": pictures.original(row), "correct": correct} for row, correct in answers]
        to_image.append({"query": kit.captions[query], "rank": rank, "results": results})
    for query in kit.drawn("picture query", count):
        rank, answers = best(query, similarity[query])
        results = [{"caption": kit.captions[row], "correct": correct} for row, correct in answers]
        to_text.append({"query": pictures.original(query), "rank": rank, "results": results})
    return {"n": len(kit.pairs), "text_to_image": to_image, "image_to_text": to_text}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kit", type=Path, default=Path("data/kit"))
    parser.add_argument("--work-dir", type=Path, default=Path("work_dirs/demo"))
    args = parser.parse_args()
    models = {stage: get_model(f"demo/{stage}", args.work_dir / stage) for stage in ("stage1", "stage2", "stage3")}
    kit = Kit(args.kit)
    pictures = Pictures(args.work_dir, kit)
    examples = {
        "reconstructions": reconstructions(kit, pictures, {stage: models[stage] for stage in ("stage1", "stage2")}),
        "fill_in": fill_in(kit, pictures, models["stage3"]),
        "retrieval": retrieval(kit, pictures, models["stage3"]),
    }
    out = args.work_dir / "examples.json"
    out.write_text(json.dumps(examples, indent=1), encoding="utf-8")
    for total in examples["fill_in"]["totals"]:
        gain = total["gain"]
        print(
            f"hidden words, {total['subset']}: the right picture rather than a wrong one lowers the cross-entropy by "
            f"{gain['value']:.2f} +- {gain['standard_error']:.2f}   n {total['n']}"
        )
    print(f"wrote {out}")


if __name__ == "__main__":
    main()

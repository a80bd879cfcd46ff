"""The tabs: each takes what it is to be asked, and hands it to one or two inferencers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from momo.apis import (
    ExplanationInferencer,
    FillMaskInferencer,
    ReconstructionInferencer,
    RetrievalInferencer,
    VQAInferencer,
    ZeroShotInferencer,
    heat_map,
)
from momo.models import CMM, MLM

from .parts import HIDDEN, answered, bars, button, needed, pick, section, shown, textbox, upload

NEAREST, EXPLAINED, ANSWERS = 12, 3, 5  # pictures, words and answers that are shown
CLASSES = "animal, food, flag, face, building, vehicle"


def search_tab(search: RetrievalInferencer, samples: Sequence[str]) -> None:
    """Caption or picture to the nearest pictures."""
    count = f"{len(search.index):,}"
    section(
        "Search", f"Finds, among {count} pictures, those that a caption describes or that are like another picture."
    )
    with gr.Row():
        with gr.Column(scale=2):
            caption = textbox("Caption", "red heart")
            by_caption = button("Find by caption")
            picture = upload(samples)
            by_picture = button("Find by picture")
        with gr.Column(scale=3):
            found = gr.Gallery(label="Nearest pictures", columns=4, height=560, object_fit="contain", buttons=[])

    def find(matches: list) -> list:
        return [(shown(match.image), f"{match.similarity:.2f}  {Path(match.image).stem}") for match in matches]

    def find_by_caption(caption: str) -> list:
        return find(search.by_text(needed(caption, "Type a caption"), NEAREST)[0])

    def find_by_picture(path: str) -> list:
        return find(search.by_image(needed(path, "Choose a picture"), NEAREST)[0])

    gr.on([by_caption.click, caption.submit], answered(find_by_caption), caption, found, **HIDDEN)
    by_picture.click(answered(find_by_picture), picture, found, **HIDDEN)


def restore_tab(restore: ReconstructionInferencer, samples: Sequence[str]) -> None:
    """Masked reconstruction."""
    reads = restore.trained_with(CMM)
    line = "Hides patches of a picture and paints them from the rest"
    section("Restore", f"{line}{' and, if there is one, a caption' if reads else ''}.")
    with gr.Row():
        with gr.Column(scale=2):
            picture = upload(samples)
            caption = textbox("Caption (optional)", "what the picture shows", visible=reads)
            ratio = gr.Slider(0.05, 0.95, 0.5, step=0.05, label="Hidden part", info="more hides the same and others")
            seed = gr.Slider(0, 20, 0, step=1, label="Draw", info="which patches are hidden")
            run = button("Hide and restore")
        with gr.Column(scale=3), gr.Row():
            outputs = [
                gr.Image(label=label, interactive=False, buttons=[], min_width=180)
                for label in ("What the model sees", "What it restores", "The picture")
            ]

    def paint(path: str, caption: str, ratio: float, seed: float) -> list:
        texts = caption.strip() or None
        found = restore(needed(path, "Choose a picture"), texts, ratio, int(seed))
        return [shown(images[0]) for images in (found.masked, found.restored, found.original)]

    def paint_again(path: str | None, *settings: Any) -> list:
        return [gr.skip()] * 3 if path is None else paint(path, *settings)

    inputs = [picture, caption, ratio, seed]
    run.click(answered(paint), inputs, outputs, **HIDDEN)
    gr.on([ratio.release, seed.release], answered(paint_again), inputs, outputs, **HIDDEN)


def fill_tab(fill: FillMaskInferencer, explain: ExplanationInferencer, samples: Sequence[tuple[str, str]]) -> None:
    """A masked caption to words, with and without the picture, and to heat maps."""
    mask, reads_texts = fill.tokenizer.mask_token, fill.trained_with(MLM)
    section("Fill in", f"Guesses the word behind {mask}, and shows which parts of the picture each guess rests on.")
    with gr.Row():
        with gr.Column(scale=2):
            picture = upload()
            caption = textbox(f"Caption with one {mask}", f"a {mask} on a table")
            run = button("Guess the word")
            if samples:
                pick(samples, [picture, caption])
        with gr.Column(scale=3):
            with gr.Row():
                seen = gr.Label(label="With the picture", show_heading=False)
                unseen = gr.Label(label="From the words alone", show_heading=False, visible=reads_texts)
            label = "What each guess rests on: red counts most"
            maps = gr.Gallery(label=label, columns=3, height=330, object_fit="contain", buttons=[])

    def guess(path: str, caption: str) -> tuple:
        path, caption = needed(path, "Choose a picture"), needed(caption, f"Type a caption with {mask}")
        if caption.count(mask) != 1:
            raise ValueError(f"Put one {mask} into the caption, where the word is to be guessed.")
        words = fill(path, caption, ANSWERS)[0][0]
        alone = fill.without_image(caption, ANSWERS)[0][0] if reads_texts else ()
        explained = [word.word for word in words[:EXPLAINED]]
        found = explain([path] * len(explained), [caption] * len(explained), explained)
        pictures = [
            (shown(heat_map(path, item.patches)), f"{item.explained.word}  {item.explained.probability:.0%}")
            for item in found
        ]
        return bars(words), bars(alone), pictures

    gr.on([run.click, caption.submit], answered(guess), [picture, caption], [seen, unseen, maps], **HIDDEN)


def classify_tab(classify: ZeroShotInferencer, samples: Sequence[str]) -> None:
    """Zero-shot classes."""
    section("Classify", "Compares a picture with classes that are only named: nothing is trained for them.")
    with gr.Row():
        with gr.Column(scale=2):
            picture = upload(samples)
            names = textbox("Classes", "separated by commas", value=CLASSES, lines=2)
            run = button("Classify")
        with gr.Column(scale=3):
            found = gr.Label(label="Classes by probability", num_top_classes=10)

    def compare(path: str, names: str) -> dict:
        path, names = needed(path, "Choose a picture"), needed(names, "Name some classes")
        classes = list(dict.fromkeys(name.strip() for name in re.split(r"[,\n]", names) if name.strip()))
        if len(classes) < 2:
            raise ValueError("Name at least two classes, separated by commas.")
        return bars(classify(path, classes)[0])

    run.click(answered(compare), [picture, names], found, **HIDDEN)


def ask_tab(answer: VQAInferencer, samples: Sequence[str]) -> None:
    """Question answering."""
    section("Ask", f"Answers a question about a picture with one of {len(answer.answers):,} answers that it knows.")
    with gr.Row():
        with gr.Column(scale=2):
            picture = upload(samples)
            question = textbox("Question", "what is this?")
            run = button("Ask")
        with gr.Column(scale=3):
            found = gr.Label(label="Answers by probability")

    def ask(path: str, question: str) -> dict:
        path, question = needed(path, "Choose a picture"), needed(question, "Type a question")
        return bars(answer(path, question, ANSWERS)[0])

    gr.on([run.click, question.submit], answered(ask), [picture, question], found, **HIDDEN)

"""What the tabs share: pictures in, pictures out, messages instead of stack traces."""

from __future__ import annotations

import html
from collections.abc import Callable, Iterable, Sequence
from functools import wraps
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
from torch import Tensor
from torchvision.transforms import v2

from momo.apis import Guess, Label, read_image
from momo.apis.inputs import ImageSource

SMALLEST, LARGEST = 288, 512  # pixels of a side, as pictures are sent to the browser
LONGEST_TEXT = 500  # characters
HIDDEN = dict(api_visibility="private", show_progress="minimal")  # settings of every event


class Upload(gr.Image):
    """A picture to choose. The file is handed on as it was sent, for the inferencers to read or to refuse: Gradio would
    open it itself, and end in a stack trace if it is no picture.
    """

    is_template = True  # in the browser it is a gr.Image

    def preprocess(self, payload: Any) -> str | None:
        return None if payload is None else payload.path


def upload(samples: Sequence[str] = ()) -> Upload:
    """A place for a picture, with some to pick."""
    picture = Upload(label="Picture", height=230, sources=["upload", "clipboard"], interactive=True, buttons=[])
    if samples:
        pick([[sample] for sample in samples], [picture])
    return picture


def pick(samples: Sequence[Sequence[str]], inputs: Sequence[gr.components.Component]) -> None:
    """Pictures that fill in `inputs` when they are clicked: themselves, and the words that they are shown with.

    gr.Examples does the same, but stays blank in every tab but the first (Gradio 6.17).
    """
    pictures = [(path, " ".join(words) or None) for path, *words in samples]
    gallery = gr.Gallery(
        pictures, label="or one of these", columns=6, height=110, allow_preview=False, object_fit="contain", buttons=[]
    )

    def fill_in(event: gr.SelectData) -> Any:
        values = [event.value["image"]["path"], *samples[event.index][1:]]
        return values if len(values) > 1 else values[0]

    gallery.select(fill_in, None, list(inputs), **HIDDEN)


def answered(handler: Callable) -> Callable:
    """Show what is wrong with an input as a message, without the place where the file was kept."""

    @wraps(handler)
    def answer(*inputs: Any) -> Any:
        try:
            return handler(*inputs)
        except (ValueError, OSError) as error:
            message = str(error)
            for value in inputs:
                if isinstance(value, str) and Path(value).is_absolute():
                    message = message.replace(value, Path(value).name)
            raise gr.Error(html.escape(message), title="That did not work", print_exception=False) from error

    return answer


def needed(value: str | None, what: str) -> str:
    """Raises: ValueError that asks for `what` if there is nothing."""
    if value is None or not value.strip():
        raise ValueError(f"{what} first.")
    return value.strip()


def shown(image: ImageSource) -> np.ndarray:
    """A picture (H, W, 3) for the browser: large ones made smaller, small ones enlarged without blurring."""
    pixels: Tensor = read_image(image)
    factor = -(-SMALLEST // min(pixels.shape[-2:]))
    if factor > 1:
        pixels = pixels.repeat_interleave(factor, 1).repeat_interleave(factor, 2)
    if max(pixels.shape[-2:]) > LARGEST:
        pixels = v2.functional.resize(pixels, None, max_size=LARGEST, antialias=True)
    return pixels.permute(1, 2, 0).numpy()


def bars(found: Iterable[Guess | Label]) -> dict[str, float]:
    """What gr.Label draws."""
    return dict(found)


def section(title: str, text: str) -> None:
    """A tab's heading and its help line."""
    gr.HTML(f"<h2>{html.escape(title)}</h2><p>{text}</p>", elem_classes="section")


def textbox(label: str, placeholder: str, **settings: Any) -> gr.Textbox:
    return gr.Textbox(label=label, placeholder=placeholder, max_length=LONGEST_TEXT, **settings)


def button(text: str) -> gr.Button:
    return gr.Button(text, variant="primary")

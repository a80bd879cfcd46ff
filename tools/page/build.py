"""The page around the tabs, and how it is served: to this machine alone, with nothing from outside."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import gradio as gr
from starlette.middleware import Middleware
from torch import nn

from momo.apis import (
    ExplanationInferencer,
    FillMaskInferencer,
    Inferencer,
    ReconstructionInferencer,
    RetrievalInferencer,
    VQAInferencer,
    ZeroShotInferencer,
)

from .tabs import ask_tab, classify_tab, fill_tab, restore_tab, search_tab

HOST, MAX_UPLOAD = "127.0.0.1", "8mb"
KEPT_SECONDS = 3600  # uploads and answers
# The browser itself refuses whatever would come from another host.
POLICY = "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:"
FONT = [gr.themes.Font("system-ui"), gr.themes.Font("sans-serif")]
THEME = gr.themes.Base(
    primary_hue="teal", neutral_hue="slate", radius_size="md", font=FONT, font_mono=[gr.themes.Font("monospace")]
)


class Given(NamedTuple):
    """What the page is about. images: the folder that is searched. samples: pictures to pick. questions: pictures and
    captions with one [MASK] to pick.
    """

    model: nn.Module
    settings: dict[str, Any]
    images: str
    samples: Sequence[str]
    questions: Sequence[tuple[str, str]]
    vqa: nn.Module | None


def tabs_for(given: Given) -> dict[str, Callable[[], None]]:
    """By title, what fills each tab that a model was trained for.

    Raises: ValueError if there is none.
    """
    model, settings, samples = given.model, given.settings, given.samples

    def can(inferencer: type[Inferencer]) -> bool:
        return inferencer.why_not(model) is None

    tabs: dict[str, Callable[[], None]] = {}
    if can(RetrievalInferencer):
        search = RetrievalInferencer(model, folder=given.images, **settings)
        tabs["Search"] = lambda: search_tab(search, samples)
    if can(ReconstructionInferencer):
        tabs["Restore"] = lambda: restore_tab(ReconstructionInferencer(model, **settings), samples)
    if can(FillMaskInferencer):
        fill, explain = FillMaskInferencer(model, **settings), ExplanationInferencer(model, **settings)
        tabs["Fill in"] = lambda: fill_tab(fill, explain, given.questions)
    if can(ZeroShotInferencer):
        tabs["Classify"] = lambda: classify_tab(ZeroShotInferencer(model, **settings), samples)
    asked = model if VQAInferencer.why_not(model) is None else given.vqa
    if asked is not None:
        answer = VQAInferencer(asked, **settings)
        tabs["Ask"] = lambda: ask_tab(answer, samples)
    if not tabs:
        raise ValueError(f"a {type(model).__name__} can do nothing that this page shows; give a pre-trained stage 3")
    return tabs


def build(given: Given, name: str) -> gr.Blocks:
    """The page.

    Args:
        name: Of the model, for its first line.
    """
    size = sum(weight.numel() for weight in given.model.parameters()) / 1e6
    embedding = given.model.backbone.image_embed
    pixels = embedding.base_grid[0] * embedding.patch_size
    tabs = tabs_for(given)
    with gr.Blocks(title="MoMo", analytics_enabled=False, delete_cache=(KEPT_SECONDS, KEPT_SECONDS)) as page:
        gr.HTML(
            f"<h1>MoMo</h1><p>One encoder for images, text and pairs. Here: <b>{name}</b>, {size:.1f} million weights, "
            f"pictures of {pixels} pixels. Files stay on this machine.</p>",
            elem_classes="masthead",
        )
        for title, fill in tabs.items():
            with gr.Tab(title):
                fill()
    return page


class OnlyFromHere:
    """ASGI middleware that sends POLICY along."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: dict, receive: Callable, send: Callable) -> None:
        async def send_with_policy(message: dict) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"content-security-policy", POLICY.encode())]
            await send(message)

        await self.app(scope, receive, send_with_policy if scope["type"] == "http" else send)


def serve(page: gr.Blocks, port: int | None, block: bool = True) -> str:
    """Serve the page on the loopback interface; its address, if not to `block` until Ctrl-C."""
    _, address, _ = page.launch(
        server_name=HOST,
        server_port=port,
        share=False,
        max_file_size=MAX_UPLOAD,
        prevent_thread_lock=not block,
        footer_links=[],
        ssr_mode=False,
        theme=THEME,
        css_paths=Path(__file__).with_name("page.css"),
        app_kwargs={"middleware": [Middleware(OnlyFromHere)]},
    )
    return address

"""The page in a real browser: every tab is used, a bad file gets a message, and nothing comes from outside."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from helpers.data import VOCABULARY, write_images, write_tokenizer
from helpers.tiny import BACKBONE, STAGES, tiny_config, tiny_pretrainer
from helpers.transformers import vqa_classifier
from mmengine.config import Config

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tools"))

import app  # noqa: E402

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def test_what_is_missing_is_named_with_its_command(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"no checkpoint at .*nowhere. Train the demo's with\n  make demo"):
        app.checked(app.parse_args(["demo/stage3", str(tmp_path / "nowhere")]))
    (tmp_path / "weights.pth").touch()
    with pytest.raises(SystemExit, match="--images gone is no folder; give one with pictures, or run make demo"):
        app.checked(app.parse_args(["demo/stage3", str(tmp_path / "weights.pth"), "--images", "gone"]))


def write_models(folder: Path) -> list[str]:
    """Tiny models, pictures and captions; the arguments that name them."""
    write_tokenizer(folder / "words")
    data = dict(tokenizer=str(folder / "words"), test=dict(type="VQAv2", root=str(folder)))
    (folder / "answers.json").write_text(json.dumps(["yes", "no", "red", "a cat"]))
    models = {
        "stage3": (tiny_config(STAGES[3], vocab_size=len(VOCABULARY)), tiny_pretrainer(3, vocab_size=len(VOCABULARY))),
        "vqa": (
            dict(type="VQAClassifier", backbone={**BACKBONE, "vocab_size": len(VOCABULARY)}, num_answers=4),
            vqa_classifier(num_answers=4),
        ),
    }
    for name, (cfg, model) in models.items():
        Config(dict(model=cfg, data=data)).dump(folder / f"{name}.py")
        torch.save(model.state_dict(), folder / f"{name}.pth")
    write_images(folder / "photos", 8)
    pairs = [{"image": "even/000.png", "caption": "a [MASK] cat"}]
    (folder / "pairs.json").write_text(json.dumps(pairs))
    named = [str(folder / name) for name in ("stage3.py", "stage3.pth", "vqa.py", "vqa.pth", "photos", "pairs.json")]
    return [*named[:2], "--vqa", *named[2:4], "--images", named[4], "--pairs", named[5], "--root", named[4]]


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """The page of a process of its own, which has to end without a stack trace."""
    pytest.importorskip("gradio", reason="pip install '.[app]'")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, ROOT / "tools/app.py", *write_models(tmp_path), "--port", str(port)]
    with (tmp_path / "log").open("w") as log:
        server = subprocess.Popen(
            command, cwd=tmp_path, stdout=log, stderr=log, env={**os.environ, "OMP_NUM_THREADS": "1"}
        )
    try:
        while True:
            assert server.poll() is None, (tmp_path / "log").read_text()
            with socket.socket() as client:
                if client.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.2)
        listening = [row.split()[1] for row in Path("/proc/net/tcp").read_text().splitlines()[1:] if " 0A " in row]
        assert [place for place in listening if place.endswith(f":{port:04X}")] == [f"0100007F:{port:04X}"]  # loopback
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait()
    assert "Traceback" not in (tmp_path / "log").read_text()


@pytest.fixture
def page(address: str):
    """The page opened in Chromium; every request has to go to the page's own server, and no script may fail."""
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine")
    with pytest.importorskip("playwright.sync_api", reason="pip install '.[browser]'").sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page, asked, failed = browser.new_page(viewport={"width": 1280, "height": 900}), [], []
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: failed.append(error))
        page.set_default_timeout(30_000)
        page.goto(address)
        yield page
        browser.close()
    outside = [url for url in asked if not url.startswith((address, "data:", "blob:"))]
    assert asked and outside == [] and failed == []


class Tab:
    """What a visitor does in one tab."""

    def __init__(self, page, title: str, screenshots: Path) -> None:
        self.page, self.picture = page, screenshots / f"{title}.png"
        page.get_by_role("tab", name=title, exact=True).click()
        self.panel = page.locator("[role=tabpanel]:visible")

    def upload(self, path: Path) -> Tab:
        self.panel.locator("input[type=file]").first.set_input_files(path)
        self.page.wait_for_timeout(500)
        return self

    def type(self, label: str, text: str) -> Tab:
        self.panel.get_by_label(label).fill(text)
        return self

    def click(self, name: str) -> Tab:
        self.panel.get_by_role("button", name=name).click()
        return self

    def shows(self, text: str) -> None:
        self.panel.get_by_text(text).first.wait_for()
        self.page.screenshot(path=self.picture, full_page=True)
        assert self.picture.stat().st_size > 20_000


@pytest.mark.slow
def test_every_tab(page, tmp_path: Path) -> None:
    photo = tmp_path / "photos" / "odd" / "003.png"
    page.get_by_role("tab").first.wait_for()
    assert page.get_by_role("tab").all_inner_texts() == ["Search", "Restore", "Fill in", "Classify", "Ask"]

    search = Tab(page, "Search", tmp_path).type("Caption", "a red cat").click("Find by caption")
    search.shows("003")
    search.upload(photo).click("Find by picture").shows("1.00  003")

    restore = Tab(page, "Restore", tmp_path).upload(photo).click("Hide and restore")
    page.wait_for_function("document.querySelectorAll('[role=tabpanel] img').length >= 3")
    restore.shows("What it restores")

    fill = Tab(page, "Fill in", tmp_path).upload(photo).type("Caption with one [MASK]", "a [MASK] cat")
    fill.click("Guess the word").shows("%")
    Tab(page, "Classify", tmp_path).upload(photo).type("Classes", "cat, dog, moon").click("Classify").shows("moon")
    Tab(page, "Ask", tmp_path).upload(photo).type("Question", "a cat").click("Ask").shows("a cat")


@pytest.mark.slow
def test_a_picture_that_is_there_can_be_picked(page, tmp_path: Path) -> None:
    page.get_by_role("tab").first.wait_for()
    for title, button in (("Restore", "Hide and restore"), ("Classify", "Classify")):
        tab = Tab(page, title, tmp_path)
        assert tab.panel.locator("button.thumbnail-item img:visible").count() > 1
        tab.panel.locator("button.thumbnail-item").first.click()
        tab.panel.get_by_label("Remove Image").wait_for()
        tab.click(button)
    tab.panel.locator("text=%").first.wait_for()


@pytest.mark.slow
def test_bad_input_gets_a_message(page, tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_text("this is no picture")
    (tmp_path / "large.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(9_000_000))
    page.get_by_role("tab").first.wait_for()
    Tab(page, "Classify", tmp_path).click("Classify")
    page.get_by_text("Choose a picture first.").wait_for()
    Tab(page, "Fill in", tmp_path).upload(tmp_path / "photos/odd/003.png").type("Caption", "a cat").click(
        "Guess the word"
    )
    page.get_by_text("Put one [MASK] into the caption").wait_for()
    Tab(page, "Restore", tmp_path).upload(tmp_path / "bad.png").click("Hide and restore")
    page.get_by_text(re.compile("^bad.png cannot be read as an image: no JPEG, PNG, GIF or WebP")).wait_for()
    Tab(page, "Ask", tmp_path).upload(tmp_path / "large.png")
    page.get_by_text(re.compile("exceed", re.IGNORECASE)).first.wait_for()

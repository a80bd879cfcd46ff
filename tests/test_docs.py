"""What the pages show is run, or says why not; their links lead somewhere; the site loads nothing from elsewhere."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import NamedTuple

import pytest
from helpers.data import write_images, write_tokenizer
from mmengine.config import Config
from mmengine.registry import WEIGHT_INITIALIZERS, Registry

import momo.registry
from momo.engine.checkpoint import write_weights
from momo.engine.config_check.signatures import accepted_parameters

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"^(?:<!-- not run: (?P<why>.+) -->\n)?```(?P<info>.*)\n(?P<code>[\s\S]*?)^```$", re.MULTILINE)
REGISTRIES = [value for value in vars(momo.registry).values() if isinstance(value, Registry)] + [WEIGHT_INITIALIZERS]


class Block(NamedTuple):
    """page: its path below the root. saved_as: where a config goes instead of being run. why: it is not run."""

    page: str
    language: str
    code: str
    saved_as: str | None
    why: str | None


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def blocks_of(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    whole = re.search(r"^<!-- page not run: (.+) -->$|^<!-- page (run by: .+) -->$", text, re.MULTILINE)
    found = []
    for match in FENCE.finditer(text):
        language, _, rest = match["info"].partition(" ")
        title = re.fullmatch(r'title="(.+)"', rest)
        why = match["why"] or (whole and (whole[1] or whole[2]))
        found.append(Block(name_of(page), language, match["code"], title and title[1], why))
    return found


BLOCKS = [block for page in PAGES for block in blocks_of(page)]
SHOWN = [block for block in BLOCKS if block.language in ("bash", "python")]
RUN = {page: [block for block in SHOWN if block.page == page and block.why is None] for page in {b.page for b in SHOWN}}
CALLS = [
    (block.page, node)
    for block in SHOWN
    if block.language == "python"
    for node in ast.walk(ast.parse(block.code))
    if isinstance(node, ast.Call) and any(keyword.arg == "type" for keyword in node.keywords)
]


# ------------------------------------------------------------------ what is shown
def test_blocks_name_their_language() -> None:
    assert {block.language for block in BLOCKS} <= {"bash", "python", "text"}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_no_block_and_no_reason_is_overlooked(page: Path) -> None:
    rest = FENCE.sub("", page.read_text(encoding="utf-8"))
    assert "```" not in rest and "<!-- not run" not in rest


def test_pages_with_a_test_of_their_own_are_named_there() -> None:
    own = {(block.page, block.why.removeprefix("run by: ")) for block in SHOWN if "run by: " in (block.why or "")}
    assert own
    assert [page for page, test in own if page not in (ROOT / test).read_text(encoding="utf-8")] == []


@pytest.mark.parametrize(("page", "call"), CALLS, ids=[f"{page}-{ast.unparse(call)[:40]}" for page, call in CALLS])
def test_configs_have_known_names_and_keys(page: str, call: ast.Call) -> None:
    keys = {keyword.arg: keyword.value for keyword in call.keywords}
    kind = ast.literal_eval(keys.pop("type")).removeprefix("momo.")
    target = next((found for registry in REGISTRIES if (found := registry.get(kind)) is not None), None)
    assert target is not None, f"no registry knows {kind}"
    accepted = accepted_parameters(target)
    assert accepted.is_open or set(keys) <= set(accepted.parameters)


def test_options_of_commands_are_known() -> None:
    """Those of this project's tools, also where the command itself is not run."""
    files = [*ROOT.glob("tools/**/*.py"), ROOT / "momo/engine/launch.py"]
    sources = "".join(path.read_text(encoding="utf-8") for path in files)
    lines = [line for b in SHOWN if b.language == "bash" for line in b.code.replace("\\\n", " ").splitlines()]
    options = {option for line in lines if "tools/" in line for option in re.findall(r"(?<= )--[a-z-]+", line)}
    assert len(options) > 10
    assert [option for option in sorted(options) if f'"{option}"' not in sources] == []


def test_the_model_that_is_shown_is_stage_3() -> None:
    shipped = Config.fromfile(ROOT / "configs/_base_/models/stage3.py").model
    shipped.pop("data_preprocessor")
    shown = [block.code for block in SHOWN if block.code.startswith("model = dict(")]
    assert len(shown) == 2
    for code in shown:
        scope: dict = {}
        exec(code, scope)  # the page's own text
        assert scope["model"] == shipped


@pytest.mark.parametrize("page", ["README.md", "docs/evaluation.md"])
def test_the_published_averages(page: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    from evaluation.paper import PUBLISHED_AVERAGES

    text = (ROOT / page).read_text(encoding="utf-8")
    for group, averages in PUBLISHED_AVERAGES.items():
        (row,) = re.findall(rf"^\| {group}\b[^|]*\|(.+?)\| not reproduced yet \|$", text, re.MULTILINE | re.IGNORECASE)
        assert tuple(float(cell) for cell in row.split("|")) == averages


# ------------------------------------------------------------------ what is run
@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The repository's tools and configs, the demo's last checkpoint, of random weights, and some of its data."""
    shutil.copytree(ROOT / "configs", tmp_path / "configs", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "tools").symlink_to(ROOT / "tools")
    model = momo.get_model("demo/stage3")
    write_weights(tmp_path / "work_dirs/demo/stage3/epoch_1", model.state_dict())
    write_images(tmp_path / "data/kit/images/test/fluent", 6)
    write_tokenizer(tmp_path / "data/kit/tokenizer")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize("page", sorted(page for page, blocks in RUN.items() if blocks))
def test_the_page_runs(page: str, workspace: Path) -> None:
    scope: dict = {}
    for block in RUN[page]:
        if block.saved_as:
            (workspace / block.saved_as).write_text(block.code, encoding="utf-8")
        elif block.language == "python":
            exec(block.code, scope)  # the page's own text
        else:
            subprocess.run(["bash", "-euc", block.code], check=True)


# ------------------------------------------------------------------ links, and the site
@pytest.mark.parametrize("page", [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"], ids=name_of)
def test_links_outside_the_site_lead_somewhere(page: Path) -> None:
    text = re.sub(r"^```[\s\S]*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    for link in re.findall(r'\]\(([^)]+)\)|src="([^"]+)"', text):
        path, _, anchor = "".join(link).partition("#")
        if path.startswith("https://"):
            continue
        assert (ROOT / path).is_file(), path
        headings = re.findall(r"^#+ (.+)$", (ROOT / path).read_text(encoding="utf-8"), re.MULTILINE) if anchor else []
        slugs = {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}
        assert not anchor or anchor in slugs, f"{path} has no heading #{anchor}"


class Loaded(HTMLParser):
    """What a page fetches when it is opened."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.urls: list[str] = []
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag in ("script", "img", "iframe", "source", "video", "audio"):
            self.urls.append(values.get("src") or "")
        if tag == "link" and values.get("rel") not in ("canonical", "next", "prev", "alternate"):
            self.urls.append(values.get("href") or "")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """`make docs`, in a folder of its own: a warning, such as of a dead link or anchor, is an error."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True)
    yield folder


@pytest.mark.slow
def test_the_site_loads_nothing_from_elsewhere(site: Path) -> None:
    pages = sorted(site.rglob("*.html"))
    assert len(pages) >= len(list((ROOT / "docs").rglob("*.md")))
    urls = {url for page in pages for url in Loaded(page).urls}
    assert urls and [url for url in sorted(urls) if re.match(r"(?:https?:)?//", url)] == []
    styles = "".join(path.read_text(encoding="utf-8") for path in site.rglob("*.css"))
    assert re.findall(r"@import|url\(\s*['\"]?(?:https?:)?//", styles) == []


@pytest.mark.slow
def test_the_reference_shows_docstrings(site: Path) -> None:
    """A class of each page, and the sections of a docstring: a table of arguments, paragraphs of the others."""
    pages = {"models": "MoMoViT", "datasets": "ImageFolder", "engine": "StageHook", "apis": "get_model"}
    for page, name in pages.items():
        assert f'id="momo.{page}.{name}"' in (site / f"reference/{page}.html").read_text(encoding="utf-8")
    text = (site / "reference/apis.html").read_text(encoding="utf-8")
    assert "<strong>Shapes:</strong>" in text and "<strong>Raises:</strong>" in text
    assert "whose newest checkpoint counts" in text and "Args:" not in text

"""What the README and the docs name is there."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_paths_exist(page: Path) -> None:
    text = page.read_text()
    paths = set(re.findall(r'(?<!["\w/])(?:tools|configs|momo|docs|tests)/[\w/.-]*[\w/]', text))
    assert paths or page.name != "README.md"
    made = set(re.findall(r'^```python title="(.+)"$', text, re.MULTILINE))  # by whoever follows the page
    assert [path for path in sorted(paths - made) if not (ROOT / path).exists()] == []


def test_make_targets_exist() -> None:
    targets = set(re.findall(r"(?:`|^)make ([a-z0-9-]+)", (ROOT / "README.md").read_text(), re.MULTILINE))
    makefile = (ROOT / "Makefile").read_text()
    assert {"demo", "test"} <= targets
    assert [target for target in targets if not re.search(rf"^{target}:", makefile, re.MULTILINE)] == []


@pytest.mark.parametrize("tool", ["tools/train.py", "tools/test.py", "tools/convert_mae.py"])
def test_tools_say_how_they_are_used(tool: str) -> None:
    result = subprocess.run([sys.executable, ROOT / tool, "--help"], capture_output=True, text=True, check=True)
    assert "usage:" in result.stdout


def test_the_example_model_builds() -> None:
    """The config that the README shows, at a tiny size."""
    import torch

    from momo.registry import MODELS

    code = re.search(r"```python\n(model = dict\(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL).group(1)
    scope: dict = {}
    exec(code, scope)  # the README's own text
    with torch.device("meta"):
        model = MODELS.build(scope["model"])
    assert model.modalities == ("text", "image_text")

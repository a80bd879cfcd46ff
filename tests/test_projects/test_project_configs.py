"""Every project: a README that gives its command, and a config whose every key and value is known."""

import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from mmengine.config import Config

from momo.engine.launch import load_config

ROOT = Path(__file__).parents[2]
PROJECTS = sorted(path.parent for path in (ROOT / "projects").glob("*/README.md"))
CONFIGS = {
    "segmentation/upernet_scenes.py": "mmseg",
    "detection/fcos_scenes.py": None,
    "mmpretrain_classifier/groups.py": "mmpretrain",
    "third_modality/demo_sound.py": None,
}


def test_every_project_has_a_readme_that_names_its_config() -> None:
    folders = sorted(path for path in (ROOT / "projects").iterdir() if path.is_dir() and path.name != "__pycache__")
    assert PROJECTS == folders
    assert [path.name for path in PROJECTS] == sorted(name.split("/")[0] for name in CONFIGS)
    for name in CONFIGS:
        assert f"projects/{name}" in (ROOT / "projects" / name).parent.joinpath("README.md").read_text()
        assert f"projects/{name}" in (ROOT / "projects" / name).read_text().split('"""')[1]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("name", "toolkit"), CONFIGS.items())
def test_config_is_right(name: str, toolkit: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    if toolkit is not None and find_spec(toolkit) is None:
        pytest.skip(f"{toolkit} is not installed")
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, "path", [str(ROOT), *sys.path])
    load_config(f"projects/{name}", {})


@pytest.mark.parametrize("name", CONFIGS)
def test_config_can_be_written_into_the_work_dir(name: str) -> None:
    """As MMEngine does when a toolkit's own script trains it."""
    assert Config.fromfile(ROOT / "projects" / name).pretty_text

"""A wheel carries what the tools need, and building it leaves the source tree as it was."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import momo

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
def test_wheel_carries_configs_and_tools(tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    for path in ROOT.glob("*"):
        if path.name in ("momo", "configs", "tools", "requirements"):
            shutil.copytree(path, source / path.name, ignore=shutil.ignore_patterns("__pycache__"))
        elif path.is_file():
            shutil.copy(path, source)
    before = sorted(source.rglob("*"))
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--no-deps",
        "--no-build-isolation",
        "--wheel-dir",
        tmp_path,
        source,
    ]
    subprocess.run(command, check=True, capture_output=True)

    (wheel,) = tmp_path.glob("*.whl")
    assert wheel.name.startswith(f"momo_multimodal-{momo.__version__}-")
    names = set(zipfile.ZipFile(wheel).namelist())
    wanted = {f"momo/.mim/{path.relative_to(ROOT)}" for path in (ROOT / "configs").rglob("*.py")}
    wanted |= {str(path.relative_to(ROOT)) for path in (ROOT / "momo").rglob("*.py")}
    wanted |= {"momo/.mim/tools/train.py", "momo/.mim/tools/dist_train.sh", "momo/.mim/model-index.yml"}
    wanted |= {f"momo/.mim/{path.relative_to(ROOT)}" for path in (ROOT / "configs").rglob("metafile.yml")}
    assert wanted <= names
    assert not any(name.startswith(("tests/", "tools/", "configs/")) for name in names)
    new = {path.relative_to(source).parts[0] for path in set(source.rglob("*")) - set(before)}
    assert new <= {"build", "momo_multimodal.egg-info"}

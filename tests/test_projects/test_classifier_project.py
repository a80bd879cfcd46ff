"""mmpretrain's own script trains a classifier on the encoder, by the project's config and nothing else."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers.projects import ROOT, demo_checkpoint
from PIL import Image

sys.path.insert(0, str(ROOT / "projects" / "mmpretrain_classifier"))

import list_groups  # noqa: E402


def test_lists_are_paths_and_labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for split in ("train", "val", "test"):
        rows = [{"image": f"{split}/a.png", "label": 3}, {"image": f"{split}/b.png", "label": 0}]
        (tmp_path / f"groups_{split}.json").write_text(json.dumps(rows))
    monkeypatch.setattr(sys, "argv", ["list_groups.py", "--kit", str(tmp_path), "--out", str(tmp_path / "out")])
    list_groups.main()
    assert (tmp_path / "out" / "val.txt").read_text() == "val/a.png 3\nval/b.png 0\n"


@pytest.mark.slow
def test_their_script_trains_it(tmp_path: Path) -> None:
    import mmpretrain

    script = Path(mmpretrain.__file__).parent / ".mim" / "tools" / "train.py"
    if not script.is_file():
        pytest.skip("this mmpretrain is an editable install: its script is not in the package")
    for index in range(9):
        path = tmp_path / "kit" / "images" / f"{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((48, 48, 3), 25 * index, dtype=np.uint8)).save(path)
    (tmp_path / "kit_groups").mkdir()
    for split in ("train", "val", "test"):
        (tmp_path / "kit_groups" / f"{split}.txt").write_text("".join(f"{k}.png {k}\n" for k in range(9)))
    options = {f"{split}_dataloader.dataset.data_root": tmp_path for split in ("train", "val", "test")}
    options |= {"custom_hooks.0.checkpoint": demo_checkpoint(tmp_path / "stage3"), "param_scheduler": None}
    options |= {"train_cfg.max_epochs": 2, "train_cfg.val_interval": 2, "default_hooks.checkpoint.interval": 2}
    command = [
        sys.executable,
        script,
        ROOT / "projects/mmpretrain_classifier/groups.py",
        "--work-dir",
        tmp_path / "run",
    ]
    command += ["--cfg-options", *(f"{key}={value}" for key, value in options.items())]
    result = subprocess.run(command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert result.returncode == 0
    (log,) = (tmp_path / "run").glob("*/vis_data/scalars.json")
    figures = [json.loads(line) for line in log.read_text().splitlines()][-1]
    assert 0 <= figures["accuracy/top1"] <= 100

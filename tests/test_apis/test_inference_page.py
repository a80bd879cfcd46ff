"""The programs of docs/inference.md do what the page says, in its order."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch
from helpers.data import write_tokenizer
from helpers.transformers import pictures

import momo
from momo.engine.checkpoint import write_weights

PAGE = (Path(__file__).parents[2] / "docs/inference.md").read_text(encoding="utf-8")


def test_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    for config, folder in (("demo/stage3", "work_dirs/demo/stage3"), ("study/vqa", "work_dirs/vqa")):
        write_weights(Path(folder) / "epoch_1", momo.get_model(config).state_dict())
    write_tokenizer(Path("data/kit/tokenizer"))
    Path("data/kit/vqa").mkdir()
    Path("data/kit/vqa/answers.json").write_text(json.dumps([f"answer {number}" for number in range(66)]))
    Path("photos").mkdir()
    for name, picture in zip("abc", pictures(3), strict=True):
        picture.save(f"photos/{name}.png")
    scope: dict = {}
    blocks = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    for code in blocks:
        exec(code, scope)  # the page's own text
    assert len(blocks) == 8
    assert scope["match"].image.endswith(".png") and len(scope["search"].index) == 3
    assert Path("heat.png").stat().st_size > 0 and Path("restored.png").stat().st_size > 0
    assert scope["found"].hidden.float().mean() == 0.5

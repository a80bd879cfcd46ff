"""The commands and programs of docs/weights.md do what the page says, in its order."""

from __future__ import annotations

import importlib
import re
import shlex
import sys
from pathlib import Path

import pytest
import torch
from helpers import mae as reference
from helpers.data import write_tokenizer
from helpers.transformers import pictures
from transformers import AutoConfig

import momo.apis
from momo.datasets import load_tokenizer
from momo.engine.checkpoint import load_weights, write_weights
from momo.registry import MODELS

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tools"))
BLOCKS = re.findall(r"```(bash|python)\n(.*?)```", (ROOT / "docs/weights.md").read_text(encoding="utf-8"), re.DOTALL)


def run_tool(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run a tool's main in this process."""
    words = shlex.split(command)
    assert words[0] == "python"
    monkeypatch.setattr(sys, "argv", words[1:])
    importlib.import_module(Path(words[1]).stem).main()


def run_blocks(onnx: bool, monkeypatch: pytest.MonkeyPatch) -> dict:
    """Run the blocks that are, or are not, about ONNX; returns what the page's programs have defined."""
    scope: dict = {}
    for language, code in BLOCKS:
        if ("onnx" in code) is not onnx:
            continue
        if language == "python":
            exec(code, scope)  # the page's own text
        else:
            for command in code.splitlines():
                run_tool(command, monkeypatch)
    return scope


def write_demo() -> torch.nn.Module:
    """What the page finds in the folder: the demo's checkpoint and tokenizer, a picture."""
    torch.manual_seed(1)
    model = momo.get_model("demo/stage3")
    write_weights(Path("work_dirs/demo/stage3/epoch_1"), model.state_dict())
    write_tokenizer(Path("data/kit/tokenizer"))
    pictures(1)[0].save("cat.png")
    return model


@pytest.mark.slow  # writes three graphs
def test_the_page_on_onnx(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnxscript", reason="needs the extra 'onnx'")
    pytest.importorskip("onnxruntime", reason="needs the extra 'onnx'")
    monkeypatch.chdir(tmp_path)
    model = write_demo()
    scope = run_blocks(True, monkeypatch)
    tokenizer = load_tokenizer("data/kit/tokenizer")
    expected = momo.apis.embed_texts(model.eval(), ["cat", "a red dog"], tokenizer)
    torch.testing.assert_close(torch.from_numpy(scope["text_embeds"]), expected, rtol=0, atol=1e-4)
    assert scope["image_embeds"].shape == (1, expected.shape[1])


def test_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    mae = reference.random_mae(norm_pix=False, **reference.SMALL)
    mae.save_pretrained("vit-mae-base")
    torch.save({"model": mae.state_dict()}, "mae_visualize_vit_base.pth")
    model = write_demo()
    scope = run_blocks(False, monkeypatch)

    backbone = MODELS.build({**scope["backbone"], "arch": dict(embed_dim=32, depth=2, num_heads=4), "patch_size": 8})
    backbone.init_weights()
    assert torch.equal(backbone.cls_token, mae.vit.embeddings.cls_token[0])
    assert torch.equal(scope["weights"]["backbone.cls_token"], backbone.cls_token)
    assert AutoConfig.from_pretrained("momo-demo").architectures == ["MoMoForImageTextRetrieval"]
    back = load_weights("work_dirs/tuned/epoch_0")
    own = model.state_dict()
    assert {name.split(".")[0] for name in back} == {"backbone", "objectives"}
    assert all(torch.equal(own[name], value) for name, value in back.items())

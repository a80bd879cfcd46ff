"""Graphs of the encoders give what torch gives."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from helpers.data import VOCABULARY, write_tokenizer
from helpers.tiny import STAGES, perturb, tiny_config, tiny_pretrainer
from helpers.transformers import TEXTS, as_bytes, new_tokenizer, pictures, stage3
from mmengine.config import Config
from torch.nn import functional as F
from transformers import AutoProcessor

from momo.apis import embed_images, embed_texts, get_model
from momo.engine.checkpoint import write_weights
from momo.interop.transformers import MoMoForImageTextRetrieval, to_transformers

pytest.importorskip("onnxscript", reason="needs the extra 'onnx'")
pytest.importorskip("onnxruntime", reason="needs the extra 'onnx'")
from momo.interop.onnx import INPUTS, OnnxEncoder, OnnxSession, export_onnx, largest_difference  # noqa: E402

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))
import export_onnx as tool  # noqa: E402


@pytest.mark.slow
@torch.inference_mode()
@pytest.mark.parametrize("pooling", ["cls", "mean"])
@pytest.mark.parametrize("kind", INPUTS)
def test_graphs_equal_torch(tmp_path: Path, kind: str, pooling: str) -> None:
    tokenizer = new_tokenizer(tmp_path / "tokenizer")
    model: MoMoForImageTextRetrieval = to_transformers(stage3(pooling), "retrieval", tokenizer)
    encoder = OnnxEncoder(model, kind)
    export_onnx(encoder, tmp_path / "graph.onnx")
    session = OnnxSession(tmp_path / "graph.onnx")
    assert [node.name for node in session.session.get_inputs()] == list(INPUTS[kind])
    assert [node.name for node in session.session.get_outputs()] == encoder.outputs
    draw = torch.Generator().manual_seed(0)
    batches = [encoder.example(batch, length, draw) for batch, length in ((1, 1), (1, 6), (3, 13), (7, 4))]
    assert largest_difference(encoder, session, batches) < 1e-4
    texts = {name: value for name, value in batches[2].items() if name != "pixel_values"}
    if texts:  # padding may stand on the left too, and changes nothing
        assert (texts["attention_mask"] == 0).any()
        left = {**batches[2], **{name: F.pad(value[:, :11], (2, 0)) for name, value in texts.items()}}
        cut = {**batches[2], **{name: value[:, :11] for name, value in texts.items()}}
        for found, expected in zip(session(**left)[1:], session(**cut)[1:], strict=True):
            torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)


@pytest.mark.slow
def test_the_tool_makes_a_folder_that_needs_no_momo(
    tmp_path: Path, unformatted_configs: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    Config({"model": tiny_config(STAGES[3], vocab_size=len(VOCABULARY))}).dump("config.py")
    write_weights(Path("checkpoint"), perturb(get_model("config.py")).state_dict())
    write_tokenizer(Path("tokenizer"))
    command = ["export_onnx.py", "config.py", "checkpoint", "out", "--tokenizer", "tokenizer", "--repeats", "1"]
    monkeypatch.setattr(sys, "argv", command)
    tool.main()
    printed = capsys.readouterr().out
    assert all(f"{kind} " in printed for kind in INPUTS) and "torch, ms at 16" in printed

    model, processor = get_model("config.py", "checkpoint"), AutoProcessor.from_pretrained("out")
    images = pictures()
    inputs = processor(text=TEXTS, images=images, padding=True, return_tensors="pt")
    import onnxruntime

    def run(kind: str, output: str) -> torch.Tensor:
        session = onnxruntime.InferenceSession(f"out/{kind}.onnx", providers=["CPUExecutionProvider"])
        return torch.from_numpy(session.run([output], {name: inputs[name].numpy() for name in INPUTS[kind]})[0])

    close = dict(rtol=0, atol=1e-4)
    torch.testing.assert_close(run("image", "image_embeds"), embed_images(model, as_bytes(images)), **close)
    tokenizer = new_tokenizer(tmp_path / "tokenizer")
    torch.testing.assert_close(run("text", "text_embeds"), embed_texts(model, TEXTS, tokenizer), **close)
    assert run("pair", "matching_scores").shape == (3,)
    with pytest.raises(SystemExit):  # the folder is there
        tool.main()


def test_what_has_no_graph() -> None:
    model = to_transformers(tiny_pretrainer({}, vocab_size=0), "encoder")
    assert OnnxEncoder(model, "image").outputs == ["last_hidden_state", "pooler_output"]
    with pytest.raises(ValueError, match="kind='text': config.vocab_size=0, this model reads images only"):
        OnnxEncoder(model, "text")
    with pytest.raises(ValueError, match="kind='audio' is unknown; choose one of"):
        OnnxEncoder(model, "audio")
    with pytest.raises(ValueError, match="this model reads text: name the tokenizer"):
        tool.export(tiny_pretrainer(2), Path("nowhere"), None, 1)

"""What the doctor is given: names in any encoding, tables at URLs, configs with a token budget."""

import json
import sys
from pathlib import Path

import fsspec
import pytest
from helpers.data import write_images, write_texts, write_tokenizer
from mmengine.config import Config

from momo.datasets.storage import parent

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tools" / "dataset"))

import doctor  # noqa: E402
from examination.sources import Names, open_source  # noqa: E402
from examination.speed import Assumptions, need, training_pipeline  # noqa: E402

STAGE_2 = ROOT / "configs" / "demo" / "stage2.py"


def test_names_that_are_no_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name in another encoding ends neither reading nor the report."""
    write_images(tmp_path / "set [v2]" / "images", 3, size=20)
    path = next((tmp_path / "set [v2]").rglob("*.png"))
    path.rename(path.with_name(b"caf\xe9.png".decode("utf-8", "surrogateescape")))
    args = tmp_path / "set [v2]" / "images", "--seconds", 0, "--workers", 0, "--out", tmp_path / "out"
    monkeypatch.setattr(sys, "argv", ["doctor.py", *map(str, args)])
    doctor.main()
    (found,) = json.loads((tmp_path / "out" / "doctor.json").read_text(encoding="utf-8"))
    page = (tmp_path / "out" / "doctor.html").read_text(encoding="utf-8")
    assert (found["images"], found["broken"]) == (3, {}) and "caf\\udce9.png" in page
    write_texts(tmp_path / "set [v2]" / "texts" / "a.txt", 5)
    assert len(open_source(str(tmp_path / "set [v2]" / "texts"), Names()).dataset) == 5


def test_tables_at_a_url(tmp_path: Path) -> None:
    write_images(tmp_path / "images", 1, size=20)
    with fsspec.open("memory://doctor/set/pairs.csv", "w") as file:
        file.write("image,caption\na.png,a cat\n")
    with fsspec.open("memory://doctor/set/a.png", "wb") as file:
        file.write(next((tmp_path / "images").rglob("*.png")).read_bytes())
    source = open_source("memory://doctor/set/pairs.csv", Names(), str(tmp_path))
    assert source.cfg["root"].endswith("doctor/set") and source.dataset.read(0)["image_bytes"]
    assert parent("zip://a/b.csv::/data/c.zip") == "zip://a::/data/c.zip"
    assert parent("zip://b.csv::/data/c.zip") == "zip://::/data/c.zip" and parent("a/b.csv") == "a"


def test_what_a_token_budget_holds_by_hand(tmp_path: Path) -> None:
    """Batches by token budget hold as many texts as fit, of the length that the source's have."""
    cfg = Config.fromfile(STAGE_2)
    text = cfg.train_dataloader.loaders.text
    text.update(batch_size=None, max_tokens=1000)
    text.dataset = dict(type="TokenCorpus", folders="tokens", tokenizer=write_tokenizer(tmp_path / "tokenizer"))
    text.dataset["max_len"] = 64
    assumptions = Assumptions(STAGE_2, gpus=4, gpu="2", peak=2.0, utilisation=0.5)
    found = {words: need("text", assumptions, cfg, words) for words in (None, 10, 64)}
    assert {words: one.batch["text"] for words, one in found.items()} == {None: 15, 10: 100, 64: 15}
    assert found[10].samples_per_s == pytest.approx(100 * 4 / found[10].step_s)
    images = Config.fromfile(STAGE_2)
    images.train_dataloader.loaders.text.update(batch_size=100)
    images.train_dataloader.loaders.text.dataset.pipeline[-1].max_len = 64
    assert need("text", assumptions, images, words=10).tflop == pytest.approx(found[10].tflop)
    steps = training_pipeline(cfg, "text", None)
    assert steps == [dict(type="Tokenize", tokenizer=text.dataset["tokenizer"], max_len=64)]
    text.max_tokens = 63
    with pytest.raises(ValueError, match=r"loaders\.text\.max_tokens=63 does not hold a text of 64 word pieces"):
        need("text", assumptions, cfg, words=64)

"""The doctor: it counts what was put there, its page needs nothing else, its arithmetic can be done by hand."""

import json
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from helpers.data import WORDS, write_images, write_texts, write_tokenizer
from helpers.forms import files_below, write_manifest, write_tar
from mmengine.config import Config
from torchvision.io import decode_image, write_jpeg

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tools" / "dataset"))

import doctor  # noqa: E402
from examination.findings import duplicates, histogram, leaks, shares  # noqa: E402
from examination.languages import Reading, py3langid, read_language  # noqa: E402
from examination.pictures import bar_chart, number, spread  # noqa: E402
from examination.samples import Sample, choose  # noqa: E402
from examination.sources import Names, open_source  # noqa: E402
from examination.speed import Assumptions, Need, Throughput, need, verdict  # noqa: E402

STAGE_3 = ROOT / "configs" / "demo" / "stage3.py"


class Page(HTMLParser):
    """What a page loads, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs) -> None:
        self.loaded += [value for name, value in attrs if name in ("src", "href")]

    def handle_data(self, data) -> None:
        self.text += data


def run(monkeypatch: pytest.MonkeyPatch, out: Path, *args: object) -> tuple[list[dict], str]:
    """The doctor's JSON and page."""
    monkeypatch.setattr(sys, "argv", ["doctor.py", *map(str, args), "--workers", "0", "--out", str(out)])
    doctor.main()
    return json.loads((out / "doctor.json").read_text()), (out / "doctor.html").read_text(encoding="utf-8")


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """48 pictures of which 4 are broken, 2 have another's bytes, and 3 are in `held_out` too: 1 as it is, 2 as JPEG."""
    folder = tmp_path / "images"
    write_images(folder, 48, size=56)
    paths = sorted(folder.rglob("*.png"))
    paths[0].write_bytes(b"")
    paths[1].write_bytes(b"<html>")
    for path in paths[2:4]:
        path.write_bytes(path.read_bytes()[:3000])
    for n in (10, 20):
        paths[n].write_bytes(paths[30].read_bytes())
    held_out = tmp_path / "held_out"
    write_images(held_out / "others", 0)
    held_out.mkdir()
    (held_out / "same.png").write_bytes(paths[40].read_bytes())
    for n in (41, 42):
        write_jpeg(decode_image(str(paths[n])), str(held_out / f"{n}.jpg"), quality=60)
    return folder


def test_images(tmp_path: Path, images: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    (found,), page = run(
        monkeypatch, tmp_path / "out", images, "--against", tmp_path / "held_out", "--seconds", 0, "--samples", 0
    )
    assert (found["size"], found["examined"], found["images"], found["reader"]) == (48, 48, 44, "ImageFolder")
    assert found["broken"] == {"truncated": 2, "empty": 1, "not an image": 1}
    assert len(found["broken_samples"]) == 4 and found["speed"] is None
    paths = [str(path) for path in sorted(images.rglob("*.png"))]
    assert found["duplicates"] == [{"kind": "same bytes", "ids": [paths[10], paths[20], paths[30]]}]
    assert {(leak["id"], Path(leak["other_id"]).name, leak["kind"]) for leak in found["leaks"]} == {
        (paths[40], "same.png", "same bytes"),
        (paths[41], "41.jpg", "same look"),
        (paths[42], "42.jpg", "same look"),
    }
    assert found["histograms"]["Shorter side"]["counts"] == [44]
    levels = {finding["title"]: finding["level"] for finding in found["findings"]}
    assert levels == {"Samples": "good", "Broken": "bad", "Duplicates": "look", "Leakage": "bad"}
    shown = Page(page)
    assert shown.loaded and all(address.startswith("data:image/jpeg;base64,") for address in shown.loaded)
    assert "truncated: 2" in shown.text and "4 (8.33%)" in shown.text
    printed = capsys.readouterr().out
    assert "empty 1" in printed and "not an image 1" in printed and "doctor.html" in printed


def test_pairs_with_speed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_images(tmp_path / "images", 80, size=50)
    names = list(files_below(tmp_path / "images"))
    captions = [[" ".join(WORDS[:6])] if n % 4 else [""] for n in range(80)]
    manifest = write_manifest(tmp_path / "manifest.parquet", names, captions)
    settings = (
        "--root",
        tmp_path / "images",
        "--config",
        STAGE_3,
        "--tokenizer",
        write_tokenizer(tmp_path / "tokenizer"),
    )
    (found,), page = run(
        monkeypatch, tmp_path / "out", manifest, *settings, "--seconds", 0.2, "--gpus", 8, "--gpu", 100
    )
    assert (found["reader"], found["texts"], found["broken"]) == ("ImageText", 60, {"empty text": 20})
    speed = found["speed"]
    assert speed["gives"]["words"] == 6.0 and speed["gives"]["samples_per_s"] > 1
    assert speed["gives"]["steps"] == ["LoadImage", "torchvision/RandomResizedCrop", "Tokenize"]
    step = speed["needs"]["tflop"] / (100 * 0.4)
    assert speed["needs"]["step_s"] == pytest.approx(step)
    assert speed["needs"]["samples_per_s"] == pytest.approx(8 * 64 / step)
    assert speed["verdict"] in Page(page).text


def test_texts_of_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_texts(tmp_path / "text" / "a.txt", 30)
    write_texts(tmp_path / "text" / "more" / "b.txt", 20, start=100)
    (found,), page = run(monkeypatch, tmp_path / "out", tmp_path / "text", "--seconds", 0, "--samples", 25)
    assert (found["size"], found["examined"], found["texts"], found["images"]) == (50, 25, 25, 0)
    assert "25 of them, drawn at random" in page and not Page(page).loaded
    assert list(found["histograms"]) == ["Text length"]


def test_what_lies_at_a_path(tmp_path: Path) -> None:
    images = tmp_path / "images"
    write_images(images, 4)
    files = list(files_below(images).items())
    write_tar(tmp_path / "images.tar", dict(files))
    web = {f"{n}.png": data for n, (_, data) in enumerate(files)}
    write_tar(tmp_path / "txt" / "0.tar", web | {f"{n}.txt": b"x" for n in range(4)})
    write_tar(tmp_path / "json" / "0.tar", web | {f"{n}.json": b'{"caption": "x", "alt": "y"}' for n in range(4)})
    (tmp_path / "pairs.csv").write_text(f"image,caption\n{files[0][0]},x\n")
    (tmp_path / "texts.jsonl").write_text('{"text": "x"}\n')
    (tmp_path / "empty").mkdir()
    found = {
        name: open_source(str(tmp_path / name), Names()).dataset
        for name in ("images", "images.tar", "txt", "json", "pairs.csv", "texts.jsonl")
    }
    assert {name: type(dataset).__name__ for name, dataset in found.items()} == {
        "images": "ImageFolder",
        "images.tar": "ImageTars",
        "txt": "WebDatasetPairs",
        "json": "WebDatasetPairs",
        "pairs.csv": "ImageText",
        "texts.jsonl": "TextCorpus",
    }
    assert found["json"].read(0)["text"] == "x"
    assert open_source(str(tmp_path / "json"), Names(caption="alt")).dataset.read(0)["text"] == "y"
    with pytest.raises(ValueError, match="empty holds no image, tar, text or table"):
        open_source(str(tmp_path / "empty"), Names())
    with pytest.raises(ValueError, match="neither pairs nor texts: .* has no column 'x'.* has no column 'y'"):
        open_source(str(tmp_path / "pairs.csv"), Names(image="x", text="y"))
    (tmp_path / "a.doc").touch()
    with pytest.raises(ValueError, match=r"a.doc: no reader knows this; give a folder, a .tar"):
        open_source(str(tmp_path / "a.doc"), Names())


def test_mistakes_end_with_a_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SystemExit, match="error: PATH='/nowhere' does not exist; data to examine should lie there"):
        run(monkeypatch, tmp_path / "out", "/nowhere")
    write_texts(tmp_path / "a.txt", 5)
    with pytest.raises(SystemExit, match=r"stage1.py trains on \['image'\], and .*a.txt is for text"):
        run(monkeypatch, tmp_path / "out", tmp_path / "a.txt", "--config", ROOT / "configs" / "demo" / "stage1.py")
    for wrong in (("--gpu", "k80"), ("--utilisation", "2"), ("--gpus", "0")):
        with pytest.raises(SystemExit):
            run(monkeypatch, tmp_path / "out", tmp_path / "a.txt", *wrong)


# ------------------------------------------------------------------ findings
def sample(index: int, data: int, look: int) -> Sample:
    return Sample(index, f"id {index}", sha256=bytes([data]), look=look, width=2, height=1)


def test_duplicates_by_hand() -> None:
    samples = [sample(0, 1, 0b1111), sample(1, 1, 0b1111), sample(2, 2, 0b1110), sample(3, 3, 2**60 - 1)]
    samples += [sample(4, 4, 0), sample(5, 5, 0), Sample(6, "broken", "empty")]  # 0: nothing to see on either
    assert [tuple(group) for group in duplicates(samples)] == [([0, 1], "same bytes"), ([0, 2], "same look")]
    assert duplicates(samples[3:]) == []


def test_leaks_by_hand() -> None:
    ours = [sample(0, 1, 0xFF), sample(1, 2, 0xFF00), sample(2, 3, 2**63), sample(3, 4, 0)]
    theirs = {"val": [sample(0, 1, 0xFF), sample(1, 9, 0xFF07), sample(2, 8, 0xFF01), sample(3, 7, 0)], "test": []}
    found = leaks(ours, theirs)
    assert [(leak.index, leak.other, leak.other_id, leak.kind, leak.distance) for leak in found] == [
        (0, "val", "id 0", "same bytes", 0),
        (1, "val", "id 2", "same look", 1),
    ]


def test_histograms_by_hand() -> None:
    found = histogram([1, 2, 2, 3, 3, 3], "words")
    assert (found.edges, found.counts, found.median, found.unit) == ([1, 2, 3, 4], [1, 2, 3], 2.5, "words")
    assert histogram([5.0] * 9, "x").counts == [9]
    skewed = histogram([*range(10, 110), *range(10_000, 10_003)], "words")
    assert skewed.unit == "words, on a log scale" and sum(skewed.counts) == 103
    even = histogram(np.linspace(0, 1, 1001)[1:].tolist(), "ratio")
    assert sum(even.counts) == 1000 and max(even.counts) - min(even.counts) < 15
    chart = bar_chart("A < B", found)
    assert chart.count("<rect") == 3 and "A &lt; B" in chart and "3 to 4: 3" in chart


def test_small_helpers() -> None:
    assert [number(value) for value in (0.1234, 12.34, 1234.5, 3.0)] == ["0.12", "12.3", "1,234", "3"]
    assert spread(range(10), 3) == [0, 3, 6] and spread([1], 3) == [1]
    assert choose(5, 0).tolist() == choose(5, 9).tolist() == [0, 1, 2, 3, 4]
    drawn = choose(1000, 10)
    assert len(set(drawn)) == 10 and (np.diff(drawn) > 0).all() and np.array_equal(drawn, choose(1000, 10))


def test_scripts_and_languages() -> None:
    texts = {"the old man and the sea": "Latin", "старик и море": "Cyrillic", "老人与海": "Cjk", "12 – 34 🦁": "none"}
    assert [read_language(text).script for text in texts] == list(texts.values())
    assert read_language("12").language is None
    samples = [Sample(n, "", reading=Reading("en", "Latin")) for n in range(399)]
    assert shares([*samples, Sample(399, "", reading=Reading("de", "Latin"))]) == {
        "language": {"en": 0.9975, "other": pytest.approx(0.0025)},
        "script": {"Latin": 1.0},
    }
    assert shares([Sample(0, "", reading=Reading(None, "Latin"))]) == {"script": {"Latin": 1.0}}


@pytest.mark.skipif(py3langid is None, reason="the extra is not installed")
def test_languages() -> None:
    texts = [
        "an old man sits in the sun by the sea",
        "ein alter Mann sitzt in der Sonne am Meer",
        "старик сидит у моря и смотрит на воду",
    ]
    assert [read_language(text).language for text in texts] == ["en", "de", "ru"]


# ------------------------------------------------------------------ speed
def test_what_a_run_needs_by_hand(tmp_path: Path) -> None:
    cfg = Config.fromfile(STAGE_3)
    assumptions = Assumptions(STAGE_3, gpus=4, gpu="2", peak=2.0, utilisation=0.5)
    found = need("image_text", assumptions, cfg, words=7)
    assert found.batch == {"text": 8, "image_text": 64}
    assert found.step_s == found.tflop  # at 1 TFLOP/s
    assert found.samples_per_s == pytest.approx(64 * 4 / found.step_s)
    longer = need("image_text", assumptions, cfg, words=30)
    assert longer.tflop > found.tflop
    write_texts(tmp_path / "a.txt", 3)
    sentence = verdict(
        open_source(str(tmp_path / "a.txt"), Names()),
        Throughput(100.0, 4, None, []),
        Need(1000.0, {}, 1.0, 1.0),
        assumptions,
    )
    assert sentence == (
        "stage3 on 4 GPUs needs 1,000 documents/s, 250 for each GPU; this gives 100 with 4 workers. "
        "With num_workers=10, on cores like these, the loader keeps up."
    )

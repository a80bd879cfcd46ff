"""The demo's page and its figures, from a fabricated work_dir."""

import base64
import json
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tools" / "demo"))

import report  # noqa: E402
from report_charts import line_chart, number  # noqa: E402

PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
VOID = {"br", "img", "meta", "link", "hr"}


class Balanced(HTMLParser):
    """Tags opened and not closed, and what the page would load from elsewhere."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open, self.loaded, self.text = [], [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs) -> None:
        self.loaded += [value for name, value in attrs if name in ("src", "href") and not value.startswith("data:")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs) -> None:
        pass

    def handle_endtag(self, tag) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data) -> None:
        if self.open[-1:] != ["style"]:
            self.text.append(data)


def write(path: Path, content) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))


def metric(name: str, stage: str, value: float, floor: float | None, n: int) -> dict:
    return {"name": name, "stage": stage, "value": value, "floor": floor, "floor_is": "chance", "n": n}


METRICS = [
    metric("group probe", "random", 0.61, 0.6, 100),
    metric("group probe", "stage3", 0.9, 0.6, 100),
    metric("captions, recall@1", "stage3", 0.0, 0.02, 100),
    metric("masked-text cross-entropy", "stage2", 7.5, 7.0, 30),
]


@pytest.fixture
def work_dir(tmp_path: Path) -> Path:
    logged = [{"iter": step, "loss": 9 - step / 10, "text/mlm_loss_words": 8 - step / 10, "lr": 1} for step in (10, 20)]
    lines = [*logged, {"text/mlm_loss_words": 5.432, "step": 1}]
    write(tmp_path / "stage2/20260102_000000/vis_data/scalars.json", "\n".join(map(json.dumps, lines)))
    write(tmp_path / "stage2/20260101_000000/vis_data/scalars.json", json.dumps({"iter": 1, "loss": 99}))
    write(tmp_path / "timing.json", {"seconds": 130.0, "stages": {"stage2": 61.2}})
    claims = [
        {"text": "one <b> works", "met": True, "detail": "0.900"},
        {"text": "another", "met": False, "detail": "0.100"},
    ]
    write(tmp_path / "evaluation/a.json", {"metrics": [{**metric, "more": 1} for metric in METRICS], "claims": claims})
    write(tmp_path / "commands.json", ["tools/x.sh --one", "python two.py"])
    guesses = [{"word": "##dog", "probability": 0.25}, {"word": "cat", "probability": 0.125}]
    guessed = {"guesses": guesses, "answer": 0.125}
    scores = {"top1": 0.5, "top5": 1.0, "cross_entropy": 3.25, "standard_error": 0.5}
    total = {
        "subset": "all captions",
        "n": 50,
        "scores": {name: scores for name in ("right", "wrong", "text", "frequency")},
        "gain": {"value": 1.5, "standard_error": 0.25},
    }
    item = {name: "examples/x.png" for name in ("original", "masked", "stage1", "stage2")} | {"id": "x", "name": "an x"}
    results = [{"image": "examples/x.png", "correct": True}, {"image": "examples/x.png", "correct": False}]
    examples = {
        "reconstructions": {"mask_ratio": 0.75, "items": [item]},
        "fill_in": {
            "items": [
                {
                    "image": "examples/x.png",
                    "caption": "a [MASK], <i>",
                    "word": "cat",
                    "right": guessed,
                    "text": guessed,
                }
            ],
            "totals": [total],
        },
        "retrieval": {
            "n": 184,
            "text_to_image": [{"query": "a query", "rank": 1, "results": results}],
            "image_to_text": [
                {"query": "examples/x.png", "rank": 17, "results": [{"caption": "no cat", "correct": False}]}
            ],
        },
    }
    write(tmp_path / "examples.json", examples)
    (tmp_path / "examples").mkdir()
    (tmp_path / "examples/x.png").write_bytes(PIXEL)
    counts = {split: {"a": 1234} for split in ("train", "test")}
    licences = [{"package": "emoji", "version": "9.9", "licence": "MIT-like"}]
    kit = {
        "images": counts,
        "text": counts,
        "sentiment": counts,
        "pairs": {"train": 5, "test": 6},
        "licences": licences,
    }
    write(tmp_path / "kit/kit.json", kit)
    return tmp_path


def run(work_dir: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, Balanced, dict]:
    arguments = ["report.py", "--work-dir", str(work_dir), "--kit", str(work_dir / "kit")]
    monkeypatch.setattr(sys, "argv", arguments)
    report.main()
    page = (work_dir / "report.html").read_text()
    parsed = Balanced(page)
    assert parsed.open == []
    assert parsed.loaded == []
    return page, parsed, json.loads((work_dir / "report.json").read_text())


def test_figures_have_exactly_their_keys(work_dir: Path, monkeypatch) -> None:
    figures = run(work_dir, monkeypatch)[2]
    assert list(figures) == ["seconds", "stages", "metrics", "claims"]
    assert figures["seconds"] == 130.0
    assert figures["stages"] == {"stage2": {"seconds": 61.2, "loss_first": 8.0, "loss_last": 7.0}}
    assert figures["metrics"] == METRICS


def test_page_says_what_was_found(work_dir: Path, monkeypatch) -> None:
    page, parsed, _ = run(work_dir, monkeypatch)
    text = " ".join(" ".join(parsed.text).split())
    assert "Whole run 2 min 10 s" in text
    assert "Claims met 1 of 2" in text
    assert "one <b> works 0.900 not met another" in text  # escaped: it comes back as text
    assert "0.900 ± 0.030" in text  # sqrt(0.9 * 0.1 / 100)
    assert "held-out: 5.432" in text
    assert "1.50 ± 0.25 (paired by caption)" in text
    assert "…dog 25.0% cat 12.5%" in text
    assert "17 of 184" in text
    assert "1,234" in text
    assert "MIT-like" in text
    assert "tools/x.sh --one python two.py" in text
    assert page.count('class="tile correct"') == 1
    assert "99" not in [word.strip("→") for word in text.split()]  # an older run's loss


def test_missing_parts_are_named_with_their_command(tmp_path: Path, monkeypatch) -> None:
    page, parsed, figures = run(tmp_path, monkeypatch)
    assert figures == {"seconds": None, "stages": {}, "metrics": [], "claims": []}
    assert page.count('class="missing"') == 2 + 3 + 4 + 1 + 1  # evaluation, examples, stages, commands, kit
    text = " ".join(" ".join(parsed.text).split())
    assert f"Not here yet: {tmp_path.as_posix()}/stage2_text_only." in text
    for command in ("evaluate.py", "examples.py", "configs/demo/stage2_text_only.py 1", "prepare_kit.py"):
        assert command in text


def test_verdicts_take_the_error_into_account() -> None:
    groups = report.by_name(METRICS)
    assert list(groups) == ["group probe", "captions", "masked-text cross-entropy"]
    verdicts = [metric["verdict"] for group in groups.values() for metric in group]
    # 0 of 100 where chance says 2 is no news; a higher entropy is worse
    assert verdicts == ["within error", "better", "within error", "worse"]
    assert groups["captions"][0]["part"] == "recall@1"
    assert groups["masked-text cross-entropy"][0]["error"] is None
    assert groups["group probe"][1]["bar"] == pytest.approx(90)


def test_chart_puts_extremes_on_the_frame() -> None:
    svg = line_chart([(0, 4.0), (10, 2.0)], [(10, 3.0)], "a <title>")
    assert 'points="34.0,8.0 250.0,114.0"' in svg
    assert '<circle class="held-out" cx="250.0" cy="61.0"' in svg
    assert "4.00" in svg and "2.00" in svg
    assert "a &lt;title&gt;" in svg
    assert "nan" not in line_chart([(0, 1.0)], [], "a lone point")


@pytest.mark.parametrize(
    ("value", "shown"), [(0.12345, "0.123"), (12.345, "12.3"), (1234.5, "1234"), (-2.0, "-2.000"), (None, "–")]
)
def test_numbers_have_few_digits(value: float | None, shown: str) -> None:
    assert number(value) == shown

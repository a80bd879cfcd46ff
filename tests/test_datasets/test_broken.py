"""Samples that cannot be read end no run: they are replaced, counted, named once, and are too many at some point."""

import json
import logging
import multiprocessing
import pickle
from collections import Counter
from itertools import islice
from pathlib import Path

import pytest
import torch
from helpers.data import write_images, write_tokenizer
from helpers.forms import files_below, write_tar
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mmengine.logging import MMLogger
from torchvision.io import write_jpeg

from momo.datasets import BrokenSample, ImageFolder, ImageText, SampleKey, TextCorpus, TooManyBroken, build_loader
from momo.datasets.base import KeyedDataset
from momo.datasets.broken import REASONS, BrokenSamples
from momo.registry import DATASETS, TRANSFORMS

COUNT = 80
LOAD = dict(type="LoadImage")
# What is wrong with a file, by the reason that should be counted, and how often it is done.
FAULTS = {
    "missing": [None],
    "empty": [b""] * 2,
    "not an image": [b"<!DOCTYPE html><html>404</html>", b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"GIF!"],
    "truncated": ["half"] * 4,
}
INJECTED = {reason: len(cases) for reason, cases in FAULTS.items()}


def inject(folder: Path) -> dict[str, str]:
    """Break some files; the reason by path below the folder."""
    paths = sorted(folder.rglob("*.png"))[3::7]
    done = {}
    for reason, cases in FAULTS.items():
        for case in cases:
            path = paths.pop()
            data = path.read_bytes()
            path.unlink()
            if case is not None:
                path.write_bytes(data[: len(data) // 2] if case == "half" else case)
            done[str(path.relative_to(folder))] = reason
    return done


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A file with what loggers say, workers' too."""
    path = tmp_path / "log.txt"
    handler = logging.FileHandler(path)
    logger = MMLogger.get_current_instance()
    logger.addHandler(handler)
    yield path
    logger.removeHandler(handler)


def configs(tmp_path: Path) -> dict[str, dict]:
    """The same broken images in each kind of dataset."""
    images = tmp_path / "images"
    write_images(images, COUNT, size=24)
    whole = list(files_below(images))
    rows = [{"image": name, "caption": f"caption {number}"} for number, name in enumerate(whole)]
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    folder = ImageFolder(str(images), [LOAD])  # lists the files before one goes missing
    inject(images)
    left = files_below(images)
    write_tar(tmp_path / "images.tar", left)
    web = {}
    for number, (name, data) in enumerate(left.items()):
        web |= {f"{number:04d}.png": data, f"{number:04d}.txt": name.encode()}
    write_tar(tmp_path / "web.tar", web)
    return {
        "folder": folder,
        "pairs": dict(type="ImageText", annotations=str(tmp_path / "pairs.jsonl"), root=str(images), pipeline=[LOAD]),
        "tar": dict(type="ImageTars", root=str(tmp_path / "images.tar"), pipeline=[LOAD]),
        "web": dict(type="WebDatasetPairs", root=str(tmp_path / "web.tar"), pipeline=[LOAD]),
    }


def epoch(dataset: KeyedDataset, workers: int, number: int = 0) -> list[dict]:
    """Every sample once, as a loader's workers read them."""
    keys = [SampleKey.of(5, number, index) for index in range(len(dataset))]
    batches = iter(torch.utils.data.DataLoader(dataset, sampler=keys, batch_size=None, num_workers=workers))
    try:
        return list(batches)
    finally:
        if workers:  # left to the garbage collector, each worker is waited for in vain
            batches._shutdown_workers()


@pytest.mark.parametrize("workers", [0, 2])
def test_counters_equal_what_was_injected(tmp_path: Path, log: Path, workers: int) -> None:
    for name, cfg in configs(tmp_path).items():
        dataset = cfg if isinstance(cfg, KeyedDataset) else DATASETS.build({**cfg, "max_bad_fraction": 0.05})
        dataset.tolerate(0.05)
        expected = dict(INJECTED)
        if name in ("tar", "web"):
            del expected["missing"]  # what is not in a tar is in no index
        log.write_text("")
        samples = epoch(dataset, workers)
        assert len(samples) == len(dataset)
        assert all(sample["image"].shape == (3, 24, 24) for sample in samples)
        assert dataset.broken.counts() == expected, name
        lines = [line for line in log.read_text().splitlines() if "a sample is replaced" in line]
        assert Counter(line.split("replaced (")[1].split(")")[0] for line in lines) == expected
        broken = {dataset.sample_id(index) for index in dataset.broken.indices}
        assert all(sum(sample_id in line for line in lines) == 1 for sample_id in broken)  # each is named, once
        assert not broken & {sample["sample_id"] for sample in samples}
        epoch(dataset, workers, number=1)
        assert dataset.broken.counts() == expected  # another epoch finds nothing new
        assert log.read_text().count("a sample is replaced") == len(lines)


def test_substitutes_are_functions_of_the_key(tmp_path: Path) -> None:
    cfg = configs(tmp_path)["pairs"]
    runs = []
    for workers in (0, 1, 2):
        samples = epoch(DATASETS.build(cfg | {"max_bad_fraction": 0.5}), workers)
        runs.append([(sample["key"], sample["sample_id"], sample["image"].sum().item()) for sample in samples])
    assert runs[0] == runs[1] == runs[2]
    dataset = DATASETS.build(cfg | {"max_bad_fraction": 0.5})
    index = next(index for index, (_, sample_id, _) in enumerate(runs[0]) if sample_id != dataset.sample_id(index))
    others = {dataset[SampleKey.of(5, number, index)]["sample_id"] for number in range(8)}
    assert len(others) > 3  # another epoch, another substitute


@pytest.mark.parametrize("workers", [0, 2])
def test_too_many_broken_samples_end_the_run(tmp_path: Path, workers: int) -> None:
    """Ten of the first thousand are tolerated, the eleventh is not; two workers may find one at the same time."""
    write_images(tmp_path / "images", 60, size=8)
    paths = sorted((tmp_path / "images").rglob("*.png"))
    for path in paths[:5]:
        path.write_bytes(b"")
    dataset = ImageFolder(str(tmp_path / "images"), [LOAD])
    assert len(epoch(dataset, workers)) == 60
    for path in paths[:20]:
        path.write_bytes(b"<html>")
    dataset = ImageFolder(str(tmp_path / "images"), [LOAD])
    message = (
        r"ImageFolder: 1[12] of \d+ reads failed, more than max_bad_fraction=0.01 of 1000. Broken samples: not an im"
    )
    with pytest.raises(TooManyBroken, match=message):
        epoch(dataset, workers)


def test_fraction_is_taken_of_all_that_was_read() -> None:
    broken = BrokenSamples("Set", 5000, 0.01)
    for index in range(4000):
        broken.count_read()
        if index % 100 == 99:
            broken.count(index, "empty", "x")  # one in a hundred
    with pytest.raises(TooManyBroken, match="41 of 4000"):
        broken.count(4500, "empty", "x")
    for fraction in (-0.1, 1.1):
        with pytest.raises(ValueError, match=rf"max_bad_fraction must lie in \[0, 1\], got {fraction}"):
            BrokenSamples("Set", 3, fraction)


def test_no_sample_can_be_used(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"caf\xe9\n" * 3)
    dataset = TextCorpus(str(tmp_path / "a.txt"), [], max_bad_fraction=1.0)
    with pytest.raises(TooManyBroken, match=r"TextCorpus: .*a.txt:1 and 10 others are broken"):
        dataset[1]
    with pytest.raises(TooManyBroken, match="max_bad_fraction=0.0 of 1000.* bad text 1"):
        TextCorpus(str(tmp_path / "a.txt"), [], max_bad_fraction=0.0)[1]


class Fails(KeyedDataset):
    """Raises `error` for every sample but the last."""

    def __init__(self, error: Exception) -> None:
        super().__init__([])
        self.error = error

    def __len__(self) -> int:
        return 5

    def read(self, index: int) -> dict:
        if index < 4:
            raise self.error
        return {"sample_id": "last"}


@pytest.mark.parametrize("error", [TypeError("x"), KeyError("x"), IndexError("x"), RuntimeError("x"), MemoryError("x")])
def test_errors_of_programs_are_not_swallowed(error: Exception) -> None:
    dataset = Fails(error)
    dataset.tolerate(1.0)
    with pytest.raises(type(error), match="x"):
        dataset[0]


def test_a_transforms_own_error_is_not_swallowed(tmp_path: Path) -> None:
    """A crop that does not fit its settings is a mistake in the config, not in the picture."""
    write_images(tmp_path, 3)

    class Refuses:
        def __call__(self, sample: dict) -> dict:
            raise ValueError("the scale is wrong")

    dataset = ImageFolder(str(tmp_path), [LOAD], max_bad_fraction=1.0)
    dataset.pipeline.append(Refuses())
    with pytest.raises(ValueError, match="the scale is wrong"):
        dataset[0]
    assert dataset.broken.counts() == {}


def test_sets_for_evaluation_tolerate_nothing() -> None:
    with pytest.raises(BrokenSample, match="gone"):
        Fails(BrokenSample("missing", "gone"))[0]


def test_reasons() -> None:
    error = pickle.loads(pickle.dumps(BrokenSample("too large", "9 pixels")))
    assert (error.reason, str(error)) == ("too large", "9 pixels")
    with pytest.raises(KeyError, match="'odd' is not one of"):
        BrokenSample("odd", "x")
    for error, reason in {
        BrokenSample("bad row", "x"): "bad row",
        PermissionError("x"): "unreadable",
        FileNotFoundError("x"): "missing",
        UnicodeDecodeError("utf-8", b"\xe9", 0, 1, "x"): "bad text",
        json.JSONDecodeError("x", "y", 0): "bad row",
        ValueError("x"): "unreadable",
    }.items():
        dataset = Fails(error)
        dataset.tolerate(1.0)
        assert dataset[0]["sample_id"] == "last"
        assert set(dataset.broken.counts()) == {reason} <= set(REASONS)


def test_odd_but_valid_images_are_no_broken_ones(tmp_path: Path) -> None:
    write_jpeg(torch.zeros(3, 1, 1, dtype=torch.uint8), str(tmp_path / "dot.jpg"))
    write_jpeg(torch.zeros(1, 9, 2000, dtype=torch.uint8), str(tmp_path / "wide.jpg"))
    dataset = ImageFolder(str(tmp_path), [LOAD, dict(type="torchvision/RandomResizedCrop", size=8)])
    assert [dataset[index]["image"].shape for index in range(2)] == [(3, 8, 8)] * 2
    assert dataset.broken.counts() == {}


@pytest.mark.slow
def test_a_loader_counts_across_workers_started_by_spawn(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"one\ncaf\xe9\ntwo\n")
    cfg = dict(
        dataset=dict(
            type="TextCorpus",
            files=str(tmp_path / "a.txt"),
            pipeline=[dict(type="Tokenize", tokenizer=write_tokenizer(tmp_path / "tokenizer"))],
        ),
        batch_size=3,
        num_workers=1,
        multiprocessing_context="spawn",
    )
    loader = build_loader(cfg, None, seed=0)
    assert multiprocessing.get_start_method() != "spawn"
    next(islice(loader, 1, 2))
    assert loader.dataset.broken.counts() == {"bad text": 1}


# ------------------------------------------------------------------ text
VALUES = st.one_of(
    st.none(),
    st.integers(),
    st.floats(),
    st.booleans(),
    st.text(max_size=40),
    st.text(alphabet=" \t\r\n\0\u3000\u200f\u202e🦁👩‍👩‍👧é", max_size=6),
    st.text(alphabet=st.characters(categories=["Cs", "Lo"]), max_size=4),
    st.lists(st.text(max_size=3), max_size=2),
    st.dictionaries(st.text(max_size=2), st.integers(), max_size=1),
    st.just("word " * 10_000),
)


def usable(value: object) -> bool:
    """Independent of the reader: whether there is something to learn from a JSON value."""
    if isinstance(value, list):
        return len(value) == 1 and usable(value[0])
    if not isinstance(value, str) or not value.strip() or "\0" in value:
        return False
    return not any(0xD800 <= ord(char) < 0xE000 for char in value)


def check_texts(folder: Path, values: list) -> None:
    path = folder / "texts.jsonl"
    values = [value for value in values if not isinstance(value, list) or len(value) < 2]  # else one of them is drawn
    path.write_text(
        "".join(json.dumps({"text": value}) + "\n" for value in [*values, *["the sun"] * (1 + len(values))])
    )
    dataset = TextCorpus(str(path), [], max_bad_fraction=1.0)
    dataset.pipeline.append(TRANSFORMS.build(dict(type="Tokenize", tokenizer=write_tokenizer(folder), max_len=16)))
    for index in range(len(dataset)):
        assert 1 <= len(dataset[index]["words"]) <= 16
    assert dataset.broken.indices == [index for index, value in enumerate(values) if not usable(value)]
    assert set(dataset.broken.counts()) <= {"bad text", "empty text"}


SHARED = dict(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])


@settings(max_examples=5, **SHARED)
@given(st.lists(VALUES, min_size=1, max_size=10))
def test_texts_of_any_kind(tmp_path: Path, values: list) -> None:
    check_texts(tmp_path, values)


@pytest.mark.slow
@settings(max_examples=500, **SHARED)
@given(st.lists(VALUES, min_size=20, max_size=30))
def test_ten_thousand_texts_of_any_kind(tmp_path: Path, values: list) -> None:
    check_texts(tmp_path, values)


@pytest.mark.parametrize("ending", ["txt", "csv", "tsv", "jsonl"])
def test_bytes_that_are_no_text(tmp_path: Path, ending: str) -> None:
    lines = ["good", "größer".encode("latin-1"), b"nul\0nul", b"\xff\xfe", "文".encode()[:2], b"last"]
    lines = [line.encode() if isinstance(line, str) else line for line in lines]
    content = {
        "txt": b"\n".join(lines),
        "csv": b"text\n" + b"\n".join(lines),
        "tsv": b"id\ttext\n" + b"\n".join(b"1\t" + line for line in lines),
        "jsonl": b"\n".join(b'{"text": "' + line + b'"}' for line in lines),
    }[ending]
    path = tmp_path / f"a.{ending}"
    path.write_bytes(content)
    dataset = TextCorpus(str(path), [])
    assert {dataset[index]["text"] for index in range(len(dataset))} == {"good", "last"}
    assert dataset.broken.indices == [1, 2, 3, 4]
    assert dataset.broken.counts() == {"bad text": 4}


def test_pairs_outside_the_root_are_counted(tmp_path: Path) -> None:
    write_images(tmp_path / "images", 3)
    rows = [{"image": name, "caption": "x"} for name in ("even/000.png", "../images/even/000.png", "/etc/passwd")]
    (tmp_path / "pairs.json").write_text(json.dumps(rows))
    dataset = ImageText(str(tmp_path / "pairs.json"), str(tmp_path / "images"), [LOAD])
    assert {dataset[index]["sample_id"] for index in range(3)} == {f"{tmp_path}/pairs.json:0"}
    assert dataset.broken.counts() == {"outside the root": 2}

"""The same data give the same samples, whatever form they come in."""

import pickle
from itertools import islice
from pathlib import Path

import fsspec
import pytest
import torch
from helpers.data import write_images, write_tokenizer
from helpers.forms import files_below, write_nested_tar, write_pair_forms, write_tar, write_text_forms

from momo.datasets import build_loader
from momo.datasets.base import KeyedDataset
from momo.registry import DATASETS

LOAD = dict(type="LoadImage")
TEXTS = [
    "the red sun",
    'a "quoted", word',
    "ein Löwe – 獅子 – אריה 🦁",
    "a caption of one line with  two blanks",
    "x",
    "the cat sleeps under the hill",
    "over the sea",
]


def build(cfg: dict, *pipeline: dict) -> KeyedDataset:
    return DATASETS.build({**cfg, "pipeline": list(pipeline)})


def pixels(dataset: KeyedDataset) -> list[bytes]:
    return [dataset[index]["image"].numpy().tobytes() for index in range(len(dataset))]


@pytest.fixture
def images(tmp_path: Path) -> Path:
    write_images(tmp_path / "images", len(TEXTS))
    return tmp_path / "images"


def test_pairs(tmp_path: Path, images: Path) -> None:
    names = list(files_below(images))
    forms = write_pair_forms(tmp_path / "forms", images, list(zip(names, TEXTS, strict=True)))
    expected = pixels(build(dict(type="ImageFolder", root=str(images)), LOAD))
    assert len(set(expected)) == len(TEXTS)
    for form, cfg in forms.items():
        dataset = build(cfg, LOAD)
        assert [dataset[index]["text"] for index in range(len(dataset))] == TEXTS, form
        assert pixels(dataset) == expected, form
        assert pixels(pickle.loads(pickle.dumps(dataset))) == expected, form
        assert len({dataset[index]["image_id"] for index in range(len(dataset))}) == len(TEXTS), form
        assert [dataset[i]["sample_id"] for i in range(3)] == [dataset.sample_id(i) for i in range(3)], form
        assert dataset.broken.counts() == {}


def test_texts(tmp_path: Path) -> None:
    for form, cfg in write_text_forms(tmp_path / "forms", TEXTS).items():
        dataset = build(cfg)
        for copy in (dataset, pickle.loads(pickle.dumps(dataset))):
            assert [copy[index]["text"] for index in range(len(copy))] == TEXTS, form
        assert dataset.sample_id(6).rpartition(":")[0] in (cfg["files"], f"{cfg['files']}/data-00001-of-00002.arrow")


def test_images(tmp_path: Path, images: Path) -> None:
    expected = pixels(build(dict(type="ImageFolder", root=str(images)), LOAD))
    write_tar(tmp_path / "flat" / "all.tar", files_below(images) | {"notes.txt": b"no image"})
    write_nested_tar(tmp_path / "nested.tar", images)
    for number, (name, data) in enumerate(files_below(images).items()):
        write_tar(tmp_path / "many" / f"{number}.tar", {name: data})
    for root in ("flat", "flat/all.tar", "nested.tar", "many"):
        dataset = build(dict(type="ImageTars", root=str(tmp_path / root)), LOAD)
        assert pixels(dataset) == expected, root
        assert pixels(pickle.loads(pickle.dumps(dataset))) == expected
    assert dataset.chunks.tolist() == list(range(len(TEXTS) + 1))
    nested = build(dict(type="ImageTars", root=str(tmp_path / "nested.tar")), LOAD)
    assert nested[0]["sample_id"] == f"{tmp_path}/nested.tar/even.tar/000.png"
    assert nested.chunks.tolist() == [0, len(TEXTS)]


def test_urls(tmp_path: Path, images: Path) -> None:
    """A file system of fsspec's own, in memory, stands for all of them."""
    names = list(files_below(images))
    forms = write_pair_forms(tmp_path / "forms", images, list(zip(names, TEXTS, strict=True)))
    texts = write_text_forms(tmp_path / "texts", TEXTS)
    memory = fsspec.filesystem("memory")
    url = f"memory://{tmp_path}"
    memory.put(str(tmp_path), str(tmp_path), recursive=True)
    try:
        cache = dict(cache_dir=str(tmp_path / "cache"))
        expected = pixels(build(dict(type="ImageFolder", root=str(images)), LOAD))
        assert pixels(build(dict(type="ImageFolder", root=f"{url}/images"), LOAD)) == expected
        assert pixels(build(dict(type="ImageTars", root=f"{url}/forms/web", **cache), LOAD)) == expected
        for form, cfg in forms.items():
            remote = {key: value.replace(str(tmp_path), url) for key, value in cfg.items()}
            if form == "saved":
                remote["annotations"] += "/*.arrow"
            dataset = build({**remote, **cache}, LOAD)
            assert pixels(dataset) == expected, form
            assert [dataset[index]["text"] for index in range(len(dataset))] == TEXTS
        for cfg in (texts["a.txt"], texts["a.parquet"], texts["a.arrow"], texts["a.csv"], texts["a.jsonl"]):
            dataset = build({**cfg, "files": cfg["files"].replace(str(tmp_path), url), **cache})
            assert [dataset[index]["text"] for index in range(len(dataset))] == TEXTS
        with pytest.raises(FileNotFoundError, match=r"files='memory:.*\*.doc' does not exist; text files or tables"):
            build(dict(type="TextCorpus", files=f"{url}/*.doc"))
    finally:
        memory.rm(str(tmp_path), recursive=True)


def test_batches_do_not_depend_on_form_or_workers(tmp_path: Path, images: Path) -> None:
    names = list(files_below(images))
    forms = write_pair_forms(tmp_path / "forms", images, list(zip(names, TEXTS, strict=True)))
    tokenize = dict(type="Tokenize", tokenizer=write_tokenizer(tmp_path / "tokenizer"))
    crop = dict(type="torchvision/RandomResizedCrop", size=16)
    batches = []
    for form, workers in (("pairs.json", 0), ("manifest.parquet", 2), ("saved", 2)):
        cfg = dict(dataset={**forms[form], "pipeline": [LOAD, crop, tokenize]}, batch_size=3, num_workers=workers)
        batches.append(list(islice(build_loader(cfg, None, seed=3), 4)))
    for other in batches[1:]:
        for first, second in zip(batches[0], other, strict=True):
            assert torch.equal(first["images"], second["images"]) and torch.equal(first["words"], second["words"])

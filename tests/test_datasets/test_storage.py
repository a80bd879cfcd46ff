"""Bytes, and the bounds of a dataset's root."""

import os
import zipfile
from pathlib import Path

import fsspec
import pytest
from helpers.data import write_images
from helpers.forms import files_below, write_tar

from momo.datasets import BrokenSample, ImageFolder, ImageTars, ImageText, TextCorpus, WebDatasetPairs
from momo.datasets.storage import below, fingerprint, list_files, read_bytes, resolve


@pytest.mark.parametrize(
    ("root", "name", "path"),
    [
        ("data", "a.jpg", "data/a.jpg"),
        ("/data/", "b/..c/a.jpg", "/data/b/..c/a.jpg"),
        ("/data", "/data/a.jpg", "/data/a.jpg"),
        ("s3://bucket/x", "a.jpg", "s3://bucket/x/a.jpg"),
        ("s3://bucket/x", "s3://bucket/x/a.jpg", "s3://bucket/x/a.jpg"),
        ("https://", "https://host/a.jpg?size=3", "https://host/a.jpg?size=3"),
        ("zip://images::/data/a.zip", "b/c.jpg", "zip://images/b/c.jpg::/data/a.zip"),
        ("zip://::s3://bucket/a.zip", "zip://b.jpg::s3://bucket/a.zip", "zip://b.jpg::s3://bucket/a.zip"),
        ("simplecache::s3://bucket/x", "a.jpg", "simplecache::s3://bucket/x/a.jpg"),
    ],
)
def test_names_below_the_root(root: str, name: str, path: str) -> None:
    assert below(root, name) == path


@pytest.mark.parametrize(
    ("root", "name"),
    [
        ("data", "../a.jpg"),
        ("data", "b/../../a.jpg"),
        ("data", ".."),
        ("data", "/etc/passwd"),
        ("/data", "/data/../etc/passwd"),
        ("/data", "/data2/a.jpg"),
        ("/data", "//etc/passwd"),
        ("data", "https://host/a.jpg"),
        ("data", "file:///etc/passwd"),
        ("data", "a\0b"),
        ("s3://bucket/x", "s3://bucket/y/a.jpg"),
        ("s3://bucket/x", "s3://bucket/x/../y/a.jpg"),
        ("s3://bucket/x", "/etc/passwd"),
        ("s3://", "s3://a::file:///etc/passwd"),
        ("data", "zip::/etc/a.zip"),
        ("zip://images::/data/a.zip", "../b.jpg"),
        ("zip://images::/data/a.zip", "b.jpg::/etc/a.zip"),
        ("zip://images::/data/a.zip", "zip://images/b.jpg::/etc/a.zip"),
    ],
)
def test_names_that_lead_outside(root: str, name: str) -> None:
    with pytest.raises(BrokenSample, match="does not lie below") as caught:
        below(root, name)
    assert caught.value.reason == "outside the root"


def test_references_are_resolved_below_the_root() -> None:
    assert tuple(resolve("/data", "a.tar#3+4")) == ("/data/a.tar", 3, 4)
    with pytest.raises(BrokenSample, match="does not lie below"):
        resolve("/data", "../a.tar#3+4")
    with pytest.raises(BrokenSample, match="the reference to an image is empty"):
        resolve("/data", "")


def test_links_below_the_root_are_followed(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "disk" / "a.jpg").write_bytes(b"x")
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "linked").symlink_to(tmp_path / "disk")
    assert read_bytes(below(str(tmp_path / "root"), "linked/a.jpg")) == b"x"


def test_nothing_outside_the_root_is_opened(tmp_path: Path) -> None:
    """The file is there, and a naive join would read it."""
    (tmp_path / "secret.png").write_bytes(b"x")
    (tmp_path / "root").mkdir()
    names = ["../secret.png", f"{tmp_path}/secret.png", "../secret.png#0+1", f"file://{tmp_path}/secret.png"]
    path = tmp_path / "pairs.csv"
    path.write_text("image,caption\n" + "".join(f"{name},x\n" for name in names))
    dataset = ImageText(str(path), str(tmp_path / "root"), [])
    for row in range(len(names)):
        with pytest.raises(BrokenSample, match="does not lie below"):
            dataset.read(row)


@pytest.mark.parametrize("scheme", ["", "memory://"])
def test_parts_of_files(tmp_path: Path, scheme: str) -> None:
    path = f"{scheme}{tmp_path}/a.bin"
    with fsspec.open(path, "wb") as file:
        file.write(bytes(range(100)))
    assert read_bytes(path) == bytes(range(100))
    assert read_bytes(path, 90, 10) == bytes(range(90, 100))
    assert read_bytes(path, 5, 0) == b""
    with pytest.raises(BrokenSample, match="ends 3 bytes before byte 103") as caught:
        read_bytes(path, 93, 10)
    assert caught.value.reason == "truncated"
    with pytest.raises(FileNotFoundError):
        read_bytes(f"{scheme}{tmp_path}/b.bin")
    for offset, size in ((10**20, 5), (0, 10**14), (99, 10**14)):  # what no file has, a reference may name
        with pytest.raises((BrokenSample, OSError), match="ends .* bytes before|cannot be read|Cannot allocate"):
            read_bytes(path, offset, size)
    before = fingerprint(path)
    with fsspec.open(path, "wb") as file:
        file.write(bytes(range(101)))
    assert fingerprint(path) != before
    with pytest.raises(FileNotFoundError):
        fingerprint(f"{scheme}{tmp_path}/b.bin")


def test_errors_of_a_service_are_errors_of_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    class ServiceError(Exception):
        pass

    def refuse(*args: object) -> bytes:
        raise ServiceError("503 slow down")

    monkeypatch.setattr(fsspec.filesystem("memory").__class__, "cat_file", refuse)
    with pytest.raises(OSError, match="memory://a.bin cannot be read: 503 slow down"):
        read_bytes("memory://a.bin")


def test_no_file_stays_open(tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(b"x" * 100)
    before = len(os.listdir("/proc/self/fd"))
    for offset in range(50):
        read_bytes(str(tmp_path / "a.bin"), offset, 1)
    assert len(os.listdir("/proc/self/fd")) == before


def test_listing(tmp_path: Path) -> None:
    for name in ("b.JPG", "a/c.png", "a/d.txt", "a.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert list_files(str(tmp_path), (".jpg", ".png")) == [
        f"{tmp_path}/{name}" for name in ("a.jpg", "a/c.png", "b.JPG")
    ]


def test_links_to_folders_are_followed_but_not_in_circles(tmp_path: Path) -> None:
    """ImageNet's classes are often links to folders of another disk."""
    for name in ("disk/n1/1.png", "disk/n2/2.png", "train/0.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "train" / "n1").symlink_to(tmp_path / "disk" / "n1")
    (tmp_path / "train" / "self").symlink_to(".")
    (tmp_path / "train" / "up").symlink_to("..")
    (tmp_path / "disk" / "n1" / "next").symlink_to("../n2")
    (tmp_path / "disk" / "n2" / "back").symlink_to("../n1")
    (tmp_path / "train" / "gone.png").symlink_to("nowhere")
    found = list_files(str(tmp_path / "train"), (".png",))
    assert [path.removeprefix(f"{tmp_path}/train/") for path in found] == [
        "0.png",
        "gone.png",
        "n1/1.png",
        "n1/next/2.png",
    ]
    (tmp_path / "linked").symlink_to("train")
    assert len(list_files(str(tmp_path / "linked"), (".png",))) == len(found)


def test_what_macos_keeps_beside_a_file_is_no_file(tmp_path: Path) -> None:
    for name in ("a.png", "._a.png", ".hidden.png"):
        (tmp_path / name).touch()
    assert list_files(str(tmp_path), (".png",)) == [f"{tmp_path}/.hidden.png", f"{tmp_path}/a.png"]


def test_files_inside_of_an_archive(tmp_path: Path) -> None:
    """Each reader, on a chain of file systems."""
    write_images(tmp_path / "images", 4, size=9)
    names = list(files_below(tmp_path / "images"))
    web = {f"{n}.png": (tmp_path / "images" / name).read_bytes() for n, name in enumerate(names)}
    write_tar(tmp_path / "web.tar", web | {f"{n}.txt": b"a cat" for n in range(4)})
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            archive.write(tmp_path / "images" / name, f"images/{name}")
        archive.writestr("pairs.csv", "image,caption\n" + "".join(f"images/{name},a cat\n" for name in names))
        archive.writestr("lines.txt", "one\ntwo\n")
        archive.write(tmp_path / "web.tar", "web.tar")
    root, inside = f"zip://::{tmp_path}/a.zip", "zip://{}::" + f"{tmp_path}/a.zip"
    load, cache = [dict(type="LoadImage")], str(tmp_path / "cache")
    folder = ImageFolder(inside.format("images"), load)
    assert folder.sample_id(3) == inside.format(f"images/{names[3]}")
    pairs = ImageText(inside.format("*.csv"), root, load, cache_dir=cache)
    tars = [cls(inside.format("web.tar"), load, cache_dir=cache) for cls in (ImageTars, WebDatasetPairs)]
    for dataset in (folder, pairs, *tars):
        assert [tuple(dataset[index]["image"].shape) for index in range(len(dataset))] == [(3, 9, 9)] * 4
    texts = TextCorpus(inside.format("lines.txt"), [], cache_dir=cache)
    assert [texts[index]["text"] for index in range(2)] == ["one", "two"]

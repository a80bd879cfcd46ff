"""Bytes, and the bounds of a dataset's root."""

import os
from pathlib import Path

import fsspec
import pytest

from momo.datasets import BrokenSample, ImageText
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

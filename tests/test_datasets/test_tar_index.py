"""Indexes of tars: what is listed, what is refused, and that nothing is ever unpacked."""

import gzip
import io
import os
import pickle
import tarfile
from pathlib import Path

import numpy as np
import pytest
from helpers.forms import write_tar

from momo.datasets import BrokenSample, ImageTars, WebDatasetPairs
from momo.datasets.storage import read_bytes
from momo.datasets.tar_index import index_tar
from momo.datasets.tar_samples import find_tars


def contents(path: Path) -> dict[str, bytes]:
    return {name: read_bytes(str(path), offset, size) for name, offset, size in index_tar(str(path))}


def add(archive: tarfile.TarFile, name: str, data: bytes = b"", **fields: object) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for key, value in fields.items():
        setattr(info, key, value)
    archive.addfile(info, io.BytesIO(data))


@pytest.mark.parametrize("kind", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_every_member_is_found_where_it_lies(tmp_path: Path, kind: int) -> None:
    rng = np.random.default_rng(0)
    names = ["a.jpg", "n01/b.jpg", "empty.txt", f"{'long' * 20}/{'name' * 20}.png", "ümlaut – 獅子.png"]
    members = {name: rng.bytes(size) for name, size in zip(names, (513, 512, 0, 5000, 1), strict=True)}
    with tarfile.open(tmp_path / "a.tar", "w", format=kind) as archive:
        for name, data in members.items():
            add(archive, name, data)
        add(archive, "n01", type=tarfile.DIRTYPE)
    assert contents(tmp_path / "a.tar") == members
    assert index_tar(str(tmp_path / "a.tar")).skipped == {}


def test_inner_tars_are_opened_once(tmp_path: Path) -> None:
    deepest = write_tar(tmp_path / "deepest.tar", {"x": b"7"}).read_bytes()
    inner = write_tar(tmp_path / "inner.tar", {"1.jpg": b"one", "folder/2.jpg": b"two", "deepest.tar": deepest})
    outer = {"n01.TAR": inner.read_bytes(), "between.jpg": b"three", "n02.tar": inner.read_bytes()}
    write_tar(tmp_path / "outer.tar", outer)
    assert contents(tmp_path / "outer.tar") == {
        "n01.TAR/1.jpg": b"one",
        "n01.TAR/folder/2.jpg": b"two",
        "n01.TAR/deepest.tar": deepest,  # one level, as ImageNet has it; a tar in a tar in a tar is a file
        "between.jpg": b"three",
        "n02.tar/1.jpg": b"one",
        "n02.tar/folder/2.jpg": b"two",
        "n02.tar/deepest.tar": deepest,
    }


class Canary:
    """Unpickling it would make a file."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self) -> tuple:
        return Path.touch, (Path(self.path),)


def test_hostile_members_are_counted_and_nothing_is_written(tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("secret")
    data = tmp_path / "data"
    data.mkdir()
    with tarfile.open(data / "a.tar", "w") as archive:
        add(archive, "../escaped.jpg", b"x")
        add(archive, "deep/../../escaped.jpg", b"x")
        add(archive, f"{tmp_path}/absolute.jpg", b"x")
        add(archive, "soft.jpg", type=tarfile.SYMTYPE, linkname=str(secret))
        add(archive, "hard.jpg", type=tarfile.LNKTYPE, linkname="good.jpg")
        add(archive, "disk.jpg", type=tarfile.BLKTYPE, devmajor=8)
        add(archive, "zero.jpg", type=tarfile.CHRTYPE, devmajor=1, devminor=5)
        add(archive, "pipe.jpg", type=tarfile.FIFOTYPE)
        add(archive, "code.pkl", pickle.dumps(Canary(tmp_path / "canary")))
        add(archive, "code.jpg", pickle.dumps(Canary(tmp_path / "canary")))
        add(archive, "good.jpg", b"good")
    before = {path for path in tmp_path.rglob("*")}
    index = index_tar(str(data / "a.tar"))
    assert [member.name for member in index] == ["code.pkl", "code.jpg", "good.jpg"]
    assert index.skipped == {"name that leads outside": 3, "link": 2, "device or other special file": 3}
    dataset = ImageTars(str(data), [dict(type="LoadImage")], max_bad_fraction=1.0)
    assert [dataset.sample_id(number) for number in range(len(dataset))] == [
        f"{data}/a.tar/code.jpg",
        f"{data}/a.tar/good.jpg",
    ]
    with pytest.raises(RuntimeError, match="cannot be read|are broken"):
        dataset[0]
    assert dataset.broken.counts() == {"not an image": 2}
    new = {path.name for path in tmp_path.rglob("*")} - {path.name for path in before}
    assert all(name.startswith((".a.tar.tar-index-1.", ".data.images-1.")) for name in new) and len(new) == 2


def test_sparse_members_are_counted(tmp_path: Path) -> None:
    header = tarfile.TarInfo("sparse.jpg")
    header.type, header.size = tarfile.GNUTYPE_SPARSE, 512
    block = bytearray(header.tobuf(tarfile.GNU_FORMAT))
    block[386:410] = b"%011o\0%011o\0" % (0, 512)  # one piece, from 0
    block[483:495] = b"%011o\0" % 2**30  # which expands to this
    block[148:156] = b"        "
    block[148:156] = b"%06o\0 " % sum(block)
    (tmp_path / "a.tar").write_bytes(bytes(block) + bytes(512) + bytes(1024))
    index = index_tar(str(tmp_path / "a.tar"))
    assert list(index) == [] and index.skipped == {"sparse file": 1}


def test_compressed_tars_say_what_to_do(tmp_path: Path) -> None:
    plain = write_tar(tmp_path / "plain.tar", {"a.jpg": b"x"}).read_bytes()
    (tmp_path / "a.tar.gz").write_bytes(gzip.compress(plain))
    (tmp_path / "b.tar").write_bytes(gzip.compress(plain))  # its name says nothing
    for name in ("a.tar.gz", "b.tar"):
        with pytest.raises(ValueError, match=rf"{name} is compressed, and .* make it a plain one, once, with gunzip"):
            index_tar(str(tmp_path / name))
    (tmp_path / "plain.tar").unlink()
    with pytest.raises(ValueError, match="a.tar.gz is compressed"):
        ImageTars(str(tmp_path), [])


@pytest.mark.parametrize("nested", [False, True])
def test_damaged_tars_are_refused(tmp_path: Path, nested: bool) -> None:
    whole = write_tar(tmp_path / "whole.tar", {f"{n}.jpg": bytes([n]) * 3000 for n in range(4)}).read_bytes()
    rubbish = whole[:3584] + b"\xff" * 512 + whole[4096:]
    for case, data in {
        "in a member": whole[:5000],
        "between members": whole[:3584],
        "in a header": whole[:3700],
        "without end": whole[: 4 * 3584],
        "rubbish header": rubbish,
        "no tar": b"<html>" * 500,
        "empty": b"",
    }.items():
        path = tmp_path / f"{case}.tar"
        path.write_bytes(data)
        if nested:
            write_tar(path, {"inner.tar": data, "after.jpg": b"x"})
        with pytest.raises(ValueError, match=rf"{case}.tar.* is no tar, damaged, or ends too early .* fetch it again"):
            index_tar(str(path))
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_tars_in_a_row_are_refused(tmp_path: Path) -> None:
    """What `cat a.tar b.tar` makes: only the first would be read. Zeros after the end are no second one."""
    tars = [write_tar(tmp_path / name, {f"{name}.jpg": b"x"}).read_bytes() for name in ("a.tar", "b.tar")]
    (tmp_path / "both.tar").write_bytes(b"".join(tars))
    with pytest.raises(
        ValueError, match=r"both\.tar goes on after its end mark at byte 1024, as several tars in a row"
    ):
        index_tar(str(tmp_path / "both.tar"))
    (tmp_path / "zeros.tar").write_bytes(tars[0] + bytes(100_000))
    assert list(contents(tmp_path / "zeros.tar")) == ["a.tar.jpg"]


def test_what_macos_adds_to_a_tar_is_no_image(tmp_path: Path) -> None:
    write_tar(tmp_path / "a.tar", {"._1.jpg": b"Mac OS X", "1.jpg": b"1", "n/._2.jpg": b"Mac OS X", "n/2.jpg": b"2"})
    dataset = ImageTars(str(tmp_path / "a.tar"), [])
    assert [dataset.read(index)["image_bytes"] for index in range(len(dataset))] == [b"1", b"2"]


def test_an_inner_tar_cannot_reach_beyond_its_end(tmp_path: Path) -> None:
    """Its last header claims more bytes than it has; they would be the next member's."""
    whole = write_tar(tmp_path / "whole.tar", {"a.jpg": b"x"}).read_bytes()
    header = tarfile.TarInfo("greedy.jpg")
    header.size = 5000
    write_tar(tmp_path / "outer.tar", {"inner.tar": whole[:1024] + header.tobuf(), "private.txt": b"y" * 9000})
    with pytest.raises(ValueError, match=r"outer.tar, inner.tar, is no tar, .*'greedy.jpg' does not end inside"):
        index_tar(str(tmp_path / "outer.tar"))


def test_an_index_is_made_once_and_anew_when_the_tar_changes(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "a.tar", {"1.jpg": b"one"})
    first = index_tar(str(path))
    changed = os.stat(first.path).st_mtime_ns
    assert [member.name for member in index_tar(str(path))] == ["1.jpg"]
    assert os.stat(first.path).st_mtime_ns == changed
    write_tar(path, {"1.jpg": b"one", "2.jpg": b"two"})
    assert [member.name for member in index_tar(str(path))] == ["1.jpg", "2.jpg"]
    assert len(list(tmp_path.glob(".a.tar.*"))) == 1  # the stale one is gone
    assert [member.name for member in first] == ["1.jpg"]  # and whoever has it open keeps it


def test_finding_tars(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"root='/nowhere' does not exist; a .tar file or a folder of them"):
        find_tars("/nowhere")
    with pytest.raises(ValueError, match=r"root='.*' holds no .tar file"):
        find_tars(str(tmp_path))
    for name in ("b/2.tar", "b/1.TAR", "a.tar"):
        write_tar(tmp_path / name, {"a.txt": b"x"})
    assert find_tars(str(tmp_path)) == [f"{tmp_path}/{name}" for name in ("a.tar", "b/1.TAR", "b/2.tar")]
    with pytest.raises(ValueError, match="no tar holds a file ending in .jpg"):
        ImageTars(str(tmp_path), [])
    with pytest.raises(ValueError, match="no tar holds an image and a .txt file of the same key"):
        WebDatasetPairs(str(tmp_path), [])


def test_many_tars_are_indexed_by_several_processes(tmp_path: Path) -> None:
    for number in range(32):
        write_tar(tmp_path / f"{number:03d}.tar", {f"{i}.jpg": bytes([number, i]) for i in range(number % 3)})
    dataset = ImageTars(str(tmp_path), [])
    expected = [bytes([number, i]) for number in range(32) for i in range(number % 3)]
    assert [dataset.read(index)["image_bytes"] for index in range(len(dataset))] == expected
    assert np.diff(dataset.chunks).tolist() == [number % 3 for number in range(32)]


def test_the_later_of_two_members_of_one_name_counts(tmp_path: Path) -> None:
    """`tar -r` adds a newer version at the end, and unpacking leaves that one."""
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for name, data in [("1.png", b"old"), ("1.txt", b"old"), ("2.png", b"2"), ("1.txt", b"new"), ("1.png", b"new")]:
            add(archive, name, data)
        add(archive, "2.txt", b"\xef\xbb\xbftwo\r\n")  # as Windows' editor saves it
        add(archive, "2.jpg", b"another")
    dataset = WebDatasetPairs(str(tmp_path), [])
    assert [(dataset.read(i)["image_bytes"], dataset.read(i)["text"]) for i in range(len(dataset))] == [
        (b"new", "new"),
        (b"2", "two"),
    ]


def test_web_pairs_go_by_key(tmp_path: Path) -> None:
    members = {
        "000.txt": b" first \n",
        "000.jpg": b"0",
        "000.json": b'{"caption": ["one", "two"]}',
        "001.JPG": b"1",  # no caption
        "002.txt": b"no image",
        "a.b/003.webp": b"3",
        "a.b/003.TXT": b"third",
        "a.b/003.x.jpg": b"not of that key",
        "004.png": b"4",
        "004.txt": "größer".encode("latin-1"),
        "005.gif": b"5",
        "005.json": b'{"url": 1}',
        "006.gif": b"6",
        "006.json": b"{",
    }
    write_tar(tmp_path / "a.tar", members)
    dataset = WebDatasetPairs(str(tmp_path), [])
    assert [dataset.sample_id(index) for index in range(len(dataset))] == [
        f"{tmp_path}/a.tar/{key}" for key in ("000", "a.b/003", "004")
    ]
    assert [(dataset.read(i)["image_bytes"], dataset.read(i)["text"]) for i in range(2)] == [
        (b"0", "first"),
        (b"3", "third"),
    ]
    with pytest.raises(UnicodeDecodeError):
        dataset.read(2)
    dataset = WebDatasetPairs(str(tmp_path), [], caption_key="caption")
    assert len(dataset) == 3 and {dataset[index]["text"] for index in (0,)} <= {"one", "two"}
    with pytest.raises(ValueError, match="the .json has no 'caption'"):
        dataset.read(1)
    write_tar(tmp_path / "deep.tar", {"1.jpg": b"1", "1.json": b"[" * 100_000})
    with pytest.raises(BrokenSample, match="the .json is nested too deeply"):
        WebDatasetPairs(str(tmp_path / "deep.tar"), [], caption_key="caption").read(0)

"""Files made from data: once, whole, anew when the data change, and where there is room."""

import logging
import multiprocessing
import os
import pickle
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import fsspec
import pyarrow
import pytest
from mmengine.logging import MMLogger

from momo.datasets.cache import MappedTable, _locked, cached, local_copy, progress, write_atomically, write_table

SCHEMA = pyarrow.schema([("number", pyarrow.int64())])


def write(text: str):
    return lambda target: target.write_text(text)


def test_made_once_and_anew(tmp_path: Path) -> None:
    source = tmp_path / "a[1].bin"  # its name is no pattern
    source.write_text("1")
    first = cached(str(source), "kind", write("one"))
    assert first.parent == tmp_path and first.name.startswith(".a[1].bin.kind.")
    assert cached(str(source), "kind", write("two")) == first and first.read_text() == "one"
    assert cached(str(source), "kind2", write("other")).read_text() == "other"
    os.utime(source, ns=(1, 1))
    second = cached(str(source), "kind", write("two"))
    assert second != first and second.read_text() == "two" and not first.exists()
    assert sorted(path.name[:15] for path in tmp_path.iterdir()) == [".a[1].bin.kind.", ".a[1].bin.kind2", "a[1].bin"]
    versions = [
        cached(str(source), "kind3", write(version), version=version).read_text() for version in ("a", "a", "b")
    ]
    assert versions == ["a", "a", "b"]
    with pytest.raises(FileNotFoundError):
        cached(str(tmp_path / "absent"), "kind", write("x"))


def test_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside a file, in a folder, in the folder that is given, or in the user's cache."""
    source = tmp_path / "data" / "a.bin"
    source.parent.mkdir()
    source.write_text("1")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cached(str(source), "kind", write("x")).parent == source.parent
    assert cached(str(source.parent), "kind", write("x"), version="1").parent == source.parent
    assert cached(str(source), "kind", write("x"), str(tmp_path / "mine")).parent == tmp_path / "mine"
    with fsspec.open("memory://cache/a.bin", "w") as file:
        file.write("1")
    assert cached("memory://cache/a.bin", "kind", write("x")).parent == tmp_path / "xdg" / "momo"
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write anywhere
    other = cached(str(source), "other", write("x"))
    assert other.parent == tmp_path / "xdg" / "momo"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cached(str(source), "other", write("x")).parent == tmp_path / "home" / ".cache" / "momo"


def test_a_failed_build_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_text("1")

    def fail(target: Path) -> None:
        target.write_text("half")
        raise RuntimeError("disk full")

    for _ in range(2):
        with pytest.raises(RuntimeError, match="disk full"):
            cached(str(tmp_path / "a.bin"), "kind", fail)
        assert [path.name for path in tmp_path.iterdir()] == ["a.bin"]
    write_atomically(tmp_path / "b", write("x"))
    with pytest.raises(RuntimeError):
        write_atomically(tmp_path / "b", fail)
    assert (tmp_path / "b").read_text() == "x"


def test_what_others_may_read_they_may_read_here_too(tmp_path: Path) -> None:
    """Data of a group: who comes first makes the index for all."""
    (tmp_path / "a.bin").write_text("1")
    assert cached(str(tmp_path / "a.bin"), "kind", write("x")).stat().st_mode == (tmp_path / "a.bin").stat().st_mode


def test_what_is_there_is_used_where_nothing_can_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.bin").write_text("1")
    made = cached(str(tmp_path / "a.bin"), "kind", write("x"))
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write anywhere
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cached(str(tmp_path / "a.bin"), "kind", write("y")) == made and not (tmp_path / "xdg").exists()


def _killed_while_building(source: str) -> None:
    def build(target: Path) -> None:
        target.write_text("half")
        os.kill(os.getpid(), signal.SIGKILL)

    cached(source, "kind", build)


def test_half_files_of_killed_processes_are_removed(tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_text("1")
    process = multiprocessing.get_context("fork").Process(
        target=_killed_while_building, args=(str(tmp_path / "a.bin"),)
    )
    process.start()
    process.join()
    (half,) = tmp_path.glob("*.tmp")
    alive = half.with_name(half.name.replace(f"-{process.pid}.", f"-{os.getppid()}."))  # not ours to remove
    elsewhere = half.with_name(f".a.bin.kind.0.{'0' * 16}-1.tmp")
    for path in (alive, elsewhere):
        path.write_text("half")
    made = cached(str(tmp_path / "a.bin"), "kind", write("x"))
    assert made.read_text() == "x" and set(tmp_path.glob("*.tmp")) == {alive, elsewhere}


def test_a_lock_that_its_holder_removed_locks_nobody_out(tmp_path: Path) -> None:
    """Three processes: the second waits for a lock that the first removes, while the third makes a new one."""
    path = tmp_path / "lock"
    first = _locked(path)
    with ThreadPoolExecutor() as pool:
        second = pool.submit(_locked, path)
        time.sleep(0.05)
        path.unlink()
        third = _locked(path)
        first.close()
        time.sleep(0.05)
        assert not second.done()
        third.close()
        second.result(timeout=5).close()


def _build_slowly(source: str, log: str) -> None:
    def build(target: Path) -> None:
        with open(log, "a") as file:
            file.write("built\n")
        time.sleep(0.3)
        target.write_text("x")

    assert cached(source, "kind", build).read_text() == "x"


def test_one_process_builds_while_others_wait(tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_text("1")
    context = multiprocessing.get_context("fork")
    args = str(tmp_path / "a.bin"), str(tmp_path / "log")
    processes = [context.Process(target=_build_slowly, args=args) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 4
    assert (tmp_path / "log").read_text() == "built\n"


def test_mapped_tables(tmp_path: Path) -> None:
    batches = [pyarrow.record_batch([[number, number + 1]], schema=SCHEMA) for number in (0, 10)]
    write_table(tmp_path / "a", SCHEMA, batches)
    before = pyarrow.total_allocated_bytes()
    table = MappedTable(tmp_path / "a")
    assert pyarrow.total_allocated_bytes() == before  # it is mapped, not read
    copy = pickle.loads(pickle.dumps(table))
    assert len(pickle.dumps(table)) < 1000
    assert [copy.cell("number", row) for row in range(len(copy))] == [0, 1, 10, 11]
    whole = (tmp_path / "a").read_bytes()
    for name, data in {"cut": whole[:-100], "page": b"<html>", "magic": b"ARROW1\0\0", "empty": b""}.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(ValueError, match=rf"{name} is not an Arrow file, or is cut off"):
            MappedTable(tmp_path / name)


def test_copies_of_urls(tmp_path: Path) -> None:
    assert local_copy(str(tmp_path / "a")) == str(tmp_path / "a")
    for content in ("1", "22"):
        with fsspec.open("memory://copies/a.bin", "w") as file:
            file.write(content)
        assert Path(local_copy("memory://copies/a.bin", str(tmp_path))).read_text() == content


def test_progress_is_a_line_in_a_log(tmp_path: Path) -> None:
    handler = logging.FileHandler(tmp_path / "log.txt")
    logger = MMLogger.get_current_instance()
    logger.addHandler(handler)
    try:
        with progress("counting", 3) as advance, progress("within", None, log=False):
            advance(2)
    finally:
        logger.removeHandler(handler)
    assert (tmp_path / "log.txt").read_text() == "counting ...\n"

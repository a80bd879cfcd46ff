"""One training at a time in a work_dir."""

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from momo.engine import run_lock
from momo.engine.run_lock import LOCK, RunLock, WorkDirInUse

HOLD = """
import fcntl, json, os, socket, sys, time
file = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
fcntl.flock(file, fcntl.LOCK_EX)
os.pwrite(file, json.dumps({"host": socket.gethostname(), "pid": os.getpid(), "slurm_job": None}).encode(), 0)
print("held", flush=True)
time.sleep(60)
"""


def test_the_note_is_there_while_it_is_held(tmp_path: Path) -> None:
    with RunLock(tmp_path / "run"):
        note = json.loads((tmp_path / "run" / LOCK).read_text())
        assert (note["host"], note["pid"]) == (socket.gethostname(), os.getpid())
        with RunLock(tmp_path / "run"):
            pass
        assert json.loads((tmp_path / "run" / LOCK).read_text()) == note
    assert json.loads((tmp_path / "run" / LOCK).read_text()) == {}


def test_a_second_process_is_refused_until_the_first_is_gone(tmp_path: Path) -> None:
    holder = subprocess.Popen([sys.executable, "-c", HOLD, tmp_path / LOCK], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout.readline() == "held\n"
        message = f"{tmp_path} is in use by process {holder.pid} on {socket.gethostname()}: wait for it"
        with pytest.raises(WorkDirInUse, match=message), RunLock(tmp_path):
            pass
    finally:
        holder.kill()
        holder.wait()
        holder.stdout.close()
    with RunLock(tmp_path):  # its note is still there
        assert json.loads((tmp_path / LOCK).read_text())["pid"] == os.getpid()


@pytest.mark.parametrize("text", ["", "{", "[1]"])
def test_a_note_that_was_cut_off_is_no_lock(tmp_path: Path, text: str) -> None:
    (tmp_path / LOCK).write_text(text)
    with RunLock(tmp_path):
        pass


def test_another_hosts_note_counts_unless_slurm_has_requeued_the_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / LOCK).write_text(json.dumps({"host": "far", "pid": 7, "slurm_job": "5"}))
    with pytest.raises(WorkDirInUse, match="in use by process 7 on far: .* delete .*/.lock"), RunLock(tmp_path):
        pass
    monkeypatch.setenv("SLURM_JOB_ID", "5")
    with RunLock(tmp_path):
        pass


def test_a_data_worker_does_not_keep_the_lock(tmp_path: Path) -> None:
    path = (tmp_path / LOCK).resolve()
    RunLock(tmp_path).__enter__()
    ready, begun = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(begun, b"x")
        time.sleep(30)
        os._exit(0)
    try:
        os.read(ready, 1)
        os.close(run_lock._held.pop(path))  # as the end of a killed process does
        with RunLock(tmp_path):
            pass
    finally:
        os.kill(pid, 9)
        os.waitpid(pid, 0)
        os.close(ready)
        os.close(begun)


def test_a_file_system_without_locks_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def flock(*args: object) -> None:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(run_lock.fcntl, "flock", flock)
    with pytest.warns(UserWarning, match="this file system has no locks"), RunLock(tmp_path):
        pass

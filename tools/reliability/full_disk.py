"""A run on a file system that is too small for its checkpoints: a tmpfs in a mount namespace of its own."""

from __future__ import annotations

import ctypes
import os
import re
from collections.abc import Callable
from pathlib import Path

from momo.engine.checkpoint import CheckpointError, read_checkpoint
from momo.engine.checkpoint.storage import DISCARDED, DRAFT
from momo.engine.checkpoint.work_dir import listed

from .runs import FORK, Lab

CLONE_NEWNS, CLONE_NEWUSER, MS_REMOUNT = 0x20000, 0x10000000, 32


def on_a_full_disk(lab: Lab, stage: int) -> str:
    """'' if the error names path and bytes, what was saved before is whole, nothing is left over, and, with more room,
    the run goes on exactly."""
    size = sum(file.stat().st_size for file in next(lab.reference(stage, 1).work_dir.glob("iter_*")).iterdir())
    room = int(size * lab.random.uniform(1.3, 2.9))  # two are kept, and a third is being written

    def attempt(work_dir: Path, enlarge: Callable[[], None]) -> str:
        running = lab.start(lab.config(stage, 1), work_dir, 1)
        codes, text = running.wait(), running.text()
        if codes == [0]:
            return "the disk was not full"
        message = rf"the checkpoint {re.escape(str(work_dir))}/iter_\d+ cannot be written: [\d,]+ bytes needed"
        left = [path.name for path in work_dir.iterdir() if path.name.startswith((DRAFT, DISCARDED))]
        if left or not re.search(message, text):
            return f"left over: {left}; the error was: {text[-500:]}"
        try:
            for folder, _ in listed(work_dir, None):
                read_checkpoint(folder)
        except CheckpointError as error:
            return f"an earlier checkpoint is damaged: {error}"
        enlarge()
        codes = lab.finish(lab.config(stage, 1), work_dir, 1, "--resume")
        return lab.reference(stage, 1).difference(work_dir) if codes == [0] else f"resuming ended with {codes}"

    work_dir = lab.new("t5")
    work_dir.mkdir()
    return in_small_disk(work_dir, room, attempt)


def in_small_disk(work_dir: Path, room: int, attempt: Callable[[Path, Callable[[], None]], str]) -> str:
    """Call `attempt(work_dir, enlarge)` in a process to which `work_dir` is a disk of `room` bytes; what it returns."""
    receiver, sender = FORK.Pipe(duplex=False)

    def inside() -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        user, group, target = os.getuid(), os.getgid(), str(work_dir).encode()
        if libc.unshare(CLONE_NEWUSER | CLONE_NEWNS) == 0:
            Path("/proc/self/setgroups").write_text("deny")
            Path("/proc/self/uid_map").write_text(f"0 {user} 1")
            Path("/proc/self/gid_map").write_text(f"0 {group} 1")
            if libc.mount(b"tmpfs", target, b"tmpfs", 0, f"size={room}".encode()) == 0:
                sender.send(attempt(work_dir, lambda: libc.mount(b"tmpfs", target, b"tmpfs", MS_REMOUNT, b"size=99m")))
                return
        sender.send(f"this system allows no small disk: {os.strerror(ctypes.get_errno())}")

    process = FORK.Process(target=inside)
    process.start()
    process.join(120)
    return receiver.recv() if receiver.poll() else "the process with the small disk failed"

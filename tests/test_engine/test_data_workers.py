"""Data workers are named when they fail, and end with their run."""

from __future__ import annotations

import multiprocessing
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from helpers.run import build_runner, run_config, write_data

from momo.engine.data_workers import TIMEOUT, explain
from momo.registry import TRANSFORMS

ROOT = Path(__file__).parents[2]
pytestmark = [pytest.mark.usefixtures("unformatted_configs"), pytest.mark.slow]


@TRANSFORMS.register_module()
class FailInWorker:
    """On its n-th sample, be killed or hang."""

    def __init__(self, sample: int, how: str) -> None:
        self.left, self.how = sample, how

    def __call__(self, sample: dict) -> dict:
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL) if self.how == "killed" else time.sleep(600)
        return sample


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("killed", r"data worker \d of 'text' \(process \d+\) ended with exit code -9: "),
        ("hung", r"data worker \d of 'text' \(process \d+\) has not delivered its batch: DataLoader timed out after 2"),
    ],
)
def test_the_worker_is_named(tmp_path: Path, how: str, message: str) -> None:
    data = write_data(tmp_path / "data")
    data["text"]["pipeline"].append(dict(type="FailInWorker", sample=9, how=how))
    cfg = run_config(data, tmp_path / "run")
    cfg["train_dataloader"].update(num_workers=2, timeout=2)
    runner = build_runner(cfg)
    with pytest.raises(RuntimeError, match=message) as caught:
        runner.train()
    pid = int(re.search(r"process (\d+)", str(caught.value)).group(1))
    for iterator in runner.train_loop.dataloader.iterators.values():
        iterator._shutdown_workers()  # as the end of the process does
    assert not _runs(pid)


def test_batches_have_a_time_limit_where_there_are_workers(tmp_path: Path) -> None:
    cfg = run_config(write_data(tmp_path / "data"), tmp_path / "run")
    cfg["train_dataloader"]["loaders"]["text"]["num_workers"] = 2
    runner = build_runner(cfg)
    loaders = runner.build_train_loop(cfg["train_cfg"]).dataloader.loaders
    assert {name: loader.timeout for name, loader in loaders.items()} == {"text": TIMEOUT, "image": 0}


PARENT = """
import os, sys, time
import torch
from momo.engine.data_workers import start_worker

class Slow(torch.utils.data.Dataset):
    def __len__(self):
        return 4
    def __getitem__(self, index):
        print(os.getpid(), os.getpgid(0), flush=True)
        time.sleep(600)

next(iter(torch.utils.data.DataLoader(Slow(), num_workers=1, worker_init_fn=start_worker)))
"""


def test_a_worker_ends_with_its_process_and_is_in_a_group_of_its_own() -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    worker, group = map(int, parent.stdout.readline().split())
    assert worker == group != os.getpgid(parent.pid)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    end = time.monotonic() + 5
    while time.monotonic() < end and _runs(worker):
        time.sleep(0.05)
    assert not _runs(worker)


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_other_errors_are_left_alone() -> None:
    error = RuntimeError("shapes differ")
    assert explain(error, {"text": object()}) is error


def test_a_worker_that_ends_while_it_hands_a_batch_over_is_named() -> None:
    ending = multiprocessing.get_context("fork").Process(target=time.sleep, args=(0.3,))
    ending.start()
    iterators = {"text": SimpleNamespace(_workers=[ending])}
    found = explain(ConnectionResetError(104, "Connection reset by peer"), iterators)
    assert re.fullmatch(
        rf"data worker 0 of 'text' \(process {ending.pid}\) ended with exit code 0: .*reset by peer", str(found)
    )


def test_a_full_disk_is_not_a_workers_fault() -> None:
    living = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,))
    living.start()
    error = OSError(28, "No space left on device")
    assert explain(error, {"text": SimpleNamespace(_workers=[living])}) is error
    living.kill()
    living.join()

"""A run that has come to a stop ends, and says who is behind."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from helpers.processes import run_in_processes

from momo.engine import StallHook

ALONE = """
import logging, sys, time
from types import SimpleNamespace
from mmengine.runner import Runner
from momo.engine import StallHook
logging.basicConfig(level="INFO")
runner = SimpleNamespace(iter=6, logger=logging.getLogger())
hook = StallHook(timeout=0.5)

def loop(loop_cfg):
    hook.before_train(runner)
    hook.before_train_epoch(runner)
    hook.before_train_iter(runner, 0)
    if sys.argv[1] == "step":
        time.sleep(30)
    if sys.argv[1] == "data":
        hook.after_train_iter(runner, 0)
        time.sleep(30)
    if sys.argv[1] == "failure":
        raise MemoryError
    hook.after_train_epoch(runner)  # validation may take longer
    time.sleep(1.5)
    hook.after_train(runner)
    raise MemoryError

class Trainer:  # as far as Runner.train gets with it
    model = SimpleNamespace(train_step=None)
    _val_loop, _train_loop = None, {}
    build_train_loop = staticmethod(loop)

try:
    Runner.train(Trainer())
except MemoryError:
    time.sleep(1.5)
print("ended by itself")
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("step", "rank 0 is in step 7"),
        ("data", "rank 0 waits for the data of step 8"),
        ("validation", None),
        ("failure", None),
    ],
)
def test_alone(where: str, said: str | None) -> None:
    result = subprocess.run([sys.executable, "-c", ALONE, where], capture_output=True, text=True, timeout=60)
    if said is None:
        assert (result.returncode, result.stdout) == (0, "ended by itself\n")
    else:
        assert result.returncode == 1 and "ended by itself" not in result.stdout
        assert f"No training step has ended for 0 s: {said}" in result.stderr
        assert "Current thread" in result.stderr  # where each thread was


class Store(dict):
    set = dict.__setitem__
    get = dict.__getitem__


def hook_with(beats: dict[int, list], monkeypatch: pytest.MonkeyPatch, moving: bool = True) -> StallHook:
    """A hook of rank 0 whose store has these beats; other ranks go on telling, or do not."""

    class Living(Store):
        def get(self, key: str) -> str:
            beat = json.loads(self[key])
            if moving:
                beat[2] += 1
                self[key] = json.dumps(beat)
            return json.dumps(beat)

    monkeypatch.setattr("momo.engine.stall_hook.world_size", lambda: len(beats))
    hook = StallHook(timeout=0.1)
    hook._store = Living({f"momo/stall/{rank}": json.dumps(beat) for rank, beat in beats.items()})
    hook._processes = [f"process {100 + rank} on host" for rank in beats]
    return hook


def test_the_rank_with_the_least_progress_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    beats = {0: [7, 1, 3], 1: [7, 0, 3], 2: [7, 1, 3]}
    found = hook_with(beats, monkeypatch)._ask_the_store()
    assert found == "behind: rank 1 (process 101 on host) waits for the data of step 7"


def test_a_silent_rank_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    beats = {0: [7, 1, 3], 1: [7, 1, 3]}
    found = hook_with(beats, monkeypatch, moving=False)._ask_the_store()
    assert found == "rank 1 (process 101 on host) is silent"


def test_a_silent_store_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    hook = hook_with({0: [7, 1, 3], 1: [7, 1, 3]}, monkeypatch)
    hook._store.get = lambda key: time.sleep(600)
    monkeypatch.setattr("momo.engine.stall_hook.ANSWER", 0.1)
    assert hook._ask_the_store() == "rank 0 (process 100 on host) or the launcher, which keeps the store, is silent"


def test_what_a_rank_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    hook = StallHook()
    hook._store = Store()
    hook.before_train_epoch(SimpleNamespace(iter=11))
    hook._tell()
    assert json.loads(hook._store["momo/stall/0"]) == [12, 0, 1]


def _begin(rank: int, folder: Path) -> bool:
    """Whether the last process had begun when this one was through with its beginning."""
    if rank == 1:
        time.sleep(1)
        (folder / "begun").touch()
    hook = StallHook()
    hook.before_train(SimpleNamespace(logger=None))
    begun = (folder / "begun").exists()
    hook.after_train(None)
    return begun


@pytest.mark.dist
def test_no_process_is_done_before_all_have_begun(tmp_path: Path) -> None:
    """One that has nothing left to train would take the store with it, in which the others still have to tell."""
    assert run_in_processes(_begin, tmp_path, tmp_path) == [True, True]

"""The list of the demo's commands: what runs at the same time, and what a failure leaves."""

import os
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "tools" / "demo")]

import run as demo  # noqa: E402


def python(code: str) -> str:
    return f"python -c '{code}'"


def test_commands_of_a_line_meet_and_share_the_cores(tmp_path):
    """Each waits for the other's file: one after the other, they would not end."""
    wait = """
import os, sys, time
open("{mine}", "w").write(os.environ["OMP_NUM_THREADS"])
for _ in range(200):
    if os.path.exists("{other}"): sys.exit(0)
    time.sleep(.05)
sys.exit(1)"""
    one, two = tmp_path / "one", tmp_path / "two"
    seconds = demo.run(f"{python(wait.format(mine=one, other=two))} & {python(wait.format(mine=two, other=one))}")
    assert seconds < 10
    assert one.read_text() == two.read_text() == str(max(1, os.cpu_count() // 2))


def test_a_failure_shows_the_output_and_ends_the_others(tmp_path, capsys):
    late = tmp_path / "late"
    sleep = f"""
import time
time.sleep(.5)
open("{late}", "w")"""
    with pytest.raises(SystemExit, match="failed with exit code 3: python -c 'print"):
        demo.run(f"python -c 'pass' & {python('print(40 + 2); exit(3)')} & {python(sleep)}")
    assert "42" in capsys.readouterr().out
    time.sleep(1)
    assert not late.exists()


def test_what_does_not_wait_for_each_other_runs_two_at_a_time():
    lines = demo.main_commands(seed=0)
    assert [line.count(" & ") for line in lines] == [0, 1, 0, 1, 1, 0, 0]
    trained = [
        part.split("sentiment_")[1].split()[0] for line in lines for part in line.split(" & ") if "sentiment_" in part
    ]
    assert trained == ["random", "stage1", "stage2", "stage3"]
    assert all("randomness.seed=7" in part for line in demo.main_commands(7)[:5] for part in line.split(" & "))

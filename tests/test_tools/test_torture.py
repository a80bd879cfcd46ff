"""The tool that kills runs: its statistics, and a short session of it."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tools"))

import torture  # noqa: E402


@pytest.mark.parametrize(("tried", "share"), [(20, 1 - 0.05 ** (1 / 20)), (100, 0.0295), (1, 0.95)])
def test_without_a_failure_the_bound_is_the_rule_of_three(tried: int, share: float) -> None:
    assert torture.bound(tried, tried) == pytest.approx(share, abs=1e-4)
    assert tried == 1 or torture.bound(tried, tried) == pytest.approx(3 / tried, rel=0.1)


def test_failures_widen_the_bound() -> None:
    assert torture.bound(19, 20) == pytest.approx(0.2161, abs=1e-4)  # Clopper and Pearson's tables
    assert torture.bound(0, 20) == 1


def test_what_was_tried_is_counted_and_what_failed_is_shown(capsys: pytest.CaptureFixture) -> None:
    log: list[dict] = []
    assert torture.measure("T0", iter([("a", ""), ("b", "broke"), ("c", "")]), log) == (2, 3)
    assert [entry["problem"] for entry in log] == ["", "broke", ""]
    assert capsys.readouterr().out == "  T0, b: broke\n"


@pytest.mark.slow
@pytest.mark.dist
def test_a_short_session_holds(tmp_path: Path) -> None:
    command = [sys.executable, "tools/torture.py", "--short", "--out", tmp_path]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    rows = (tmp_path / "table.md").read_text().splitlines()[2:]
    assert [row.split(" | ")[0].strip("| ") for row in rows] == list(torture.ROWS)

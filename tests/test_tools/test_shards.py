"""Preparation steps: what is done once, what is done again, and what a failure leaves."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from helpers.shard_steps import count_words, fail_on_bad, make_folder

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tools" / "dataset"))

import shards as engine  # noqa: E402
from shards import Shard, run_shards, total  # noqa: E402


def make_shards(folder: Path, names: str, **settings: object) -> list[Shard]:
    """A shard for each name, whose input has as many words as the name has letters."""
    folder.mkdir(exist_ok=True)
    settings["ledger"] = str(folder / "ledger.txt")
    made = []
    for name in names.split():
        path = folder / f"{name}.txt"
        if not path.exists():
            path.write_text("word " * len(name), encoding="utf-8")
        made.append(Shard(name, (str(path),), folder / "out" / f"{name}.count", dict(settings)))
    return made


def ledger(folder: Path) -> list[str]:
    path = folder / "ledger.txt"
    return sorted(path.read_text(encoding="utf-8").split()) if path.exists() else []


def outputs(folder: Path) -> dict[str, str]:
    return {path.stem: path.read_text(encoding="utf-8") for path in (folder / "out").glob("*.count")}


def test_a_finished_shard_is_done_again_only_where_something_changed(tmp_path: Path) -> None:
    shards = make_shards(tmp_path, "a bb ccc")
    outcomes = run_shards(count_words, shards, "words", workers=0)
    assert [outcome.counts for outcome in outcomes] == [{"words": 1}, {"words": 2}, {"words": 3}]
    assert total(outcomes) == {"words": 6} and not any(outcome.done_before for outcome in outcomes)
    assert all(outcome.done_before for outcome in run_shards(count_words, shards, "words", workers=0))
    assert ledger(tmp_path) == ["a", "bb", "ccc"]

    (tmp_path / "bb.txt").write_text("one two three four", encoding="utf-8")  # an input changes
    outcomes = run_shards(count_words, shards, "words", workers=0)
    assert [outcome.done_before for outcome in outcomes] == [True, False, True]
    assert outputs(tmp_path) == {"a": "1", "bb": "4", "ccc": "3"}

    shards[0].output.write_text("12345", encoding="utf-8")  # an output is not what was made
    shards[2] = shards[2]._replace(settings={**shards[2].settings, "new": 1})
    outcomes = run_shards(count_words, shards, "words", workers=0)
    assert [outcome.done_before for outcome in outcomes] == [False, True, False]
    assert outputs(tmp_path) == {"a": "1", "bb": "4", "ccc": "3"}
    assert ledger(tmp_path) == ["a", "a", "bb", "bb", "ccc", "ccc"]

    run_shards(count_words, shards, "words", workers=0, again=lambda counts: counts["words"] == 4)
    assert ledger(tmp_path) == ["a", "a", "bb", "bb", "bb", "ccc", "ccc"]


def test_an_output_may_be_a_folder_and_is_replaced_whole(tmp_path: Path) -> None:
    shard = Shard("folder", (), tmp_path / "made", {"file": "first"})
    run_shards(make_folder, [shard], "folders", workers=0)
    run_shards(make_folder, [shard._replace(settings={"file": "second"})], "folders", workers=0)
    assert [path.name for path in shard.output.iterdir()] == ["second"]


def test_two_shards_must_not_write_to_one_output(tmp_path: Path) -> None:
    shard = make_shards(tmp_path, "a")[0]
    with pytest.raises(ValueError, match=r"several shards write to .*a\.count"):
        run_shards(count_words, [shard, shard], "words", workers=0)


def test_a_failure_is_named_and_the_others_go_on(tmp_path: Path) -> None:
    shards = make_shards(tmp_path, "a bad ccc missing")
    (tmp_path / "missing.txt").unlink()
    outcomes = run_shards(fail_on_bad, shards, "words", workers=0)
    assert [outcome.error.partition(":")[0] for outcome in outcomes] == ["", "ValueError", "", "FileNotFoundError"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [  # no half of anything
        "a.count",
        "a.count.stamp.json",
        "ccc.count",
        "ccc.count.stamp.json",
    ]
    with pytest.raises(SystemExit, match=r"2 of 4 shards failed(.|\n)*bad: ValueError: line 3 is not text"):
        engine.exit_if_failed(outcomes)
    engine.exit_if_failed(outcomes[:1])


def test_a_url_is_an_input_too(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("word", encoding="utf-8")
    before = engine.fingerprint(f"file://{path}")
    assert before == engine.fingerprint(f"file://{path}")
    os.utime(path, (1, 1))
    assert engine.fingerprint(f"file://{path}") != before


@pytest.mark.dist
def test_a_process_that_is_killed_costs_its_shard_only(tmp_path: Path) -> None:
    shards = make_shards(tmp_path, "a bb deadly ccc dddd eeeee")
    outcomes = run_shards(fail_on_bad, shards, "words", workers=2)
    assert [bool(outcome.error) for outcome in outcomes] == [False, False, True, False, False, False]
    assert "its process was killed" in outcomes[2].error
    assert outputs(tmp_path) == {"a": "1", "bb": "2", "ccc": "3", "dddd": "4", "eeeee": "5"}


SCRIPT = """
import sys
from pathlib import Path
sys.path[:0] = [{tools!r}, {tests!r}]
from helpers.shard_steps import count_words
from shards import run_shards, exit_if_failed
from test_tools.test_shards import make_shards
if __name__ == "__main__":
    shards = make_shards(Path({folder!r}), " ".join("w" * n for n in range(1, 13)), seconds=0.4)
    exit_if_failed(run_shards(count_words, shards, "words", workers=2))
"""


def alive_workers(parent: int) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:  # it ended meanwhile
            continue
        if int(fields[1]) == parent and fields[0] != "Z":
            found.append(int(path.parent.name))
    return found


@pytest.mark.dist
@pytest.mark.slow
def test_a_killed_run_goes_on_where_it_was(tmp_path: Path) -> None:
    """SIGKILL to the run itself, twice; its workers end too, and what was whole is not done again."""
    script = tmp_path / "run.py"
    tests = str(ROOT / "tests")
    script.write_text(SCRIPT.format(tools=str(ROOT / "tools" / "dataset"), tests=tests, folder=str(tmp_path / "work")))
    done_before_kill = []
    for _ in range(2):
        process = subprocess.Popen([sys.executable, str(script)])
        target = len(done_before_kill) + 3
        deadline = time.monotonic() + 60
        while len(list((tmp_path / "work" / "out").glob("*.stamp.json"))) < target and time.monotonic() < deadline:
            time.sleep(0.05)
        workers = alive_workers(process.pid)
        process.send_signal(signal.SIGKILL)
        process.wait()
        deadline = time.monotonic() + 10
        while any(Path(f"/proc/{pid}").exists() for pid in workers) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert workers and not any(Path(f"/proc/{pid}").exists() for pid in workers)
        done_before_kill = [path.name for path in (tmp_path / "work" / "out").glob("*.stamp.json")]
        assert target <= len(done_before_kill) < 12
    subprocess.run([sys.executable, str(script)], check=True)
    assert outputs(tmp_path / "work") == {"w" * n: str(n) for n in range(1, 13)}
    runs = ledger(tmp_path / "work")
    finished = [name.removesuffix(".count.stamp.json") for name in done_before_kill]
    assert len(set(runs)) == 12 and all(runs.count(name) <= 2 for name in finished)
    assert len(runs) <= 12 + 2 * 2  # at most what each kill found half done
    assert not list((tmp_path / "work" / "out").glob(".*.part"))


@pytest.mark.slow
@pytest.mark.dist
def test_ray_does_the_same(tmp_path: Path) -> None:
    ray = pytest.importorskip("ray")
    shards = make_shards(tmp_path, "a bb bad ccc deadly dddd")
    try:
        outcomes = run_shards(fail_on_bad, shards, "words", engine="ray", workers=2)
        assert [bool(outcome.error) for outcome in outcomes] == [False, False, True, False, True, False]
        assert outcomes[2].error == "ValueError: line 3 is not text"
        (tmp_path / "bb.txt").write_text("one two three", encoding="utf-8")
        again = run_shards(count_words, shards[:2], "words", engine="ray", workers=2)
        assert [outcome.counts["words"] for outcome in again] == [1, 3]
    finally:
        ray.shutdown()
    assert outputs(tmp_path) == {"a": "1", "bb": "3", "ccc": "3", "dddd": "4"}


def test_without_ray_its_engine_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ImportError, match=r"--engine ray needs Ray: pip install 'momo-multimodal\[cluster\]'"):
        run_shards(count_words, make_shards(tmp_path, "a"), "words", engine="ray")

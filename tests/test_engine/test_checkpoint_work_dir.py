"""Which checkpoint counts, and which may go."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from momo.engine.checkpoint import CheckpointError, find_checkpoint, verify
from momo.engine.checkpoint.storage import MANIFEST, MODEL, Snapshot, write_checkpoint
from momo.engine.checkpoint.work_dir import (
    POINTER,
    RUN,
    Run,
    begin_run,
    current_run,
    newest_whole,
    point_to,
    prune,
    remove_leftovers,
)

A = Run("a")


def save(work_dir: Path, name: str, step: int, run: str = "a") -> Path:
    write_checkpoint(work_dir / name, Snapshot({"w": torch.ones(2)}, {}, {"meta": {}}, step, 0, 1, run))
    return work_dir / name


def damage(folder: Path) -> None:
    (folder / MODEL).write_bytes(b"")


def test_nothing_is_found_where_there_is_nothing(tmp_path: Path) -> None:
    assert find_checkpoint(tmp_path) is None
    assert find_checkpoint(tmp_path / "nowhere") is None
    assert newest_whole(tmp_path, None, pytest.fail) is None


def test_the_newest_step_counts_whatever_it_is_called_and_the_pointer_says(tmp_path: Path) -> None:
    save(tmp_path, "epoch_2", 10)
    newest = save(tmp_path, "iter_13", 13)
    point_to(save(tmp_path, "epoch_1", 5))
    assert (tmp_path / POINTER).read_text() == str(tmp_path / "epoch_1")
    assert find_checkpoint(tmp_path) == newest_whole(tmp_path, A, pytest.fail) == newest
    assert find_checkpoint(newest) == newest
    assert find_checkpoint(newest / MODEL) == newest / MODEL


def test_a_pointer_to_a_file_of_weights_counts(tmp_path: Path) -> None:
    save_file({"w": torch.ones(1)}, tmp_path / "mae.safetensors")
    (tmp_path / POINTER).write_text("/where/it/lay/before/mae.safetensors\n")
    assert find_checkpoint(tmp_path) == tmp_path / "mae.safetensors"


def test_the_newest_whole_one_is_taken_loudly(tmp_path: Path) -> None:
    whole, first, second = save(tmp_path, "iter_1", 1), save(tmp_path, "iter_2", 2), save(tmp_path, "iter_3", 3)
    damage(first)
    (second / MANIFEST).write_text("{}")
    warnings: list[str] = []
    assert newest_whole(tmp_path, A, warnings.append) == whole
    assert len(warnings) == 2 and all(f"going on from {whole}" in text for text in warnings)
    assert f"{first}/{MODEL} is damaged: 104 bytes expected, 0 found" in warnings[1]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["iter_1", "iter_2.damaged", "iter_3.damaged"]


def test_damaged_ones_alone_are_no_reason_to_begin_anew(tmp_path: Path) -> None:
    damage(save(tmp_path, "iter_1", 1))
    with pytest.raises(
        CheckpointError, match="has damaged checkpoints only; move them away to begin anew:\n.*iter_1/model"
    ):
        newest_whole(tmp_path, A, pytest.fail)


def test_a_new_run_does_not_take_an_earlier_ones_checkpoints(tmp_path: Path) -> None:
    point_to(save(tmp_path, "epoch_9", 90))
    run = begin_run(tmp_path)
    assert current_run(tmp_path) == run and not (tmp_path / POINTER).exists()
    assert find_checkpoint(tmp_path) is None
    own = save(tmp_path, "epoch_1", 10, run.id)
    assert find_checkpoint(tmp_path) == newest_whole(tmp_path, run, pytest.fail) == own
    prune(tmp_path, run, keep=2)
    assert (tmp_path / "epoch_9").exists()


def test_a_run_remembers_what_it_was_resumed_from(tmp_path: Path) -> None:
    begin_run(tmp_path / "b", resumed_from=tmp_path / "a" / "epoch_1")
    assert current_run(tmp_path / "b").resumed_from == str(tmp_path / "a" / "epoch_1")


@pytest.mark.parametrize("text", ["", "[]", '{"identity": 1}'])
def test_a_damaged_note_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / RUN).write_text(text)
    with pytest.raises(CheckpointError, match="run.json is damaged"):
        find_checkpoint(tmp_path)


def test_the_newest_are_kept(tmp_path: Path) -> None:
    for step in (9, 10, 11, 12):
        save(tmp_path, f"iter_{step}", step)
    prune(tmp_path, A, keep=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["iter_11", "iter_12"]
    verify(tmp_path / "iter_11")


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    for name in (".saving-iter_3", ".removing-iter_1", ".other"):
        (tmp_path / name).mkdir()
    assert sorted(remove_leftovers(tmp_path)) == [".removing-iter_1", ".saving-iter_3"]
    assert [path.name for path in tmp_path.iterdir()] == [".other"]

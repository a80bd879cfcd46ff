"""Checkpoints on disk: whole or refused."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from momo.engine.checkpoint import CheckpointError, read_checkpoint, storage, verify, write_weights
from momo.engine.checkpoint.state import split_state
from momo.engine.checkpoint.storage import (
    FILES,
    MANIFEST,
    MODEL,
    STATE,
    TENSORS,
    Snapshot,
    _manifest_text,
    read_manifest,
    write_checkpoint,
)

WEIGHTS = {"backbone.cls_token": torch.arange(4.0).view(1, 4), "backbone.norm.bias": torch.ones(4)}
REST = {"meta": {"epoch": 1, "iter": 5, "config": "raise"}, "optimizer": {"state": {0: {"exp_avg": torch.ones(3)}}}}


def snapshot(step: int = 5, run: str = "a") -> Snapshot:
    tree, tensors = split_state(REST)
    return Snapshot(WEIGHTS, tensors, tree, step, epoch=1, world_size=2, run=run)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_checkpoint(tmp_path / "iter_5", snapshot())
    return tmp_path / "iter_5"


def test_what_is_written_is_read(folder: Path) -> None:
    state = read_checkpoint(folder)
    assert all(torch.equal(state["state_dict"][name], value) for name, value in WEIGHTS.items())
    assert torch.equal(state["optimizer"]["state"][0]["exp_avg"], torch.ones(3))
    assert state["meta"] == {"epoch": 1, "iter": 5}  # 'config' is what MMEngine would evaluate
    manifest = verify(folder)
    assert (manifest.step, manifest.epoch, manifest.world_size, manifest.run) == (5, 1, 2, "a")
    assert sorted(path.name for path in folder.iterdir()) == sorted((*FILES, MANIFEST))
    assert [path.name for path in folder.parent.iterdir()] == ["iter_5"]


def test_a_checkpoint_takes_the_place_of_one(folder: Path) -> None:
    write_checkpoint(folder, snapshot(run="b"))
    assert verify(folder).run == "b"
    assert [path.name for path in folder.parent.iterdir()] == ["iter_5"]


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 1)


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (truncate, r"is damaged: \d+ bytes expected, \d+ found"),
        (flip, "is damaged: sha256 .* expected, .* found"),
        (os.unlink, "is missing"),
    ],
)
def test_damage_is_named(folder: Path, name: str, change: Callable, message: str) -> None:
    change(folder / name)
    with pytest.raises(CheckpointError, match=f"iter_5/{name} {message}"):
        read_checkpoint(folder)


def test_every_flipped_bit_of_the_manifest_is_seen(folder: Path) -> None:
    path = folder / MANIFEST
    whole = path.read_bytes()
    for position in range(0, len(whole), 7):
        for bit in (0, 5):
            changed = bytearray(whole)
            changed[position] ^= 1 << bit
            path.write_bytes(changed)
            with pytest.raises(CheckpointError, match=MANIFEST):
                read_manifest(folder)


def test_a_folder_without_manifest_is_no_checkpoint(folder: Path) -> None:
    (folder / MANIFEST).unlink()
    with pytest.raises(CheckpointError, match="manifest.json is missing: .* is no whole checkpoint"):
        read_checkpoint(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(format=2), "is not of format 1"),
        (dict(more=1), "has other entries than"),
        (dict(files={"../../etc/passwd": {"size": 1, "sha256": ""}}), "has other entries than"),
    ],
)
def test_a_manifest_of_another_kind_is_refused(folder: Path, change: dict, message: str) -> None:
    content = {"format": 1, **read_manifest(folder)._asdict(), **change}
    (folder / MANIFEST).write_text(_manifest_text(content))
    with pytest.raises(CheckpointError, match=message):
        read_manifest(folder)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 100_000, "cannot be read"),
        ("[1]", "has no 'meta'"),
        (json.dumps({"meta": {}, "x": {"$object": "os"}}), "cannot be read: .*'\\$object', which is none of"),
    ],
)
def test_a_forged_state_is_refused(folder: Path, text: str, message: str) -> None:
    (folder / STATE).write_text(text)
    content = {"format": 1, **read_manifest(folder)._asdict()}
    content["files"][STATE] = {"size": len(text), "sha256": storage._digest(folder / STATE)}
    (folder / MANIFEST).write_text(_manifest_text(content))
    with pytest.raises(CheckpointError, match=f"{STATE} {message}"):
        read_checkpoint(folder)


def test_weights_alone(tmp_path: Path) -> None:
    tied = torch.arange(6.0).view(2, 3)
    write_weights(tmp_path / "made" / "epoch_1", {"a": tied, "b": tied, "c": tied.T})
    assert list(verify(tmp_path / "made" / "epoch_1").files) == [MODEL]
    assert torch.equal(storage.read_weights(tmp_path / "made" / "epoch_1" / MODEL)["c"], tied.T)
    with pytest.raises(CheckpointError, match=f"has no {TENSORS}: it holds {MODEL} only"):
        read_checkpoint(tmp_path / "made" / "epoch_1")


@pytest.mark.parametrize("place", ["_save", "_digest", "_manifest_text", "sync"])
def test_a_failed_save_leaves_nothing_and_says_what_was_needed(
    folder: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    def fail(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(storage, place, fail)
    with pytest.raises(OSError, match=r"iter_6 cannot be written: 44 bytes needed, [\d,]+ free: .*No space left"):
        write_checkpoint(folder.with_name("iter_6"), snapshot(6))
    monkeypatch.undo()
    assert [path.name for path in folder.parent.iterdir()] == ["iter_5"]
    verify(folder)

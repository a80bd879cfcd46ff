"""What was broken in an epoch is in the log, summed over workers and ranks; where nothing was, there is no line."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from helpers.data import write_images
from helpers.processes import run_in_processes
from helpers.run import build_runner, run_config, write_data

from momo.datasets import build_loader
from momo.engine import BrokenSamplesHook
from momo.engine.loaders import MultiModalLoader


def lines_of(rank: int, folder: str, epochs: int, batch_size: int, workers: int = 0) -> list[str]:
    """What the hook logs, after each of some epochs."""
    dataset = dict(type="ImageFolder", root=folder, pipeline=[dict(type="LoadImage")], max_bad_fraction=0.5)
    loader = build_loader(dict(dataset=dataset, batch_size=batch_size, num_workers=workers), None, seed=1)
    found: list[str] = []
    runner = SimpleNamespace(
        train_dataloader=MultiModalLoader({"image": loader}, "image"),
        epoch=0,
        logger=SimpleNamespace(warning=found.append),
    )
    hook = BrokenSamplesHook()
    hook.before_train(runner)
    batches = iter(loader)
    for runner.epoch in range(epochs):
        for _ in range(len(loader)):
            next(batches)
        hook.after_train_epoch(runner)
    if workers:
        batches._shutdown_workers()
    return found


def counts(line: str) -> dict[str, int]:
    """By reason, and 'all' as the line says it."""
    head, _, reasons = line.partition(" broken samples were replaced: ")
    found = {name: int(number) for name, _, number in (part.rpartition(" ") for part in reasons.split(", "))}
    return found | {"all": int(head.rpartition(" ")[2])}


@pytest.fixture
def images(tmp_path: Path) -> str:
    """Of 32 images 3 are empty and 2 are web pages."""
    folder = tmp_path / "broken"
    write_images(folder, 32, size=8)
    for place, path in enumerate(sorted(folder.rglob("*.png"))[::6][:5]):
        path.write_bytes(b"" if place % 2 == 0 else b"<html>")
    return str(folder)


def test_each_epoch_by_reason(images: str) -> None:
    """Each broken one is met once an epoch, and perhaps as another's substitute."""
    lines = lines_of(0, images, epochs=2, batch_size=2)
    assert [line.partition(":")[0] for line in lines] == ["Epoch 1, image", "Epoch 2, image"]
    for found in map(counts, lines):
        assert found["empty"] >= 3 and found["not an image"] >= 2
        assert found["all"] == found["empty"] + found["not an image"] < 12


def test_no_line_where_nothing_was_broken(tmp_path: Path) -> None:
    write_images(tmp_path / "whole", 8, size=8)
    assert lines_of(0, str(tmp_path / "whole"), epochs=2, batch_size=2) == []


def test_workers_are_summed(images: str) -> None:
    """They read ahead, so what one epoch counts less the other may count more."""
    alone = counts(lines_of(0, images, epochs=1, batch_size=32)[0])
    found = counts(lines_of(0, images, epochs=1, batch_size=32, workers=2)[0])
    assert all(found[name] >= number for name, number in alone.items())


@pytest.mark.dist
def test_ranks_are_summed(images: str, tmp_path: Path) -> None:
    """Two processes with half of the batch each read what one reads, and both know the sum."""
    ranks = run_in_processes(lines_of, tmp_path, images, 2, 4)
    assert ranks[0] == ranks[1] == lines_of(0, images, epochs=2, batch_size=8)


def test_in_a_run(tmp_path: Path) -> None:
    data = write_data(tmp_path)
    path = sorted((tmp_path / "images").rglob("*.png"))[3]
    path.write_bytes(b"")
    cfg = run_config(data, tmp_path / "run", stage=1, primary="image", custom_hooks=[dict(type="BrokenSamplesHook")])
    build_runner(cfg | {"log_level": "WARNING"}).train()
    (log,) = (tmp_path / "run").glob("*/*.log")
    lines = [line for line in log.read_text().splitlines() if "broken samples were replaced" in line]
    assert ["Epoch 1, image: " in lines[0], "Epoch 2, image: " in lines[1], len(lines)] == [True, True, 2]
    assert all(line.endswith(": empty 1") or line.endswith(": empty 2") for line in lines)

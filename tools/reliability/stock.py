"""The same questions to MMEngine as it comes: its loop, sampler, checkpoint hook and resume, with a small model.

The control of the experiment: a row that nothing can fail shows nothing.
"""

from __future__ import annotations

import functools
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import mmengine.runner.checkpoint as stock_checkpoint
import torch
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.registry import DATASETS, MODELS
from mmengine.runner import CheckpointLoader, Runner
from torch import nn
from torch.utils.data import Dataset

from . import child
from .faults import die
from .full_disk import in_small_disk
from .rows_hostile import Canary
from .rows_resume import Result
from .runs import FORK, Lab, Running, ledger
from .tiny import INTERVAL, STEPS


@DATASETS.register_module()
class StockData(Dataset):
    """40 points with random noise, as augmentation is."""

    def __len__(self) -> int:
        return 40

    def __getitem__(self, index: int) -> dict[str, Any]:
        x = torch.linspace(-1, 1, 8) * (index + 1) / 40
        return {"x": x + 0.1 * torch.randn(8), "y": x.sum(), "sample_ids": str(index)}


@MODELS.register_module()
class StockModel(BaseModel):
    """Two layers with dropout between."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(8, 256), nn.Dropout(0.1), nn.Linear(256, 1))
        self.poison = float("inf")
        self.calls = 0

    def forward(self, x: torch.Tensor, y: torch.Tensor, sample_ids: list, mode: str = "loss") -> dict:
        self.calls += 1
        loss = (self.layers(x).squeeze(-1) - y).square().mean()
        return {"loss": loss * float("nan") if self.calls == self.poison else loss}


class StockLedger(child.Ledger):
    def after_train_iter(self, runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        super().after_train_iter(runner, batch_idx, {"points": data_batch}, outputs)


def train(work_dir: Path, fault: Callable[[Runner], None] | None = None, **settings: Any) -> None:
    torch.set_num_threads(1)
    CheckpointLoader.register_scheme("", stock_checkpoint.load_from_local, force=True)
    cfg = dict(
        model=dict(type="StockModel"),
        work_dir=str(work_dir),
        train_dataloader=dict(
            batch_size=4,
            dataset=dict(type="StockData"),
            sampler=dict(type="InfiniteSampler", shuffle=True),
            collate_fn=dict(type="default_collate"),
        ),
        train_cfg=dict(by_epoch=False, max_iters=STEPS),
        optim_wrapper=dict(optimizer=dict(type="AdamW", lr=1e-3)),
        default_hooks=dict(checkpoint=dict(type="CheckpointHook", by_epoch=False, interval=INTERVAL, max_keep_ckpts=2)),
        randomness=dict(seed=3),
        visualizer=dict(type="Visualizer", vis_backends=[]),
        **settings,
    )
    runner = Runner.from_cfg(Config(cfg))
    runner.register_hook(StockLedger(digests=True, pause=0.02))
    if fault is not None:
        fault(runner)
    runner.train()


class Stock:
    """Starts stock runs."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        reference = self.new()
        self.run(reference)
        self.ledger = ledger(reference)

    def new(self) -> Path:
        work_dir = self.lab.new("stock")
        work_dir.mkdir()
        return work_dir

    def start(self, work_dir: Path, **settings: Any) -> Running:
        run = functools.partial(train, work_dir, **settings)
        process = FORK.Process(target=child_process, args=(run, work_dir / "log.txt"))
        process.start()
        return Running([process], work_dir / "log.txt", time.monotonic())

    def run(self, work_dir: Path, **settings: Any) -> int | None:
        return self.start(work_dir, **settings).wait()[0]

    def resumed(self, work_dir: Path) -> str:
        if self.run(work_dir, resume=True) != 0:
            return "resuming failed"
        last = {line["step"]: line for line in ledger(work_dir)}
        return "" if list(last.values()) == self.ledger else "other losses or samples"

    def interrupted(self, step: int, number: signal.Signals, **settings: Any) -> tuple[Path, int | None]:
        work_dir = self.new()
        running = self.start(work_dir, **settings)
        while len(ledger(work_dir)) < step and running.processes[0].exitcode is None:
            time.sleep(0.002)
        running.signal(number)
        return work_dir, running.wait()[0]


def child_process(run: Callable[[], None], log: Path) -> None:
    from .runs import _in_child

    _in_child(run, log, {})


def die_in_write(runner: Runner, save: int) -> None:
    from mmengine.fileio import LocalBackend

    original, calls = LocalBackend.put, [0]

    def put(self: Any, content: bytes, path: str) -> None:
        calls[0] += 1
        if calls[0] == save:
            Path(path).write_bytes(content[: len(content) // 2])
            die()
        original(self, content, path)

    LocalBackend.put = put


def t1(stock: Stock, count: int) -> Iterator[Result]:
    for _ in range(count):
        work_dir, _code = stock.interrupted(stock.lab.random.randint(1, STEPS - 1), signal.SIGKILL)
        yield "random kill", stock.resumed(work_dir)


def t2(stock: Stock, count: int) -> Iterator[Result]:
    for _ in range(count):
        work_dir, save = stock.new(), stock.lab.random.randint(2, 4)
        stock.run(work_dir, fault=functools.partial(die_in_write, save=save))
        whole = [path for path in work_dir.glob("*.pth") if _loads(path)]
        problem = "" if whole else "no whole checkpoint"
        yield "mid-write", problem or stock.resumed(work_dir)


def _loads(path: Path) -> bool:
    try:
        torch.load(path, weights_only=False)  # our own run's
        return True
    except Exception:  # whatever torch raises
        return False


def t4(stock: Stock, count: int) -> Iterator[Result]:
    for _ in range(count):
        step = 4 + stock.lab.random.choice([0, 1])
        work_dir, code = stock.interrupted(step, signal.SIGTERM)
        done, saved = len(ledger(work_dir)), max(int(path.stem.split("_")[1]) for path in work_dir.glob("iter_*.pth"))
        yield "SIGTERM", "" if saved == done else f"{done - saved} steps lost, exit code {code}"


def t5(stock: Stock, count: int) -> Iterator[Result]:
    for _ in range(count):
        yield "full disk", in_small_disk(stock.new(), 90_000, functools.partial(_fills, stock))


def _fills(stock: Stock, work_dir: Path, enlarge: Callable[[], None]) -> str:
    code = stock.run(work_dir)
    if code == 0:
        return "the disk was not full"
    broken = [path.name for path in work_dir.glob("*.pth") if not _loads(path)]
    return f"left half written: {broken}" if broken else ""


def t6(stock: Stock, count: int) -> Iterator[Result]:
    for _ in range(count):
        work_dir, _code = stock.interrupted(8, signal.SIGKILL)
        newest = max(work_dir.glob("iter_*.pth"), key=lambda path: int(path.stem.split("_")[1]))
        os.truncate(newest, stock.lab.random.randrange(newest.stat().st_size))
        yield "truncated", "no fall-back" if stock.run(work_dir, resume=True) != 0 else ""


def t7(stock: Stock, count: int) -> Iterator[Result]:
    work_dir, _code = stock.interrupted(8, signal.SIGKILL)
    source, target = next(work_dir.glob("iter_*.pth")), work_dir / "flipped.pth"
    for _ in range(count):
        content = bytearray(source.read_bytes())
        content[stock.lab.random.randrange(len(content))] ^= 1 << stock.lab.random.randrange(8)
        target.write_bytes(content)
        yield "flipped bit", "loaded silently" if _loads(target) else ""


def t15(stock: Stock, count: int) -> Iterator[Result]:
    for _ in range(count):
        work_dir, step = stock.new(), stock.lab.random.randint(2, STEPS)
        stock.run(work_dir, fault=lambda runner, step=step: setattr(runner.model, "poison", step))
        weights = [line["weights"] for line in ledger(work_dir)]
        yield "NaN", "weights changed" if weights[step - 1] != weights[step - 2] else ""


def t20(stock: Stock, count: int) -> Iterator[Result]:
    for _ in range(count):
        work_dir = stock.new()
        canary, file = work_dir / "canary", work_dir / "reduce.pth"
        torch.save({"state_dict": {}, "meta": Canary(canary)}, file)
        stock.run(work_dir, load_from=str(file))
        yield "load_from", "the code in it has run" if canary.exists() else ""


def t22(stock: Stock, count: int) -> Iterator[Result]:
    for _ in range(count):
        work_dir = stock.new()
        first = stock.start(work_dir)
        second = stock.run(work_dir)
        first.wait()
        yield "two jobs", "the second was let in" if second == 0 else ""
        work_dir, _code = stock.interrupted(8, signal.SIGKILL)
        (work_dir / "last_checkpoint").write_text(str(work_dir / "iter_999.pth"))
        yield "stale pointer", "resuming failed" if stock.run(work_dir, resume=True) != 0 else ""
        shutil.rmtree(work_dir)

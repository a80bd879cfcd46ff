"""The row about files that want to run code, or memory: T20."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import struct
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config

from momo.engine.checkpoint import CheckpointError, find_checkpoint
from momo.engine.checkpoint.storage import FILES, FORMAT, MANIFEST, MODEL, STATE, _digest, _manifest_text, read_manifest

from .rows_resume import Result
from .runs import FORK, Lab
from .tiny import write_config

ROOT = Path(__file__).parents[2]


class Canary:
    """Unpickling it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self) -> tuple:
        return open, (self.path, "w")


def hostile_files(folder: Path, canary: Path, whole: Path) -> dict[str, Path]:
    """By kind: weights in a torch file that runs code, config text that does, a pickle with another name, a header of
    10 GB, and checkpoints whose parts are such."""
    folder.mkdir(parents=True)
    weights, code = {"backbone.cls_token": torch.zeros(1, 32)}, f"open({str(canary)!r}, 'w')\n"
    kinds = {
        name: folder / name for name in ("reduce.pth", "config_text.pth", "pickle.safetensors", "header.safetensors")
    }
    torch.save({"state_dict": weights, "meta": Canary(canary)}, kinds["reduce.pth"])
    meta = {"config": code, "cfg": code, "epoch": 1, "iter": 1, "seed": Canary(canary)}
    torch.save({"state_dict": weights, "meta": meta, "message_hub": {}}, kinds["config_text.pth"])
    kinds["pickle.safetensors"].write_bytes(pickle.dumps({"state_dict": Canary(canary)}))
    kinds["header.safetensors"].write_bytes(struct.pack("<Q", 10 << 30) + b"{}")
    kinds["pickle in a checkpoint"] = shutil.copytree(whole, folder / "iter_1")
    (folder / "iter_1" / MODEL).write_bytes(pickle.dumps(Canary(canary)))
    kinds["forged checkpoint"] = forged(shutil.copytree(whole, folder / "iter_2"), code)
    return kinds


def forged(folder: Path, code: str) -> Path:
    """A checkpoint whose sums are right, with config text that would run, and a word that there is not."""
    manifest = read_manifest(folder)
    tree = json.loads((folder / STATE).read_text())
    tree["meta"] |= {"config": code, "cfg": code}
    tree["message_hub"]["runtime_info"]["x"] = {"$object": code}
    (folder / STATE).write_text(json.dumps(tree))
    files = {name: {"size": (folder / name).stat().st_size, "sha256": _digest(folder / name)} for name in FILES}
    (folder / MANIFEST).write_text(_manifest_text({"format": FORMAT, **manifest._replace(files=files)._asdict()}))
    return folder


def entries(lab: Lab, work_dir: Path) -> dict[str, Callable[[Path], None]]:
    """Every way by which a file of weights comes in."""
    cfg = lab.config(2, 1)

    def train(file: Path, *arguments: str, **changes: Any) -> None:
        running = lab.start({**cfg, **changes}, work_dir, 1, *arguments)
        if running.wait() != [0]:
            raise CheckpointError(running.text())

    def get_model(file: Path) -> None:
        import momo

        momo.get_model(Config(cfg), file)

    def runner_load(file: Path) -> None:
        from mmengine.runner import load_checkpoint

        from momo.registry import MODELS

        load_checkpoint(MODELS.build(cfg["model"]), str(file))

    def pretrained(file: Path) -> None:
        from momo.registry import MODELS

        settings = {
            **cfg["model"]["backbone"],
            "init_cfg": dict(type="Pretrained", checkpoint=str(file), prefix="backbone."),
        }
        MODELS.build(settings).init_weights()

    def mmpretrain_get_model(file: Path) -> None:
        from mmpretrain import get_model

        backbone = {**cfg["model"]["backbone"], "type": "momo.MoMoViT"}
        get_model(Config(dict(model=dict(type="ImageClassifier", backbone=backbone))), pretrained=str(file))

    def script(name: str, *arguments: str) -> None:
        sys.argv = [name, *arguments]
        sys.path.insert(0, str(ROOT / "tools"))
        __import__(Path(name).stem).main()

    def test(file: Path) -> None:
        evaluated = lab.config(2, 1)
        evaluated |= dict(
            test_dataloader=dict(batch_size=4, loaders=dict(text=dict(dataset=lab.data["text"]))),
            test_cfg=dict(type="MultiModalTestLoop"),
            test_evaluator=dict(type="MeanLoss"),
        )
        path = write_config(work_dir / "test_config.py", evaluated)
        script("test.py", str(path), str(file), "--work-dir", str(work_dir))

    return {
        "--resume": lambda file: train(file, "--resume", str(file)),
        "load_from": lambda file: train(file, load_from=str(file)),
        "StageHook": lambda file: train(file, custom_hooks=[dict(type="StageHook", checkpoint=str(file))]),
        "momo.get_model": get_model,
        "load_checkpoint": runner_load,
        "init_cfg Pretrained": pretrained,
        "mmpretrain.get_model": mmpretrain_get_model,
        "tools/test.py": test,
        "tools/convert_checkpoint.py": lambda file: script("convert_checkpoint.py", str(file), str(work_dir / "made")),
        "tools/convert_mae.py": lambda file: script("convert_mae.py", str(file), str(work_dir / "made")),
    }


TAKES_FILES_ONLY = ("tools/convert_checkpoint.py", "tools/convert_mae.py")


def t20(lab: Lab, count: int) -> Iterator[Result]:
    """Hostile checkpoints at every entry that loads: refused, and nothing has run; a good one is taken by all."""
    whole = find_checkpoint(lab.reference(2, 1).work_dir)
    for entry in entries(lab, whole):
        if entry not in TAKES_FILES_ONLY:
            work_dir = lab.new("t20_good")
            work_dir.mkdir()
            yield f"a good checkpoint, {entry}", _attack(lab, entry, whole, work_dir, work_dir / "canary", good=True)
    for _ in range(count):
        base = lab.new("t20")
        canary = base / "canary"
        for kind, file in hostile_files(base / "files", canary, whole).items():
            for entry in entries(lab, base):
                work_dir = lab.new("t20_run")
                work_dir.mkdir()
                if file.is_dir() and entry in TAKES_FILES_ONLY:
                    continue
                yield f"{kind}, {entry}", _attack(lab, entry, file, work_dir, canary)


def _attack(lab: Lab, entry: str, file: Path, work_dir: Path, canary: Path, good: bool = False) -> str:
    log = work_dir / "attack.txt"

    def inside() -> None:
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        entries(lab, work_dir)[entry](file)

    process = FORK.Process(target=inside)
    process.start()
    process.join(180)
    text = log.read_text(errors="replace")
    if canary.exists():
        canary.unlink()
        return "the code in it has run"
    # Weights may be taken from a checkpoint whose state is forged: they are plain, and as its manifest says.
    taken, may_be_taken = process.exitcode == 0, good or file.name == "iter_2"
    if (taken and may_be_taken) or (not good and process.exitcode not in (0, None) and file.name in text):
        return ""
    return f"exit code {process.exitcode}, see {log}"

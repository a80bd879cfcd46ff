"""Rows about files that are damaged, do not fit, or are hostile: T6, T7, T8, T19, T20."""

from __future__ import annotations

import copy
import functools
import json
import os
import pickle
import shutil
import signal
import struct
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from safetensors.torch import load_file

from momo.engine.checkpoint import CheckpointError, find_checkpoint, read_checkpoint, write_weights
from momo.engine.checkpoint.storage import FILES, MANIFEST, MODEL, STATE
from momo.engine.checkpoint.work_dir import current_run, newest_whole
from momo.engine.config_check import ConfigError, check_config

from .rows_resume import Result, resumed, wait_for_step
from .runs import FORK, Lab

ROOT = Path(__file__).parents[2]


def interrupted(lab: Lab, stage: int) -> Path:
    """The work_dir of a run that was killed after its third checkpoint; two are there."""
    work_dir = lab.new("interrupted")
    cfg = lab.config(stage, 1)
    cfg["custom_hooks"][-1]["pause"] = 0.03
    running = lab.start(cfg, work_dir, 1)
    wait_for_step(lab, running, work_dir, 12)
    running.signal(signal.SIGKILL)
    running.wait()
    return work_dir


def refused(work_dir: Path, damaged: Path, name: str, words: tuple[str, ...]) -> str:
    """Whether a damaged checkpoint is refused by name, and the older one taken, loudly."""
    try:
        read_checkpoint(damaged)
        return f"{damaged} was loaded"
    except CheckpointError as error:
        if not all(word in str(error) for word in (name, *words)):
            return f"the refusal says only {error}"
    warnings: list[str] = []
    taken = newest_whole(work_dir, current_run(work_dir), warnings.append)
    if taken is None or taken == damaged or len(warnings) != 1 or name not in warnings[0]:
        return f"taken: {taken}, warned: {warnings}"
    return ""


def damage(lab: Lab, work_dir: Path, change: Callable[[Path], None], name: str, words: tuple[str, ...]) -> str:
    """Work on a copy of the checkpoints."""
    copied = lab.new("damaged")
    shutil.copytree(work_dir, copied)
    newest = find_checkpoint(copied)
    change(newest / name)
    problem = refused(copied, newest, name, words)
    shutil.rmtree(copied)
    return problem


def t6(lab: Lab, count: int) -> Iterator[Result]:
    """Truncated checkpoint files."""
    work_dir = interrupted(lab, 2)

    def truncate(path: Path) -> None:
        os.truncate(path, lab.random.randrange(path.stat().st_size))

    for number in range(count):
        name = (*FILES, MANIFEST)[number % 4]
        words = () if name == MANIFEST else ("bytes expected", "found")
        yield name, damage(lab, work_dir, truncate, name, words)
    truncate(find_checkpoint(work_dir) / MODEL)
    yield "and then --resume", resumed(lab, 2, 1, work_dir)


def t7(lab: Lab, count: int) -> Iterator[Result]:
    """One flipped bit."""
    work_dir = interrupted(lab, 3)

    def flip(path: Path) -> None:
        content = bytearray(path.read_bytes())
        content[lab.random.randrange(len(content))] ^= 1 << lab.random.randrange(8)
        path.write_bytes(content)

    for number in range(count):
        name = (*FILES, MANIFEST)[number % 4]
        words = () if name == MANIFEST else ("sha256", "expected", "found")
        yield name, damage(lab, work_dir, flip, name, words)


def t8(lab: Lab, count: int) -> Iterator[Result]:
    """Weights of the stage before with another shape, missing, or too many."""
    weights = load_file(find_checkpoint(lab.reference(2, 1).work_dir) / MODEL)
    name = "backbone.blocks.0.mlp.fc1.weight"
    name = name if name in weights else next(key for key, value in weights.items() if value.ndim == 2)
    shape = tuple(weights[name].shape)
    cases: dict[str, tuple[dict, tuple[str, ...]]] = {
        "another shape": ({**weights, name: torch.zeros(3, 3)}, (name, str((3, 3)), str(shape))),
        "missing": ({key: value for key, value in weights.items() if key != name}, (name, "is not in the checkpoint")),
        "extra": ({**weights, "backbone.more": torch.zeros(2)}, ("backbone.more", "is in the checkpoint only")),
    }
    for _ in range(count):
        for case, (changed, words) in cases.items():
            source, work_dir = lab.new("t8_source"), lab.new("t8")
            write_weights(source / "epoch_1", changed)
            cfg = lab.config(2, 1)
            cfg["custom_hooks"].append(dict(type="StageHook", checkpoint=str(source / "epoch_1")))
            running = lab.start(cfg, work_dir, 1)
            named = running.wait() == [1] and all(word in running.text() for word in (*words, "does not fit"))
            yield case, "" if named else f"see {work_dir}"


FREE = frozenset({"loaders", "objectives", "decoders", "custom_keys", "image", "text", "image_text", "default_hooks"})


def keys_of(value: Any, path: tuple = ()) -> Iterator[tuple]:
    """Paths of keys that a config does not invent."""
    if isinstance(value, dict):
        for key, item in value.items():
            if not (path and path[-1] in FREE) and not str(key).startswith("_"):
                yield (*path, key)
            yield from keys_of(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from keys_of(item, (*path, index))


def t19(lab: Lab, count: int) -> Iterator[Result]:
    """Misspelt keys of shipped configs are refused by name before anything is built."""
    paths = [path for path in sorted((ROOT / "configs").rglob("*.py")) if "_base_" not in path.parts]
    paths = [path for path in paths if "mmpretrain" not in path.read_text() and "imagenet" not in path.name]
    configs = {path.stem: Config.fromfile(path).to_dict() for path in lab.random.sample(paths, min(12, len(paths)))}
    for _ in range(count):
        name = lab.random.choice(list(configs))
        cfg = {key: value for key, value in copy.deepcopy(configs[name]).items() if not key.startswith("_")}
        path = lab.random.choice(list(keys_of(cfg)))
        parent = functools.reduce(lambda value, key: value[key], path[:-1], cfg)
        parent[f"{path[-1]}x"] = parent.pop(path[-1])
        dotted = ".".join(map(str, path))
        try:
            check_config(Config(cfg))
            yield f"{name}: {dotted}", f"{dotted}x was taken"
        except ConfigError as error:
            named = f"{path[-1]}x" in str(error) or dotted in str(error)  # 'type' misspelt: what it makes is missing
            yield f"{name}: {dotted}", "" if named else f"{dotted}x: the error does not name it: {error}"


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
    from momo.engine.checkpoint.storage import FORMAT, _digest, _manifest_text, read_manifest

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
        from .tiny import write_config

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

"""A checkpoint on disk: a folder that is there whole or not at all, and that says itself what must be in it.

epoch_3/
    model.safetensors   the weights by name; any reader of safetensors takes them
    state.safetensors   all other tensors by path: optimizer, average of the weights, log history
    state.json          everything else
    manifest.json       written last: step, world size, and size and sha256 of each file
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from .errors import CheckpointError
from .state import join_state

MODEL, TENSORS, STATE, MANIFEST = "model.safetensors", "state.safetensors", "state.json", "manifest.json"
FILES = (MODEL, TENSORS, STATE)
DRAFT, DISCARDED = ".saving-", ".removing-"  # begin the names of folders that are not checkpoints yet, or any more
FORMAT = 1
BLOCK = 1 << 22  # bytes read at once


class Manifest(NamedTuple):
    """step: optimizer steps since the start of training. run: which training it belongs to. files: size and sha256."""

    step: int
    epoch: int
    world_size: int
    run: str
    files: Mapping[str, Mapping[str, Any]]


class Snapshot(NamedTuple):
    """What a checkpoint is written from. weights and tensors lie in host memory; tree: see `split_state`."""

    weights: Mapping[str, Tensor]
    tensors: Mapping[str, Tensor]
    tree: Any
    step: int
    epoch: int
    world_size: int
    run: str

    @property
    def size(self) -> int:
        """Bytes of all tensors."""
        return sum(value.nbytes for values in (self.weights, self.tensors) for value in values.values())


def write_checkpoint(folder: Path, snapshot: Snapshot) -> None:
    """Write a checkpoint so that, whenever the machine stops, `folder` is the old one, the new one, or missing.

    Raises: OSError naming the folder and the bytes needed and free if it cannot be written; nothing is left behind.
    """
    with _draft_of(folder, snapshot.size) as draft:
        _save(snapshot.weights, draft / MODEL)
        _save(snapshot.tensors, draft / TENSORS)
        (draft / STATE).write_text(json.dumps(snapshot.tree, allow_nan=False), encoding="utf-8")
        _finish(draft, FILES, snapshot.step, snapshot.epoch, snapshot.world_size, snapshot.run)


def write_weights(folder: Path, weights: Mapping[str, Tensor]) -> None:
    """Write a checkpoint of weights alone, from which nothing can be resumed.

    Raises: as `write_checkpoint`.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _draft_of(folder, sum(value.nbytes for value in weights.values())) as draft:
        _save({name: value.contiguous().clone() for name, value in weights.items()}, draft / MODEL)
        _finish(draft, (MODEL,), step=0, epoch=0, world_size=0, run="")


@contextmanager
def _draft_of(folder: Path, size: int) -> Iterator[Path]:
    """A folder beside `folder` that takes its place when all is done, and is gone if something fails."""
    draft = folder.with_name(DRAFT + folder.name)
    try:
        draft.mkdir()
        yield draft
        if folder.exists():
            discard(folder)
        draft.rename(folder)
        sync(folder.parent)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(draft, ignore_errors=True)
        free = shutil.disk_usage(folder.parent).free
        raise OSError(
            f"the checkpoint {folder} cannot be written: {size:,} bytes needed, {free:,} free: {error}"
        ) from error


def _save(tensors: Mapping[str, Tensor], path: Path) -> None:
    save_file(dict(tensors), path, metadata={"format": "pt"})


def _finish(draft: Path, names: Iterable[str], step: int, epoch: int, world_size: int, run: str) -> None:
    files = {}
    for name in names:
        files[name] = {"size": (draft / name).stat().st_size, "sha256": _digest(draft / name)}
        sync(draft / name)
    content = {"format": FORMAT, **Manifest(step, epoch, world_size, run, files)._asdict()}
    (draft / MANIFEST).write_text(_manifest_text(content), encoding="utf-8")
    sync(draft / MANIFEST)
    sync(draft)


def _manifest_text(content: Mapping[str, Any]) -> str:
    """The one text that such a manifest has; its last line is the checksum of the others."""
    body = json.dumps(content, indent=1, sort_keys=True)
    return f"{body}\n{hashlib.sha256(body.encode()).hexdigest()}\n"


def read_manifest(folder: Path) -> Manifest:
    """Raises: CheckpointError naming the file if it is missing, damaged, or of a later format."""
    path = folder / MANIFEST
    try:
        text = path.read_text(encoding="utf-8")
        content = json.loads(text[: text.rindex("}") + 1])
    except FileNotFoundError as error:
        raise CheckpointError(f"{path} is missing: {folder} is no whole checkpoint") from error
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is damaged: {error}") from error
    expected = _manifest_text(content)
    if text != expected:
        found, wanted = (hashlib.sha256(t.encode()).hexdigest() for t in (text, expected))
        raise CheckpointError(f"{path} is damaged: sha256 {wanted} expected, {found} found")
    if not isinstance(content, dict) or content.pop("format", None) != FORMAT:
        raise CheckpointError(f"{path} is not of format {FORMAT}, the only one that is known here")
    if set(content) != set(Manifest._fields) or not set(content["files"]) <= set(FILES):
        raise CheckpointError(f"{path} has other entries than {Manifest._fields} and files than {FILES}")
    return Manifest(**content)


def verify(folder: Path, names: Iterable[str] | None = None) -> Manifest:
    """Compare files with the manifest, all of them unless some are named.

    Raises: CheckpointError naming the file, what was expected and what was found.
    """
    manifest = read_manifest(folder)
    for name in manifest.files if names is None else names:
        if name not in manifest.files:
            raise CheckpointError(f"{folder} has no {name}: it holds {', '.join(manifest.files)} only")
        _verify_file(folder / name, manifest.files[name])
    return manifest


def _verify_file(path: Path, expected: Mapping[str, Any]) -> None:
    if not path.is_file():
        raise CheckpointError(f"{path} is missing")
    size = path.stat().st_size
    if size != expected["size"]:
        raise CheckpointError(f"{path} is damaged: {expected['size']} bytes expected, {size} found")
    digest = _digest(path)
    if digest != expected["sha256"]:
        raise CheckpointError(f"{path} is damaged: sha256 {expected['sha256']} expected, {digest} found")


def _digest(path: Path) -> str:
    digest, block = hashlib.sha256(), bytearray(BLOCK)
    with path.open("rb", buffering=0) as file:
        while count := file.readinto(block):
            digest.update(memoryview(block)[:count])
    return digest.hexdigest()


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a .safetensors file, on the CPU; one that lies in a checkpoint is compared with the manifest.

    Raises: CheckpointError naming the file if it cannot be read, or is not what the manifest says.
    """
    if (path.parent / MANIFEST).is_file() and path.name in FILES:
        verify(path.parent, [path.name])
    return _load(path)


def _load(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (SafetensorError, OSError, MemoryError) as error:
        raise CheckpointError(f"{path} cannot be read as plain weights: {error}") from error


def read_checkpoint(folder: Path) -> dict[str, Any]:
    """Everything in a checkpoint, as MMEngine's runner takes it: 'state_dict', 'optimizer', 'message_hub', 'meta', ...

    Raises: CheckpointError if it is not whole, or was made from weights alone.
    """
    verify(folder, FILES)
    try:
        tree = json.loads((folder / STATE).read_text(encoding="utf-8"))
        state = join_state(tree, _load(folder / TENSORS))
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{folder / STATE} cannot be read: {error}") from error
    if not isinstance(state, dict) or not isinstance(state.get("meta"), dict):
        raise CheckpointError(f"{folder / STATE} has no 'meta'")
    state["meta"].pop("config", None)  # MMEngine would evaluate it
    return {**state, "state_dict": _load(folder / MODEL)}


def discard(folder: Path) -> None:
    """Delete a checkpoint so that it is never seen in part."""
    gone = folder.with_name(DISCARDED + folder.name)
    shutil.rmtree(gone, ignore_errors=True)
    folder.rename(gone)
    shutil.rmtree(gone)


def sync(path: Path) -> None:
    """Bring a file or folder to the disk, and let a later reading of a file come from there."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
        if path.is_file() and hasattr(os, "posix_fadvise"):
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(descriptor)

"""From a path to the dataset that reads it."""

from __future__ import annotations

from glob import escape, has_magic
from pathlib import Path
from typing import Any, NamedTuple

from momo.datasets.base import KeyedDataset, existing
from momo.datasets.image_folder import SUFFIXES
from momo.datasets.storage import base_name, below, is_url, list_files, parent
from momo.datasets.tables import find
from momo.datasets.tar_index import index_tar
from momo.datasets.tar_samples import find_tars
from momo.datasets.web_pairs import group_members, image_of
from momo.registry import DATASETS

_TABLES = (".parquet", ".arrow", ".json", ".jsonl", ".csv", ".tsv")


class Names(NamedTuple):
    """How columns, and entries of WebDataset's .json, are called; where references to images start from."""

    image: str = "image"
    caption: str | None = None
    text: str = "text"
    root: str | None = None


class Source(NamedTuple):
    """A path, the config of the dataset that reads it, without its pipeline, and the dataset itself."""

    path: str
    cfg: dict[str, Any]
    dataset: KeyedDataset
    notes: tuple[str, ...] = ()

    @property
    def modality(self) -> str:
        return {"TextCorpus": "text", "ImageText": "image_text", "WebDatasetPairs": "image_text"}.get(
            self.cfg["type"], "image"
        )


def open_source(path: str, names: Names, cache_dir: str | None = None) -> Source:
    """Find out what lies at a path and open it.

    Raises: FileNotFoundError if nothing is there; ValueError if no reader knows it.
    """
    if not is_url(path) and not has_magic(path):
        existing(path, "PATH", "data to examine")
    shared = {"cache_dir": cache_dir}
    ending = Path(base_name(path)).suffix.lower()
    if ending == ".tar" or (_is_folder(path) and list_files(path, (".tar",))):
        cfg, notes = _tars(path, names, cache_dir)
        return _opened(path, cfg | shared, notes)
    if ending == ".txt":
        return _opened(path, dict(type="TextCorpus", files=path, **shared))
    if ending in _TABLES or _is_saved(path):
        return _table(path, names, shared)
    if not _is_folder(path):
        raise ValueError(
            f"{path}: no reader knows this; give a folder, a .tar, a .txt, or a table ({', '.join(_TABLES)})"
        )
    if list_files(path, SUFFIXES):
        return _opened(path, dict(type="ImageFolder", root=path))
    for found in (".txt", *_TABLES):
        if list_files(path, (found,)):
            return open_source(below(path if is_url(path) else escape(path), f"**/*{found}"), names, cache_dir)
    raise ValueError(f"{path} holds no image, tar, text or table")


def _is_folder(path: str) -> bool:
    return Path(path).is_dir() or (is_url(path) and not Path(base_name(path)).suffix)


def _is_saved(path: str) -> bool:
    return Path(path, "state.json").is_file() or Path(path, "dataset_dict.json").is_file()


def _opened(path: str, cfg: dict[str, Any], notes: tuple[str, ...] = ()) -> Source:
    return Source(path, cfg, DATASETS.build({**cfg, "pipeline": []}), notes)


def _tars(path: str, names: Names, cache_dir: str | None) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Pairs if images have texts beside them, or images."""
    first = index_tar(find_tars(path)[0], cache_dir)
    beside = {suffix for group in group_members(first).values() if image_of(group) for suffix in group}
    left_out = sum(first.skipped.values())
    notes = (f"{left_out} members of {base_name(path)} are left out: {first.skipped}",) if left_out else ()
    if ".txt" in beside and names.caption is None:
        return dict(type="WebDatasetPairs", root=path), notes
    if ".json" in beside:
        return dict(type="WebDatasetPairs", root=path, caption_key=names.caption or "caption"), notes
    return dict(type="ImageTars", root=path), notes


def _table(path: str, names: Names, shared: dict[str, Any]) -> Source:
    """Pairs if there is a column of images, or texts."""
    root = names.root or parent(find(path, "PATH", "a table")[0])
    pairs = dict(type="ImageText", annotations=path, root=root, image=names.image, caption=names.caption, **shared)
    try:
        return _opened(path, pairs)
    except ValueError as error:
        if "has no column" not in str(error):
            raise
        try:
            return _opened(path, dict(type="TextCorpus", files=path, column=names.text, **shared))
        except ValueError as other:
            raise ValueError(f"neither pairs nor texts: {error}; {other}") from other

"""The same images, pairs and texts in every form that the readers know."""

from __future__ import annotations

import csv
import io
import json
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pyarrow
import pyarrow.parquet

from momo.datasets.manifest import MANIFEST_SCHEMA, ImageReference
from momo.datasets.tar_index import index_tar

Pair = tuple[str, str]  # a file below the folder of images, and a caption


def write_tar(path: Path, members: Mapping[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def files_below(folder: Path) -> dict[str, bytes]:
    """By path below the folder, in its order."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def write_nested_tar(path: Path, folder: Path) -> Path:
    """A tar of a tar for each sub-folder, as ImageNet's."""
    inner = {}
    for child in sorted(folder.iterdir()):
        part = write_tar(path.parent / "inner" / f"{child.name}.tar", files_below(child))
        inner[part.name] = part.read_bytes()
        part.unlink()
    return write_tar(path, inner)


def write_delimited(path: Path, header: Sequence[str], rows: Iterable[Sequence[str]]) -> Path:
    """CSV, or TSV without quotes."""
    with path.open("w", newline="", encoding="utf-8") as file:
        if path.suffix == ".csv":
            csv.writer(file).writerows([header, *rows])
        else:
            file.writelines("\t".join(row) + "\n" for row in [header, *rows])
    return path


def write_saved_dataset(folder: Path, table: pyarrow.Table) -> Path:
    """As `datasets.Dataset.save_to_disk` lays it out: streams, in two files, and what names them."""
    folder.mkdir(parents=True)
    half = -(-len(table) // 2)
    names = [f"data-0000{number}-of-00002.arrow" for number in range(2)]
    for name, part in zip(names, (table.slice(0, half), table.slice(half)), strict=True):
        with pyarrow.OSFile(str(folder / name), "wb") as sink, pyarrow.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(part, max_chunksize=2)
    (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": name} for name in names]}))
    (folder / "dataset_info.json").write_text("{}")
    return folder


def write_manifest(path: Path, images: Sequence[str], captions: Sequence[Sequence[str]]) -> Path:
    """Only what the reader needs."""
    rows = [
        {"image": image, "captions": list(texts), "source": "test", "id": str(number)}
        for number, (image, texts) in enumerate(zip(images, captions, strict=True))
    ]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows, schema=MANIFEST_SCHEMA), path, row_group_size=3)
    return path


def write_pair_forms(folder: Path, images: Path, pairs: Sequence[Pair]) -> dict[str, dict]:
    """Config of a dataset by the form that it reads; all hold the same pairs in the same order."""
    folder.mkdir(parents=True)
    names, texts = zip(*pairs, strict=True)
    rows = [{"image": name, "caption": text} for name, text in pairs]
    (folder / "pairs.json").write_text(json.dumps(rows), encoding="utf-8")
    (folder / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    for suffix in ("csv", "tsv"):
        write_delimited(folder / f"pairs.{suffix}", ("caption", "image"), [(text, name) for name, text in pairs])
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), folder / "pairs.parquet")
    write_manifest(folder / "manifest.parquet", names, [[text] for text in texts])
    embedded = [
        {"image": {"bytes": (images / name).read_bytes(), "path": name}, "caption": text} for name, text in pairs
    ]
    write_saved_dataset(folder / "saved", pyarrow.Table.from_pylist(embedded))
    web = {}
    for number, (name, text) in enumerate(pairs):
        web[f"{number:05d}{Path(name).suffix}"] = (images / name).read_bytes()
        web[f"{number:05d}.txt"] = text.encode()
        web[f"{number:05d}.json"] = json.dumps({"caption": text, "url": "-"}).encode()
    write_tar(folder / "web" / "00000.tar", web)
    members = {member.name: member for member in index_tar(str(folder / "web" / "00000.tar"))}
    references = [
        str(ImageReference("00000.tar", *members[f"{number:05d}{Path(name).suffix}"][1:]))
        for number, name in enumerate(names)
    ]
    write_manifest(folder / "in_tar.parquet", references, [[text] for text in texts])
    forms = {
        file: dict(type="ImageText", annotations=str(folder / file), root=str(images))
        for file in (
            "pairs.json",
            "pairs.jsonl",
            "pairs.csv",
            "pairs.tsv",
            "pairs.parquet",
            "manifest.parquet",
            "saved",
        )
    }
    forms["in_tar.parquet"] = dict(
        type="ImageText", annotations=str(folder / "in_tar.parquet"), root=str(folder / "web")
    )
    forms["web .txt"] = dict(type="WebDatasetPairs", root=str(folder / "web"))
    forms["web .json"] = dict(type="WebDatasetPairs", root=str(folder / "web"), caption_key="caption")
    return forms


def write_text_forms(folder: Path, texts: Sequence[str]) -> dict[str, dict]:
    """Config of a TextCorpus by the form that it reads."""
    folder.mkdir(parents=True)
    table = pyarrow.table({"title": [str(number) for number in range(len(texts))], "text": list(texts)})
    (folder / "a.txt").write_text("".join(f"{text}\n" for text in texts), encoding="utf-8")
    (folder / "a.json").write_text(json.dumps(table.to_pylist()), encoding="utf-8")
    (folder / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in table.to_pylist()), encoding="utf-8")
    for suffix in ("csv", "tsv"):
        write_delimited(folder / f"a.{suffix}", table.column_names, [tuple(row.values()) for row in table.to_pylist()])
    pyarrow.parquet.write_table(table, folder / "a.parquet", row_group_size=2)
    with pyarrow.OSFile(str(folder / "a.arrow"), "wb") as sink, pyarrow.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=3)
    write_saved_dataset(folder / "saved", table)
    names = ("a.txt", "a.json", "a.jsonl", "a.csv", "a.tsv", "a.parquet", "a.arrow", "saved")
    return {name: dict(type="TextCorpus", files=str(folder / name)) for name in names}

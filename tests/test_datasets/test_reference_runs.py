"""A manifest of images in tars is read in the order that tars are: large pieces, one after the other."""

from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
from helpers.forms import write_manifest

from momo.datasets import ImageText, build_loader
from momo.datasets.order import FullOrder, PiecewiseOrder

WHOLE = [f"coco/{number}.jpg" for number in range(4)]


def parts(tar: str, count: int) -> list[str]:
    return [f"{tar}#{512 * number}+100" for number in range(count)]


def dataset(folder: Path, *tables: list[str]) -> ImageText:
    paths = [
        write_manifest(folder / f"{number}.parquet", images, [["a cat"]] * len(images))
        for number, images in enumerate(tables)
    ]
    return ImageText([str(path) for path in paths], str(folder), [])


def test_runs_by_hand(tmp_path: Path) -> None:
    a, b = parts("cc/0.tar", 5), parts("cc/1.tar", 3)
    assert dataset(tmp_path, [*a, *b]).chunks.tolist() == [0, 5, 8]
    found = dataset(tmp_path, [*WHOLE, *a], b, [WHOLE[0]], [*b, *a[:1], *b[:1]])
    # Files one by one, then the tars' runs; a tar that goes on in another table begins a run there.
    assert found.chunks.tolist() == [0, 1, 2, 3, 4, 9, 12, 13, 16, 17, 18]


def test_where_no_neighbours_share_a_tar_rows_are_shuffled_one_by_one(tmp_path: Path) -> None:
    mixed = [image for pair in zip(parts("0.tar", 3), parts("1.tar", 3), strict=True) for image in pair]
    assert dataset(tmp_path, WHOLE, mixed).chunks is None
    assert dataset(tmp_path, [WHOLE[0]] * 5).chunks is None  # five captions of a file are no tar
    (tmp_path / "a.jsonl").write_text('{"image": "0.tar#0+1", "caption": "x"}\n' * 3)
    assert ImageText(str(tmp_path / "a.jsonl"), str(tmp_path), []).chunks is None
    images = [{"bytes": b"1", "path": None}] * 3
    pyarrow.parquet.write_table(pyarrow.table({"image": images, "caption": ["x"] * 3}), tmp_path / "b.parquet")
    assert ImageText(str(tmp_path / "b.parquet"), str(tmp_path), []).chunks is None


def test_tables_of_many_parts_and_with_nulls(tmp_path: Path) -> None:
    """A run may go on in the next part of an Arrow file."""
    images = [*parts("0.tar", 3), None, *parts("1.tar", 4)]
    table = pyarrow.table({"image": images, "caption": ["x"] * 8})
    with pyarrow.OSFile(str(tmp_path / "a.arrow"), "wb") as sink, pyarrow.ipc.new_file(sink, table.schema) as writer:
        for cut in ((0, 2), (2, 1), (3, 0), (3, 3), (6, 2)):
            writer.write_table(table.slice(*cut))
    assert ImageText(str(tmp_path / "a.arrow"), str(tmp_path), []).chunks.tolist() == [0, 3, 4, 8]


IN_TARS = parts("0.tar", 600) + parts("1.tar", 700)


@pytest.mark.parametrize(("images", "kind"), [(IN_TARS, PiecewiseOrder), (WHOLE * 99, FullOrder)])
def test_a_loader_takes_the_order_from_it(tmp_path: Path, images: list[str], kind: type) -> None:
    """And every row comes once."""
    write_manifest(tmp_path / "a.parquet", images, [["a cat"]] * len(images))
    cfg = dict(type="ImageText", annotations=str(tmp_path / "a.parquet"), root=str(tmp_path), pipeline=[])
    sampler = build_loader(dict(dataset=cfg, batch_size=4), None, seed=3).batch_sampler
    assert isinstance(sampler.order(0), kind)
    visited = [key.index for _, batch in zip(range(len(sampler)), sampler, strict=False) for key in batch]
    assert sorted(visited) == list(range(len(images)))

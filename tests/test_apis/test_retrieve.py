"""A folder is embedded once, and searched from then on in a mapped file."""

import os
from pathlib import Path

import fsspec
import numpy as np
import pyarrow
import pytest
import torch
from helpers.data import VOCABULARY
from helpers.tiny import perturb, tiny_pretrainer
from mmengine.logging import MMLogger
from torch.nn import functional as F

from momo.apis import ImageIndex, RetrievalInferencer, embed_texts, retrieve
from momo.apis.image_index import write_index
from momo.datasets.cache import write_table


def rows(count: int, width: int = 4) -> tuple[list[str], torch.Tensor]:
    features = F.normalize(torch.randn(count, width, generator=torch.Generator().manual_seed(0)), dim=1)
    return [f"{row}.png" for row in range(count)], features


def test_search_over_several_parts_is_search_over_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("momo.apis.image_index.ROWS", 8)
    names, features = rows(30)
    batches = [(names[i : i + 3], features[i : i + 3]) for i in range(0, 30, 3)]
    write_index(tmp_path / "index", "abc", batches)
    index = ImageIndex(tmp_path / "index")
    assert (len(index), index.model, index.images) == (30, "abc", names)
    parts = list(index.features())
    assert len(parts) == 4 and np.array_equal(np.concatenate(parts), features.numpy())
    assert not parts[0].flags.owndata and not parts[0].flags.writeable  # the mapped file itself
    queries = features[:5] + 0.1
    for query, found in zip(queries, index.search(queries, 7), strict=True):
        best = sorted(range(30), key=lambda row: -float(features[row] @ query))[:7]
        assert [match.image for match in found] == [names[row] for row in best]
        assert [match.similarity for match in found] == pytest.approx(
            [float(features[r] @ query) for r in best], abs=1e-6
        )
    assert len(index.search(queries[:1], 99)[0]) == 30
    with pytest.raises(ValueError, match=r"k=0 must be at least 1, and queries \(5, 4\) have 4 channels"):
        index.search(queries, 0)
    with pytest.raises(ValueError, match=r"queries \(1, 3\) have 4 channels"):
        index.search(torch.zeros(1, 3))


def test_other_files_are_no_index(tmp_path: Path) -> None:
    (tmp_path / "other").write_text("something else")
    with pytest.raises(ValueError, match="other is not an Arrow file"):
        ImageIndex(tmp_path / "other")
    table = pyarrow.table({"a": [1]})
    write_table(tmp_path / "table", table.schema, iter([table]))
    with pytest.raises(ValueError, match="table is no index of images"):
        ImageIndex(tmp_path / "table")


@pytest.fixture
def embedded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many images are embedded, call by call."""
    counts, embed = [], retrieve.embed_images
    monkeypatch.setattr(
        retrieve, "embed_images", lambda model, images, size: counts.append(size) or embed(model, images, size)
    )
    return counts


def test_folder_is_embedded_once(stage3, words, photos: list[str], embedded: list[int], caplog) -> None:
    folder = Path(photos[0]).parents[1]
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing more")

    def open_folder(model=stage3) -> RetrievalInferencer:
        return RetrievalInferencer(model, folder=folder, tokenizer=words, batch_size=2)

    logger = MMLogger.get_current_instance()
    logger.addHandler(caplog.handler)
    search = open_folder()
    logger.removeHandler(caplog.handler)
    assert embedded == [1, 2, 2] and search.index.images == photos  # broken.png comes first
    assert "1 of 6 images" in caplog.text and "broken.png cannot be read" in caplog.text
    for path, found in zip(photos, search.by_image(photos, k=2), strict=True):
        assert found[0].image == path and found[0].similarity == pytest.approx(1, abs=1e-5)
    features = torch.from_numpy(np.concatenate(list(search.index.features())))
    best = (features @ embed_texts(stage3, ["a cat"], words)[0]).argsort(descending=True)
    assert [match.image for match in search.by_text("a cat", k=5)[0]] == [photos[row] for row in best]

    assert open_folder().index.images == photos and len(embedded) == 3  # mapped
    os.utime(photos[0], ns=(1, 1))
    open_folder()
    assert len(embedded) == 6  # a picture has changed
    other = perturb(tiny_pretrainer(3, vocab_size=len(VOCABULARY))).eval()
    open_folder(other)
    assert len(embedded) == 9  # another model has its own
    open_folder(), open_folder(other)
    assert len(embedded) == 9
    assert not list(folder.glob("*.tmp")) and len([path for path in folder.iterdir() if path.name.startswith(".")]) == 2


def test_folder_at_a_url(stage3, words, photos: list[str], tmp_path: Path) -> None:
    for path in photos[:3]:
        fsspec.filesystem("memory").pipe(f"/album/{Path(path).name}", Path(path).read_bytes())
    search = RetrievalInferencer(stage3, folder="memory://album", tokenizer=words, cache_dir=str(tmp_path / "cache"))
    assert [Path(name).name for name in search.index.images] == sorted(Path(path).name for path in photos[:3])
    assert Path(search.by_image(photos[1], k=1)[0][0].image).name == Path(photos[1]).name
    assert search.index.path.parent == tmp_path / "cache"


def test_what_cannot_be_indexed(stage3, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere' is no folder; give one with images"):
        RetrievalInferencer(stage3, folder=tmp_path / "nowhere")
    (tmp_path / "notes.txt").write_text("a")
    with pytest.raises(ValueError, match=r"holds no file ending in .jpg, .jpeg"):
        RetrievalInferencer(stage3, folder=tmp_path)
    (tmp_path / "a.png").write_text("no picture")
    with pytest.raises(ValueError, match="none of the 1 images of .* can be read, the first: .*a.png"):
        RetrievalInferencer(stage3, folder=tmp_path)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []

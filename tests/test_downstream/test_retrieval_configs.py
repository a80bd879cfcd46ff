"""Retrieval on COCO and Flickr30K, end to end on small data in Karpathy's layout."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.data import sentence
from helpers.downstream import in_one_and_two_processes, small
from helpers.run import build_runner
from torchvision.io import write_jpeg

from momo.apis import embed_images, embed_texts
from momo.datasets import KarpathyCaptions, KarpathyImages, load_tokenizer
from momo.datasets.transforms import LoadImage
from momo.evaluation import recall_at_k

pytestmark = [pytest.mark.usefixtures("unformatted_configs"), pytest.mark.filterwarnings("ignore")]
NAMES = {"coco": "dataset_coco.json", "flickr30k": "dataset_flickr30k.json"}


def write_karpathy(root: Path, name: str, images: int = 7) -> Path:
    """Rows as published; a COCO picture has six captions, and some rows are of other splits."""
    rows = []
    for number in range(images + 2):
        file = f"COCO_val2014_{number:012d}.jpg" if name == "coco" else f"{number}.jpg"
        folder = "val2014" if name == "coco" else "flickr30k-images"
        pixels = torch.from_numpy(np.random.default_rng(number).integers(0, 256, (3, 40, 50), dtype=np.uint8))
        (root / folder).mkdir(parents=True, exist_ok=True)
        write_jpeg(pixels, str(root / folder / file))
        captions = 6 if name == "coco" and number == 3 else 5
        row = dict(
            filename=file,
            imgid=number,
            split="test" if number < images else "val",
            sentences=[dict(raw=sentence(10 * number + n), tokens=[], imgid=number) for n in range(captions)],
        )
        rows.append(row | (dict(filepath=folder, cocoid=number) if name == "coco" else {}))
    (root / NAMES[name]).write_text(json.dumps(dict(images=rows, dataset=name)))
    return root


def retrieval_config(name: str, tmp_path: Path, rerank: int = 0):
    if not (tmp_path / "data" / name).exists():
        write_karpathy(tmp_path / "data" / name, name)
    cfg = small(f"retrieval_{name}_vitb", tmp_path, tmp_path / "data")
    cfg.test_dataloader.loaders.image.dataset.pipeline[1].size = (32, 32)
    cfg.test_dataloader.loaders.text.batch_size = 6
    cfg.test_cfg.rerank = rerank
    return cfg


@pytest.mark.parametrize("name", NAMES)
def test_shipped_config(name: str, tmp_path: Path) -> None:
    runner = build_runner(retrieval_config(name, tmp_path))
    metrics = runner.test()
    assert set(metrics) == {f"{way}@{k}" for way in ("tr", "ir") for k in (1, 5, 10)}
    data = runner.test_loop.loaders
    assert (len(data["image"].dataset), len(data["text"].dataset)) == (7, 35)

    model, images, texts = runner.model, data["image"].dataset, data["text"].dataset
    pixels = [images[i]["image"] for i in range(7)]
    captions = [texts.read(i)["text"] for i in range(35)]
    features = (
        embed_images(model, pixels),
        embed_texts(model, captions, load_tokenizer(str(tmp_path / "data" / "bert-base-uncased"))),
    )
    ids = torch.arange(7), torch.arange(7).repeat_interleave(5)
    to_text = recall_at_k(*features, *ids)
    to_image = recall_at_k(*features[::-1], *ids[::-1])
    expected = {f"tr@{k}": to_text[k] for k in to_text} | {f"ir@{k}": to_image[k] for k in to_image}
    assert metrics == pytest.approx(expected)


def test_reranking_orders_candidates_by_matching(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A matching head that knows the truth puts every candidate right; one that knows the opposite puts it last."""
    from momo.engine import retrieval_loop

    cfg = retrieval_config("flickr30k", tmp_path, rerank=35)
    loader = LoadImage()
    originals = KarpathyImages(str(tmp_path / "data" / "flickr30k"), [dict(type="LoadImage")])
    assert torch.equal(loader(originals.read(0))["image"], originals[0]["image"])
    runner = build_runner(cfg)
    data = runner.test_loop.loaders
    known = {data["image"].dataset[i]["image"].numpy().tobytes(): i for i in range(7)}
    words = {data["text"].dataset[i]["words"].tobytes(): i // 5 for i in range(35)}

    for sign, expected in ((1.0, 1.0), (-1.0, 0.0)):

        def truth(model, images, words_in, positions, word_counts, sign=sign):
            pixels = model.data_preprocessor.denormalize(images).round().byte()
            texts = np.split(words_in.numpy(), np.cumsum(word_counts)[:-1])
            right = [known[p.numpy().tobytes()] == words[t.tobytes()] for p, t in zip(pixels, texts, strict=True)]
            return sign * torch.tensor(right).float()

        def named(model, images, words, positions, word_counts, truth=truth):
            return truth(model, images, words, positions, word_counts)

        monkeypatch.setattr(retrieval_loop, "match_scores", named)
        metrics = runner.test()
        assert metrics["rerank_tr@1"] == metrics["rerank_ir@1"] == expected
        assert 0 <= metrics["tr@1"] <= 1


@pytest.mark.dist
@pytest.mark.parametrize("wrapper", ["MoMoDistributedDataParallel", "MoMoFullyShardedDataParallel"])
def test_two_processes_find_the_same(tmp_path: Path, wrapper: str) -> None:
    """7 images and 35 captions do not share out evenly, and candidates of one process fill more batches."""
    write_karpathy(tmp_path / "data" / "flickr30k", "flickr30k")
    alone, together = in_one_and_two_processes(retrieval_config("flickr30k", tmp_path, rerank=4), tmp_path, wrapper)
    assert together == [alone, alone]


def test_wrong_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="holds neither dataset_coco.json nor dataset_flickr30k.json"):
        KarpathyImages(str(tmp_path), [])
    root = write_karpathy(tmp_path / "coco", "coco")
    with pytest.raises(ValueError, match="split='dev' has no row in .*choose from"):
        KarpathyCaptions(str(root), [], split="dev")
    path = root / NAMES["coco"]
    rows = json.loads(path.read_text())
    for change, message in (
        (lambda row: row.update(sentences=[]), "row 2: 'sentences' should be a list of captions"),
        (lambda row: row.update(filename=3), "row 2: 'filename' should be a string, got 3"),
        (lambda row: row.update(sentences=[{"text": "a"}]), "row 2: each of 'sentences' should have a string 'raw'"),
    ):
        broken = json.loads(json.dumps(rows))
        change(broken["images"][2])
        path.write_text(json.dumps(broken))
        with pytest.raises(ValueError, match=message):
            KarpathyImages(str(root), [])
    path.write_text(json.dumps([1]))
    with pytest.raises(ValueError, match="not in Karpathy's format"):
        KarpathyImages(str(root), [])

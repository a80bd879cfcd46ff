"""Packing samples into a batch."""

import pickle

import numpy as np
import pytest
import torch
from helpers.tiny import tiny_pretrainer, tiny_samples

from momo.datasets import PackedCollate


def test_everything_of_a_sample_moves_together() -> None:
    samples = tiny_samples("image_text", 7)
    for index, sample in enumerate(samples):
        sample["label"] = index
    batch = PackedCollate()(samples)
    counts = batch["word_counts"].tolist()
    assert counts == sorted(counts)
    words, places = batch["words"].split(counts), batch["positions"].split(counts)
    for row, number in enumerate(batch["labels"].tolist()):
        assert batch["sample_ids"][row] == f"image_text/{number}"
        assert int(batch["keys"][row]) == samples[number]["key"]
        assert int(batch["image_ids"][row]) == number
        assert torch.equal(batch["images"][row], samples[number]["image"])
        assert words[row].tolist() == samples[number]["words"].tolist()
        assert places[row].tolist() == list(range(counts[row]))


def test_samples_of_equal_length_keep_their_order() -> None:
    samples = tiny_samples("text", 6)
    for sample in samples:
        sample["words"] = sample["words"][:1]
    assert PackedCollate()(samples)["sample_ids"] == [sample["sample_id"] for sample in samples]


def test_text_ids_are_equal_for_equal_texts_alone() -> None:
    samples = tiny_samples("text", 3)
    for sample, words in zip(samples, ([7, 8], [7, 8], [8, 7]), strict=True):
        sample["words"] = np.array(words)
    ids = PackedCollate()(samples)["text_ids"].tolist()
    assert ids[0] == ids[1] != ids[2]


def test_images_alone_keep_their_order() -> None:
    samples = tiny_samples("image", 4)
    batch = PackedCollate()(samples)
    assert batch["sample_ids"] == [sample["sample_id"] for sample in samples]
    assert "words" not in batch and batch["plans"] == {}


def test_planners_see_the_batch_and_survive_pickling() -> None:
    """Workers get the collate function as bytes, and send plans back so."""
    collate = PackedCollate(tiny_pretrainer("all").planners("image_text"))
    copy = pickle.loads(pickle.dumps(collate))
    samples = tiny_samples("image_text", 4)
    batch, again = collate(samples), pickle.loads(pickle.dumps(copy(samples)))
    assert set(batch["plans"]) == {"cmm", "itc", "itm"}
    assert torch.equal(batch["plans"]["cmm"].encode.assemble, again["plans"]["cmm"].encode.assemble)
    assert batch["plans"]["cmm"].decode.layout == again["plans"]["cmm"].decode.layout
    assert torch.equal(batch["plans"]["itm"].noise, again["plans"]["itm"].noise)


def test_texts_beyond_the_model_are_refused() -> None:
    sample = {"key": 1, "sample_id": "a", "words": np.array([3, 4, 9])}
    PackedCollate(text_limits=(3, 10))([sample])
    with pytest.raises(ValueError, match="a text of 3 word pieces is longer than model.backbone.max_text_len=2"):
        PackedCollate(text_limits=(2, 10))([sample])
    with pytest.raises(ValueError, match="word piece 9 is beyond model.backbone.vocab_size=9"):
        PackedCollate(text_limits=(3, 9))([sample])

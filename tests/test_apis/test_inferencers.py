"""Inferencers say what the functions below them say, whatever form inputs come in."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.data import VOCABULARY, write_tokenizer
from helpers.tiny import BACKBONE, MAX_WORDS, STAGES, tiny_config, tiny_pretrainer
from helpers.transformers import vqa_classifier
from mmengine.config import Config
from PIL import Image
from torch.nn import functional as F

from momo.apis import (
    ExplanationInferencer,
    FeatureInferencer,
    FillMaskInferencer,
    ReconstructionInferencer,
    VQAInferencer,
    ZeroShotInferencer,
    embed_images,
    embed_texts,
    explain_word,
    fill_captions,
    fill_text,
    first_in_config,
    get_model,
    heat_map,
    read_image,
    reconstruct_images,
)
from momo.apis.embed import pack_texts
from momo.apis.inputs import fit
from momo.datasets import PackedCollate, load_tokenizer, word_pieces

TEXTS = ["the red cat runs over the hill", "sun", "a dog"]
CAPTIONS = ["a [MASK] cat", "[MASK] moon over [MASK]", "[MASK]"]


def squeezed(photos: list[str]) -> torch.Tensor:
    return torch.stack([fit(read_image(path), (32, 32)) for path in photos])


# ------------------------------------------------------------------ texts
def test_padding_and_truncation_left_on_do_no_harm(tmp_path: Path) -> None:
    tokenizer = load_tokenizer(write_tokenizer(tmp_path))
    expected = [word_pieces(text, tokenizer) for text in TEXTS]
    assert [len(ids) for ids in expected] == [7, 1, 2]
    tokenizer(TEXTS, padding=True, truncation=True, max_length=4)
    assert [word_pieces(text, tokenizer) for text in TEXTS] == expected
    tokenizer.backend_tokenizer.enable_padding(length=9)
    tokenizer.backend_tokenizer.enable_truncation(2)
    words, positions, counts = pack_texts(TEXTS, tokenizer, 5)
    assert counts.tolist() == [5, 1, 2]
    assert words.tolist() == [*expected[0][:5], *expected[1], *expected[2]]
    assert positions.tolist() == [0, 1, 2, 3, 4, 0, 0, 1]
    assert tokenizer(TEXTS, padding=True)["input_ids"][1].count(tokenizer.pad_token_id) == 6  # others still get theirs


# ------------------------------------------------------------------ the model
def test_config_and_checkpoint_or_a_model(tmp_path: Path, photos: list[str]) -> None:
    settings = dict(model=tiny_config(STAGES[3], vocab_size=len(VOCABULARY)), data=[dict(tokenizer=str(tmp_path))])
    write_tokenizer(tmp_path)
    model = tiny_pretrainer(3, vocab_size=len(VOCABULARY)).eval()
    torch.save(model.state_dict(), tmp_path / "weights.pth")
    cfg = Config(settings)
    own, shared = FeatureInferencer(cfg, tmp_path / "weights.pth"), FeatureInferencer(get_model(cfg))
    assert torch.equal(own.texts(TEXTS), embed_texts(model, TEXTS, own.tokenizer))
    assert shared.tokenizer is own.tokenizer
    with pytest.raises(ValueError, match="give a config with its checkpoint, or a model"):
        FeatureInferencer(cfg)
    with pytest.raises(ValueError, match="give a config with its checkpoint, or a model"):
        FeatureInferencer(model, tmp_path / "weights.pth")
    with pytest.raises(FileNotFoundError, match="no checkpoint or file"):
        FeatureInferencer(cfg, tmp_path / "nowhere")


def test_what_a_model_was_not_trained_for_is_refused(words) -> None:
    stage2 = tiny_pretrainer(2, vocab_size=len(VOCABULARY))
    for inferencer, missing in ((FeatureInferencer, "ITC"), (ZeroShotInferencer, "ITC"), (FillMaskInferencer, "CMM")):
        with pytest.raises(ValueError, match=f"{inferencer.__name__}: this model was not trained with {missing}"):
            inferencer(stage2)
    assert ReconstructionInferencer.why_not(stage2) is None
    with pytest.raises(ValueError, match="not trained with MIM or CMM"):
        ReconstructionInferencer(tiny_pretrainer({"text": STAGES[2]["text"]}))
    with pytest.raises(ValueError, match="needs a pre-trained MoMoPretrainer, got a VQAClassifier"):
        FeatureInferencer(vqa_classifier())
    with pytest.raises(ValueError, match="VQAInferencer needs a VQAClassifier"):
        VQAInferencer(stage2)
    with pytest.raises(ValueError, match="names no tokenizer; give tokenizer=FOLDER"):
        FeatureInferencer(tiny_pretrainer(3)).texts("a")
    with pytest.raises(ValueError, match=f"has {len(VOCABULARY)} pieces, but the model knows 10"):
        FeatureInferencer(tiny_pretrainer(3, vocab_size=10), tokenizer=words).texts("a")


def test_first_string_under_a_key() -> None:
    cfg = {"a": [{"b": 1}, {"pipeline": ({"type": "Tokenize", "tokenizer": "first"},)}], "tokenizer": None, "root": "x"}
    assert first_in_config(cfg, "tokenizer") == "first"
    assert first_in_config({"a": [{}]}, "tokenizer") is None
    assert first_in_config([cfg, {"type": "VQAv2", "root": "y"}], "root", within="VQAv2") == "y"


# ------------------------------------------------------------------ each inferencer
def test_features(stage3, words, photos) -> None:
    features = FeatureInferencer(stage3, tokenizer=words)
    expected = embed_images(stage3, squeezed(photos))
    assert torch.equal(features.images(photos, batch_size=len(photos)), expected)
    mixed = [photos[0], Image.open(photos[1]), np.array(Image.open(photos[2])), read_image(photos[3]), Path(photos[4])]
    assert torch.allclose(features.images(mixed, batch_size=2), expected, atol=1e-6)
    assert torch.equal(features.images(photos[1]), embed_images(stage3, squeezed(photos[1:2])))
    assert torch.equal(features.texts(TEXTS), embed_texts(stage3, TEXTS, words))
    with pytest.raises(ValueError, match="gone.png cannot be read as an image"):
        features.images([photos[0], "gone.png"])


def test_zero_shot_probabilities(stage3, words, photos) -> None:
    classify = ZeroShotInferencer(stage3, tokenizer=words)
    names = ["cat", "dog", "moon"]
    found = classify(photos, names, ["a {}", "the {} over the sea"])
    images = embed_images(stage3, squeezed(photos))
    prompts = [embed_texts(stage3, [f"a {name}", f"the {name} over the sea"], words) for name in names]
    classes = torch.stack([F.normalize(features.mean(0), dim=0) for features in prompts])
    scale = stage3.objectives["image_text"]["itc"].contrastive.logit_scale.detach().exp()
    expected = (scale * images @ classes.T).softmax(1)
    for row, labels in zip(expected.tolist(), found, strict=True):
        assert dict(labels) == pytest.approx(dict(zip(names, row, strict=True)), abs=1e-5)
        assert [label.probability for label in labels] == pytest.approx(sorted(row, reverse=True), abs=1e-5)
    with pytest.raises(ValueError, match="needs {} where the class goes"):
        classify(photos, ["cat"], ["a photo"])
    with pytest.raises(ValueError, match="no classes were given"):
        classify(photos, [])


def test_filled_in_words(stage3, words, photos) -> None:
    fill = FillMaskInferencer(stage3, tokenizer=words)
    found = fill(photos[:3], CAPTIONS, k=2, batch_size=2)
    assert [len(guesses) for guesses in found] == [1, 2, 1]
    expected = fill_captions(stage3, squeezed(photos[:3]), CAPTIONS, words).exp()
    flat = [guesses for caption in found for guesses in caption]
    for row, guesses in zip(expected, flat, strict=True):
        assert [words.convert_tokens_to_ids(guess.word) for guess in guesses] == row.topk(2).indices.tolist()
        assert [guess.probability for guess in guesses] == pytest.approx(row.topk(2).values.tolist(), abs=1e-5)
    alone = fill.without_image("a [MASK] cat", k=1)[0][0][0]
    assert alone.probability == pytest.approx(float(fill_text(stage3, ["a [MASK] cat"], words).exp().max()), abs=1e-6)
    with pytest.raises(ValueError, match="each of the images needs one of the captions, got 5 and 3"):
        fill(photos, CAPTIONS)


def test_restored_images_of_a_model_of_images(photos) -> None:
    model = tiny_pretrainer(2).eval()
    restore = ReconstructionInferencer(model)
    found = restore(photos, mask_ratio=0.75, batch_size=2)
    planned = dict(key=0, image_id=0, sample_id="")
    batch = PackedCollate(model.planners("image"))([{**planned, "image": image} for image in squeezed(photos)])
    assert torch.equal(found.original, batch["images"])
    assert found.hidden.float().mean() == 0.75
    again = restore(photos, mask_ratio=0.75)
    assert torch.equal(found.hidden, again.hidden)
    assert (found.restored.float() - again.restored).abs().amax() <= 1  # batches only change the last bit
    assert not torch.equal(found.hidden, restore(photos, mask_ratio=0.75, seed=1).hidden)
    assert not torch.equal(found.hidden[0], found.hidden[1])
    less = restore(photos, mask_ratio=0.25)
    assert (less.hidden <= found.hidden).all() and less.hidden.float().mean() == 0.25
    hidden = less.hidden.expand_as(less.masked)
    assert torch.equal(less.masked[~hidden], less.original[~hidden])
    assert (less.masked[hidden] == 128).all()
    assert reconstruct_images(model, batch).restored.shape == found.restored.shape
    with pytest.raises(ValueError, match="not trained with CMM"):
        restore(photos[0], "a cat")
    with pytest.raises(ValueError, match=r"mask_ratio must lie in \[0, 1\), got 1"):
        restore(photos[0], mask_ratio=1)


def test_restored_images_of_a_model_of_pairs(stage3, words, photos) -> None:
    restore = ReconstructionInferencer(stage3, tokenizer=words)
    alone, told, other = (restore(photos[:2], captions) for captions in (None, ["a cat", "sun"], ["a cat", "a dog"]))
    visible = ~alone.hidden.expand_as(alone.original)
    for found in (alone, told, other):
        assert torch.equal(found.hidden, alone.hidden)
        assert torch.equal(found.restored[visible], found.original[visible])
    assert not torch.equal(alone.restored, told.restored)
    assert (told.restored[0].float() - other.restored[0]).abs().amax() <= 1
    assert not torch.equal(told.restored[1], other.restored[1])
    with pytest.raises(ValueError, match="each of the images needs one of the captions, got 2 and 1"):
        restore(photos[:2], "a cat")


def test_explanations(stage3, words, photos) -> None:
    explain = ExplanationInferencer(stage3, tokenizer=words)
    found = explain(photos[:2], ["a [MASK] cat", "[MASK] moon"], [None, "red"])
    expected = explain_word(stage3, squeezed(photos[1:2])[0], "[MASK] moon", words, "red")
    assert found[1].explained.word == "red"
    assert torch.allclose(found[1].patches, expected.patches, atol=1e-6)
    assert found[0].explained == found[0].guess
    with pytest.raises(ValueError, match="each of the images needs one of the words, got 2 and 1"):
        explain(photos[:2], ["[MASK]", "[MASK]"], "red")


def test_heat_map_is_red_where_relevance_is_largest() -> None:
    patches = torch.zeros(4, 4)
    patches[1, 2] = 3.0
    picture = heat_map(np.full((32, 64, 3), 255, dtype=np.uint8), patches, shortest=64)
    assert picture.shape == (3, 64, 128)
    red, green, blue = (int(value) for value in picture[:, 24, 80])  # the middle of the patch
    assert red > green + 50 and red > blue + 50
    assert int(picture[2, 56, 8]) > int(picture[0, 56, 8]) + 50  # far from it, blue
    assert heat_map(np.zeros((400, 500, 3), dtype=np.uint8), patches).shape == (3, 400, 500)  # never made smaller
    assert heat_map(np.zeros((8, 8, 3), dtype=np.uint8), torch.zeros(2, 2)).isfinite().all()


def test_answers(words, photos, tmp_path: Path) -> None:
    model, answers = vqa_classifier(num_answers=4), ["yes", "no", "red", "a cat"]
    answer = VQAInferencer(model, tokenizer=words, answers=answers)
    found = answer(photos[:3], TEXTS, k=2, batch_size=2)
    packed, positions, counts = pack_texts(TEXTS, words, MAX_WORDS)
    pixels = model.data_preprocessor.normalize(squeezed(photos[:3]))
    with torch.no_grad():
        encoded = model.backbone.encode_pairs(pixels, packed, positions, counts)
        expected = model.head(encoded.first()).sigmoid()
    for row, labels in zip(expected, found, strict=True):
        assert [label.name for label in labels] == [answers[place] for place in row.topk(2).indices]
        assert [label.probability for label in labels] == pytest.approx(row.topk(2).values.tolist(), abs=1e-5)
    (tmp_path / "answers.json").write_text(json.dumps(answers))
    model._config = {"test": {"dataset": {"type": "VQAv2", "root": str(tmp_path)}}}
    (alone,) = VQAInferencer(model, tokenizer=words)(photos[0], TEXTS[0], k=2)
    assert [label.name for label in alone] == [label.name for label in found[0]]
    assert [label.probability for label in alone] == pytest.approx([label.probability for label in found[0]], abs=1e-5)
    with pytest.raises(ValueError, match="there are 3, but the model chooses among 4"):
        VQAInferencer(model, answers=answers[:3])
    with pytest.raises(ValueError, match="each of the images needs one of the questions, got 1 and 3"):
        answer(photos[0], TEXTS)
    del model._config
    with pytest.raises(ValueError, match="names no VQAv2 data; give answers=FOLDER"):
        VQAInferencer(model)
    with pytest.raises(FileNotFoundError, match="answers.json is missing"):
        VQAInferencer(model, answers=tmp_path / "nowhere")
    assert BACKBONE["max_text_len"] == MAX_WORDS

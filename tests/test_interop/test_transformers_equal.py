"""This project's models and their transformers' forms give the same, both ways."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from helpers.tiny import BACKBONE, perturb, tiny_pretrainer
from helpers.transformers import (
    BLANKS,
    TEXTS,
    as_bytes,
    new_tokenizer,
    pictures,
    stage3,
    text_batch,
    text_classifier,
    vqa_classifier,
)
from torch import Tensor, nn
from transformers import AutoModel, BertTokenizerFast, PreTrainedModel

from momo.apis import embed_images, embed_texts, fill_captions, fill_text
from momo.interop.transformers import MoMoConfig, from_transformers, processor_for, to_transformers
from momo.models.downstream import match_scores


@pytest.fixture
def tokenizer(tmp_path: Path) -> BertTokenizerFast:
    return new_tokenizer(tmp_path / "tokenizer")


def same(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


def converted(model: nn.Module, part: str, tokenizer: BertTokenizerFast) -> tuple[PreTrainedModel, object]:
    return to_transformers(model, part, tokenizer), processor_for(model, tokenizer)


@torch.no_grad()
def test_encoder_on_texts_images_and_pairs(tokenizer: BertTokenizerFast) -> None:
    model = stage3()
    theirs, processor = converted(model, "encoder", tokenizer)
    images = pictures()
    inputs = processor(text=TEXTS, images=images, padding=True, return_tensors="pt")
    assert inputs.keys() == {"input_ids", "attention_mask", "pixel_values"}
    normal = model.data_preprocessor.normalize(as_bytes(images))
    same(inputs["pixel_values"], normal)
    batch = text_batch(TEXTS, tokenizer)
    counts = batch["word_counts"]

    image = theirs(pixel_values=normal).last_hidden_state
    same(image.flatten(0, 1), model.backbone.encode_images(normal).x)
    text = theirs(inputs["input_ids"], inputs["attention_mask"]).last_hidden_state
    packed = model.backbone.encode_texts(**batch)
    same(text[inputs["attention_mask"] > 0], packed.x)
    pair = theirs(**inputs).last_hidden_state
    length = inputs["input_ids"].shape[1]
    packed = model.backbone.encode_pairs(normal, **batch).x.split([image.shape[1] + n for n in counts.tolist()])
    for found, expected, count in zip(pair, packed, counts, strict=True):
        same(found[: 1 + count], torch.cat([expected[:1], expected[len(expected) - count :]]))
        same(found[length:], expected[1 : len(expected) - count])


@torch.no_grad()
def test_other_resolutions() -> None:
    model = tiny_pretrainer({}, vocab_size=0)
    images = torch.randn(2, 3, 48, 24)
    theirs = to_transformers(model, "encoder")
    same(theirs(pixel_values=images).last_hidden_state.flatten(0, 1), model.backbone.encode_images(images).x)
    with pytest.raises(ValueError, match="images of 30 x 32 pixels are not made of 8-pixel patches"):
        theirs(pixel_values=torch.zeros(1, 3, 30, 32))


@torch.no_grad()
@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_retrieval(tokenizer: BertTokenizerFast, pooling: str) -> None:
    model = stage3(pooling)
    theirs, processor = converted(model, "retrieval", tokenizer)
    images = pictures()
    inputs = processor(text=TEXTS, images=images, padding=True, return_tensors="pt")
    ours_image, ours_text = embed_images(model, as_bytes(images)), embed_texts(model, TEXTS, tokenizer)
    same(theirs.get_image_features(inputs["pixel_values"]), ours_image)
    same(theirs.get_text_features(inputs["input_ids"], inputs["attention_mask"]), ours_text)
    output = theirs(**inputs, return_loss=True)
    contrast = model.objectives["image_text"]["itc"].contrastive(ours_image, ours_text)
    same(output.logits_per_image, contrast.similarity)
    same(output.logits_per_text, contrast.similarity.T)
    same(output.loss, contrast.loss)
    normal = model.data_preprocessor.normalize(as_bytes(images))
    same(theirs.get_matching_scores(**inputs), match_scores(model, normal, **text_batch(TEXTS, tokenizer)))


@torch.no_grad()
@pytest.mark.parametrize("part", ["masked-lm", "masked-caption"])
def test_hidden_words(tokenizer: BertTokenizerFast, part: str) -> None:
    model = stage3()
    theirs, processor = converted(model, part, tokenizer)
    images = pictures() if part == "masked-caption" else None
    inputs = processor(text=BLANKS, images=images, padding=True, return_tensors="pt")
    if images is None:
        expected = fill_text(model, BLANKS, tokenizer)
    else:
        expected = fill_captions(model, list(as_bytes(images)), BLANKS, tokenizer)
    blank = inputs["input_ids"] == tokenizer.mask_token_id
    answers = torch.full_like(inputs["input_ids"], -100).masked_fill(blank, 7)
    output = theirs(**inputs, labels=answers)
    same(output.logits[blank].log_softmax(-1), expected)
    same(output.loss, -expected[:, 7].mean())


@torch.no_grad()
@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_texts_are_classified_alike(tokenizer: BertTokenizerFast, pooling: str) -> None:
    model = text_classifier(pooling)
    theirs, processor = converted(model, "classifier", tokenizer)
    inputs = processor(text=TEXTS, padding=True, return_tensors="pt")
    labels = torch.tensor([0, 2, 1])
    batch = {"text": {**text_batch(TEXTS, tokenizer), "labels": labels}}
    output = theirs(**inputs, labels=labels)
    same(output.logits, model(batch, mode="tensor"))
    same(output.loss, model(batch)["text/loss"])


@torch.no_grad()
def test_pairs_of_texts_and_numbers(tokenizer: BertTokenizerFast) -> None:
    model = text_classifier(num_classes=1)
    theirs, processor = converted(model, "classifier", tokenizer)
    first, second = ["sun", "a red dog", "moon"], ["the moon runs over the hill", "cat", "sea."]
    inputs = processor.tokenizer(first, second, padding=True, return_tensors="pt")
    labels = torch.tensor([0.5, 2.0, 1.0])
    joined = [f"{one} [SEP] {other}" for one, other in zip(first, second, strict=True)]
    batch = {"text": {**text_batch(joined, tokenizer), "labels": labels}}
    output = theirs(**inputs, labels=labels)
    same(output.logits, model(batch, mode="tensor"))
    same(output.loss, model(batch)["text/loss"])


@torch.no_grad()
def test_questions_are_answered_alike(tokenizer: BertTokenizerFast) -> None:
    model = vqa_classifier()
    theirs, processor = converted(model, "classifier", tokenizer)
    images = pictures()
    inputs = processor(text=TEXTS, images=images, padding=True, return_tensors="pt")
    scores = torch.rand(3, 7)
    normal = model.data_preprocessor.normalize(as_bytes(images))
    batch = {"image_text": {**text_batch(TEXTS, tokenizer), "images": normal, "labels": scores}}
    output = theirs(**inputs, labels=scores)
    same(output.logits, model(batch, mode="tensor"))
    torch.testing.assert_close(output.loss, model(batch)["image_text/loss"], rtol=1e-5, atol=1e-5)


@pytest.mark.slow  # mmpretrain takes seconds to import
@torch.no_grad()
@pytest.mark.parametrize("out_type", ["cls_token", "avg_featmap"])
def test_images_are_classified_alike(out_type: str) -> None:
    from mmpretrain.models import ImageClassifier

    sizes = {key: BACKBONE[key] for key in ("arch", "img_size", "patch_size")}
    backbone = dict(type="momo.MoMoViT", **sizes, vocab_size=0, out_type=out_type)
    head = dict(type="LinearClsHead", num_classes=5, in_channels=32)
    preprocessor = dict(type="ClsDataPreprocessor", mean=[127.5, 120, 110], std=[50, 60, 70], to_rgb=True)
    model = perturb(ImageClassifier(backbone, head=head, data_preprocessor=preprocessor)).eval()
    theirs, processor = to_transformers(model, "classifier"), processor_for(model)
    images = pictures()
    inputs = processor(images, return_tensors="pt")
    shown = model.data_preprocessor({"inputs": list(as_bytes(images).flip(1))})["inputs"]  # BGR, as mmpretrain reads
    same(inputs["pixel_values"], shown)
    same(theirs(**inputs).logits, model(shown))
    assert from_transformers(theirs, model, "classifier").keys() == model.state_dict().keys()
    model.backbone.out_type = "featmap"
    with pytest.raises(ValueError, match="backbone.out_type='featmap' is not one of"):
        to_transformers(model, "classifier")


@pytest.mark.parametrize("part", ["encoder", "retrieval", "masked-lm", "masked-caption"])
def test_back_and_forth_changes_nothing(tokenizer: BertTokenizerFast, tmp_path: Path, part: str) -> None:
    model = stage3()
    to_transformers(model, part, tokenizer).save_pretrained(tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").glob("*.safetensors")] == ["model.safetensors"]
    theirs = type(to_transformers(model, part, tokenizer)).from_pretrained(tmp_path / "out")
    back, own = from_transformers(theirs, model, part), model.state_dict()
    assert back.keys() <= own.keys()
    wanted = {
        "encoder": ["backbone."],
        "retrieval": ["backbone.", "objectives.image_text.it"],
        "masked-lm": ["backbone.", "decoders.text."],
        "masked-caption": ["backbone.", "decoders.cross_modal."],
    }[part]
    lost = {name for name in own if name.startswith(tuple(wanted))} - back.keys()
    assert lost == {
        name for name in own if part == "masked-caption" and name.startswith("decoders.cross_modal.pixel_head")
    }
    assert all(torch.equal(back[name], own[name]) for name in back)


@pytest.mark.parametrize("make", [text_classifier, vqa_classifier])
def test_classifiers_come_back(tokenizer: BertTokenizerFast, make) -> None:
    model = make()
    back = from_transformers(to_transformers(model, "classifier", tokenizer), model, "classifier")
    assert back.keys() == model.state_dict().keys()
    model.load_state_dict(back)


def test_an_encoder_is_the_base_of_every_class(tokenizer: BertTokenizerFast, tmp_path: Path) -> None:
    model = stage3()
    to_transformers(model, "retrieval", tokenizer).save_pretrained(tmp_path)
    base = AutoModel.from_pretrained(tmp_path)
    assert torch.equal(base.blocks[1].mlp.fc2.weight, model.backbone.blocks[1].mlp.fc2.weight)


def test_what_cannot_be_converted(tokenizer: BertTokenizerFast) -> None:
    model = stage3()
    with pytest.raises(ValueError, match="part='head' is unknown"):
        to_transformers(model, "head")
    with pytest.raises(ValueError, match="a MoMoPretrainer has no classifier"):
        to_transformers(model, "classifier")
    with pytest.raises(ValueError, match="part='retrieval': a TextClassifier has an encoder and a classifier only"):
        to_transformers(text_classifier(), "retrieval")
    with pytest.raises(ValueError, match="not trained with MLM"):
        to_transformers(tiny_pretrainer(1), "masked-lm")
    with pytest.raises(ValueError, match="the tokenizer has 21 words, the model 20"):
        to_transformers(tiny_pretrainer({}, vocab_size=20), "encoder", tokenizer)
    with pytest.raises(ValueError, match="part='retrieval' is a MoMoForImageTextRetrieval, got a MoMoModel"):
        from_transformers(to_transformers(model, "encoder", tokenizer), model, "retrieval")
    with pytest.raises(ValueError, match="pooling='max' is unknown"):
        MoMoConfig(pooling="max")

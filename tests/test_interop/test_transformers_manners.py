"""What transformers asks of any model."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from helpers.transformers import BLANKS, TEXTS, new_tokenizer, pictures, stage3, text_classifier, vqa_classifier
from transformers import (
    AutoConfig,
    AutoImageProcessor,
    AutoModel,
    AutoModelForMaskedLM,
    AutoModelForZeroShotImageClassification,
    AutoProcessor,
    AutoTokenizer,
    BatchFeature,
    PreTrainedModel,
    pipeline,
)

from momo.apis import fill_text
from momo.interop.transformers import (
    MoMoConfig,
    MoMoForImageClassification,
    MoMoForImageTextRetrieval,
    MoMoForMaskedLM,
    MoMoModel,
    processor_for,
    to_transformers,
)

TINY = dict(
    hidden_size=32,
    num_hidden_layers=2,
    num_attention_heads=2,
    intermediate_size=64,
    image_size=32,
    patch_size=8,
    vocab_size=50,
    max_position_embeddings=12,
    decoder_hidden_size=16,
    decoder_num_hidden_layers=1,
    decoder_num_attention_heads=2,
    cls_token_id=2,
    mask_token_id=4,
)
HEADS = {
    "encoder": stage3,
    "pretraining": stage3,
    "retrieval": stage3,
    "masked-lm": stage3,
    "masked-caption": stage3,
    "texts": text_classifier,
    "questions": vqa_classifier,
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A saved model of every kind, with its processor."""
    root = tmp_path_factory.mktemp("saved")
    tokenizer = new_tokenizer(root / "tokenizer")
    for name, make in HEADS.items():
        torch.manual_seed(0)
        model = make()
        part = name if make is stage3 else "classifier"
        to_transformers(model, part, tokenizer).save_pretrained(root / name)
        processor_for(model, tokenizer).save_pretrained(root / name)
    return {name: root / name for name in HEADS}


def load(folder: Path, **settings) -> PreTrainedModel:
    config = AutoConfig.from_pretrained(folder)
    import momo.interop.transformers as package

    return getattr(package, config.architectures[0]).from_pretrained(folder, **settings).eval()


def inputs_for(folder: Path, name: str, side: str = "right") -> BatchFeature:
    processor = AutoProcessor.from_pretrained(folder)
    processor.tokenizer.padding_side = side
    texts = BLANKS if name in ("pretraining", "masked-lm", "masked-caption") else TEXTS
    images = pictures() if name not in ("masked-lm", "texts") else None
    return processor(text=texts, images=images, padding=True, return_tensors="pt")


def result(output, inputs: BatchFeature) -> list[torch.Tensor]:
    """What a model says of each sample, without what stands for padding."""
    for name in ("text_embeds", "pooler_output"):
        if name in output.keys():
            return list(output[name])
    if output.logits.ndim == 2:
        return list(output.logits)
    return [logits[mask > 0] for logits, mask in zip(output.logits, inputs["attention_mask"], strict=True)]


@torch.no_grad()
@pytest.mark.parametrize("name", HEADS)
def test_padding_and_batches_do_not_matter(folders: dict[str, Path], name: str) -> None:
    model, right = load(folders[name]), inputs_for(folders[name], name)
    left = inputs_for(folders[name], name, "left")
    assert (left["attention_mask"][:, 0] == 0).any() and (right["attention_mask"][:, -1] == 0).any()
    expected = result(model(**right), right)
    for found, wanted in zip(result(model(**left), left), expected, strict=True):
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-5)
    for index, wanted in enumerate(expected):
        length = int(right["attention_mask"][index].sum())
        alone = {key: value[index : index + 1] for key, value in right.items() if key != "attention_mask"}
        alone["input_ids"] = alone["input_ids"][:, :length]  # no padding and no mask
        whole = {**alone, "attention_mask": torch.ones(1, length, dtype=torch.long)}
        torch.testing.assert_close(result(model(**alone), whole)[0], wanted, rtol=0, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("name", HEADS)
def test_eager_and_sdpa_agree(folders: dict[str, Path], name: str) -> None:
    inputs = inputs_for(folders[name], name)
    fast, plain = load(folders[name]), load(folders[name], attn_implementation="eager")
    assert (fast.config._attn_implementation, plain.config._attn_implementation) == ("sdpa", "eager")
    torch.manual_seed(0)  # of pre-training's mismatches
    expected = fast(**inputs, return_dict=False)[0]
    torch.manual_seed(0)
    torch.testing.assert_close(plain(**inputs)[0], expected, rtol=0, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name == "masked-caption" else pytest.mark.slow) for name in HEADS]
)
def test_the_whole_model_compiles(folders: dict[str, Path], name: str) -> None:
    model, inputs = load(folders[name]), inputs_for(folders[name], name)
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    torch.manual_seed(0)  # of pre-training's mismatches
    found = compiled(**inputs)[0]
    torch.manual_seed(0)
    torch.testing.assert_close(found, model(**inputs)[0], rtol=0, atol=1e-5)


@pytest.mark.parametrize("attn_implementation", ["sdpa", "eager"])
def test_hidden_states_and_attentions(folders: dict[str, Path], attn_implementation: str) -> None:
    model = load(folders["encoder"], attn_implementation=attn_implementation)
    inputs = inputs_for(folders["encoder"], "encoder")
    output = model(**inputs, output_hidden_states=True, output_attentions=True)
    assert len(output.hidden_states) == 3 and len(output.attentions) == 2
    assert torch.equal(model.norm(output.hidden_states[-1]), output.last_hidden_state)
    torch.testing.assert_close(output.last_hidden_state, model(**inputs).last_hidden_state, rtol=0, atol=1e-5)
    weights = output.attentions[0]
    torch.testing.assert_close(weights.sum(-1), torch.ones(weights.shape[:3]))
    padding = torch.nn.functional.pad(inputs["attention_mask"] == 0, (0, 16))
    assert weights.transpose(1, 3)[padding].abs().max() == 0
    names = ("last_hidden_state", "pooler_output", "hidden_states", "attentions")
    assert tuple(output.keys()) == names
    classifier = load(folders["texts"])
    output = classifier(**inputs_for(folders["texts"], "texts"), output_hidden_states=True, output_attentions=True)
    assert len(output.hidden_states) == 3 and len(output.attentions) == 2


def test_gradient_checkpointing_changes_no_gradient(folders: dict[str, Path]) -> None:
    model, inputs = load(folders["masked-caption"]).train(), inputs_for(folders["masked-caption"], "masked-caption")
    gradients = []
    for recompute in (False, True):
        if recompute:
            model.gradient_checkpointing_enable()
        model.zero_grad()
        model(**inputs, labels=inputs["input_ids"]).loss.backward()
        gradients.append({name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None})
    assert model.momo.blocks[0].gradient_checkpointing and model.decoder.blocks[0].gradient_checkpointing
    assert gradients[0].keys() == gradients[1].keys() and len(gradients[0]) > 40
    for name, value in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], value, rtol=0, atol=1e-6)


@torch.no_grad()
def test_half_precision(folders: dict[str, Path]) -> None:
    inputs = inputs_for(folders["retrieval"], "retrieval")
    whole = AutoModelForZeroShotImageClassification.from_pretrained(folders["retrieval"])
    half = AutoModelForZeroShotImageClassification.from_pretrained(folders["retrieval"], torch_dtype=torch.bfloat16)
    assert {p.dtype for p in half.parameters()} == {torch.bfloat16}
    found, expected = half(**inputs), whole(**inputs)
    assert found.image_embeds.dtype == torch.bfloat16
    torch.testing.assert_close(found.image_embeds.float(), expected.image_embeds, rtol=0, atol=0.05)
    masked = AutoModelForMaskedLM.from_pretrained(folders["masked-lm"], torch_dtype=torch.bfloat16)
    assert masked(**inputs_for(folders["masked-lm"], "masked-lm")).logits.dtype == torch.bfloat16


def test_initialisation_is_maes() -> None:
    config = MoMoConfig(**{**TINY, "hidden_size": 64})
    model = MoMoForImageTextRetrieval(config)
    assert model.logit_scale.exp().item() == pytest.approx(1 / 0.07)
    assert model.momo.text_embed.words.weight.std().item() == pytest.approx(0.02, rel=0.1)
    assert 0.01 < model.momo.cls_token.std().item() < 0.03
    fc1 = model.momo.blocks[0].mlp.fc1
    assert fc1.weight.abs().max().item() == pytest.approx((6 / 128) ** 0.5, rel=0.01)  # Xavier: 64 in, 64 out
    assert fc1.bias.abs().max() == 0


def test_weights_that_a_folder_lacks_are_initialised(folders: dict[str, Path]) -> None:
    model = MoMoForImageTextRetrieval.from_pretrained(folders["masked-lm"])
    assert model.logit_scale.exp().item() == pytest.approx(1 / 0.07)
    assert model.image_projection.weight.std() > 0.01 and model.image_projection.bias.abs().max() == 0


def test_words_are_tied_and_can_grow(tmp_path: Path) -> None:
    model = MoMoForMaskedLM(MoMoConfig(**TINY))
    assert model.lm_head.weight is model.momo.text_embed.words.weight
    model.resize_token_embeddings(60)
    assert model.lm_head.weight is model.momo.text_embed.words.weight and len(model.lm_head.bias) == 60
    model.save_pretrained(tmp_path)
    again = MoMoForMaskedLM.from_pretrained(tmp_path)
    assert again.lm_head.weight is again.momo.text_embed.words.weight and again.config.vocab_size == 60


def test_inputs_that_cannot_be_read(folders: dict[str, Path]) -> None:
    model = load(folders["encoder"])
    with pytest.raises(ValueError, match="give input_ids, pixel_values or both"):
        model()
    with pytest.raises(ValueError, match=r"each text must begin with \[CLS\], config.cls_token_id=2"):
        model(torch.tensor([[7, 8]]))
    with pytest.raises(ValueError, match="14 tokens, this model reads 13: tokenize with truncation=True"):
        model(torch.full((1, 14), 2))
    images_only = MoMoForImageClassification(MoMoConfig(**{**TINY, "vocab_size": 0}))
    with pytest.raises(ValueError, match="this model reads images only"):
        images_only.momo(torch.tensor([[2, 8]]))


def test_auto_classes_know_the_folder(folders: dict[str, Path]) -> None:
    folder = folders["retrieval"]
    assert isinstance(AutoConfig.from_pretrained(folder), MoMoConfig)
    assert isinstance(AutoModel.from_pretrained(folder), MoMoModel)
    tokenizer, images = AutoTokenizer.from_pretrained(folder), AutoImageProcessor.from_pretrained(folder)
    assert tokenizer("sun", "moon")["input_ids"] == [2, 5, 3, 6] and tokenizer.model_max_length == 13
    assert tokenizer("sun").keys() == {"input_ids", "attention_mask"}
    assert images(pictures(1, 50), return_tensors="pt")["pixel_values"].shape == (1, 3, 32, 32)
    assert json.loads((folder / "config.json").read_text())["model_type"] == "momo"


@pytest.mark.slow  # another process imports torch and transformers
def test_a_folder_needs_no_momo_installed(folders: dict[str, Path], tmp_path: Path) -> None:
    code = (
        "import sys, torch\n"
        "sys.modules['momo'] = None\n"  # importing it fails
        "from transformers import AutoModelForMaskedLM, AutoModelForPreTraining\n"
        f"AutoModelForPreTraining.from_pretrained({str(folders['pretraining'])!r}, trust_remote_code=True)\n"
        f"model = AutoModelForMaskedLM.from_pretrained({str(folders['masked-lm'])!r}, trust_remote_code=True)\n"
        "print(model(torch.tensor([[2, 5, 4]])).logits[0, 2].tolist())"
    )
    settings = {**os.environ, "HF_HOME": str(tmp_path), "HF_MODULES_CACHE": str(tmp_path / "modules")}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, env=settings, cwd=tmp_path, check=True)
    expected = load(folders["masked-lm"])(torch.tensor([[2, 5, 4]])).logits[0, 2]
    assert json.loads(done.stdout.splitlines()[-1]) == pytest.approx(expected.tolist(), abs=1e-5)


@torch.no_grad()
def test_pipelines(folders: dict[str, Path], tmp_path: Path) -> None:
    def run(task: str, name: str):
        return pipeline(task, str(folders[name]), device="cpu")

    words = run("feature-extraction", "encoder")(TEXTS[0])
    model, processor = load(folders["encoder"]), AutoProcessor.from_pretrained(folders["encoder"])
    expected = model(**processor(text=TEXTS[0], return_tensors="pt")).last_hidden_state
    torch.testing.assert_close(torch.tensor(words), expected, rtol=0, atol=1e-5)

    (image,) = pictures(1, 50)
    patches = run("image-feature-extraction", "encoder")(image)
    expected = model(**processor(images=image, return_tensors="pt")).last_hidden_state
    torch.testing.assert_close(torch.tensor(patches), expected, rtol=0, atol=1e-5)

    retrieval = load(folders["retrieval"])
    found = run("zero-shot-image-classification", "retrieval")(
        image, candidate_labels=["cat", "the red dog"], hypothesis_template="a {}"
    )
    inputs = processor(text=["a cat", "a the red dog"], images=image, padding=True, return_tensors="pt")
    chances = retrieval(**inputs).logits_per_image.softmax(1)[0]
    assert {row["label"]: row["score"] for row in found} == {
        "cat": pytest.approx(chances[0].item(), abs=1e-5),
        "the red dog": pytest.approx(chances[1].item(), abs=1e-5),
    }

    classes = run("text-classification", "texts")(TEXTS, batch_size=3, top_k=None)
    logits = load(folders["texts"])(**inputs_for(folders["texts"], "texts")).logits.softmax(1)
    for rows, chances in zip(classes, logits, strict=True):
        scores = {row["label"]: row["score"] for row in rows}
        assert [scores[f"LABEL_{i}"] for i in range(3)] == pytest.approx(chances.tolist(), abs=1e-5)

    torch.manual_seed(0)
    tokenizer = new_tokenizer(tmp_path)
    chances = fill_text(stage3(), BLANKS[1:2], tokenizer).exp()[0]
    guesses = run("fill-mask", "masked-lm")(BLANKS[1], top_k=3)
    assert [guess["score"] for guess in guesses] == pytest.approx(chances.topk(3).values.tolist(), abs=1e-5)
    assert [guess["token"] for guess in guesses] == chances.topk(3).indices.tolist()


@torch.no_grad()
def test_pipelines_that_classify_pictures(folders: dict[str, Path], tmp_path: Path) -> None:
    (image,) = pictures(1, 50)
    answers = pipeline("visual-question-answering", str(folders["questions"]), device="cpu")(image, TEXTS[0], top_k=7)
    processor = AutoProcessor.from_pretrained(folders["questions"])
    inputs = processor(text=TEXTS[0], images=image, return_tensors="pt")
    chances = load(folders["questions"])(**inputs).logits[0].sigmoid()
    assert [row["score"] for row in answers] == pytest.approx(chances.sort(descending=True).values.tolist(), abs=1e-5)

    model = MoMoForImageClassification(MoMoConfig(**TINY, num_labels=3)).eval()
    model.save_pretrained(tmp_path)
    processor.image_processor.save_pretrained(tmp_path)
    classes = pipeline("image-classification", str(tmp_path), device="cpu")(image)
    chances = model(pixel_values=inputs["pixel_values"]).logits[0].softmax(0)
    assert {row["label"]: row["score"] for row in classes} == {
        f"LABEL_{i}": pytest.approx(chance, abs=1e-5) for i, chance in enumerate(chances.tolist())
    }

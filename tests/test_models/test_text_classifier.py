"""Fine-tuning on texts."""

import pytest
import torch
from helpers.tiny import BACKBONE, perturb, tiny_samples
from torch.nn import functional as F

from momo.datasets import PackedCollate
from momo.models import TextClassifier


@pytest.fixture
def model() -> TextClassifier:
    return perturb(TextClassifier(backbone=BACKBONE, num_classes=3))


def labelled_batch(count: int = 5) -> dict:
    samples = [{**sample, "label": index % 3} for index, sample in enumerate(tiny_samples("text", count))]
    return {"text": PackedCollate()(samples)}


def test_logits_are_a_linear_map_of_cls(model: TextClassifier) -> None:
    inputs = model.eval().data_preprocessor(labelled_batch())["inputs"]
    logits = model(inputs, mode="tensor")
    batch, start = inputs["text"], 0
    for row, count in enumerate(batch["word_counts"]):
        own = slice(start, start + count)
        cls = model.backbone.encode_texts(batch["words"][own], batch["positions"][own], batch["word_counts"][[row]]).x[
            0
        ]
        torch.testing.assert_close(logits[row], model.head(cls), rtol=0, atol=1e-5)
        start += count


def test_loss_accuracy_and_predictions(model: TextClassifier) -> None:
    batch = labelled_batch()
    inputs = model.eval().data_preprocessor(batch)["inputs"]
    logits = model(inputs, mode="tensor")
    labels = batch["text"]["labels"]
    result = model(inputs, mode="loss")
    assert result["text/loss"].item() == pytest.approx(F.cross_entropy(logits, labels).item(), rel=1e-6)
    assert result["text/accuracy"].item() == pytest.approx((logits.argmax(1) == labels).float().mean().item())
    predictions = model.val_step(batch)
    assert [prediction["gt_label"] for prediction in predictions] == labels.tolist()
    torch.testing.assert_close(torch.stack([p["pred_score"] for p in predictions]), logits.softmax(1))


def test_labels_stay_with_their_texts_when_collate_sorts() -> None:
    samples = [{**sample, "label": len(sample["words"])} for sample in tiny_samples("text", 6)]
    batch = PackedCollate()(samples)
    assert batch["labels"].tolist() == batch["word_counts"].tolist() == sorted(batch["word_counts"])


def test_encoder_and_head_are_trained(model: TextClassifier) -> None:
    model(model.data_preprocessor(labelled_batch())["inputs"])["text/loss"].backward()
    untouched = {name for name, p in model.named_parameters() if p.grad is None or p.grad.abs().max() == 0}
    assert {name.split(".")[1] for name in untouched} == {"image_embed"}
    assert model.planners("text") == {}

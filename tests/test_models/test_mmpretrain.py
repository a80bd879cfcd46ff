"""The encoder as a backbone of mmpretrain's image classifier."""

import pytest
import torch
from helpers.tiny import BACKBONE

pytestmark = pytest.mark.slow  # importing mmpretrain takes 5 s


@pytest.mark.filterwarnings("ignore")
def test_image_classifier_learns_and_predicts() -> None:
    from mmengine.registry import DefaultScope
    from mmpretrain.models import build_classifier
    from mmpretrain.structures import DataSample

    with DefaultScope.overwrite_default_scope("mmpretrain"):
        classifier = build_classifier(
            dict(
                type="ImageClassifier",
                backbone={**BACKBONE, "type": "momo.MoMoViT", "vocab_size": 0},
                head=dict(
                    type="LinearClsHead",
                    num_classes=3,
                    in_channels=32,
                    loss=dict(type="CrossEntropyLoss", loss_weight=1.0),
                ),
            )
        )
    images = torch.randn(6, 3, 32, 32)
    samples = [DataSample().set_gt_label(index % 3) for index in range(6)]
    optimizer = torch.optim.AdamW(classifier.parameters(), lr=1e-2)
    losses = []
    for _ in range(30):
        loss = classifier(images, samples, mode="loss")["loss"]
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert losses[-1] < 0.1 * losses[0]
    predicted = classifier.eval()(images, samples, mode="predict")
    assert [int(sample.pred_label) for sample in predicted] == [index % 3 for index in range(6)]
    expected = classifier.head.fc(classifier.backbone(images)[0]).softmax(1)
    torch.testing.assert_close(torch.stack([sample.pred_score for sample in predicted]), expected)

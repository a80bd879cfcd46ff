"""Fine-tuning on texts, or pairs of texts, with labels."""

from __future__ import annotations

from typing import Any

from mmengine.model import BaseModel
from torch import Tensor, nn
from torch.nn import functional as F

from momo.models.necks import pooling_by_name
from momo.registry import MODELS


@MODELS.register_module()
class TextClassifier(BaseModel):
    """A linear classifier on a whole text's features; encoder and classifier are trained together (MoMo 3.3).

    Args:
        backbone: Config of the encoder.
        num_classes: Labels are 0 to num_classes - 1. 1 means regression: a label is a number, the loss a squared error.
        pooling: 'cls' or 'mean', see ContrastiveProjection.
        dropout: On the pooled features, before the classifier.
    """

    modalities = ("text",)

    def __init__(
        self,
        backbone: dict,
        num_classes: int,
        pooling: str = "cls",
        dropout: float = 0.1,
        init_cfg: dict | list | None = None,
    ) -> None:
        super().__init__(MODELS.build(dict(type="momo.MoMoDataPreprocessor")), init_cfg)
        self.backbone = MODELS.build(backbone)
        self.pool, self.cls_only = pooling_by_name(pooling), pooling == "cls"
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(self.backbone.embed_dim, num_classes)
        nn.init.normal_(self.head.weight, std=0.02)
        nn.init.zeros_(self.head.bias)

    def planners(self, modality: str) -> dict:
        """Nothing is masked in fine-tuning."""
        return {}

    def forward(
        self, inputs: dict[str, dict[str, Any]], data_samples: Any = None, mode: str = "loss"
    ) -> Tensor | dict[str, Tensor] | list[dict[str, Any]]:
        """With mode 'tensor' logits (B, classes), with 'loss' losses, with 'predict' a dict a sample."""
        batch = inputs["text"]
        words = batch["words"], batch["positions"], batch["word_counts"]
        encoded = self.backbone.encode_texts(*words, self.cls_only)
        logits = self.head(self.dropout(self.pool(encoded)))
        if mode == "tensor":
            return logits
        return self._losses(logits.float(), batch["labels"]) if mode == "loss" else self._predictions(logits, batch)

    def _losses(self, logits: Tensor, labels: Tensor) -> dict[str, Tensor]:
        if self.head.out_features == 1:
            return {"text/loss": F.mse_loss(logits[:, 0], labels.to(logits.dtype))}
        correct = (logits.detach().argmax(1) == labels).float().mean()
        return {"text/loss": F.cross_entropy(logits, labels), "text/accuracy": correct}

    def _predictions(self, logits: Tensor, batch: dict[str, Any]) -> list[dict[str, Any]]:
        """A dict a sample: its id, pred_score (classes,) or (1,), and gt_label if labels are known."""
        scores = logits.float().cpu() if self.head.out_features == 1 else logits.float().softmax(1).cpu()
        samples = [
            {"sample_id": sample_id, "pred_score": score}
            for sample_id, score in zip(batch["sample_ids"], scores, strict=True)
        ]
        if "labels" in batch:
            for sample, label in zip(samples, batch["labels"].tolist(), strict=True):
                sample["gt_label"] = label
        return samples

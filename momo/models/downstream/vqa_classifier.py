"""Fine-tuning for visual question answering."""

from __future__ import annotations

from typing import Any

from mmengine.model import BaseModel
from torch import Tensor, nn
from torch.nn import functional as F

from momo.registry import MODELS


@MODELS.register_module()
class VQAClassifier(BaseModel):
    """Choose among frequent answers, from the [CLS] of a whole picture with a whole question.

    The loss is binary cross-entropy with a soft score for every answer, summed over the answers and averaged over the
    batch.

    Args:
        backbone: Config of the encoder.
        num_answers: Entries of answers.json.
        data_preprocessor: Config of the data preprocessor.
    Source: ViLT (Kim et al. 2021, arXiv:2102.03334): head, loss, 3,129 answers.
    """

    modalities = ("image_text",)

    def __init__(
        self,
        backbone: dict,
        num_answers: int = 3129,
        data_preprocessor: dict | None = None,
        init_cfg: dict | list | None = None,
    ) -> None:
        super().__init__(MODELS.build(data_preprocessor or dict(type="momo.MoMoDataPreprocessor")), init_cfg)
        self.backbone = MODELS.build(backbone)
        dim = self.backbone.embed_dim
        self.head = nn.Sequential(
            nn.Linear(dim, 2 * dim), nn.LayerNorm(2 * dim), nn.GELU(), nn.Linear(2 * dim, num_answers)
        )
        for layer in (self.head[0], self.head[-1]):
            nn.init.normal_(layer.weight, std=0.02)
            nn.init.zeros_(layer.bias)

    def planners(self, modality: str) -> dict:
        """Nothing is masked in fine-tuning."""
        return {}

    def forward(
        self, inputs: dict[str, dict[str, Any]], data_samples: Any = None, mode: str = "loss"
    ) -> Tensor | dict[str, Tensor] | list[dict[str, Any]]:
        """With mode 'tensor' logits (B, answers), with 'loss' losses, with 'predict' a dict a sample.

        Raises: ValueError if labels are for another number of answers.
        """
        batch = inputs["image_text"]
        words = batch["words"], batch["positions"], batch["word_counts"]
        logits = self.head(self.backbone.encode_pairs(batch["images"], *words, cls_only=True).first())
        if mode == "tensor":
            return logits
        if mode == "loss":
            return {"image_text/loss": self._loss(logits.float(), batch["labels"])}
        chosen = logits.argmax(1).tolist()
        return [{"pred_label": answer, **notes} for answer, notes in zip(chosen, batch["annotations"], strict=True)]

    def _loss(self, logits: Tensor, scores: Tensor) -> Tensor:
        if logits.shape != scores.shape:
            raise ValueError(
                f"the labels are for {scores.shape[1]} answers, but model.num_answers={logits.shape[1]}: "
                "set it to the length of answers.json"
            )
        return F.binary_cross_entropy_with_logits(logits, scores, reduction="sum") / len(logits)

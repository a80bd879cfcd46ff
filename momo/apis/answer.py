"""Answer questions about images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from momo.datasets.vqav2 import read_answers
from momo.models import VQAClassifier

from .base import Inferencer, first_in_config
from .classify import Label, best_labels
from .embed import pack_texts
from .inputs import ImageSource, as_list, as_texts, one_each


class VQAInferencer(Inferencer):
    """Images and questions to the likeliest of the answers that a fine-tuned model knows. See Inferencer.

    Args:
        answers: The model's answers, or the folder with their answers.json; None takes the folder that the VQAv2 data
            set of the model's config has.
    Raises: as Inferencer; FileNotFoundError if answers.json is not there; ValueError if no answers are known, or not as
        many as the model has.
    """

    def __init__(self, *args: Any, answers: Sequence[str] | str | Path | None = None, **settings: Any) -> None:
        super().__init__(*args, **settings)
        answers = answers or first_in_config(getattr(self.model, "_config", None), "root", within="VQAv2")
        if answers is None:
            raise ValueError("the model's config names no VQAv2 data; give answers=FOLDER, the one with answers.json")
        self.answers = read_answers(Path(answers)) if isinstance(answers, (str, Path)) else list(answers)
        known = self.model.head[-1].out_features
        if len(self.answers) != known:
            raise ValueError(f"answers: there are {len(self.answers)}, but the model chooses among {known}")

    @classmethod
    def why_not(cls, model: nn.Module) -> str | None:
        if isinstance(model, VQAClassifier):
            return None
        return f"{cls.__name__} needs a VQAClassifier, which configs/downstream/vqa_*.py fine-tune, got a {type(model)}"

    @torch.inference_mode()
    def __call__(
        self,
        images: ImageSource | Sequence[ImageSource],
        questions: str | Sequence[str],
        k: int = 5,
        batch_size: int = 64,
    ) -> list[list[Label]]:
        """The k likeliest answers to each question, best first. A probability is that of people giving this answer.

        Raises: ValueError if images and questions differ in number, or for an image that cannot be read.
        """
        images, questions, rows = as_list(images, "images"), as_texts(questions, "questions"), []
        one_each(images, questions, ("images", "questions"))
        for batch in self.read(images, batch_size, "answer"):
            scores = self._scores(batch, questions[len(rows) : len(rows) + len(batch)])
            rows += best_labels(self.answers, scores, k)
        return rows

    def _scores(self, images: Tensor, questions: list[str]) -> Tensor:
        """Probabilities (B, answers) on the CPU."""
        words, positions, counts = pack_texts(questions, self.tokenizer, self.model.backbone.text_embed.max_len)
        batch = {"images": images, "words": words, "positions": positions, "word_counts": counts}
        inputs = self.model.data_preprocessor({"image_text": batch})["inputs"]
        return self.model(inputs, mode="tensor").float().sigmoid().cpu()

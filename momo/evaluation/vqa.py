"""Accuracy of visual question answering as its benchmark defines it."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from mmengine.evaluator import BaseMetric

from momo.ops import clean_answer, normalize_answer
from momo.registry import METRICS


def vqa_accuracy(predicted: str, answers: Sequence[str]) -> float:
    """How far an answer agrees with the annotators', from 0 to 1.

    The mean, over all ways to leave one annotator out, of min(1, agreeing others / 3). Answers are normalised only
    where the annotators do not all say the same, as the benchmark does.

    Raises: ValueError without answers.
    Source: Goyal et al. 2017, arXiv:1612.00837; Antol et al. 2015, arXiv:1505.00468.
    """
    if not answers:
        raise ValueError("a question needs the annotators' answers")
    predicted, answers = clean_answer(predicted), [clean_answer(answer) for answer in answers]
    if len(set(answers)) > 1:
        predicted, answers = normalize_answer(predicted), [normalize_answer(answer) for answer in answers]
    agreeing = sum(answer == predicted for answer in answers)
    # Leaving out one who agrees leaves one fewer.
    without, within = len(answers) - agreeing, agreeing
    return (without * min(1.0, agreeing / 3) + within * min(1.0, (agreeing - 1) / 3)) / len(answers)


@METRICS.register_module()
class VQAAccuracy(BaseMetric):
    """Mean `vqa_accuracy`, over all questions and by type of answer (accuracy_yes_no, accuracy_number, accuracy_other).

    A result is a dict with pred_label (a place in the dataset's list of answers), answers (the annotators') and
    answer_type.
    """

    def process(self, data_batch, data_samples: list[dict]) -> None:
        for sample in data_samples:
            score = vqa_accuracy(self.dataset_meta["answers"][sample["pred_label"]], sample["answers"])
            self.results.append((sample["answer_type"], score))

    def compute_metrics(self, results: list[tuple[str, float]]) -> dict[str, float]:
        by_type: dict[str, list[float]] = defaultdict(list)
        for answer_type, score in results:
            by_type[f"accuracy_{answer_type.replace('/', '_')}"].append(score)
        scores = {name: sum(column) / len(column) for name, column in sorted(by_type.items())}
        return {"accuracy": sum(score for _, score in results) / len(results), **scores}


@METRICS.register_module()
class VQASubmission(BaseMetric):
    """Write the answers as the benchmark's server takes them: a JSON list of {"question_id", "answer"}.

    Args:
        file: Where it goes.
    """

    def __init__(self, file: str, collect_device: str = "cpu", prefix: str | None = None) -> None:
        super().__init__(collect_device, prefix)
        self.file = Path(file)

    def process(self, data_batch, data_samples: list[dict]) -> None:
        answers = self.dataset_meta["answers"]
        self.results += [(sample["question_id"], answers[sample["pred_label"]]) for sample in data_samples]

    def compute_metrics(self, results: list[tuple[int, str]]) -> dict[str, float]:
        """Called on one process, with all results."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        rows = [{"question_id": question, "answer": answer} for question, answer in results]
        self.file.write_text(json.dumps(rows, ensure_ascii=False), encoding="utf-8")
        return {"predictions": float(len(rows))}

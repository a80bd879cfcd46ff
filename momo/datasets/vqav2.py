"""Visual question answering, version 2."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from momo.ops import key_of, normalize_answer
from momo.registry import DATASETS

from .base import KeyedDataset, existing

WHAT = "VQAv2's questions, annotations and images, unpacked, and answers.json of tools/dataset/build_vqa_answers.py,"
# Score of an answer by how many of the ten annotators gave it: the accuracy's expectation, rounded.
SOFT_SCORES = (0.0, 0.3, 0.6, 0.9, 1.0)
HELD_OUT_IMAGES = 1000  # of the validation images, for checking


class _Files(NamedTuple):
    """questions and annotations: files below the root; the latter '' where answers are secret. images: folder, and the
    beginning of the files' names.
    """

    questions: str
    annotations: str
    images: str


_TRAIN = _Files(
    "v2_OpenEnded_mscoco_train2014_questions.json", "v2_mscoco_train2014_annotations.json", "train2014/COCO_train2014"
)
_VAL = _Files(
    "v2_OpenEnded_mscoco_val2014_questions.json", "v2_mscoco_val2014_annotations.json", "val2014/COCO_val2014"
)
_TEST_DEV = _Files("v2_OpenEnded_mscoco_test-dev2015_questions.json", "", "test2015/COCO_test2015")
_TEST = _Files("v2_OpenEnded_mscoco_test2015_questions.json", "", "test2015/COCO_test2015")
FILES = {
    "train": (_TRAIN,),
    "val": (_VAL,),
    "trainval": (_TRAIN, _VAL),  # without the images held out
    "held_out": (_VAL,),
    "test-dev": (_TEST_DEV,),
    "test": (_TEST,),
}


class Question(NamedTuple):
    """A question, its picture, and what ten people answered; answers are () where they are secret."""

    question_id: int
    image: str
    text: str
    answers: tuple[str, ...]
    answer_type: str


@DATASETS.register_module()
class VQAv2(KeyedDataset):
    """Questions on COCO pictures, from the published files.

    Samples have 'image_path', 'image_id', 'text', 'annotations' (question_id, the ten people's answers, answer_type),
    and where answers are known 'label' (A,) float32: a score for each of the A answers of answers.json. Questions of
    which no answer is in that list keep a label of zeros.

    Args:
        root: Folder with the files of FILES and answers.json.
        split: 'train', 'val', 'trainval' (both, but for 1,000 images of val), 'held_out' (those), 'test-dev', 'test'.
        pipeline: Transforms; usually LoadImage, an image transform, TokenizePair.
    Raises: FileNotFoundError naming what should lie there; ValueError for an unknown split, or naming the file and the
        question if an annotation is missing.
    """

    def __init__(self, root: str, split: str, pipeline: Sequence[dict]) -> None:
        super().__init__(pipeline)
        if split not in FILES:
            raise ValueError(f"split={split!r} is unknown; choose one of {sorted(FILES)}")
        self.root, self.split = existing(root, "root", WHAT), split
        self.places = {answer: place for place, answer in enumerate(read_answers(self.root))}
        self.questions = [
            question for files in FILES[split] for question in self._kept(read_questions(self.root, files), files)
        ]

    @property
    def metainfo(self) -> dict[str, Any]:
        """Also the list of answers."""
        return {**super().metainfo, "answers": tuple(self.places)}

    def _kept(self, questions: list[Question], files: _Files) -> list[Question]:
        if files is not _VAL or self.split == "val":
            return questions
        images = sorted({question.image for question in questions}, key=key_of)
        held_out = set(images[: min(HELD_OUT_IMAGES, len(images) // 2)])
        return [question for question in questions if (question.image in held_out) == (self.split == "held_out")]

    def __len__(self) -> int:
        return len(self.questions)

    def read(self, index: int) -> dict[str, Any]:
        question = self.questions[index]
        path = str(self.root / question.image)
        sample = {
            "sample_id": f"{self.split}:{question.question_id}",
            "annotations": {
                "question_id": question.question_id,
                "answers": question.answers,
                "answer_type": question.answer_type,
            },
            "image_path": path,
            "image_id": key_of(path),
            "text": question.text,
        }
        if question.answers:
            sample["label"] = soft_scores(question.answers, self.places)
        return sample


def soft_scores(answers: Sequence[str], places: dict[str, int]) -> np.ndarray:
    """Scores (A,) float32 of the A normalised answers in `places`, by how many people gave them."""
    label = np.zeros(len(places), dtype=np.float32)
    for answer, count in Counter(map(normalize_answer, answers)).items():
        if answer in places:
            label[places[answer]] = SOFT_SCORES[min(count, len(SOFT_SCORES) - 1)]
    return label


def read_answers(root: Path) -> list[str]:
    """The answers that a model chooses from.

    Raises: FileNotFoundError that says which tool makes the file.
    """
    path = root / "answers.json"
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: make it with python tools/dataset/build_vqa_answers.py {root}")
    return json.loads(path.read_text(encoding="utf-8"))


def read_questions(root: Path, files: _Files) -> list[Question]:
    """The questions of a part, in the order of its file."""
    path = existing(root / files.questions, "root", "VQAv2's question file")
    questions = json.loads(path.read_text(encoding="utf-8"))["questions"]
    annotated: dict[int, dict] = {}
    if files.annotations:
        notes = existing(root / files.annotations, "root", "VQAv2's annotation file")
        annotated = {note["question_id"]: note for note in json.loads(notes.read_text(encoding="utf-8"))["annotations"]}
    rows = []
    for question in questions:
        note = annotated.get(question["question_id"])
        if files.annotations and note is None:
            raise ValueError(f"{root / files.annotations} has no annotation of question {question['question_id']}")
        answers = tuple(answer["answer"] for answer in note["answers"]) if note else ()
        image = f"{files.images}_{question['image_id']:012d}.jpg"
        answer_type = note["answer_type"] if note else ""
        rows.append(Question(question["question_id"], image, question["question"], answers, answer_type))
    return rows

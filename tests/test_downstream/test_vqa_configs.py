"""VQAv2 end to end: the list of answers, fine-tuning, the test, the file for the server."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.data import sentence
from helpers.downstream import ROOT, from_random_weights, in_one_and_two_processes, small
from helpers.run import build_runner
from torchvision.io import write_jpeg

from momo.datasets import VQAv2
from momo.datasets.vqav2 import FILES, soft_scores

pytestmark = [pytest.mark.usefixtures("unformatted_configs"), pytest.mark.filterwarnings("ignore")]
ANSWERS = ("yes", "no", "two", "red", "a cat")


def write_vqa(root: Path, questions: int = 12) -> Path:
    """The published layout: questions and annotations in JSON, pictures named by the split and a number."""
    root.mkdir(parents=True)
    for name, part in (("train2014", "train"), ("val2014", "val"), ("test2015", "test-dev")):
        files = FILES[part][0]
        (root / name).mkdir()
        rows, notes = [], []
        for number in range(questions):
            image = number // 2 + 1
            picture = torch.from_numpy(np.random.default_rng(image).integers(0, 256, (3, 40, 50), dtype=np.uint8))
            write_jpeg(picture, str(root / f"{files.images}_{image:012d}.jpg"))
            key = dict(image_id=image, question_id=1000 * image + number)
            rows.append(dict(**key, question=sentence(number) + "?"))
            chosen = [ANSWERS[(number + k // 6) % len(ANSWERS)] for k in range(10)]
            notes.append(
                dict(
                    **key,
                    question_type="what",
                    answer_type=("yes/no", "number", "other")[number % 3],
                    multiple_choice_answer=chosen[0],
                    answers=[dict(answer=a, answer_confidence="yes", answer_id=k + 1) for k, a in enumerate(chosen)],
                )
            )
        (root / files.questions).write_text(json.dumps(dict(info={}, questions=rows)))
        if files.annotations:
            (root / files.annotations).write_text(json.dumps(dict(info={}, annotations=notes)))
    return root


def build_answers(root: Path, *args: str) -> subprocess.CompletedProcess:
    command = [sys.executable, str(ROOT / "tools/dataset/build_vqa_answers.py"), str(root), *args]
    return subprocess.run(command, capture_output=True, text=True)


def test_shipped_config(tmp_path: Path) -> None:
    root = write_vqa(tmp_path / "data" / "vqav2")
    result = build_answers(root, "--min-count", "2")
    assert "5 answers, the commonest ones of 100.0% of 24 questions" in result.stdout
    assert "the full data give 3,129; set model.num_answers=5" in result.stdout
    answers = json.loads((root / "answers.json").read_text())
    assert sorted(answers) == ["2", "cat", "no", "red", "yes"]
    cfg = from_random_weights(small("vqa_vqav2_vitb", tmp_path, tmp_path / "data"))
    cfg.model.num_answers = 5
    for key in ("train_dataloader", "test_dataloader"):
        cfg[key].loaders.image_text.dataset.pipeline[1].size = (32, 32)
    runner = build_runner(cfg)
    runner.train()
    metrics = runner.test()
    assert 0 <= metrics["accuracy"] <= 1
    assert set(metrics) <= {"accuracy", "accuracy_yes_no", "accuracy_number", "accuracy_other"}

    cfg.test_dataloader.loaders.image_text.dataset.split = "test-dev"
    cfg.test_dataloader.loaders.image_text.dataset.pipeline[1].size = (48, 48)  # positions are interpolated
    cfg.test_evaluator = dict(type="VQASubmission", file=str(tmp_path / "out.json"))
    assert build_runner(cfg).test() == {"predictions": 12.0}
    rows = json.loads((tmp_path / "out.json").read_text())
    asked = json.loads((root / FILES["test-dev"][0].questions).read_text())["questions"]
    assert [row["question_id"] for row in rows] == [question["question_id"] for question in asked]
    assert {row["answer"] for row in rows} <= set(answers)

    cfg.model.num_answers = 7
    with pytest.raises(ValueError, match="the labels are for 5 answers, but model.num_answers=7"):
        build_runner(cfg).train()


@pytest.mark.dist
def test_two_processes_measure_as_one(tmp_path: Path) -> None:
    """Of 11 questions in batches of 2, one process gets one twice: it counts once."""
    root = write_vqa(tmp_path / "data" / "vqav2", questions=11)
    (root / "answers.json").write_text(json.dumps(ANSWERS))
    cfg = from_random_weights(small("vqa_vqav2_vitb", tmp_path, tmp_path / "data"))
    cfg.model.num_answers = len(ANSWERS)
    cfg.test_dataloader.batch_size = 2
    cfg.test_dataloader.loaders.image_text.dataset.split = "val"
    for key in ("train_dataloader", "test_dataloader"):
        cfg[key].loaders.image_text.dataset.pipeline[1].size = (32, 32)
    alone, together = in_one_and_two_processes(cfg, tmp_path)
    assert alone.keys() == {"accuracy", "accuracy_yes_no", "accuracy_number", "accuracy_other"}
    for metrics in together:
        assert metrics == pytest.approx(alone, abs=1e-6)


def test_splits(tmp_path: Path) -> None:
    root = write_vqa(tmp_path / "vqav2")
    with pytest.raises(FileNotFoundError, match="answers.json is missing: make it with python tools/dataset/build_vqa"):
        VQAv2(str(root), "train", [])
    (root / "answers.json").write_text('["yes", "cat"]')
    sets = {split: VQAv2(str(root), split, []) for split in FILES if split != "test"}
    ids = {split: [question.question_id for question in data.questions] for split, data in sets.items()}
    images = {split: {question.image for question in data.questions} for split, data in sets.items()}
    assert len(ids["train"]) == len(ids["val"]) == len(ids["test-dev"]) == 12
    assert len(images["held_out"]) == 3 and not images["held_out"] & images["trainval"]
    assert images["held_out"] | images["trainval"] == images["train"] | images["val"]
    sample = sets["train"].read(1)  # no six times, two four times: none is in the list
    assert sample["label"].tolist() == [0.0, 0.0] and sample["annotations"]["answers"][0] == "no"
    assert "label" not in sets["test-dev"].read(0)
    with pytest.raises(ValueError, match="split='dev' is unknown"):
        VQAv2(str(root), "dev", [])
    with pytest.raises(FileNotFoundError, match="questions.json' does not exist"):
        VQAv2(str(root), "test", [])


def test_soft_scores() -> None:
    places = {"2": 0, "cat": 1, "red": 2, "blue": 3}
    answers = ["two", "2", "Two."] + ["a cat", "cat"] + ["red"] + ["green"] * 4
    np.testing.assert_allclose(soft_scores(answers, places), [0.9, 0.6, 0.3, 0.0])
    np.testing.assert_allclose(soft_scores(["red"] * 10, places), [0, 0, 1, 0])


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    result = build_answers(tmp_path)
    assert result.returncode == 1
    assert "v2_mscoco_train2014_annotations.json is missing: unpack VQAv2's annotations" in result.stderr

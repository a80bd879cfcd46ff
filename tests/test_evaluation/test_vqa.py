"""The accuracy of visual question answering against its definition, written out."""

from itertools import combinations

import numpy as np
import pytest
from helpers.data import sentence

from momo.evaluation import VQAAccuracy, vqa_accuracy
from momo.ops import clean_answer, normalize_answer

RNG = np.random.default_rng(0)
PARTS = (
    "yes no two 2 none the a red Red. blue, 1,000 1,000. 3.5 don't dont wouldn'tve y'allll man's (left) left/right "
    "-5 U.S.A. what?! café ½ 're the. an; ten: @ 10:30"
).split()


def answer() -> str:
    return " ".join(RNG.choice(PARTS, RNG.integers(0, 4)))


def by_definition(predicted: str, answers: list[str]) -> float:
    """Leave each annotator out in turn; three of the other nine make an answer right."""
    predicted, answers = clean_answer(predicted), [clean_answer(each) for each in answers]
    if any(each != answers[0] for each in answers):
        predicted, answers = normalize_answer(predicted), [normalize_answer(each) for each in answers]
    subsets = list(combinations(range(len(answers)), len(answers) - 1))
    return sum(min(1.0, sum(answers[i] == predicted for i in subset) / 3) for subset in subsets) / len(subsets)


def test_accuracy_is_the_definition() -> None:
    for _ in range(3000):
        pool = [answer() for _ in range(RNG.integers(1, 5))]
        answers = [str(each) for each in RNG.choice(pool, 10)]
        predicted = str(RNG.choice([*pool, answer()]))
        assert vqa_accuracy(predicted, answers) == pytest.approx(by_definition(predicted, answers), abs=1e-12)


@pytest.mark.parametrize(("agreeing", "score"), [(0, 0.0), (1, 0.3), (2, 0.6), (3, 0.9), (4, 1.0), (10, 1.0)])
def test_known_scores(agreeing: int, score: float) -> None:
    answers = ["red"] * agreeing + [f"colour {i}" for i in range(10 - agreeing)]
    assert vqa_accuracy("red", answers) == pytest.approx(score)


def test_unanimous_answers_are_not_normalised() -> None:
    """The benchmark's code only does so where annotators differ."""
    assert vqa_accuracy("The cat", ["the cat"] * 10) == 0.0
    assert vqa_accuracy("The cat", ["the cat"] * 9 + ["cat"]) == 1.0
    assert vqa_accuracy(" cat\n", ["cat"] * 10) == 1.0
    with pytest.raises(ValueError, match="needs the annotators' answers"):
        vqa_accuracy("yes", [])


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("The Cat.", "cat"),
        ("two", "2"),
        ("None", "0"),
        ("left/right", "left right"),
        ("left / right", "left right"),
        ("yes, it is", "yes it is"),
        ("1,000", "1000"),
        ("red/1,000", "red1000"),  # a number with a comma: no mark becomes a space
        ("3.5", "3.5"),
        ("U.S.A.", "usa"),
        ("dont", "don't"),
        ("couldnt've", "couldn't've"),
        ("couldn'tve", "couldn't've"),
        ("?!", ""),
        ("", ""),
        ("somebody'd", "somebodyd"),
    ],
)
def test_normal_form(text: str, normal: str) -> None:
    assert normalize_answer(text) == normal


@pytest.mark.slow
def test_words_are_mended_as_in_mmpretrain() -> None:
    """Its table was written down independently; what is compared is the answer after both steps."""
    from mmpretrain.evaluation.metrics.vqa import _process_digit_article, _process_punctuation

    words = {
        *PARTS,
        *(f"{a}{b}" for a in ("would", "y'all", "somebody", "some") for b in ("'ve", "nt've", "'d", "one")),
    }
    for text in [*words, *(answer() for _ in range(500)), *(sentence(i) for i in range(50))]:
        assert normalize_answer(text) == _process_digit_article(_process_punctuation(text)), text


@pytest.mark.slow
def test_mmpretrain_s_accuracy_is_another() -> None:
    """It takes min(1, share / 0.3) over all annotators; the official one leaves each out in turn."""
    from mmpretrain.evaluation.metrics.vqa import VQAAcc

    answers = ["red"] * 3 + [f"colour {i}" for i in range(7)]
    theirs = VQAAcc()
    theirs.process(None, [{"pred_answer": "red", "gt_answer": answers, "gt_answer_weight": [0.1] * 10}])
    assert theirs.evaluate(1) == {"VQA/acc": pytest.approx(100.0)}
    assert vqa_accuracy("red", answers) == pytest.approx(0.9)


def test_metric_by_type_of_answer() -> None:
    metric = VQAAccuracy()
    metric.dataset_meta = {"answers": ("yes", "2")}
    samples = [
        dict(pred_label=0, answers=["yes"] * 10, answer_type="yes/no"),
        dict(pred_label=1, answers=["two"] * 5 + ["3"] * 5, answer_type="number"),
        dict(pred_label=1, answers=["3"] * 10, answer_type="number"),
    ]
    metric.process(None, samples)
    expected = {"accuracy": pytest.approx(2 / 3), "accuracy_number": 0.5, "accuracy_yes_no": 1.0}
    assert metric.evaluate(3) == expected

"""Which evaluation gives which row of the paper's tables, and what data each needs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from momo.datasets.vision_set import SOURCES

_GLUE = "train and dev of the task, as its .tsv files or as parquet files (gluebenchmark.com)"
_KARPATHY = "{file} of Karpathy's splits beside {folders}"


class Evaluation(NamedTuple):
    """A config of configs/downstream.

    batch: samples of a training step over all processes, 0 if nothing is fine-tuned. needs: what its data folder holds.
    """

    config: str
    batch: int
    needs: str


class Row(NamedTuple):
    """A row of Table 3: the mean of some figures of an evaluation."""

    name: str
    evaluation: str
    figures: tuple[str, ...]


_SETS = {  # name in Table 3: name of the set, the figure that is its convention
    "ImageNet": ("imagenet", "accuracy"),
    "Food101": ("food101", "accuracy"),
    "CIFAR10": ("cifar10", "accuracy"),
    "CIFAR100": ("cifar100", "accuracy"),
    "Cars": ("cars", "accuracy"),
    "Aircraft": ("aircraft", "mean_per_class"),
    "DTD": ("dtd", "accuracy"),
    "Pets": ("pets", "mean_per_class"),
    "Caltech101": ("caltech101", "mean_per_class"),
    "Flowers102": ("flowers102", "mean_per_class"),
    "MNIST": ("mnist", "accuracy"),
    "STL10": ("stl10", "accuracy"),
    "EuroSAT": ("eurosat", "accuracy"),
    "GTSRB": ("gtsrb", "accuracy"),
    "SST": ("sst", "accuracy"),
}
_TASKS = {  # name in Table 3: task, figures
    "MNLI": ("mnli", ("accuracy",)),
    "MRPC": ("mrpc", ("accuracy", "f1")),
    "QQP": ("qqp", ("accuracy", "f1")),
    "SST-2": ("sst2", ("accuracy",)),
    "QNLI": ("qnli", ("accuracy",)),
    "RTE": ("rte", ("accuracy",)),
    "STS-B": ("stsb", ("pearson", "spearman")),
}


def _layout(key: str) -> str:
    return f"{SOURCES[key].layout} ({SOURCES[key].origin})"


EVALUATIONS = {
    **{f"glue_{task}": Evaluation(f"glue_{task}_vitb", 32, f"{name}: {_GLUE}") for name, (task, _) in _TASKS.items()},
    **{
        f"linear_{key}": Evaluation(f"linear_{key}_vitb", 0, f"{name}: {_layout(key)}")
        for name, (key, _) in _SETS.items()
    },
    "vqa_vqav2": Evaluation(
        "vqa_vqav2_vitb",
        256,
        "VQAv2: its questions and annotations (visualqa.org), train2014/ and val2014/ (cocodataset.org), and the "
        "answers.json that tools/dataset/build_vqa_answers.py makes",
    ),
    "retrieval_flickr30k": Evaluation(
        "retrieval_flickr30k_vitb",
        0,
        _KARPATHY.format(file="dataset_flickr30k.json", folders="flickr30k-images/ (University of Illinois)"),
    ),
    "retrieval_coco": Evaluation(
        "retrieval_coco_vitb",
        0,
        _KARPATHY.format(file="dataset_coco.json", folders="train2014/ and val2014/ (cocodataset.org)"),
    ),
}

ROWS: dict[str, tuple[Row, ...]] = {
    "Language": tuple(Row(name, f"glue_{task}", figures) for name, (task, figures) in _TASKS.items()),
    "Vision": tuple(Row(name, f"linear_{key}", (figure,)) for name, (key, figure) in _SETS.items()),
    "Multimodal": (
        Row("VQAv2", "vqa_vqav2", ("accuracy",)),
        *(
            Row(f"{name} {way.upper()}@{k}", f"retrieval_{name.lower()}", (f"{way}@{k}",))
            for name in ("Flickr30K", "COCO")
            for way in ("tr", "ir")
            for k in (1, 5)
        ),
    ),
}
# Table 2 keeps accuracy and F1 apart and takes the mean of the four recalls.
_RECALLS = ("tr@1", "tr@5", "ir@1", "ir@5")
TABLE_2_ROWS = (
    Row("VQAv2", "vqa_vqav2", ("accuracy",)),
    Row("COCO", "retrieval_coco", _RECALLS),
    Row("Flickr30K", "retrieval_flickr30k", _RECALLS),
    *(
        Row(name, f"glue_{_TASKS[name][0]}", _TASKS[name][1])
        for name in ("SST-2", "RTE", "MRPC", "QQP", "MNLI", "QNLI", "STS-B")
    ),
    Row("ImageNet", "linear_imagenet", ("accuracy",)),
)


def figures_of(evaluation: str) -> set[str]:
    """What an evaluation must measure for the tables."""
    rows = (row for group in (*ROWS.values(), TABLE_2_ROWS) for row in group)
    return {name for row in rows if row.evaluation == evaluation for name in row.figures}


def score(row: Row, metrics: Mapping[str, Mapping[str, float]]) -> float | None:
    """A row's figure in percent, None where its evaluation has not been run.

    Args:
        metrics: By evaluation.
    Raises: ValueError if the evaluation's figures lack one that the row needs.
    """
    found = metrics.get(row.evaluation)
    if found is None:
        return None
    missing = set(row.figures) - set(found)
    if missing:
        raise ValueError(f"{row.evaluation}: the figures {sorted(found)} lack {sorted(missing)}")
    return 100 * sum(found[name] for name in row.figures) / len(row.figures)

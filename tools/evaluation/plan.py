"""Which evaluation gives which row of the paper's tables, and what data each needs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

_GLUE = "train and dev (MNLI: dev_matched and dev_mismatched) as GLUE's .tsv files or as parquet files"
_KARPATHY = "Karpathy's {file} beside the folder{s} {folders}"


class Evaluation(NamedTuple):
    """A config of configs/downstream. trains: it is fine-tuned first. needs: what its data folder should hold."""

    config: str
    trains: bool
    needs: str


class Row(NamedTuple):
    """A row of Table 3: the mean of some figures of an evaluation."""

    name: str
    evaluation: str
    figures: tuple[str, ...]


_SETS = {  # name in Table 3: name of the set, figure, what its folder holds
    "ImageNet": ("imagenet", "accuracy", "train/ and val/ of ILSVRC 2012, a folder a class"),
    "Food101": ("food101", "accuracy", "food-101/"),
    "CIFAR10": ("cifar10", "accuracy", "cifar-10-batches-py/"),
    "CIFAR100": ("cifar100", "accuracy", "cifar-100-python/"),
    "Cars": (
        "cars",
        "accuracy",
        "stanford_cars/ with cars_train/, cars_test/, devkit/ and the test labels",
    ),
    "Aircraft": ("aircraft", "mean_per_class", "fgvc-aircraft-2013b/"),
    "DTD": ("dtd", "accuracy", "dtd/dtd/"),
    "Pets": ("pets", "mean_per_class", "oxford-iiit-pet/ with images/ and annotations/"),
    "Caltech101": ("caltech101", "mean_per_class", "caltech101/101_ObjectCategories/"),
    "Flowers102": ("flowers102", "mean_per_class", "flowers-102/ with jpg/, imagelabels.mat and setid.mat"),
    "MNIST": ("mnist", "accuracy", "MNIST/raw/ with the four idx files"),
    "STL10": ("stl10", "accuracy", "stl10_binary/"),
    "EuroSAT": ("eurosat", "accuracy", "eurosat/2750/ (the RGB version)"),
    "GTSRB": ("gtsrb", "accuracy", "gtsrb/ with GTSRB/ and GT-final_test.csv"),
    "SST": ("sst", "accuracy", "rendered-sst2/"),
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

EVALUATIONS = {
    **{f"glue_{task}": Evaluation(f"glue_{task}_vitb", True, f"{name}: {_GLUE}") for name, (task, _) in _TASKS.items()},
    **{
        f"linear_{key}": Evaluation(f"linear_{key}_vitb", False, f"{name}: {holds}")
        for name, (key, _, holds) in _SETS.items()
    },
    "vqa_vqav2": Evaluation(
        "vqa_vqav2_vitb",
        True,
        "VQAv2's questions, annotations, train2014/ and val2014/, and the answers.json that "
        "tools/dataset/build_vqa_answers.py makes",
    ),
    "retrieval_flickr30k": Evaluation(
        "retrieval_flickr30k_vitb",
        False,
        _KARPATHY.format(file="dataset_flickr30k.json", s="", folders="flickr30k-images/"),
    ),
    "retrieval_coco": Evaluation(
        "retrieval_coco_vitb", False, _KARPATHY.format(file="dataset_coco.json", s="s", folders="train2014/, val2014/")
    ),
}

ROWS: dict[str, tuple[Row, ...]] = {
    "Language": tuple(Row(name, f"glue_{task}", figures) for name, (task, figures) in _TASKS.items()),
    "Vision": tuple(Row(name, f"linear_{key}", (figure,)) for name, (key, figure, _) in _SETS.items()),
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

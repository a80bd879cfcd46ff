"""The paper's ablations as data: which runs of the demo's size each needs, what is compared, what the paper found."""

from __future__ import annotations

from statistics import fmean
from typing import NamedTuple


class Run(NamedTuple):
    """A training run.

    config: Name below configs/. after: the run that it starts from. processes: how many train together. measured_in:
    the config whose model it is measured in, if not its own: what the run has no weights for comes from `after`.
    """

    config: str
    after: str | None = None
    processes: int = 1
    measured_in: str | None = None


class Comparison(NamedTuple):
    """Two runs, each with its label; differences are the second minus the first, as the paper prints them."""

    title: str
    table: str
    first: tuple[str, str]
    second: tuple[str, str]
    paper: dict[str, tuple[tuple[float, ...], tuple[float, ...]]]


RUNS = {
    "stage1": Run("demo/stage1"),
    "stage2": Run("demo/stage2", "stage1"),
    "stage3": Run("demo/stage3", "stage2", processes=2),
    "combined": Run("ablations/demo_combined", "stage1", processes=2),
    "stage2_text_only": Run("demo/stage2_text_only", "stage1", measured_in="demo/stage2"),
    "stage2_shared_decoder": Run("ablations/demo_stage2_shared_decoder", "stage1"),
    "stage3_pairs_only": Run("ablations/demo_stage3_pairs_only", "stage2", processes=2, measured_in="demo/stage3"),
    "stage3_no_cmga": Run("ablations/demo_stage3_no_cmga", "stage2", processes=2),
    "stage3_with_images": Run("ablations/demo_stage3_with_images", "stage2", processes=2),
}

# Figures of the paper in its order: language tasks MNLI, MRPC, QQP, SST-2, QNLI, RTE, STS-B; vision ImageNet.
TASKS = {
    "language": ("MNLI", "MRPC", "QQP", "SST-2", "QNLI", "RTE", "STS-B"),
    "vision": ("ImageNet",),
    "multimodal": ("COCO", "Flickr30K", "VQAv2"),
}
COMPARISONS = {
    "images_stage3": Comparison(
        "Images in stage 3 too (4.2, text on Table 4: no significant differences)",
        "table4",
        ("text and pairs", "stage3"),
        ("with images", "stage3_with_images"),
        {},
    ),
    "separate_stages": Comparison(
        "Stages 2 and 3 (Table 5)",
        "table5",
        ("combined", "combined"),
        ("separate", "stage3"),
        {
            "language": ((74.0, 76.6, 86.5, 87.6, 82.4, 53.4, 71.2), (76.5, 79.5, 87.8, 89.4, 85.0, 57.4, 83.0)),
            "vision": ((70.9,), (69.4,)),
            "multimodal": ((54.5, 68.9, 69.8), (53.1, 66.9, 68.4)),
        },
    ),
    "simultaneous_stage2": Comparison(
        "Simultaneous training in stage 2 (Table 6)",
        "table6",
        ("text and images", "stage2"),
        ("text only", "stage2_text_only"),
        {
            "language": ((78.5, 84.7, 88.3, 89.4, 86.7, 59.2, 86.2), (78.7, 83.3, 88.1, 90.1, 88.0, 61.0, 84.5)),
            "vision": ((52.9,), (9.5,)),
        },
    ),
    "shared_decoder": Comparison(
        "Decoder in stage 2 (Table 6)",
        "table6",
        ("shared", "stage2_shared_decoder"),
        ("separate", "stage2"),
        {
            "language": ((77.5, 86.4, 87.8, 89.4, 86.0, 58.4, 84.7), (78.5, 84.7, 88.4, 89.4, 86.7, 59.2, 86.2)),
            "vision": ((51.8,), (52.9,)),
        },
    ),
    "simultaneous_stage3": Comparison(
        "Simultaneous training in stage 3 (Table 6)",
        "table6",
        ("text and pairs", "stage3"),
        ("pairs only", "stage3_pairs_only"),
        {
            "language": ((78.1, 84.2, 88.4, 89.6, 86.0, 59.6, 87.0), (78.7, 78.3, 88.0, 88.5, 84.2, 54.1, 82.5)),
            "vision": ((75.7,), (73.6,)),
            "multimodal": ((62.0, 78.7, 71.2), (64.6, 78.1, 71.5)),
        },
    ),
    "cmga": Comparison(
        "Cross-modality gradient accumulation (Table 6)",
        "table6",
        ("without", "stage3_no_cmga"),
        ("with", "stage3"),
        {
            "language": ((75.4, 77.6, 87.2, 87.6, 84.1, 55.9, 84.3), (75.6, 78.6, 87.7, 89.2, 85.9, 56.6, 85.0)),
            "vision": ((71.9,), (72.2,)),
            "multimodal": ((54.1, 67.4, 69.3), (55.4, 70.5, 70.2)),
        },
    ),
}
TABLES = ("table4", "table5", "table6")


def chosen(name: str) -> list[str]:
    """The comparisons of a table, or the one of that name."""
    return [key for key, comparison in COMPARISONS.items() if name in (key, comparison.table)]


def chain(name: str) -> list[str]:
    """A run after all that it starts from, the first one first."""
    run = RUNS[name]
    return [*(chain(run.after) if run.after else []), name]


def needed(comparisons: list[str]) -> list[str]:
    """All runs that some comparisons need, each after what it starts from."""
    ends = [run for key in comparisons for _, run in (COMPARISONS[key].first, COMPARISONS[key].second)]
    return list(dict.fromkeys(name for end in ends for name in chain(end)))


def paper_difference(comparison: Comparison, modality: str) -> float | None:
    """Mean of the paper's differences over a modality's tasks, in points; None where it gives none."""
    if modality not in comparison.paper:
        return None
    first, second = comparison.paper[modality]
    return fmean(second) - fmean(first)

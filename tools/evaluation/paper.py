"""The paper's figures, in percent, as published (MoMo, Tables 2 to 4 and Figure 1)."""

from __future__ import annotations

from typing import NamedTuple


class Published(NamedTuple):
    """One row of Table 3. how: FT fine-tuning, LE linear evaluation, ZS zero-shot."""

    name: str
    how: str
    momo: float
    flava: float
    clip: float


TABLE_3: dict[str, tuple[Published, ...]] = {
    "Language": (
        Published("MNLI", "FT", 78.1, 80.3, 33.5),
        Published("MRPC", "FT", 84.2, 84.2, 69.9),
        Published("QQP", "FT", 88.4, 88.7, 65.3),
        Published("SST-2", "FT", 89.6, 90.9, 88.2),
        Published("QNLI", "FT", 86.0, 87.3, 50.5),
        Published("RTE", "FT", 59.6, 57.8, 55.2),
        Published("STS-B", "FT", 87.0, 85.7, 16.0),
    ),
    "Vision": (
        Published("ImageNet", "LE", 75.7, 75.5, 80.2),
        Published("Food101", "LE", 90.7, 88.5, 91.6),
        Published("CIFAR10", "LE", 95.0, 92.8, 94.9),
        Published("CIFAR100", "LE", 80.5, 77.7, 81.1),
        Published("Cars", "LE", 71.6, 70.9, 86.0),
        Published("Aircraft", "LE", 51.2, 47.3, 51.4),
        Published("DTD", "LE", 79.7, 77.3, 78.5),
        Published("Pets", "LE", 91.7, 84.8, 91.7),
        Published("Caltech101", "LE", 92.2, 95.7, 95.5),
        Published("Flowers102", "LE", 97.8, 96.4, 97.1),
        Published("MNIST", "LE", 97.0, 98.4, 99.0),
        Published("STL10", "LE", 98.2, 98.9, 99.1),
        Published("EuroSAT", "LE", 95.8, 97.3, 95.4),
        Published("GTSRB", "LE", 80.7, 79.5, 88.6),
        Published("SST", "LE", 56.7, 57.1, 74.7),
    ),
    "Multimodal": (
        Published("VQAv2", "FT", 71.2, 72.5, 54.8),
        Published("Flickr30K TR@1", "ZS", 74.2, 67.7, 82.2),
        Published("Flickr30K TR@5", "ZS", 93.7, 93.2, 96.6),
        Published("Flickr30K IR@1", "ZS", 60.9, 65.2, 62.1),
        Published("Flickr30K IR@5", "ZS", 84.8, 89.4, 85.7),
        Published("COCO TR@1", "ZS", 59.3, 42.1, 52.5),
        Published("COCO TR@5", "ZS", 84.1, 70.4, 76.7),
        Published("COCO IR@1", "ZS", 42.7, 38.4, 33.1),
        Published("COCO IR@5", "ZS", 70.6, 67.5, 58.4),
    ),
}
PUBLISHED_AVERAGES = {
    "Language": (81.8, 82.1, 54.1),
    "Vision": (83.6, 82.5, 86.7),
    "Multimodal": (71.3, 68.2, 66.9),
}

# Table 2: MoMo, FLAVA, CLIP-ViT-B/16. Two values are accuracy and F1.
TABLE_2: dict[str, tuple[tuple[float, ...], tuple[float, ...], tuple[float, ...]]] = {
    "VQAv2": ((71.2,), (72.8,), (55.3,)),
    "COCO": ((64.0,), (56.3,), (55.2,)),
    "Flickr30K": ((78.2,), (79.1,), (81.6,)),
    "SST-2": ((89.6,), (90.9,), (88.2,)),
    "RTE": ((59.6,), (57.8,), (55.2,)),
    "MRPC": ((81.3, 87.0), (81.4, 86.9), (74.9, 65.0)),
    "QQP": ((90.2, 86.6), (90.4, 87.2), (76.8, 53.9)),
    "MNLI": ((78.1,), (80.3,), (33.5,)),
    "QNLI": ((86.0,), (87.3,), (50.5,)),
    "STS-B": ((87.0,), (85.7,), (16.0,)),
    "ImageNet": ((75.7,), (75.5,), (80.2,)),
}

# Table 4: after stages 1, 2 and 3; None where a stage cannot do it.
TABLE_4: dict[str, tuple[float | None, float | None, float | None]] = {
    "MNLI": (59.0, 78.5, 78.1),
    "MRPC": (74.7, 84.7, 84.2),
    "QQP": (67.4, 88.4, 88.4),
    "SST-2": (80.1, 89.4, 89.6),
    "QNLI": (61.5, 86.7, 86.0),
    "RTE": (52.7, 59.2, 59.6),
    "STS-B": (7.4, 86.2, 87.0),
    "ImageNet": (66.9, 52.9, 75.7),
    "VQAv2": (56.7, 57.1, 71.2),
    "Flickr30K": (None, None, 78.2),
    "COCO": (None, None, 64.0),
}

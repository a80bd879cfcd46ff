"""The fifteen image classification sets of linear and zero-shot evaluation, read by torchvision."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.utils.data import Dataset
from torchvision import datasets
from torchvision.models import ViT_B_16_Weights
from torchvision.transforms.v2.functional import pil_to_tensor

from momo.ops import key_of, keyed_generator
from momo.registry import DATASETS

from .base import KeyedDataset, existing
from .class_names import CLASS_NAMES, readable

SPLITS = ("train", "val", "trainval", "test")
HELD_OUT = 0.1  # of the training part, where a set has no validation part of its own


class Part(NamedTuple):
    """Some samples of a torchvision dataset."""

    images: Dataset
    indices: np.ndarray
    labels: np.ndarray  # of all its samples


class VisionSource(NamedTuple):
    """How a set lies on disk.

    open: from root and the set's own name of a part to torchvision's dataset. parts: its names of train, validation and
    test; a set without a validation part has ''. layout: what should lie below the root. origin: who publishes it.
    draw: of a set that comes in one piece, how many of a class's n samples are (training, test).
    """

    open: Callable[[str, str], Dataset]
    parts: tuple[str, str, str]
    layout: str
    origin: str
    draw: Callable[[int], tuple[int, int]] | None = None


def _by_split(cls: type, **settings: Any) -> Callable[[str, str], Dataset]:
    return lambda root, part: cls(root, split=part, **settings)


def _by_flag(cls: type) -> Callable[[str, str], Dataset]:
    return lambda root, part: cls(root, train=part == "train")


def _whole(cls: type) -> Callable[[str, str], Dataset]:
    return lambda root, part: cls(root)


def _caltech_parts(count: int) -> tuple[int, int]:
    """30 for training, the others for the test (Fei-Fei et al. 2004); of a class with fewer than 40, three quarters."""
    training = min(30, count - max(count // 4, 1))
    return training, count - training


def _eurosat_parts(count: int) -> tuple[int, int]:
    """1,000 and 500 of a class, in all CLIP's 10,000 and 5,000; of a smaller one two thirds and the rest."""
    training = min(1000, max(count * 2 // 3, 1))
    return training, min(500, count - training)


_TRAIN_TEST = ("train", "", "test")
_TRAIN_VAL_TEST = ("train", "val", "test")
SOURCES = {
    "imagenet": VisionSource(
        lambda root, part: datasets.ImageFolder(str(Path(root, part))),
        ("train", "", "val"),
        "train/ and val/ of ILSVRC 2012 with a folder a WordNet id",
        "image-net.org",
    ),
    "food101": VisionSource(
        _by_split(datasets.Food101),
        _TRAIN_TEST,
        "food-101/ with images/ and meta/",
        "data.vision.ee.ethz.ch/cvl/datasets_extra/food-101",
    ),
    "cifar10": VisionSource(
        _by_flag(datasets.CIFAR10), _TRAIN_TEST, "cifar-10-batches-py/", "cs.toronto.edu/~kriz/cifar.html"
    ),
    "cifar100": VisionSource(
        _by_flag(datasets.CIFAR100), _TRAIN_TEST, "cifar-100-python/", "cs.toronto.edu/~kriz/cifar.html"
    ),
    "cars": VisionSource(
        _by_split(datasets.StanfordCars),
        _TRAIN_TEST,
        "stanford_cars/ with cars_train/, cars_test/, devkit/ and cars_test_annos_withlabels.mat",
        "ai.stanford.edu/~jkrause/cars/car_dataset.html",
    ),
    "aircraft": VisionSource(
        _by_split(datasets.FGVCAircraft),
        _TRAIN_VAL_TEST,
        "fgvc-aircraft-2013b/data/",
        "robots.ox.ac.uk/~vgg/data/fgvc-aircraft",
    ),
    "dtd": VisionSource(
        _by_split(datasets.DTD), _TRAIN_VAL_TEST, "dtd/dtd/ with images/ and labels/", "robots.ox.ac.uk/~vgg/data/dtd"
    ),
    "pets": VisionSource(
        _by_split(datasets.OxfordIIITPet),
        ("trainval", "", "test"),
        "oxford-iiit-pet/ with images/ and annotations/",
        "robots.ox.ac.uk/~vgg/data/pets",
    ),
    "caltech101": VisionSource(
        _whole(datasets.Caltech101),
        ("", "", ""),
        "caltech101/ with 101_ObjectCategories/ and Annotations/",
        "data.caltech.edu/records/20086",
        _caltech_parts,
    ),
    "flowers102": VisionSource(
        _by_split(datasets.Flowers102),
        _TRAIN_VAL_TEST,
        "flowers-102/ with jpg/, imagelabels.mat and setid.mat",
        "robots.ox.ac.uk/~vgg/data/flowers/102",
    ),
    "mnist": VisionSource(
        _by_flag(datasets.MNIST), _TRAIN_TEST, "MNIST/raw/ with the four idx files", "yann.lecun.com/exdb/mnist"
    ),
    "stl10": VisionSource(_by_split(datasets.STL10), _TRAIN_TEST, "stl10_binary/", "cs.stanford.edu/~acoates/stl10"),
    "eurosat": VisionSource(
        _whole(datasets.EuroSAT),
        ("", "", ""),
        "eurosat/2750/ with a folder a class",
        "github.com/phelber/EuroSAT",
        _eurosat_parts,
    ),
    "gtsrb": VisionSource(
        _by_split(datasets.GTSRB),
        _TRAIN_TEST,
        "gtsrb/ with GTSRB/Training/, GTSRB/Final_Test/Images/, GT-final_test.csv",
        "benchmark.ini.rub.de",
    ),
    "sst": VisionSource(
        _by_split(datasets.RenderedSST2),
        _TRAIN_VAL_TEST,
        "rendered-sst2/ with train/, valid/, test/",
        "github.com/openai/CLIP, data/rendered-sst2.md",
    ),
}


@DATASETS.register_module()
class VisionSet(KeyedDataset):
    """A split of one of the sets in SOURCES, from its published files; nothing is downloaded.

    Where a set has no validation part, a tenth of each class of its training part stands in, drawn once and for all;
    'trainval' is all that may be learnt from. Caltech101 and EuroSAT come in one piece and are divided likewise.

    Samples have 'image' (3, H, W) uint8 and 'label'.

    Args:
        name: A name in SOURCES.
        root: Folder with what the set's archives unpack to.
        split: 'train', 'val', 'trainval' or 'test'.
        pipeline: Transforms of 'image'.
    Raises: ValueError for an unknown name or split; FileNotFoundError naming what should lie there.
    """

    def __init__(self, name: str, root: str, split: str, pipeline: Sequence[dict]) -> None:
        super().__init__(pipeline)
        if name not in SOURCES:
            raise ValueError(f"name={name!r} is unknown; choose one of {sorted(SOURCES)}")
        if split not in SPLITS:
            raise ValueError(f"split={split!r} is unknown; choose one of {SPLITS}")
        self.name, self.split, self.root = name, split, root
        existing(root, "root", f"{SOURCES[name].layout}, from {SOURCES[name].origin},")
        self.parts = self._parts(SOURCES[name])
        self.class_names = _class_names(name, self.parts[0].images)
        self.labels = np.concatenate([part.labels[part.indices] for part in self.parts])
        self._ends = np.cumsum([len(part.indices) for part in self.parts])

    def _parts(self, source: VisionSource) -> list[Part]:
        if source.draw is not None:
            return [self._drawn(self._open(source, ""), source.draw)]
        train, val, test = source.parts
        if self.split == "test":
            return [_all_of(self._open(source, test))]
        if val:
            own = {"train": (train,), "val": (val,), "trainval": (train, val)}[self.split]
            return [_all_of(self._open(source, name)) for name in own]
        part = _all_of(self._open(source, train))
        if self.split == "trainval":
            return [part]
        held_out = self._stratified(part.labels, part.indices, _held_out)
        chosen = held_out if self.split == "val" else np.setdiff1d(part.indices, held_out)
        return [part._replace(indices=chosen)]

    def _open(self, source: VisionSource, name: str) -> Dataset:
        try:
            return source.open(self.root, name)
        except (RuntimeError, FileNotFoundError) as error:
            found = str(error).removesuffix(" You can use download=True to download it")
            raise FileNotFoundError(
                f"root={self.root!r} does not hold {self.name} as published: {source.layout}, from {source.origin}, "
                f"should lie there ({found})"
            ) from error

    def _drawn(self, images: Dataset, draw: Callable[[int], tuple[int, int]]) -> Part:
        """The split of a set that comes in one piece."""
        labels, everything = _labels(images), np.arange(len(images))
        trainval = self._stratified(labels, everything, lambda count, _: draw(count)[0])
        rest = np.setdiff1d(everything, trainval)
        if self.split == "test":
            sizes = dict(zip(*np.unique(labels, return_counts=True), strict=True))
            of_class = {label: draw(int(count))[1] for label, count in sizes.items()}
            return Part(images, self._stratified(labels, rest, lambda _, label: of_class[label]), labels)
        held_out = self._stratified(labels, trainval, _held_out)
        chosen = {"trainval": trainval, "val": held_out, "train": np.setdiff1d(trainval, held_out)}[self.split]
        return Part(images, chosen, labels)

    def _stratified(self, labels: np.ndarray, among: np.ndarray, count_of: Callable[[int, int], int]) -> np.ndarray:
        """Some of `among`, of each class as many as `count_of(number, class)` says; the same every time, in order."""
        chosen = []
        for label in np.unique(labels[among]):
            places = among[labels[among] == label]
            shuffled = keyed_generator("split", self.name, int(label), len(places)).permutation(places)
            chosen.append(shuffled[: int(count_of(len(places), label))])
        return np.sort(np.concatenate(chosen))

    def __len__(self) -> int:
        return len(self.labels)

    def read(self, index: int) -> dict[str, Any]:
        number = int(np.searchsorted(self._ends, index, side="right"))
        part = self.parts[number]
        place = int(part.indices[index - (self._ends[number] - len(part.indices))])
        image, label = part.images[place]
        sample_id = f"{self.name}/{self.split}:{index}"
        return {
            "sample_id": sample_id,
            "image": pil_to_tensor(image.convert("RGB")),
            "image_id": key_of(sample_id),
            "label": int(label),
        }


def _held_out(count: int, _label: int) -> int:
    """A tenth of a class, at least one of two."""
    return max(round(count * HELD_OUT), int(count > 1))


def _all_of(images: Dataset) -> Part:
    return Part(images, np.arange(len(images)), _labels(images))


def _labels(images: Dataset) -> np.ndarray:
    """Labels without reading the pictures; torchvision's classes name them in five ways."""
    for name in ("targets", "_labels", "labels", "y"):
        if hasattr(images, name):
            return np.asarray(torch.as_tensor(getattr(images, name)))
    return np.array([label for _, label in images._samples])


def _class_names(name: str, images: Dataset) -> tuple[str, ...]:
    """Names of the classes as a person would say them, by label."""
    if name in CLASS_NAMES:
        return CLASS_NAMES[name]
    names = getattr(images, "classes", None) or images.categories
    if name == "imagenet" and len(names) == 1000:  # folders are WordNet ids, in whose order the labels are
        return tuple(ViT_B_16_Weights.IMAGENET1K_V1.meta["categories"])
    return readable(name, names)

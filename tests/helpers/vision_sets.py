"""Small vision sets on disk in their published layouts: folder names, .mat fields, pickles, idx and csv files."""

from __future__ import annotations

import csv
import hashlib
import json
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat
from torchvision import datasets

TRAIN, TEST = 6, 2  # pictures a class


def picture(*key: int, size: int = 36) -> np.ndarray:
    """(size, size, 3) uint8; brighter for higher labels (key[0]), so that a probe can learn something."""
    noise = np.random.default_rng(key).integers(0, 120, (size, size, 3))
    return np.clip(noise + 60 * key[0], 0, 255).astype(np.uint8)


def save(path: Path, *key: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture(*key)).save(path)


def write_lines(path: Path, lines: list[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines))


def parts(*names: str) -> list[tuple[str, int, int, int]]:
    """(part, label, number, running number) of every picture of three classes."""
    counts = {"test": TEST, "valid": TEST, "val": TEST}
    every = [(name, label, n) for name in names for label in range(3) for n in range(counts.get(name, TRAIN))]
    return [(*row, index + 1) for index, row in enumerate(every)]


def imagenet(root: Path) -> None:
    for part, label, n, _ in parts("train", "val"):
        wnid = f"n0144{label:04d}"
        save(root / part / wnid / f"{wnid}_{n}.JPEG", label, n, part == "val")


def food101(root: Path) -> None:
    names, lists = ("apple_pie", "beet_salad", "waffles"), {"train": {}, "test": {}}
    for part, label, n, index in parts("train", "test"):
        save(root / "food-101" / "images" / names[label] / f"{index}.jpg", label, n, index)
        lists[part].setdefault(names[label], []).append(f"{names[label]}/{index}")
    for part, content in lists.items():
        path = root / "food-101" / "meta" / f"{part}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content))


def _cifar(folder: Path, files: dict[str, str], label_key: str, meta: tuple[str, str], names: int) -> None:
    folder.mkdir(parents=True)
    for file, part in files.items():
        rows = parts(part)
        data = np.stack([picture(label, n, size=32).transpose(2, 0, 1).ravel() for _, label, n, _ in rows])
        content = {"data": data, label_key: [label for _, label, _, _ in rows], "batch_label": file}
        (folder / file).write_bytes(pickle.dumps(content, protocol=2))
    (folder / meta[0]).write_bytes(pickle.dumps({meta[1]: [f"class_{i}" for i in range(names)]}, protocol=2))


def cifar10(root: Path) -> None:
    files = {f"data_batch_{n}": "train" for n in range(1, 6)} | {"test_batch": "test"}
    _cifar(root / "cifar-10-batches-py", files, "labels", ("batches.meta", "label_names"), 10)


def cifar100(root: Path) -> None:
    files = {"train": "train", "test": "test"}
    _cifar(root / "cifar-100-python", files, "fine_labels", ("meta", "fine_label_names"), 100)


def cars(root: Path) -> None:
    base = root / "stanford_cars"
    (base / "devkit").mkdir(parents=True)
    fields = ["bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2", "class", "fname"]
    for part, file in (
        ("train", base / "devkit" / "cars_train_annos.mat"),
        ("test", base / "cars_test_annos_withlabels.mat"),
    ):
        rows = []
        for _, label, n, index in parts(part):
            save(base / f"cars_{part}" / f"{index:05d}.jpg", label, n, part == "test")
            rows.append((1, 1, 30, 30, label + 1, f"{index:05d}.jpg"))
        savemat(file, {"annotations": np.array(rows, dtype=[(field, object) for field in fields])})
    names = np.array(["AM General Hummer SUV 2000", "Acura RL Sedan 2012", "Audi TT RS Coupe 2012"], dtype=object)
    savemat(base / "devkit" / "cars_meta.mat", {"class_names": names})


def aircraft(root: Path) -> None:
    data, names = root / "fgvc-aircraft-2013b" / "data", ("707-320", "A300B4", "Yak-42")
    write_lines(data / "variants.txt", list(names))
    lists: dict[str, list[str]] = {}
    for part, label, _, index in parts("train", "val", "test"):
        save(data / "images" / f"{index:07d}.jpg", label, index)
        lists.setdefault(part, []).append(f"{index:07d} {names[label]}")
    for part, lines in lists.items():
        write_lines(data / f"images_variant_{part}.txt", lines)
    write_lines(data / "images_variant_trainval.txt", lists["train"] + lists["val"])


def dtd(root: Path) -> None:
    base, names = root / "dtd" / "dtd", ("banded", "chequered", "zigzagged")
    lists: dict[str, list[str]] = {}
    for part, label, _, index in parts("train", "val", "test"):
        name = f"{names[label]}/{names[label]}_{index:04d}.jpg"
        save(base / "images" / name, label, index)
        lists.setdefault(part, []).append(name)
    for part, lines in lists.items():
        write_lines(base / "labels" / f"{part}1.txt", lines)


def pets(root: Path) -> None:
    base, names = root / "oxford-iiit-pet", ("Abyssinian", "american_bulldog", "yorkshire_terrier")
    lists: dict[str, list[str]] = {}
    for part, label, _, index in parts("trainval", "test"):
        name = f"{names[label]}_{index}"
        save(base / "images" / f"{name}.jpg", label, index)
        lists.setdefault(part, []).append(f"{name} {label + 1} {1 + (label > 0)} 1")
    for part, lines in lists.items():
        write_lines(base / "annotations" / f"{part}.txt", lines)


def caltech101(root: Path) -> None:
    base = root / "caltech101"
    (base / "Annotations").mkdir(parents=True)
    for label, name in enumerate(("accordion", "airplanes", "yin_yang")):
        for n in range(8):
            save(base / "101_ObjectCategories" / name / f"image_{n + 1:04d}.jpg", label, n)
    save(base / "101_ObjectCategories" / "BACKGROUND_Google" / "image_0001.jpg", 0, 0)


def flowers102(root: Path) -> None:
    base = root / "flowers-102"
    ids: dict[str, list[int]] = {}
    labels = []
    for part, label, _, index in parts("train", "val", "test"):
        save(base / "jpg" / f"image_{index:05d}.jpg", label, index)
        ids.setdefault(part, []).append(index)
        labels.append(label + 1)
    savemat(base / "imagelabels.mat", {"labels": np.array([labels])})
    savemat(base / "setid.mat", {"trnid": [ids["train"]], "valid": [ids["val"]], "tstid": [ids["test"]]})


def mnist(root: Path) -> None:
    raw = root / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for part, name in (("train", "train"), ("test", "t10k")):
        rows = parts(part)
        images = np.stack([picture(label, n, size=28)[..., 0] for _, label, n, _ in rows])
        (raw / f"{name}-images-idx3-ubyte").write_bytes(struct.pack(">iiii", 2051, *images.shape) + images.tobytes())
        labels = bytes(label for _, label, _, _ in rows)
        (raw / f"{name}-labels-idx1-ubyte").write_bytes(struct.pack(">ii", 2049, len(labels)) + labels)


def stl10(root: Path) -> None:
    base = root / "stl10_binary"
    base.mkdir(parents=True)
    for part in ("train", "test"):
        rows = parts(part)
        images = np.stack([picture(label, n, size=96).transpose(2, 1, 0) for _, label, n, _ in rows])
        images.tofile(base / f"{part}_X.bin")
        np.array([label + 1 for _, label, _, _ in rows], dtype=np.uint8).tofile(base / f"{part}_y.bin")
    (base / "unlabeled_X.bin").write_bytes(b"")
    write_lines(base / "class_names.txt", ["airplane", "bird", "car"])
    write_lines(base / "fold_indices.txt", ["0 1 2"] * 10)


def eurosat(root: Path) -> None:
    for label, name in enumerate(("AnnualCrop", "Forest", "SeaLake")):
        for n in range(9):
            save(root / "eurosat" / "2750" / name / f"{name}_{n + 1}.jpg", label, n)


def gtsrb(root: Path) -> None:
    base = root / "gtsrb"
    for _, label, n, _ in parts("train"):
        save(base / "GTSRB" / "Training" / f"{label:05d}" / f"{n:05d}_00000.ppm", label, n)
    with_header = [["Filename", "Width", "Height", "Roi.X1", "Roi.Y1", "Roi.X2", "Roi.Y2", "ClassId"]]
    for _, label, _, index in parts("test"):
        save(base / "GTSRB" / "Final_Test" / "Images" / f"{index:05d}.ppm", label, index, 1)
        with_header.append([f"{index:05d}.ppm", 36, 36, 5, 5, 30, 30, label])
    with (base / "GT-final_test.csv").open("w", newline="") as file:
        csv.writer(file, delimiter=";").writerows(with_header)


def sst(root: Path) -> None:
    for part, label, n, _ in parts("train", "valid", "test"):
        if label < 2:
            save(root / "rendered-sst2" / part / ("negative", "positive")[label] / f"{n}.png", label, n, part == "test")


WRITERS = {
    writer.__name__: writer
    for writer in (
        imagenet, food101, cifar10, cifar100, cars, aircraft, dtd, pets, caltech101, flowers102, mnist, stl10, eurosat,
        gtsrb, sst,
    )
}  # fmt: skip


def write_vision_set(name: str, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Write a small set; where torchvision compares files with the published ones' md5, it is given those of these."""
    WRITERS[name](root)
    for cls, folder in ((datasets.CIFAR10, "cifar-10-batches-py"), (datasets.CIFAR100, "cifar-100-python")):
        if (root / folder).is_dir():
            for lists in ("train_list", "test_list"):
                monkeypatch.setattr(cls, lists, [[f, _md5(root / folder / f)] for f, _ in getattr(cls, lists)])
            monkeypatch.setattr(cls, "meta", {**cls.meta, "md5": _md5(root / folder / cls.meta["filename"])})
    if name == "flowers102":
        files = dict(datasets.Flowers102._file_dict)
        for key in ("label", "setid"):
            files[key] = (files[key][0], _md5(root / "flowers-102" / files[key][0]))
        monkeypatch.setattr(datasets.Flowers102, "_file_dict", files)
    if name == "stl10":
        for lists in ("train_list", "test_list"):
            hashed = [[f, _md5(root / "stl10_binary" / f)] for f, _ in getattr(datasets.STL10, lists)]
            monkeypatch.setattr(datasets.STL10, lists, hashed)


def _md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes()).hexdigest()

"""Class names that prompts are made of."""

from pathlib import Path

import pytest
from helpers.vision_sets import WRITERS, write_vision_set
from torchvision import datasets

from momo.datasets import VisionSet
from momo.datasets.class_names import CLASS_NAMES, RENAMED, readable
from momo.evaluation import TEMPLATES

COUNTS = {"mnist": 10, "cifar10": 10, "eurosat": 10, "gtsrb": 43, "sst": 2}


def test_every_class_has_a_name_of_its_own() -> None:
    assert {name: len(names) for name, names in CLASS_NAMES.items()} == COUNTS
    flowers = readable("flowers102", datasets.Flowers102.classes)
    for names in (*CLASS_NAMES.values(), flowers, tuple(RENAMED["caltech101"].values())):
        assert len(set(names)) == len(names)
    assert len(flowers) == 102 and not [name for name in flowers if "?" in name or "_" in name]


def test_renamed_classes_exist() -> None:
    assert set(RENAMED["flowers102"]) <= set(datasets.Flowers102.classes)
    assert readable("caltech101", ["water_lilly", "wild_cat"]) == ("water lily", "wild cat")


@pytest.mark.parametrize("name", ["gtsrb", "mnist"])
def test_labels_stand_for_the_published_order(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_vision_set(name, tmp_path, monkeypatch)
    names = VisionSet(name, str(tmp_path), "test", []).class_names
    known = {"gtsrb": {14: "stop", 17: "no entry", 38: "keep right"}, "mnist": {7: "the number 7"}}[name]
    assert {label: names[label] for label in known} == known


def test_every_set_has_prompts() -> None:
    assert set(TEMPLATES) == set(WRITERS)
    assert all(template.count("{}") == 1 for templates in TEMPLATES.values() for template in templates)

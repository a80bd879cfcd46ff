"""A tiny model of stage 3 and its tokenizer, shared by the tests of the inferencers."""

from pathlib import Path

import pytest
from helpers.data import VOCABULARY, write_images, write_tokenizer
from helpers.tiny import tiny_pretrainer

from momo.datasets import load_tokenizer
from momo.models import MoMoPretrainer


@pytest.fixture(scope="session")
def words(tmp_path_factory):
    """The tokenizer of tests/helpers/data.py."""
    return load_tokenizer(write_tokenizer(tmp_path_factory.mktemp("words")))


@pytest.fixture(scope="session")
def stage3() -> MoMoPretrainer:
    return tiny_pretrainer(3, vocab_size=len(VOCABULARY)).eval()


@pytest.fixture
def photos(tmp_path: Path) -> list[str]:
    """Five pictures of 40 pixels, where the model wants 32, in order of their paths."""
    folder = write_images(tmp_path / "photos", 5)
    return sorted(str(path) for path in Path(folder).rglob("*.png"))

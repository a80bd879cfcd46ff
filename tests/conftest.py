"""Shared by all tests: one thread, so that they are fast beside others, and a fixed seed."""

from collections.abc import Iterator
from unittest import mock

import pytest
import torch

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def fixed_seed() -> None:
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def unformatted_configs() -> Iterator[None]:
    """MMEngine beautifies the whole config for every checkpoint and dump, which takes longer than most tests."""
    with mock.patch("yapf.yapflib.yapf_api.FormatCode", lambda text, **settings: (text, True)):
        yield

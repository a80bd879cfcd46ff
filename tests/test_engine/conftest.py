from collections.abc import Iterator
from unittest import mock

import pytest


@pytest.fixture(scope="session", autouse=True)
def config_text_as_it_is() -> Iterator[None]:
    """MMEngine beautifies the whole config for every checkpoint, which takes longer than these runs."""
    with mock.patch("yapf.yapflib.yapf_api.FormatCode", lambda text, **settings: (text, True)):
        yield

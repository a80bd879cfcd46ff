"""Every line of docs/own_data.md is one that a config may have."""

import ast
import re
from pathlib import Path

import pytest

from momo.engine.config_check.signatures import accepted_parameters
from momo.registry import DATASETS

PAGE = (Path(__file__).parents[2] / "docs" / "own_data.md").read_text(encoding="utf-8")
CALLS = [
    node
    for block in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    for node in ast.walk(ast.parse(block))
    if isinstance(node, ast.Call)
]


def test_every_reader_is_shown() -> None:
    shown = {ast.literal_eval(call.keywords[0].value) for call in CALLS}
    assert shown == {"ImageFolder", "ImageTars", "WebDatasetPairs", "ImageText", "TextCorpus"}


@pytest.mark.parametrize("call", CALLS, ids=ast.unparse)
def test_lines_have_known_keys(call: ast.Call) -> None:
    cfg = {keyword.arg: ast.literal_eval(keyword.value) for keyword in call.keywords}
    accepted = accepted_parameters(DATASETS.get(cfg.pop("type")))
    assert set(cfg) <= set(accepted.parameters) and set(accepted.required()) - set(cfg) == {"pipeline"}

"""Taking a state apart and putting it together."""

import json
import math
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer

from momo.engine.checkpoint import CheckpointError
from momo.engine.checkpoint.state import join_state, split_state


def through_json(state: object) -> object:
    tree, tensors = split_state(state)
    return join_state(json.loads(json.dumps(tree, allow_nan=False)), tensors)


def test_plain_values_come_back_with_their_types() -> None:
    state = {
        "none": None,
        "flags": [True, False],
        "numbers": (1, -2.5, 10**30, 0.1 + 0.2),
        "nested": {"betas": (0.9, (0.95,)), "empty": {}, "list": []},
        3: "a number as a key",
        "$money": "a key that looks like a word",
        (1, "b"): 0,
    }
    assert through_json(state) == state
    assert type(through_json(state)["nested"]["betas"][1]) is tuple


@pytest.mark.parametrize("value", [math.inf, -math.inf])
def test_infinities(value: float) -> None:
    assert through_json([value]) == [value]


def test_nan() -> None:
    assert math.isnan(through_json({"x": math.nan})["x"])


def test_numbers_of_numpy_become_plain() -> None:
    found = through_json({"a": np.float64(0.1), "b": np.int64(3), "c": np.bool_(True), "d": np.float32("nan")})
    assert [type(value) for value in found.values()] == [float, int, bool, float]
    assert found["a"] == 0.1 and found["b"] == 3 and math.isnan(found["d"])


def test_dicts_of_other_kinds_become_plain() -> None:
    assert through_json(OrderedDict(b=1, a=2)) == {"b": 1, "a": 2}


def test_tensors_are_named_by_their_path_and_not_copied() -> None:
    weights = torch.arange(6.0).view(2, 3)
    state = {"optimizer": {"state": {0: {"exp_avg": weights, "step": torch.tensor(3.0)}}}, "list": [torch.ones(1)]}
    tree, tensors = split_state(state)
    assert set(tensors) == {"optimizer/state/0/exp_avg", "optimizer/state/0/step", "list/0"}
    assert tensors["optimizer/state/0/exp_avg"].data_ptr() == weights.data_ptr()
    again = join_state(tree, tensors)
    assert torch.equal(again["optimizer"]["state"][0]["exp_avg"], weights)


def test_paths_that_meet_are_told_apart() -> None:
    found = through_json({"a": {"b/c": torch.zeros(1)}, "a/b": {"c": torch.ones(1)}})
    assert (found["a"]["b/c"].item(), found["a/b"]["c"].item()) == (0, 1)


def test_history_of_logged_values() -> None:
    buffer = HistoryBuffer([0.5, 0.25], [1, 2], max_length=10)
    again = through_json({"loss": buffer})["loss"]
    assert [column.tolist() for column in again.data] == [[0.5, 0.25], [1, 2]]
    assert again.max_length == 10 and again.mean(2) == buffer.mean(2)


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ({1}, "builtins.set"),
        (b"x", "builtins.bytes"),
        (Path("x"), "pathlib"),
        (len, "builtin_function"),
        (1j, "complex"),
    ],
)
def test_other_types_are_refused_by_name(value: object, name: str) -> None:
    with pytest.raises(TypeError, match=rf"cannot hold optimizer/x, a .*{name}"):
        split_state({"optimizer": {"x": value}})


@pytest.mark.parametrize(
    "tree",
    [
        {"$object": "os.system"},
        {"$tensor": "not there"},
        {"$tuple": 3},
        {"$float": "3"},
        {"$dict": [1]},
        {"$history": {"values": 1}},
        {"$tuple": [], "more": 1},
    ],
)
def test_what_is_no_state_is_refused(tree: object) -> None:
    with pytest.raises(CheckpointError, match=r"the state('s| has)"):
        join_state({"a": [tree]}, {})

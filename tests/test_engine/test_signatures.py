"""Arguments of classes as their own source says, through parents and **kwargs."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import pytest
from mmengine.hooks import CheckpointHook
from mmengine.optim import AmpOptimWrapper
from mmengine.optim.scheduler import CosineAnnealingLR
from torch import nn

from momo.engine.config_check.annotations import type_problem
from momo.engine.config_check.signatures import EMPTY, accepted_parameters

if TYPE_CHECKING:
    from nowhere import Something


class Parent:
    def __init__(self, a: int, b: str = "x", c: Something = None) -> None: ...


class Forwards(Parent):
    def __init__(self, d: float = 0.5, **kwargs) -> None:
        super().__init__(**kwargs)


class Fixes(Parent):
    def __init__(self, d: float = 0.5, **kwargs) -> None:
        super().__init__(1, b="y", **kwargs)


class Ignores(nn.Module):
    def __init__(self, d: float = 0.5, **kwargs) -> None:
        super().__init__()


class Keeps:
    def __init__(self, d: float = 0.5, **kwargs) -> None:
        self.kwargs = kwargs


class Declares(Keeps):
    __signature__ = inspect.signature(lambda e, f=1: None)


@pytest.mark.parametrize(
    ("cls", "names", "is_open", "required"),
    [
        (Parent, "a b c", False, "a"),
        (Forwards, "d a b c", False, "a"),
        (Fixes, "d c", False, ""),
        (Ignores, "d", False, ""),
        (Keeps, "d", True, ""),
        (Declares, "e f", False, "e"),
        (dict, "", True, ""),
    ],
)
def test_arguments_of_a_class(cls, names, is_open, required):
    accepted = accepted_parameters(cls)
    assert list(accepted.parameters) == names.split()
    assert accepted.is_open is is_open
    assert accepted.required() == required.split()


def test_mmengine_classes():
    assert {"T_max", "eta_min", "begin", "end"} <= set(accepted_parameters(CosineAnnealingLR).parameters)
    assert "param_name" not in accepted_parameters(CosineAnnealingLR).parameters  # LRSchedulerMixin passes 'lr'
    assert {"dtype", "clip_grad"} <= set(accepted_parameters(AmpOptimWrapper).parameters)
    assert not accepted_parameters(CheckpointHook).is_open


def test_annotation_that_cannot_be_resolved_is_left_out():
    parameters = accepted_parameters(Parent).parameters
    assert parameters["a"].annotation is int and parameters["c"].annotation is EMPTY


@pytest.mark.parametrize(
    ("annotation", "right", "wrong"),
    [
        (int, [3], ["3", 3.0, True, None, [3]]),
        (float, [3, 0.5], ["0.5", True]),
        (bool, [True], [1, "yes"]),
        (int | None, [None, 3], ["3"]),
        (str | list[str], ["a", ["a", "b"], ("a",)], [3, ["a", 3]]),
        (Sequence[str], [["a"], ("a",), []], ["a", [1]]),
        (tuple[float, float], [[1, 2], (0.5, 1)], [[1], [1, 2, 3], 1]),
        (tuple[int, ...], [[1, 2, 3], []], [["a"]]),
        (dict[str, int], [{"a": 1}], [{"a": "b"}, [1]]),
        (Literal["a", "b"], ["a"], ["c"]),
        (nn.Module, [dict(type="X")], ["X", 1]),
        (list[nn.Module], [[dict(type="X")]], [dict(type="X")]),
    ],
)
def test_value_against_annotation(annotation, right, wrong):
    parameter = inspect.Parameter("x", inspect.Parameter.KEYWORD_ONLY, annotation=annotation)
    assert [type_problem(value, parameter) for value in right] == [None] * len(right)
    assert all(f"got {type(value).__name__}" in type_problem(value, parameter) for value in wrong)


def test_type_of_a_default_that_breaks_its_annotation_is_right_too():
    parameter = inspect.Parameter("x", inspect.Parameter.KEYWORD_ONLY, annotation=int, default=None)
    assert type_problem(None, parameter) is None and type_problem(3, parameter) is None
    assert type_problem("3", parameter) == "expected int, got str '3'"

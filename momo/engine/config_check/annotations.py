"""Does a value from a config file fit the annotation of the parameter that receives it?"""

from __future__ import annotations

import collections.abc
import enum
import functools
import inspect
import os
import types
import typing
from typing import Any, Union

import torch
import typeguard
from torch import nn

EMPTY = inspect.Parameter.empty
PLAIN = (str, int, float, bool, bytes, type(None))
SEQUENCES = (list, collections.abc.Sequence, collections.abc.MutableSequence, collections.abc.Iterable)
MAPPINGS = (dict, collections.abc.Mapping, collections.abc.MutableMapping)
WRITTEN_AS_STR = (os.PathLike, enum.Enum, torch.dtype, torch.device)


def type_problem(value: Any, parameter: inspect.Parameter) -> str | None:
    """What is wrong with `value` for `parameter`, or None.

    Config files have no tuples after --cfg-options and no objects, so a list stands for a tuple and a dict for any
    object; an int is a float. A value that is not plain data, and a parameter without a usable annotation, pass.
    Returns: 'expected <annotation>, got <value>'.
    """
    if parameter.annotation is EMPTY or not _is_plain(value):
        return None
    expected = _lenient(parameter.annotation)
    # `seed: int = None`: where an author's own default breaks the annotation, its type is right too.
    if parameter.default is not EMPTY and not _fits(parameter.default, expected):
        expected = expected | _lenient(type(parameter.default))
    return None if _fits(value, expected) else _message(value, parameter)


def _fits(value: Any, expected: Any) -> bool:
    # Python's bool is an int, but in a config `batch_size=True` is a slip.
    if type(value) is bool and expected is not Any:
        return not {bool, Any}.isdisjoint(typing.get_args(expected) or (expected,))
    try:
        typeguard.check_type(
            _canonical(value),
            expected,
            forward_ref_policy=typeguard.ForwardRefPolicy.IGNORE,
            collection_check_strategy=typeguard.CollectionCheckStrategy.ALL_ITEMS,
        )
    except typeguard.TypeCheckError:
        return False
    return True


def _message(value: Any, parameter: inspect.Parameter) -> str:
    annotation = inspect.formatannotation(parameter.annotation).replace("typing.", "")
    return f"expected {annotation}, got {type(value).__name__} {value!r}"


def _is_plain(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return all(map(_is_plain, value))
    if isinstance(value, dict):
        return all(map(_is_plain, value.values()))
    return type(value) in PLAIN


def _canonical(value: Any) -> Any:
    """`value` with a tuple for each list, as `_lenient` does with annotations."""
    if isinstance(value, (list, tuple)):
        return tuple(map(_canonical, value))
    if isinstance(value, dict):
        return {key: _canonical(item) for key, item in value.items()}
    return value


@functools.cache
def _lenient(annotation: Any) -> Any:
    """The annotation as a config file can meet it: one kind of sequence, and a dict where an object is built."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is None:
        return _lenient_class(annotation)
    if origin in (Union, types.UnionType):
        return Union[tuple(map(_lenient, arguments))]  # noqa: UP007
    if origin is typing.Literal:
        return annotation
    if origin is typing.Annotated:
        return _lenient(arguments[0])
    if origin is tuple:
        return tuple[tuple(item if item is ... else _lenient(item) for item in arguments)] if arguments else tuple
    if origin in SEQUENCES:
        return tuple[_lenient(arguments[0]), ...] if arguments else tuple
    if origin in MAPPINGS:
        return dict[tuple(map(_lenient, arguments))] if arguments else dict
    return Any


def _lenient_class(annotation: Any) -> Any:
    if annotation is None or annotation in PLAIN:
        return annotation or type(None)
    if not inspect.isclass(annotation):
        return Any
    if typing.is_typeddict(annotation):
        return annotation
    if issubclass(annotation, (list, tuple)):
        return tuple
    if issubclass(annotation, dict):
        return dict
    if issubclass(annotation, nn.Module):
        return annotation | dict | tuple
    if issubclass(annotation, WRITTEN_AS_STR):
        return annotation | str
    if annotation is object or typing.Protocol in annotation.__mro__:
        return Any
    return annotation | dict

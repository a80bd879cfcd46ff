"""Which keyword arguments a class or function takes, read from its source and never by calling it."""

from __future__ import annotations

import ast
import functools
import inspect
import textwrap
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from mmengine.config.utils import MODULE2PACKAGE
from mmengine.hooks import CheckpointHook
from torch import nn

EMPTY = inspect.Parameter.empty
# What these do with their **kwargs allows no further names: nn.Module only complains about them, CheckpointHook hands
# them to Runner.save_checkpoint, whose arguments it has passed already.
TAKE_NO_KWARGS = (object, nn.Module, CheckpointHook)
# OpenMMLab's other toolkits annotate loosely (`topk: Tuple[int] = (1, 5)`), and their classes edit the dicts that they
# are given before they build them.
TOOLKITS = frozenset({"mmcv", *MODULE2PACKAGE})


@dataclass(frozen=True)
class Accepted:
    """The keyword arguments of a callable.

    Attributes:
        parameters: By name, annotations resolved; `inspect.Parameter.empty` where that fails, and for the classes of
            OpenMMLab's other toolkits.
        is_open: Other names may be right as well, because the callable uses its own **kwargs in a way not followed.
    """

    parameters: Mapping[str, inspect.Parameter]
    is_open: bool = False

    def required(self) -> list[str]:
        """Names without a default."""
        return [name for name, parameter in self.parameters.items() if parameter.default is EMPTY]


@dataclass(frozen=True)
class _Forwarding:
    """How an `__init__` hands its **kwargs to `super().__init__`: which of the next class's arguments it fixes."""

    positional: int
    keywords: frozenset[str]


@functools.cache
def accepted_parameters(target: Callable) -> Accepted:
    """The keyword arguments that `target` takes.

    A class whose `__init__` only hands its **kwargs to `super().__init__` takes its parents' arguments too, less those
    that it fixes in that call. A class that ignores its **kwargs takes no other names, although Python would not
    complain: a key that does nothing is a mistake. A class with a `__signature__` has said what it takes.
    """
    if inspect.isclass(target) and "__signature__" not in vars(target):
        return _of_class(target)
    try:
        signature = inspect.signature(target)
    except (TypeError, ValueError):  # some builtins have none
        return Accepted({}, is_open=True)
    parameters = _keywords(list(signature.parameters.values()), target)
    return Accepted(parameters, is_open=_kwargs_name(signature) is not None)


def of_toolkit(target: Callable) -> bool:
    """Whether `target` belongs to another OpenMMLab toolkit, such as mmpretrain."""
    return (getattr(target, "__module__", None) or "").partition(".")[0] in TOOLKITS


def without(accepted: Accepted, *names: str) -> Accepted:
    """`accepted` less some names."""
    kept = {name: parameter for name, parameter in accepted.parameters.items() if name not in names}
    return Accepted(kept, accepted.is_open)


def _of_class(cls: type) -> Accepted:
    parameters: dict[str, inspect.Parameter] = {}
    fixed: set[str] = set()
    fixed_positional = 0
    for klass in cls.__mro__:
        init = vars(klass).get("__init__")
        if init is None:
            continue
        signature = inspect.signature(init)
        own = list(signature.parameters.values())[1:]
        fixed |= {parameter.name for parameter in own[:fixed_positional]}
        for name, parameter in _keywords(own, init).items():
            if name not in fixed:
                parameters.setdefault(name, parameter)
        kwargs_name = _kwargs_name(signature)
        if kwargs_name is None or klass in TAKE_NO_KWARGS:
            break
        forwarding = _kwargs_use(init, kwargs_name)
        if forwarding == "open":
            return Accepted(parameters, is_open=True)
        if forwarding == "unused":
            break
        fixed |= forwarding.keywords - set(parameters)
        fixed_positional = forwarding.positional
    return Accepted(parameters)


def _kwargs_name(signature: inspect.Signature) -> str | None:
    return next((p.name for p in signature.parameters.values() if p.kind is p.VAR_KEYWORD), None)


def _kwargs_use(init: Callable, name: str) -> _Forwarding | typing.Literal["open", "unused"]:
    """Follow the **`name` of an `__init__` through its source."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(init)))
    except (OSError, TypeError, SyntaxError):  # no source at hand
        return "open"
    uses = [node for node in ast.walk(tree) if isinstance(node, ast.Name) and node.id == name]
    forwarded = [call for call in ast.walk(tree) if _is_super_init(call) and _spread(call, name)]
    if not uses:
        return "unused"
    if len(uses) != 1 or len(forwarded) != 1:
        return "open"
    call = forwarded[0]
    return _Forwarding(
        positional=sum(not isinstance(argument, ast.Starred) for argument in call.args),
        keywords=frozenset(keyword.arg for keyword in call.keywords if keyword.arg is not None),
    )


def _is_super_init(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "__init__"
        and isinstance(node.func.value, ast.Call)
        and isinstance(node.func.value.func, ast.Name)
        and node.func.value.func.id == "super"
    )


def _spread(call: ast.Call, name: str) -> bool:
    """Whether `call` contains **`name`."""
    return any(k.arg is None and isinstance(k.value, ast.Name) and k.value.id == name for k in call.keywords)


def _keywords(parameters: list[inspect.Parameter], owner: Callable) -> dict[str, inspect.Parameter]:
    return {
        parameter.name: parameter.replace(annotation=_resolve(parameter.annotation, owner))
        for parameter in parameters
        if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
    }


def _resolve(annotation: object, owner: Callable) -> object:
    """Evaluate an annotation where `owner` was written; one that cannot be relied on becomes EMPTY."""
    if annotation is EMPTY or of_toolkit(owner):
        return EMPTY
    scope = getattr(inspect.unwrap(owner), "__globals__", {})
    holder = types.SimpleNamespace(__annotations__={"value": annotation})
    try:
        return typing.get_type_hints(holder, globalns=scope)["value"]
    except (NameError, TypeError, AttributeError, SyntaxError):  # names imported for type checkers only
        return EMPTY

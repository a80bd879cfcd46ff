"""A nested state as tensors by path and JSON, and back.

The vocabulary is fixed: None, bool, int, float, str, list, tuple, dict, tensor and MMEngine's history of logged values.
What JSON has no word for becomes a dict with one key that begins with '$'. There is no word for code, so that none can
come out of a file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from mmengine.logging import HistoryBuffer
from torch import Tensor

from .errors import CheckpointError


def split_state(state: Any) -> tuple[Any, dict[str, Tensor]]:
    """Take the tensors out of a state.

    Returns: what is left, for JSON, and the tensors by their path such as 'optimizer/state/0/exp_avg'; they are not
        copied.
    Raises: TypeError naming the path and the type of what is not in the vocabulary.
    """
    tensors: dict[str, Tensor] = {}
    return _encode(state, "", tensors), tensors


def join_state(tree: Any, tensors: Mapping[str, Tensor]) -> Any:
    """The state that `split_state` took apart.

    Raises: CheckpointError for a word that is not in the vocabulary, or a tensor that is not there.
    """
    if isinstance(tree, list):
        return [join_state(item, tensors) for item in tree]
    if not isinstance(tree, dict):
        return tree
    word = next(iter(tree), "")
    if not word.startswith("$"):
        return {key: join_state(value, tensors) for key, value in tree.items()}
    if word not in _DECODERS or len(tree) != 1:
        raise CheckpointError(f"the state has {word!r}, which is none of {sorted(_DECODERS)}")
    try:
        return _DECODERS[word](tree[word], tensors)
    except (KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"the state's {word} {str(tree[word])[:80]} cannot be read: {error!r}") from error


def _encode(value: Any, path: str, tensors: dict[str, Tensor]) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or type(value) in (bool, int, str):
        return value
    if type(value) is float:
        return value if np.isfinite(value) else {"$float": str(value)}
    if isinstance(value, Tensor):
        while path in tensors:  # names may contain the slash
            path += "'"
        tensors[path] = value.detach()
        return {"$tensor": path}
    if type(value) in (list, tuple):
        items = [_encode(item, _below(path, index), tensors) for index, item in enumerate(value)]
        return items if type(value) is list else {"$tuple": items}
    if isinstance(value, HistoryBuffer):
        columns = {name: torch.from_numpy(np.float64(data)) for name, data in zip(_COLUMNS, value.data, strict=True)}
        return {"$history": _encode({**columns, "max_length": value.max_length}, path, tensors)}
    if isinstance(value, dict):
        return _encode_dict(value, path, tensors)
    raise TypeError(f"a checkpoint cannot hold {path}, a {type(value).__module__}.{type(value).__qualname__}")


def _encode_dict(value: dict, path: str, tensors: dict[str, Tensor]) -> dict:
    items = {key: _encode(item, _below(path, key), tensors) for key, item in value.items()}
    if all(type(key) is str and not key.startswith("$") for key in items):
        return items
    return {"$dict": [[_encode(key, f"{path}, a key", {}), item] for key, item in items.items()]}


def _below(path: str, name: Any) -> str:
    return f"{path}/{name}" if path else str(name)


def _history(content: Any, tensors: Mapping[str, Tensor]) -> HistoryBuffer:
    fields = join_state(content, tensors)
    return HistoryBuffer(*(fields[name].tolist() for name in _COLUMNS), max_length=fields["max_length"])


_COLUMNS = ("values", "counts")
_DECODERS: Mapping[str, Callable[[Any, Mapping[str, Tensor]], Any]] = {
    "$dict": lambda pairs, tensors: {join_state(key, {}): join_state(value, tensors) for key, value in pairs},
    "$float": lambda text, tensors: {"nan": np.nan, "inf": np.inf, "-inf": -np.inf}[text],
    "$history": _history,
    "$tensor": lambda path, tensors: tensors[path],
    "$tuple": lambda items, tensors: tuple(join_state(items, tensors)),
}

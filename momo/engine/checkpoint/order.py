"""Optimizer state goes by position. Here it is brought back to the parameters, or parts of them, that it belongs to.

MMEngine writes the config into the work_dir with its keys sorted. A model of that config has its decoders, and so its
parameters, in another order, and torch would give one's state to another without a word where their shapes agree.
"""

from __future__ import annotations

from typing import Any

import torch
from mmengine.model import is_model_wrapper
from torch import Tensor

from momo.engine.shards import sharded_as

from .errors import CheckpointError


def parameter_order(runner) -> list[list[str]] | None:
    """Names of the parameters in the optimizer's groups; None where there are several optimizers."""
    optimizer = getattr(runner.optim_wrapper, "optimizer", None)
    if optimizer is None:
        return None
    model = runner.model.module if is_model_wrapper(runner.model) else runner.model
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    return [[names[id(parameter)] for parameter in group["params"]] for group in optimizer.param_groups]


def reorder(state: dict[str, Any], saved: list[list[str]], own: list[list[str]]) -> dict[str, Any]:
    """An optimizer's state for parameters that now come in the order `own`.

    Raises: CheckpointError naming the parameters if the groups hold others than before.
    """
    if [sorted(group) for group in saved] != [sorted(group) for group in own]:
        differing = sorted({name for group in saved for name in group} ^ {name for group in own for name in group})
        raise CheckpointError(
            f"the checkpoint's optimizer has groups of {[len(group) for group in saved]} parameters, this one of "
            f"{[len(group) for group in own]}; not in both: {differing[:10] or 'none, they are grouped otherwise'}"
        )
    before = {name: index for index, name in enumerate(name for group in saved for name in group)}
    now = [name for group in own for name in group]
    entries = {index: state["state"].get(before[name]) for index, name in enumerate(now)}
    return {**state, "state": {index: entry for index, entry in entries.items() if entry is not None}}


def shard(state: dict[str, Any], optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """An optimizer's whole state cut as its parameters are."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    entries = {
        index: {
            key: sharded_as(value, parameters[index]) if isinstance(value, Tensor) else value
            for key, value in entry.items()
        }
        for index, entry in state["state"].items()
    }
    return {**state, "state": entries}

"""Find the part of a pre-training model that an evaluation or an interface is about."""

from __future__ import annotations

from typing import NamedTuple

from torch import nn

from momo.models.objectives import Objective

from .momo_pretrainer import MoMoPretrainer


class Found(NamedTuple):
    """An objective, where the model's config puts it, and its decoder (None if it has none)."""

    modality: str
    name: str
    objective: Objective
    decoder: nn.Module | None


def find_objective(model: MoMoPretrainer, *kinds: type[Objective]) -> Found:
    """The model's first objective of a kind; of several kinds, the first that it has one of.

    Raises: ValueError naming the objectives that are there if none is of those kinds.
    """
    for kind in kinds:
        for modality, table in model.objectives.items():
            for name, objective in table.items():
                if isinstance(objective, kind):
                    decoder = model.decoders[objective.decoder] if objective.decoder is not None else None
                    return Found(modality, name, objective, decoder)
    there = [f"{modality}.{name}" for modality, table in model.objectives.items() for name in table]
    wanted = " or ".join(kind.__name__ for kind in kinds)
    raise ValueError(f"this model was not trained with {wanted}: its objectives are {there}")

"""Parameter groups."""

from __future__ import annotations

from mmengine.optim import DefaultOptimWrapperConstructor
from torch import nn

from momo.registry import OPTIM_WRAPPER_CONSTRUCTORS


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class DecayMatricesOnly(DefaultOptimWrapperConstructor):
    """Two parameter groups: matrices and embeddings decay; biases, norms and scalars do not.

    MMEngine's own constructor makes a group of each parameter, which costs a kernel launch each in every step.

    Raises: ValueError if the config has a paramwise_cfg, which would have no effect.
    Source: MAE's rule (parameters of one dimension do not decay).
    """

    def add_params(self, params: list[dict], module: nn.Module, *args, **kwargs) -> None:
        trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
        params.append({"params": [parameter for parameter in trained if parameter.ndim >= 2]})
        params.append({"params": [parameter for parameter in trained if parameter.ndim < 2], "weight_decay": 0.0})

    def __call__(self, model: nn.Module):
        if self.paramwise_cfg:
            raise ValueError(f"optim_wrapper.paramwise_cfg={self.paramwise_cfg} has no effect with DecayMatricesOnly")
        self.paramwise_cfg = {"grouped": True}  # a non-empty dict makes the parent ask add_params
        return super().__call__(model)

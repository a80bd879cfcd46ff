"""Parameter groups."""

from __future__ import annotations

from mmengine.optim import DefaultOptimWrapperConstructor
from torch import nn

from momo.registry import OPTIM_WRAPPER_CONSTRUCTORS


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class DecayMatricesOnly(DefaultOptimWrapperConstructor):
    """Two parameter groups: matrices and embeddings decay; biases, norms and scalars do not.

    MMEngine's own constructor makes a group of each parameter, which costs a kernel launch each in every step.
    `paramwise_cfg=dict(head_lr_mult=10.0)` lets the model's `head` learn ten times as fast, in two groups of its own.

    Raises: ValueError if paramwise_cfg has other keys, which would have no effect, or the model no `head`.
    Source: MAE's rule (parameters of one dimension do not decay); ViLT's for a head that starts from nothing.
    """

    def __call__(self, model: nn.Module):
        self.head_lr_mult = self.paramwise_cfg.pop("head_lr_mult", None)
        if self.paramwise_cfg:
            raise ValueError(f"optim_wrapper.paramwise_cfg={self.paramwise_cfg} has no effect with DecayMatricesOnly")
        self.paramwise_cfg = {"grouped": True}  # a non-empty dict makes the parent ask add_params
        return super().__call__(model)

    def add_params(self, params: list[dict], module: nn.Module, *args, **kwargs) -> None:
        trained = {name: parameter for name, parameter in module.named_parameters() if parameter.requires_grad}
        head = {name: trained.pop(name) for name in list(trained) if self.head_lr_mult and name.startswith("head.")}
        if self.head_lr_mult and not head:
            raise ValueError("optim_wrapper.paramwise_cfg.head_lr_mult: the model has no 'head' to train")
        params += _two_groups(list(trained.values()))
        if head:
            settings = {"lr": self.base_lr * self.head_lr_mult}
            params += [{**group, **settings} for group in _two_groups(list(head.values()))]


def _two_groups(parameters: list[nn.Parameter]) -> list[dict]:
    return [
        {"params": [parameter for parameter in parameters if parameter.ndim >= 2]},
        {"params": [parameter for parameter in parameters if parameter.ndim < 2], "weight_decay": 0.0},
    ]

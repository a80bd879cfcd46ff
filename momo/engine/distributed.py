"""Data-parallel training, on GPUs and on CPUs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmengine.model import MMDistributedDataParallel
from torch import nn

from momo.registry import MODEL_WRAPPERS


@MODEL_WRAPPERS.register_module()
class MoMoDistributedDataParallel(MMDistributedDataParallel):
    """DistributedDataParallel that runs on CPUs too.

    MMEngine names a CUDA device whatever the model is on; a model on the CPU has none.

    Args:
        module: The model, on its device.
        device_ids: The GPU of this process; ignored for a model on the CPU.
        broadcast_buffers: Copy buffers from rank 0 in every forward. The models here have no running statistics.
        find_unused_parameters: Needed where one backward does not reach every parameter, as with a backward a modality.
        kwargs: Other arguments of DistributedDataParallel.
    """

    def __init__(
        self,
        module: nn.Module,
        device_ids: Sequence[int] | None = None,
        broadcast_buffers: bool = False,
        find_unused_parameters: bool = False,
        **kwargs: Any,
    ) -> None:
        if next(module.parameters()).device.type == "cpu":
            device_ids = None
        super().__init__(
            module=module,
            device_ids=device_ids,
            broadcast_buffers=broadcast_buffers,
            find_unused_parameters=find_unused_parameters,
            **kwargs,
        )

"""Zero-shot classification of Oxford Flowers 102.

python tools/test.py configs/downstream/zeroshot_flowers102_vitb.py work_dirs/stage3_vitb

Data: data/flowers102, as published. Hardware: one GPU; time not measured.
The paper reports no figure for it.
"""

from mmengine.config import read_base

with read_base():
    from .._base_.downstream.zeroshot import *  # noqa: F403

test_dataloader["loaders"]["image"]["dataset"].update(name="flowers102", root="data/flowers102")

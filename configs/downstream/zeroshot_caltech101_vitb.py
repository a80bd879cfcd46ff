"""Zero-shot classification of Caltech101.

python tools/test.py configs/downstream/zeroshot_caltech101_vitb.py work_dirs/stage3_vitb

Data: data/caltech101, as published. Hardware: one GPU; time not measured.
The paper reports no figure for it.
"""

from mmengine.config import read_base

with read_base():
    from .._base_.downstream.zeroshot import *  # noqa: F403

test_dataloader["loaders"]["image"]["dataset"].update(name="caltech101", root="data/caltech101")

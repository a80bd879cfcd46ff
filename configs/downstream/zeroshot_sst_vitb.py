"""Zero-shot classification of rendered SST2.

python tools/test.py configs/downstream/zeroshot_sst_vitb.py work_dirs/stage3_vitb

Data: data/sst, as published. Hardware: one GPU; time not measured.
The paper reports no figure for it.
"""

from mmengine.config import read_base

with read_base():
    from .._base_.downstream.zeroshot import *  # noqa: F403

test_dataloader["loaders"]["image"]["dataset"].update(name="sst", root="data/sst")

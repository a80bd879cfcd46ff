"""MoMo-Tiny, stage 2: masked images and masked text in every step.

    tools/dist_train.sh configs/momo/stage2_vitti.py 64

Hardware: 64 GPUs (the paper: V100), 64 samples each; time not measured.
Expected: no figure in the paper; not reproduced yet.
"""

from mmengine.config import read_base

with read_base():
    from .stage2_vitb import *  # noqa: F403

model["backbone"]["arch"] = "tiny"
custom_hooks[1].update(
    checkpoint="work_dirs/stage1_vitti",
    made_by="tools/dist_train.sh configs/momo/stage1_vitti.py 64",
)

"""MoMo-Tiny, stage 1: masked images.

    tools/dist_train.sh configs/momo/stage1_vitti.py 64

Hardware: 64 GPUs (the paper: V100), 64 samples each; time not measured.
Expected: no figure in the paper; not reproduced yet.
"""

from mmengine.config import read_base

with read_base():
    from .stage1_vitb import *  # noqa: F403

model["backbone"]["arch"] = "tiny"

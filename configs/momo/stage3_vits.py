"""MoMo-Small, stage 3: masked text; cross-modal masking, global contrast and matching on pairs.

    tools/dist_train.sh configs/momo/stage3_vits.py 64

Hardware: 64 GPUs (the paper: V100), 64 samples each; time not measured.
Expected: no figure in the paper; not reproduced yet.
"""

from mmengine.config import read_base

with read_base():
    from .stage3_vitb import *  # noqa: F403

model["backbone"]["arch"] = "small"
custom_hooks[1].update(
    checkpoint="work_dirs/stage2_vits",
    made_by="tools/dist_train.sh configs/momo/stage2_vits.py 64",
)

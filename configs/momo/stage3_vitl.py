"""MoMo-Large, stage 3: masked text; cross-modal masking, global contrast and matching on pairs.

    tools/dist_train.sh configs/momo/stage3_vitl.py 64

Hardware: 64 GPUs (the paper: V100), 64 samples each; time not measured.
Expected: COCO retrieval 72.0, VQAv2 75.0, MNLI 80.6, ImageNet linear evaluation 79.1 (paper, Table 2);
not reproduced yet.
"""

from mmengine.config import read_base

with read_base():
    from .stage3_vitb import *  # noqa: F403

model["backbone"]["arch"] = "large"
custom_hooks[1].update(
    checkpoint="work_dirs/stage2_vitl",
    made_by="tools/dist_train.sh configs/momo/stage2_vitl.py 64",
)

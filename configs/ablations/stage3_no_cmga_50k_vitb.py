"""Stage 3 for 50,000 steps, without CMGA: an update for each modality in every step (MoMo 4.2, Table 6).

    tools/dist_train.sh configs/ablations/stage3_no_cmga_50k_vitb.py 64

Hardware: 64 GPUs (the paper: V100), 64 samples each; time not measured.
Expected: MNLI 75.4, MRPC 77.6, QQP 87.2, SST-2 87.6, QNLI 84.1, RTE 55.9, STS-B 84.3; ImageNet 71.9; COCO 54.1,
Flickr30K 67.4, VQAv2 69.3 (paper, Table 6, CMGA: no); not reproduced yet.
"""

from mmengine.config import read_base

with read_base():
    from .._base_.schedules.steps_50k import _param_scheduler, _train_cfg
    from ..momo.stage3_vitb import *  # noqa: F403

train_cfg, param_scheduler = _train_cfg, _param_scheduler
train_cfg["cmga"] = "off"

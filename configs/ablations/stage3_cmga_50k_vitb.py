"""Stage 3 for 50,000 steps, with CMGA (MoMo 4.2, Table 6). Counterpart: stage3_no_cmga_50k_vitb.py.

    tools/dist_train.sh configs/ablations/stage3_cmga_50k_vitb.py 64

Hardware: 64 GPUs (the paper: V100), 64 samples each; time not measured.
Expected: MNLI 75.6, MRPC 78.6, QQP 87.7, SST-2 89.2, QNLI 85.9, RTE 56.6, STS-B 85.0; ImageNet 72.2; COCO 55.4,
Flickr30K 70.5, VQAv2 70.2 (paper, Table 6, CMGA: yes); not reproduced yet.
"""

from mmengine.config import read_base

with read_base():
    from .._base_.schedules.steps_50k import _param_scheduler, _train_cfg
    from ..momo.stage3_vitb import *  # noqa: F403

train_cfg, param_scheduler = _train_cfg, _param_scheduler

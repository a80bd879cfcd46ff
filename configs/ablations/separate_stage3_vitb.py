"""Stage 3 for 25,000 steps: the second half of what combined_vitb.py is compared with (MoMo 4.2, Table 5).

    tools/dist_train.sh configs/ablations/separate_stage3_vitb.py 64

Hardware: 64 GPUs (the paper: V100), 64 samples each; time not measured.
Expected: MNLI 76.5, MRPC 79.5, QQP 87.8, SST-2 89.4, QNLI 85.0, RTE 57.4, STS-B 83.0; ImageNet 69.4; VQAv2 68.4,
Flickr30K 66.9, COCO 53.1 (paper, Table 5, separate); not reproduced yet.
"""

from mmengine.config import read_base

with read_base():
    from .._base_.schedules.steps_50k import _param_scheduler, _train_cfg
    from ..momo.stage3_vitb import *  # noqa: F403

train_cfg, param_scheduler = _train_cfg, _param_scheduler
train_cfg.update(max_iters=25_000)
param_scheduler[0].update(end=2_500)
param_scheduler[1].update(begin=2_500)
custom_hooks[1].update(
    checkpoint="work_dirs/ablations/separate_stage2_vitb",
    made_by="tools/dist_train.sh configs/ablations/separate_stage2_vitb.py 64",
)

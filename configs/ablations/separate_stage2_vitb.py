"""Stage 2 for 25,000 steps: the first half of what combined_vitb.py is compared with (MoMo 4.2, Table 5).

    tools/dist_train.sh configs/ablations/separate_stage2_vitb.py 64

Hardware: 64 GPUs (the paper: V100), 64 samples each; time not measured.
Expected: no figure of its own; separate_stage3_vitb.py goes on from here. Not reproduced yet.
"""

from mmengine.config import read_base

with read_base():
    from .._base_.schedules.steps_50k import _param_scheduler, _train_cfg
    from ..momo.stage2_vitb import *  # noqa: F403

train_cfg, param_scheduler = _train_cfg, _param_scheduler
train_cfg.update(max_iters=25_000)
param_scheduler[0].update(end=2_500)
param_scheduler[1].update(begin=2_500)

"""MoMo-Large, stage 1: masked images.

    tools/dist_train.sh configs/momo/stage1_vitl.py 64

Data: ImageNet-1K without labels (MoMo 3.4).
Hardware: 64 GPUs (the paper: V100), 64 samples each; time not measured.
Expected: no figure in the paper; not reproduced yet.
"""

from mmengine.config import read_base

with read_base():
    from .._base_.data.pretrain import _train
    from .._base_.models.stage1 import model
    from .._base_.runtime import *  # noqa: F403
    from .._base_.schedules.stage1 import *  # noqa: F403

model["backbone"]["arch"] = "large"
train_dataloader = dict(primary="image", batch_size=64, num_workers=8, loaders=dict(image=_train["image"]))
custom_hooks = [dict(type="ProgressHook")]

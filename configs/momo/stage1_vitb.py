"""MoMo-Base, stage 1: masked images.

    tools/dist_train.sh configs/momo/stage1_vitb.py 64

Data: ImageNet-1K without labels (MoMo 3.4).
Hardware: 64 GPUs (the paper: V100), 64 samples each; time not measured.
Expected: ImageNet linear evaluation 66.9 (paper, Table 4, stage 1); not reproduced yet.

The paper's default takes MAE's public weights instead of training this stage. Convert them, then go to stage 2:

    python tools/convert_mae.py mae_visualize_vit_base.pth work_dirs/stage1_vitb
"""

from mmengine.config import read_base

with read_base():
    from .._base_.data.pretrain import _train
    from .._base_.models.stage1 import model
    from .._base_.runtime import *  # noqa: F403
    from .._base_.schedules.stage1 import *  # noqa: F403

model["backbone"]["arch"] = "base"
train_dataloader = dict(primary="image", batch_size=64, num_workers=8, loaders=dict(image=_train["image"]))
custom_hooks = [
    dict(type="ProgressHook"),
    dict(type="PicturesHook", interval=10),
]

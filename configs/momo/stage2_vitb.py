"""MoMo-Base, stage 2: masked images and masked text in every step.

    tools/dist_train.sh configs/momo/stage2_vitb.py 64

Data: ImageNet-1K; Wikipedia and BookCorpus (MoMo 3.4).
Hardware: 64 GPUs (the paper: V100), 64 samples each; time not measured.
Expected: MNLI 78.5, ImageNet linear evaluation 52.9 (paper, Table 4, stage 2); not reproduced yet.
"""

from mmengine.config import read_base

with read_base():
    from .._base_.data.pretrain import _train
    from .._base_.models.stage2 import model
    from .._base_.runtime import *  # noqa: F403
    from .._base_.schedules.stage2 import *  # noqa: F403

model["backbone"]["arch"] = "base"
train_dataloader = dict(
    primary="text", batch_size=64, num_workers=8, loaders=dict(image=_train["image"], text=_train["text"])
)
custom_hooks = [
    dict(type="ProgressHook"),
    dict(
        type="StageHook",
        checkpoint="work_dirs/stage1_vitb",
        made_by="tools/dist_train.sh configs/momo/stage1_vitb.py 64",
        new=["backbone.text_embed.*", "decoders.text.*"],
    ),
    dict(type="PicturesHook"),
]

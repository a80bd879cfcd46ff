"""Stages 2 and 3 as one: the losses of images, text and pairs in every step, from stage 1 (MoMo 4.2, Table 5).

    tools/dist_train.sh configs/ablations/combined_vitb.py 64

Hardware: 64 GPUs (the paper: V100), 64 samples each; time not measured.
Expected: MNLI 74.0, MRPC 76.6, QQP 86.5, SST-2 87.6, QNLI 82.4, RTE 53.4, STS-B 71.2; ImageNet 70.9; VQAv2 69.8,
Flickr30K 68.9, COCO 54.5 (paper, Table 5, combined); not reproduced yet.
"""

from mmengine.config import read_base

with read_base():
    from .._base_.models.stage2 import model as _stage2
    from .._base_.schedules.steps_50k import _param_scheduler, _train_cfg
    from ..momo.stage3_vitb import *  # noqa: F403

model["decoders"]["image"] = _stage2["decoders"]["image"]
model["objectives"]["image"] = _stage2["objectives"]["image"]
train_dataloader["loaders"]["image"] = _train["image"]
train_cfg, param_scheduler = _train_cfg, _param_scheduler
custom_hooks[1].update(
    checkpoint="work_dirs/stage1_vitb",
    made_by="tools/dist_train.sh configs/momo/stage1_vitb.py 64",
    new=["backbone.text_embed.*", "decoders.text.*", "decoders.cross_modal.*", "objectives.image_text.*"],
    unused=[],
)

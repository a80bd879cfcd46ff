"""MoMo-Base, stage 3: masked text; cross-modal masking, global contrast and matching on pairs.

    tools/dist_train.sh configs/momo/stage3_vitb.py 64

Data: Wikipedia and BookCorpus; COCO, SBU, Conceptual Captions, Visual Genome, RedCaps (MoMo 3.4).
Hardware: 64 GPUs (the paper: V100), 64 samples each; time not measured.
Expected: COCO retrieval 64.0, VQAv2 71.2, MNLI 78.1, ImageNet linear evaluation 75.7 (paper, Table 4, stage 3); not
reproduced yet.
"""

from mmengine.config import read_base

with read_base():
    from .._base_.data.pretrain import _train
    from .._base_.models.stage3 import model
    from .._base_.runtime import *  # noqa: F403
    from .._base_.schedules.stage3 import *  # noqa: F403

model["backbone"]["arch"] = "base"
train_dataloader = dict(
    primary="text", batch_size=64, num_workers=8, loaders=dict(text=_train["text"], image_text=_train["image_text"])
)
custom_hooks = [
    dict(type="ProgressHook"),
    dict(
        type="StageHook",
        checkpoint="work_dirs/stage2_vitb",
        made_by="tools/dist_train.sh configs/momo/stage2_vitb.py 64",
        new=["decoders.cross_modal.*", "objectives.image_text.*"],
        unused=["decoders.image.*"],
    ),
    dict(type="PicturesHook"),
]

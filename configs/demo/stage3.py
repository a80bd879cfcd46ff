"""Stage 3 on the demo's prose and emoji with their names: masked text, cross-modal masking, contrast, matching.

tools/dist_train.sh configs/demo/stage3.py 2

Two processes with a core each take a step 15% sooner than one with both. Batches are a process's: 128 pairs in all.
"""

from mmengine.config import read_base

with read_base():
    from .._base_.data.kit import _shown_pairs, _train, _val
    from .._base_.models.demo import _backbone, _decoder, _preprocessor
    from .._base_.models.stage3 import model
    from .._base_.runtime import *  # noqa: F403
    from .._base_.schedules.demo import optim_wrapper

model["data_preprocessor"].update(_preprocessor)
model["backbone"].update(_backbone)
for _name in ("text", "cross_modal"):
    model["decoders"][_name].update(_decoder)
model["objectives"]["image_text"]["cmm"].update(max_pairs=16)
model["objectives"]["image_text"]["itc"].update(image_mask_ratio=0.25, pooling="mean")
model["objectives"]["image_text"]["itm"].update(max_pairs=8)
train_dataloader = dict(
    primary="image_text",
    loaders=dict(
        text={**_train["text"], "batch_size": 8},
        image_text={**_train["image_text"], "batch_size": 64},
    ),
)
val_dataloader = dict(batch_size=64, loaders=dict(text=_val["text"]))
val_cfg = dict(type="MultiModalValLoop")
val_evaluator = dict(type="MeanLoss")
train_cfg = dict(type="MultiModalTrainLoop", max_epochs=70, val_interval=70)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.01, begin=0, end=4, convert_to_iter_based=True),
    dict(type="CosineAnnealingLR", eta_min=1e-5, begin=4, convert_to_iter_based=True),
]
optim_wrapper["optimizer"]["lr"] = 1e-3
default_hooks["checkpoint"]["interval"] = 10
custom_hooks = [
    dict(type="ProgressHook"),
    dict(
        type="StageHook",
        checkpoint="work_dirs/demo/stage2",
        made_by="tools/dist_train.sh configs/demo/stage2.py 1",
        new=["decoders.cross_modal.*", "objectives.image_text.*"],
        unused=["decoders.image.*"],
    ),
    dict(type="PicturesHook", interval=35, examples=dict(image_text=_shown_pairs)),
]

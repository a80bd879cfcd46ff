"""Stage 2 on the demo's emoji and prose: masked images and masked text in every step.

tools/dist_train.sh configs/demo/stage2.py 1
"""

from mmengine.config import read_base

with read_base():
    from .._base_.data.kit import _train, _val
    from .._base_.models.demo import _backbone, _decoder, _preprocessor
    from .._base_.models.stage2 import model
    from .._base_.runtime import *  # noqa: F403
    from .._base_.schedules.demo import optim_wrapper

model["data_preprocessor"].update(_preprocessor)
model["backbone"].update(_backbone)
for _name in ("image", "text"):
    model["decoders"][_name].update(_decoder)
train_dataloader = dict(primary="text", num_workers=1, loaders=dict(image=_train["image"], text=_train["text"]))
val_dataloader = dict(batch_size=64, loaders=dict(image=_val["image"], text=_val["text"]))
val_cfg = dict(type="MultiModalValLoop")
val_evaluator = dict(type="MeanLoss")
train_cfg = dict(type="MultiModalTrainLoop", max_epochs=1, val_interval=1)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.01, begin=0, end=0.1, convert_to_iter_based=True),
    dict(type="CosineAnnealingLR", eta_min=1e-5, begin=0.1, convert_to_iter_based=True),
]
custom_hooks = [
    dict(type="ProgressHook"),
    dict(
        type="StageHook",
        checkpoint="work_dirs/demo/stage1",
        made_by="tools/dist_train.sh configs/demo/stage1.py 1",
        new=["backbone.text_embed.*", "decoders.text.*"],
    ),
    dict(type="PicturesHook", examples=dict(image=_val["image"]["dataset"])),
]

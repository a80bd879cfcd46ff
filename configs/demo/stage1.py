"""Stage 1 on the demo's emoji: masked images.

tools/dist_train.sh configs/demo/stage1.py 1
"""

from mmengine.config import read_base

with read_base():
    from .._base_.data.kit import _train, _val
    from .._base_.models.demo import _backbone, _decoder, _preprocessor
    from .._base_.models.stage1 import model
    from .._base_.runtime import *  # noqa: F403
    from .._base_.schedules.demo import optim_wrapper

model["data_preprocessor"].update(_preprocessor)
model["backbone"].update(_backbone)
model["decoders"]["image"].update(_decoder)
train_dataloader = dict(primary="image", num_workers=1, loaders=dict(image=_train["image"]))
val_dataloader = dict(batch_size=64, loaders=dict(image=_val["image"]))
val_cfg = dict(type="MultiModalValLoop")
val_evaluator = dict(type="MeanLoss")
train_cfg = dict(type="MultiModalTrainLoop", max_epochs=6, val_interval=6)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.01, begin=0, end=0.5, convert_to_iter_based=True),
    dict(type="CosineAnnealingLR", eta_min=1e-5, begin=0.5, convert_to_iter_based=True),
]
custom_hooks = [
    dict(type="ProgressHook"),
    dict(type="PicturesHook", interval=3, examples=dict(image=_val["image"]["dataset"])),
]

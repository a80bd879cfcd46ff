"""Stage 2 without images, for comparison: what is lost if text is trained alone (the paper's Table 6).

tools/dist_train.sh configs/demo/stage2_text_only.py 1
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
model["decoders"] = dict(text={**model["decoders"]["text"], **_decoder})
model["objectives"] = dict(text=model["objectives"]["text"])
train_dataloader = dict(primary="text", num_workers=1, loaders=dict(text=_train["text"]))
val_dataloader = dict(batch_size=64, loaders=dict(text=_val["text"]))
val_cfg = dict(type="MultiModalValLoop")
val_evaluator = dict(type="MeanLoss")
find_unused_parameters = True  # no image comes by, and the encoder has its embedding
train_cfg = dict(type="MultiModalTrainLoop", max_epochs=1)
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
        unused=["decoders.image.*"],
    ),
]

"""Detection with torchvision's FCOS on the demo's encoder after stage 3, through a simple feature pyramid.

    export PYTHONPATH=.
    python tools/train.py projects/detection/fcos_scenes.py --test
    python tools/train.py projects/detection/fcos_scenes.py --test --cfg-options custom_hooks.0.checkpoint=None

The second run starts from random weights. Data: python projects/make_scenes.py. README.md has time and figures.
"""

from mmengine.config import read_base

with read_base():
    from ..scenes import *  # noqa: F403
    from ..scenes import _backbone, _evaluation, _pyramid, _stage3, _training

default_scope = "momo"
custom_imports = dict(imports=["projects.detection.detector", "projects.detection.coco"])

_root = "data/scenes"
_train, _val, _test = (
    dict(type="CocoBoxes", annotations=f"{_root}/train.json", root=f"{_root}/train/images"),
    dict(type="CocoBoxes", annotations=f"{_root}/val.json", root=f"{_root}/val/images"),
    dict(type="CocoBoxes", annotations=f"{_root}/test.json", root=f"{_root}/test/images"),
)

model = dict(
    type="FCOSDetector",
    backbone=_backbone,
    neck=dict(**_pyramid, scales=[2, 1]),
    out_channels=64,
    num_convs=2,
    strides=[4, 8],
    num_classes=9,
    image_size=96,
    mean=[255.0] * 3,  # as the demo normalises: 0 is white
    std=[93.0] * 3,
)
train_dataloader = dict(**_training, dataset=_train)
val_dataloader = dict(**_evaluation, dataset=_val)
test_dataloader = dict(**_evaluation, dataset=_test)
val_evaluator = dict(type="CocoAP", annotations=_val["annotations"])
test_evaluator = dict(type="CocoAP", annotations=_test["annotations"])
custom_hooks = [dict(**_stage3, new=["neck.*", "fcos.*"])]

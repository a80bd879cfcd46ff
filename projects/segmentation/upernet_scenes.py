"""Semantic segmentation with mmsegmentation: UPerNet on the demo's encoder after stage 3.

    python tools/train.py projects/segmentation/upernet_scenes.py --test
    python tools/train.py projects/segmentation/upernet_scenes.py --test --cfg-options custom_hooks.0.checkpoint=None

The second run starts from random weights. Data: python projects/make_scenes.py. README.md has time and figures.
"""

from mmengine.config import read_base

with read_base():
    from ..scenes import *  # noqa: F403
    from ..scenes import _backbone, _evaluation, _pyramid, _stage3, _training

default_scope = "mmseg"
custom_imports = dict(imports=["momo.registry"])  # what makes `momo.` known

_root = "data/scenes"
_groups = (
    *("activities", "animals-nature", "flags", "food-drink", "objects"),
    *("people-body", "smileys-emotion", "symbols", "travel-places"),
)
_classes = ("background", *_groups)
_palette = [[255, 255, 255], *([25 * k, 255 - 25 * k, (90 * k) % 256] for k in range(1, 10))]
_dataset = dict(
    type="BaseSegDataset",
    data_root=_root,
    img_suffix=".png",
    seg_map_suffix=".png",
    metainfo=dict(classes=_classes, palette=_palette),
)
_load, _labels, _pack = dict(type="LoadImageFromFile"), dict(type="LoadAnnotations"), dict(type="PackSegInputs")
_train, _val, _test = (
    dict(
        **_dataset,
        data_prefix=dict(img_path=f"{split}/images", seg_map_path=f"{split}/masks"),
        pipeline=[_load, _labels, _pack],
    )
    for split in ("train", "val", "test")
)

model = dict(
    type="EncoderDecoder",
    # As the demo normalises: 0 is white.
    data_preprocessor=dict(
        type="SegDataPreProcessor", mean=[255.0] * 3, std=[93.0] * 3, bgr_to_rgb=True, size=(96, 96), seg_pad_val=255
    ),
    backbone=_backbone,
    neck=dict(**_pyramid, scales=[2, 1, 0.5]),
    decode_head=dict(
        type="UPerHead",
        in_channels=[64] * 3,
        in_index=[0, 1, 2],
        channels=64,
        pool_scales=(1, 2, 3, 6),
        num_classes=len(_classes),
        norm_cfg=dict(type="BN"),
        align_corners=False,
        # Four pixels in five are background.
        loss_decode=dict(type="CrossEntropyLoss", class_weight=[0.25, *[1.0] * len(_groups)]),
    ),
    test_cfg=dict(mode="whole"),
)
train_dataloader = dict(**_training, dataset=_train)
val_dataloader = dict(**_evaluation, dataset=_val)
test_dataloader = dict(**_evaluation, dataset=_test)
val_evaluator = dict(type="IoUMetric", iou_metrics=["mIoU"])
test_evaluator = val_evaluator
custom_hooks = [dict(**_stage3, new=["neck.*", "decode_head.*"])]
visualizer = dict(type="SegLocalVisualizer", vis_backends=[dict(type="LocalVisBackend")])

"""Detection with torchvision's FCOS on the demo's encoder after stage 3, through a simple feature pyramid.

    export PYTHONPATH=.
    python tools/train.py projects/detection/fcos_scenes.py --test
    python tools/train.py projects/detection/fcos_scenes.py --test --cfg-options custom_hooks.0.checkpoint=None

The second run starts from random weights. Data: python projects/make_scenes.py. README.md has time and figures.
"""

default_scope = "momo"
custom_imports = dict(imports=["projects.detection.detector", "projects.detection.coco"])

_root = "data/scenes"
_train, _val, _test = (
    dict(type="CocoBoxes", annotations=f"{_root}/train.json", root=f"{_root}/train/images"),
    dict(type="CocoBoxes", annotations=f"{_root}/val.json", root=f"{_root}/val/images"),
    dict(type="CocoBoxes", annotations=f"{_root}/test.json", root=f"{_root}/test/images"),
)
_in_order = dict(type="DefaultSampler", shuffle=False)

model = dict(
    type="FCOSDetector",
    backbone=dict(
        type="MoMoViT",
        arch=dict(embed_dim=128, depth=4, num_heads=4),
        img_size=48,  # positions are defined on the size of pre-training and interpolated
        patch_size=8,
        vocab_size=0,
        out_type="featmap",
    ),
    neck=dict(type="SimpleFeaturePyramid", in_channels=128, out_channels=64, scales=[2, 1]),
    out_channels=64,
    num_convs=2,
    strides=[4, 8],
    num_classes=9,
    image_size=96,
    mean=[255.0] * 3,  # as the demo normalises: 0 is white
    std=[93.0] * 3,
)
train_dataloader = dict(
    batch_size=16, num_workers=1, sampler=dict(type="InfiniteSampler", shuffle=True), dataset=_train
)
val_dataloader = dict(batch_size=50, sampler=_in_order, dataset=_val)
test_dataloader = dict(batch_size=50, sampler=_in_order, dataset=_test)
val_evaluator = dict(type="CocoAP", annotations=_val["annotations"])
test_evaluator = dict(type="CocoAP", annotations=_test["annotations"])
train_cfg = dict(type="IterBasedTrainLoop", max_iters=200, val_interval=200)
val_cfg = dict(type="ValLoop")
test_cfg = dict(type="TestLoop")
optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="AdamW", lr=3e-3, betas=(0.9, 0.999), weight_decay=0.05),
    # At the head's rate the encoder forgets what it knows.
    paramwise_cfg=dict(custom_keys={"backbone": dict(lr_mult=0.1)}, norm_decay_mult=0.0, bias_decay_mult=0.0),
    clip_grad=dict(max_norm=1.0),
)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.01, begin=0, end=20, by_epoch=False),
    dict(type="CosineAnnealingLR", eta_min=1e-5, begin=20, end=200, by_epoch=False),
]
custom_hooks = [
    dict(
        type="StageHook",
        checkpoint="work_dirs/demo/stage3",
        made_by="make demo",
        new=["neck.*", "fcos.*"],
        unused=["decoders.*", "objectives.*", "backbone.text_embed.*"],
    )
]
default_hooks = dict(
    logger=dict(type="LoggerHook", interval=50),
    checkpoint=dict(type="MoMoCheckpointHook", by_epoch=False, interval=200),
)
log_processor = dict(by_epoch=False)
randomness = dict(seed=0)

"""Semantic segmentation with mmsegmentation: UPerNet on the demo's encoder after stage 3.

    python tools/train.py projects/segmentation/upernet_scenes.py --test
    python tools/train.py projects/segmentation/upernet_scenes.py --test --cfg-options custom_hooks.0.checkpoint=None

The second run starts from random weights. Data: python projects/make_scenes.py. README.md has time and figures.
"""

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


def _split(name: str) -> dict:
    """The data set of a split."""
    folders = dict(img_path=f"{name}/images", seg_map_path=f"{name}/masks")
    return dict(**_dataset, data_prefix=folders, pipeline=[_load, _labels, _pack])


model = dict(
    type="EncoderDecoder",
    # As the demo normalises: 0 is white.
    data_preprocessor=dict(
        type="SegDataPreProcessor", mean=[255.0] * 3, std=[93.0] * 3, bgr_to_rgb=True, size=(96, 96), seg_pad_val=255
    ),
    backbone=dict(
        type="momo.MoMoViT",
        arch=dict(embed_dim=128, depth=4, num_heads=4),
        img_size=48,  # positions are defined on the size of pre-training and interpolated
        patch_size=8,
        vocab_size=0,
        out_type="featmap",
    ),
    neck=dict(type="momo.SimpleFeaturePyramid", in_channels=128, out_channels=64, scales=[2, 1, 0.5]),
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
train_dataloader = dict(
    batch_size=16, num_workers=1, sampler=dict(type="InfiniteSampler", shuffle=True), dataset=_split("train")
)
val_dataloader = dict(batch_size=50, sampler=dict(type="DefaultSampler", shuffle=False), dataset=_split("val"))
test_dataloader = dict(batch_size=50, sampler=dict(type="DefaultSampler", shuffle=False), dataset=_split("test"))
val_evaluator = dict(type="IoUMetric", iou_metrics=["mIoU"])
test_evaluator = val_evaluator
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
        type="momo.StageHook",
        checkpoint="work_dirs/demo/stage3",
        made_by="make demo",
        new=["neck.*", "decode_head.*"],
        unused=["decoders.*", "objectives.*", "backbone.text_embed.*"],
    )
]
default_hooks = dict(
    logger=dict(type="LoggerHook", interval=50),
    checkpoint=dict(type="momo.MoMoCheckpointHook", by_epoch=False, interval=200),
)
log_processor = dict(by_epoch=False)
visualizer = dict(type="SegLocalVisualizer", vis_backends=[dict(type="LocalVisBackend")])
randomness = dict(seed=0)

"""Which group an emoji belongs to, trained by mmpretrain's own script on the demo's encoder after stage 3.

    mim train onedl-mmpretrain projects/mmpretrain_classifier/groups.py

Without mim, call the script where mim finds it, and to start from random weights leave the checkpoint out:

    TOOLS=$(python -c "import mmpretrain; print(mmpretrain.__path__[0])")/.mim/tools
    python $TOOLS/train.py projects/mmpretrain_classifier/groups.py
    python $TOOLS/train.py projects/mmpretrain_classifier/groups.py --cfg-options custom_hooks.0.checkpoint=None

Data: python projects/mmpretrain_classifier/list_groups.py. README.md has time and figures.
"""

default_scope = "mmpretrain"
custom_imports = dict(imports=["momo.registry"])  # what makes `momo.` known

_dataset = dict(type="CustomDataset", data_root="data", data_prefix="kit/images")
_crop = dict(type="RandomResizedCrop", scale=48, crop_ratio_range=(0.5, 1.0), backend="pillow", interpolation="bicubic")
_load, _pack = dict(type="LoadImageFromFile"), dict(type="PackInputs")
_in_order = dict(type="DefaultSampler", shuffle=False)

model = dict(
    type="ImageClassifier",
    backbone=dict(
        type="momo.MoMoViT",
        arch=dict(embed_dim=128, depth=4, num_heads=4),
        img_size=48,
        patch_size=8,
        vocab_size=0,
        out_type="avg_featmap",
    ),
    head=dict(type="LinearClsHead", num_classes=9, in_channels=128, loss=dict(type="CrossEntropyLoss")),
)
# As the demo normalises: 0 is white.
data_preprocessor = dict(type="ClsDataPreprocessor", num_classes=9, mean=[255.0] * 3, std=[93.0] * 3, to_rgb=True)
train_dataloader = dict(
    batch_size=64,
    num_workers=1,
    sampler=dict(type="DefaultSampler", shuffle=True),
    dataset=dict(**_dataset, ann_file="kit_groups/train.txt", pipeline=[_load, _crop, _pack]),
)
val_dataloader = dict(
    batch_size=100,
    num_workers=1,
    sampler=_in_order,
    dataset=dict(**_dataset, ann_file="kit_groups/val.txt", pipeline=[_load, _pack]),
)
test_dataloader = dict(
    batch_size=100,
    num_workers=1,
    sampler=_in_order,
    dataset=dict(**_dataset, ann_file="kit_groups/test.txt", pipeline=[_load, _pack]),
)
val_evaluator = dict(type="Accuracy", topk=(1,))
test_evaluator = val_evaluator
train_cfg = dict(type="EpochBasedTrainLoop", max_epochs=20, val_interval=20)
val_cfg = dict(type="ValLoop")
test_cfg = dict(type="TestLoop")
optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="AdamW", lr=5e-4, betas=(0.9, 0.999), weight_decay=0.05),
    paramwise_cfg=dict(norm_decay_mult=0.0, bias_decay_mult=0.0),
    clip_grad=dict(max_norm=1.0),
)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.01, begin=0, end=2, convert_to_iter_based=True),
    dict(type="CosineAnnealingLR", eta_min=1e-6, begin=2, convert_to_iter_based=True),
]
custom_hooks = [
    dict(
        type="momo.StageHook",
        checkpoint="work_dirs/demo/stage3",
        made_by="make demo",
        new=["head.*"],
        unused=["decoders.*", "objectives.*", "backbone.text_embed.*"],
    )
]
default_hooks = dict(
    logger=dict(type="LoggerHook", interval=20),
    checkpoint=dict(type="momo.MoMoCheckpointHook", interval=20),
)
randomness = dict(seed=0)

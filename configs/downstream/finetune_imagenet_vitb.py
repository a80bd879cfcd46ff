"""Fine-tuning on ImageNet by MAE's recipe, with learning rates that fall from layer to layer.

tools/dist_train.sh configs/downstream/finetune_imagenet_vitb.py 8 --test

Data: data/imagenet with train/ and val/. Hardware: 8 GPUs, 128 images each; time not measured.
The paper reports no figure for it.
"""

from mmengine.config import read_base

with read_base():
    from .._base_.downstream.imagenet import *  # noqa: F403
    from .._base_.downstream.imagenet import _stage_hook

# He et al. 2022, arXiv:2111.06377, appendix A.1.
model = dict(
    type="ImageClassifier",
    backbone=dict(type="momo.MoMoViT", arch="base", vocab_size=0, drop_path_rate=0.1, out_type="avg_featmap"),
    head=dict(
        type="LinearClsHead",
        num_classes=1000,
        in_channels=768,
        loss=dict(type="LabelSmoothLoss", label_smooth_val=0.1, mode="original"),
        init_cfg=dict(type="TruncNormal", layer="Linear", std=2e-5),
    ),
    train_cfg=dict(augments=[dict(type="Mixup", alpha=0.8), dict(type="CutMix", alpha=1.0)]),
)
train_dataloader = dict(
    batch_size=128,
    num_workers=8,
    drop_last=True,
    dataset=dict(
        type="CustomDataset",
        data_root="data/imagenet/train",
        pipeline=[
            dict(type="LoadImageFromFile"),
            dict(type="RandomResizedCrop", scale=224, backend="pillow", interpolation="bicubic"),
            dict(type="RandomFlip", prob=0.5, direction="horizontal"),
            dict(
                type="RandAugment",
                policies="timm_increasing",
                num_policies=2,
                total_level=10,
                magnitude_level=9,
                magnitude_std=0.5,
                hparams=dict(pad_val=[104, 116, 124], interpolation="bicubic"),
            ),
            dict(
                type="RandomErasing",
                erase_prob=0.25,
                mode="rand",
                min_area_ratio=0.02,
                max_area_ratio=1 / 3,
                fill_color=[103.53, 116.28, 123.675],
                fill_std=[57.375, 57.12, 58.395],
            ),
            dict(type="PackInputs"),
        ],
    ),
    sampler=dict(type="DefaultSampler", shuffle=True),
)
train_cfg = dict(type="EpochBasedTrainLoop", max_epochs=100)
optim_wrapper = dict(
    type="OptimWrapper",
    constructor="LearningRateDecayOptimWrapperConstructor",
    optimizer=dict(type="AdamW", lr=2e-3, betas=(0.9, 0.999), weight_decay=0.05),  # 5e-4 x 1,024 / 256
    paramwise_cfg=dict(
        layer_decay_rate=0.65,
        norm_decay_mult=0.0,
        bias_decay_mult=0.0,
        custom_keys={".cls_token": dict(decay_mult=0.0)},
    ),
)
param_scheduler = [
    dict(type="LinearLR", start_factor=1e-4, begin=0, end=5, convert_to_iter_based=True),
    dict(type="CosineAnnealingLR", eta_min=1e-6, begin=5, convert_to_iter_based=True),
]
custom_hooks = [dict(type="EmptyCacheHook", after_epoch=True), _stage_hook]

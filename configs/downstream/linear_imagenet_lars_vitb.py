"""Linear evaluation on ImageNet by MAE's recipe: a frozen encoder, batch normalisation, one layer trained by LARS.

tools/dist_train.sh configs/downstream/linear_imagenet_lars_vitb.py 8 --test

Data: data/imagenet with train/ and val/. Hardware: 8 GPUs, 2,048 images each; time not measured.
Expected: 75.7 (paper, Table 3, which does not say by which of the two recipes); not reproduced yet.
"""

from mmengine.config import read_base

with read_base():
    from .._base_.downstream.imagenet import *  # noqa: F403
    from .._base_.downstream.imagenet import _stage_hook

# He et al. 2022, arXiv:2111.06377, appendix A.1.
model = dict(
    type="ImageClassifier",
    backbone=dict(type="momo.MoMoViT", arch="base", vocab_size=0, frozen_stages=12),
    neck=dict(type="ClsBatchNormNeck", input_features=768),
    head=dict(
        type="LinearClsHead",
        num_classes=1000,
        in_channels=768,
        loss=dict(type="CrossEntropyLoss"),
        init_cfg=dict(type="TruncNormal", layer="Linear", std=0.01),
    ),
)
train_dataloader = dict(
    batch_size=2048,
    num_workers=8,
    drop_last=True,
    dataset=dict(
        type="CustomDataset",
        data_root="data/imagenet/train",
        pipeline=[
            dict(type="LoadImageFromFile"),
            dict(type="RandomResizedCrop", scale=224, backend="pillow", interpolation="bicubic"),
            dict(type="RandomFlip", prob=0.5, direction="horizontal"),
            dict(type="PackInputs"),
        ],
    ),
    sampler=dict(type="DefaultSampler", shuffle=True),
)
train_cfg = dict(type="EpochBasedTrainLoop", max_epochs=90)
optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="LARS", lr=6.4, weight_decay=0.0, momentum=0.9),  # 0.1 x 16,384 / 256
    paramwise_cfg=dict(custom_keys={"head.fc.bias": dict(lars_exclude=True)}),  # MAE's adapts matrices only
)
param_scheduler = [
    dict(type="LinearLR", start_factor=1e-4, begin=0, end=10, convert_to_iter_based=True),
    dict(type="CosineAnnealingLR", eta_min=0.0, begin=10, convert_to_iter_based=True),
]
custom_hooks = [dict(type="EmptyCacheHook", after_epoch=True), _stage_hook]

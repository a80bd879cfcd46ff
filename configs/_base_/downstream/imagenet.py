"""ImageNet through mmpretrain's own classifier, data and loops."""

default_scope = "mmpretrain"
randomness = dict(seed=0)
default_hooks = dict(
    timer=dict(type="IterTimerHook"),
    logger=dict(type="LoggerHook", interval=50),
    param_scheduler=dict(type="ParamSchedulerHook"),
    checkpoint=dict(type="momo.MoMoCheckpointHook", interval=1, max_keep_ckpts=2),
    preemption=dict(type="momo.PreemptionHook"),
    finite_guard=dict(type="momo.FiniteGuard"),
    stall=dict(type="momo.StallHook"),
    sampler_seed=dict(type="DistSamplerSeedHook"),
)
env_cfg = dict(cudnn_benchmark=True, mp_cfg=dict(mp_start_method="fork", opencv_num_threads=0))
visualizer = dict(
    type="mmengine.Visualizer", vis_backends=[dict(type="LocalVisBackend"), dict(type="TensorboardVisBackend")]
)
log_level = "INFO"

_test_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="ResizeEdge", scale=256, edge="short", backend="pillow", interpolation="bicubic"),
    dict(type="CenterCrop", crop_size=224),
    dict(type="PackInputs"),
]
data_preprocessor = dict(
    type="ClsDataPreprocessor",
    num_classes=1000,
    mean=[123.675, 116.28, 103.53],
    std=[58.395, 57.12, 57.375],
    to_rgb=True,
)
test_dataloader = dict(
    batch_size=128,
    num_workers=8,
    dataset=dict(type="CustomDataset", data_root="data/imagenet/val", pipeline=_test_pipeline),
    sampler=dict(type="DefaultSampler", shuffle=False),
)
test_cfg = dict(type="TestLoop")
test_evaluator = dict(type="Accuracy", topk=(1, 5))
_stage_hook = dict(
    type="momo.StageHook",
    checkpoint="work_dirs/stage3_vitb",
    made_by="tools/dist_train.sh configs/momo/stage3_vitb.py 64",
    new=["head.*", "neck.*"],
    unused=["decoders.*", "objectives.*", "backbone.text_embed.*"],
)

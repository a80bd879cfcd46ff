"""What the two trainings on scenes share: the demo's encoder after stage 3, how long it is trained, and how fast.

Types have their scope, so that any toolkit finds them.
"""

_backbone = dict(
    type="momo.MoMoViT",
    arch=dict(embed_dim=128, depth=4, num_heads=4),
    img_size=48,  # positions are defined on the size of pre-training and interpolated
    patch_size=8,
    vocab_size=0,
    out_type="featmap",
)
_pyramid = dict(type="momo.SimpleFeaturePyramid", in_channels=128, out_channels=64)
_stage3 = dict(
    type="momo.StageHook",
    checkpoint="work_dirs/demo/stage3",
    made_by="make demo",
    unused=["decoders.*", "objectives.*", "backbone.text_embed.*"],
)
_training = dict(batch_size=16, num_workers=1, sampler=dict(type="InfiniteSampler", shuffle=True))
_evaluation = dict(batch_size=50, sampler=dict(type="DefaultSampler", shuffle=False))

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
default_hooks = dict(
    logger=dict(type="LoggerHook", interval=50),
    checkpoint=dict(type="momo.MoMoCheckpointHook", by_epoch=False, interval=200),
)
log_processor = dict(by_epoch=False)
randomness = dict(seed=0)

"""What every training run shares: hooks, logging, process settings."""

default_scope = "momo"
randomness = dict(seed=0)
default_hooks = dict(
    timer=dict(type="IterTimerHook"),
    logger=dict(type="LoggerHook", interval=50),
    param_scheduler=dict(type="ParamSchedulerHook"),
    checkpoint=dict(type="MoMoCheckpointHook", interval=1, max_keep_ckpts=2),
    preemption=dict(type="PreemptionHook"),
    finite_guard=dict(type="FiniteGuard"),
    stall=dict(type="StallHook"),
    broken_samples=dict(type="BrokenSamplesHook"),
    sampler_seed=None,  # order is a function of (seed, epoch): samplers here keep no seed to set
)
env_cfg = dict(cudnn_benchmark=False, mp_cfg=dict(mp_start_method="fork", opencv_num_threads=0))
log_processor = dict(
    type="LogProcessor",
    window_size=20,
    mean_pattern=r".*(loss|accuracy|time|grad_norm|samples_per_s).*",
)
# Scalars as JSON lines and for `tensorboard --logdir work_dirs`. docs/logging.md has W&B and MLflow, a line each.
visualizer = dict(type="Visualizer", vis_backends=[dict(type="LocalVisBackend"), dict(type="TensorboardVisBackend")])
log_level = "INFO"

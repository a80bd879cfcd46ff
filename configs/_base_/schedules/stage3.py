"""Stage 3 (MoMo 3.6): 100 epochs, 10 of warm-up, learning rate 1e-4, then cosine."""

train_cfg = dict(type="MultiModalTrainLoop", max_epochs=100, cmga="joint")
optim_wrapper = dict(
    type="OptimWrapper",
    constructor="DecayMatricesOnly",
    # betas and decay: MAE's recipe
    optimizer=dict(type="AdamW", lr=1e-4, betas=(0.9, 0.95), weight_decay=0.05, fused=True),
)
param_scheduler = [
    dict(type="LinearLR", start_factor=1e-4, begin=0, end=10, convert_to_iter_based=True),
    dict(type="CosineAnnealingLR", eta_min=0.0, begin=10, convert_to_iter_based=True),  # to the last epoch
]
auto_scale_lr = dict(enable=False, base_batch_size=4096)  # the learning rate is meant for 64 x 64; literal by default

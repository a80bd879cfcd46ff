"""Stage 1 (MoMo 3.6): 1600 epochs, 40 of warm-up, base learning rate 1.5e-4 for 256 images, then cosine."""

train_cfg = dict(type="MultiModalTrainLoop", max_epochs=1600, cmga="joint")
optim_wrapper = dict(
    type="OptimWrapper",
    constructor="DecayMatricesOnly",
    # betas and decay: MAE's recipe
    optimizer=dict(type="AdamW", lr=1.5e-4, betas=(0.9, 0.95), weight_decay=0.05, fused=True),
)
param_scheduler = [
    dict(type="LinearLR", start_factor=1e-4, begin=0, end=40, convert_to_iter_based=True),
    dict(type="CosineAnnealingLR", eta_min=0.0, begin=40, convert_to_iter_based=True),  # to the last epoch
]
auto_scale_lr = dict(enable=True, base_batch_size=256)  # lr = base lr x global batch / 256, as MAE

"""The paper's optimizer with a schedule of minutes: short warm-up, cosine, gradients clipped (our choice)."""

optim_wrapper = dict(
    type="OptimWrapper",
    constructor="DecayMatricesOnly",
    optimizer=dict(type="AdamW", lr=1.5e-3, betas=(0.9, 0.95), weight_decay=0.05, fused=True),
    clip_grad=dict(max_norm=1.0),
)

"""50,000 steps, as some ablations train (MoMo, Tables 5 and 6): a tenth of warm-up as in 3.6, then cosine."""

# Private names: a config that also imports a whole stage takes these over by hand, whatever the order of imports.
_train_cfg = dict(type="MultiModalTrainLoop", max_iters=50_000, cmga="joint")
_param_scheduler = [
    dict(type="LinearLR", start_factor=1e-4, by_epoch=False, begin=0, end=5_000),
    dict(type="CosineAnnealingLR", eta_min=0.0, by_epoch=False, begin=5_000),  # to the last step
]

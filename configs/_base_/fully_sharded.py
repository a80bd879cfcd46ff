"""Larger than one device: each GPU holds its part of every weight, gradient and moment; blocks compute in bfloat16."""

model_wrapper_cfg = dict(type="momo.MoMoFullyShardedDataParallel", param_dtype="bfloat16")

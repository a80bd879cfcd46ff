"""Fine-tuning on VQAv2 with ViLT's settings."""

from mmengine.config import read_base

with read_base():
    from .finetune import *  # noqa: F403

_pipeline = [
    dict(type="LoadImage"),
    dict(type="torchvision/Resize", size=(224, 224), interpolation="bicubic", antialias=True),
    dict(type="TokenizePair", tokenizer="data/bert-base-uncased", max_len=40),
]
_dataset = dict(type="VQAv2", root="data/vqav2", pipeline=_pipeline)

model = dict(type="VQAClassifier", backbone=dict(type="MoMoViT", arch="base"), num_answers=3129)
train_dataloader = dict(
    primary="image_text",
    batch_size=32,
    num_workers=8,
    loaders=dict(image_text=dict(dataset=dict(**_dataset, split="trainval"))),
)
test_dataloader = dict(
    batch_size=64, num_workers=8, loaders=dict(image_text=dict(dataset=dict(**_dataset, split="held_out")))
)
train_cfg = dict(type="MultiModalTrainLoop", max_epochs=10)
test_evaluator = dict(type="VQAAccuracy")
optim_wrapper = dict(
    type="OptimWrapper",
    constructor="DecayMatricesOnly",
    paramwise_cfg=dict(head_lr_mult=10.0),
    optimizer=dict(type="AdamW", lr=1e-4, betas=(0.9, 0.98), eps=1e-8, weight_decay=0.01),
)
param_scheduler = [  # warm-up over a tenth of the steps, then linear to 0
    dict(type="LinearLR", start_factor=1e-3, begin=0, end=1, convert_to_iter_based=True),
    dict(type="PolyLR", power=1.0, eta_min=0.0, begin=1, convert_to_iter_based=True),
]

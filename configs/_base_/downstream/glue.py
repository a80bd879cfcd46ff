"""Fine-tuning on a GLUE task: the settings of FLAVA's fine-tuning on QNLI, for every task (MoMo 4.1 follows FLAVA)."""

from mmengine.config import read_base

with read_base():
    from .finetune import *  # noqa: F403

_pipeline = [dict(type="TokenizePair", tokenizer="data/bert-base-uncased", max_len=128)]

model = dict(type="TextClassifier", backbone=dict(type="MoMoViT", arch="base"), num_classes=2)
train_dataloader = dict(
    primary="text",
    batch_size=32,
    num_workers=2,
    loaders=dict(
        text=dict(dataset=dict(type="GLUE", task="sst2", root="data/glue/SST-2", split="train", pipeline=_pipeline))
    ),
)
test_dataloader = dict(
    batch_size=64,
    num_workers=2,
    loaders=dict(
        text=dict(dataset=dict(type="GLUE", task="sst2", root="data/glue/SST-2", split="dev", pipeline=_pipeline))
    ),
)
find_unused_parameters = True  # no image comes by, and the encoder has its embedding
train_cfg = dict(type="MultiModalTrainLoop", max_epochs=10)  # 33,112 steps of 32 on QNLI
test_evaluator = dict(type="GLUEMetric")
optim_wrapper = dict(
    type="OptimWrapper",
    constructor="DecayMatricesOnly",
    optimizer=dict(type="AdamW", lr=1e-5, betas=(0.9, 0.98), eps=1e-6, weight_decay=0.1),
)
param_scheduler = [  # warm-up over 6% of the steps, then linear to 0
    dict(type="LinearLR", start_factor=1e-3, begin=0, end=0.6, convert_to_iter_based=True),
    dict(type="PolyLR", power=1.0, eta_min=0.0, begin=0.6, convert_to_iter_based=True),
]

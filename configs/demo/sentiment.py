"""Fine-tune an encoder of the demo on review sentences, fresh or rotten.

python tools/train.py configs/demo/sentiment.py --test
"""

from mmengine.config import read_base

with read_base():
    from .._base_.models.demo import _backbone
    from .._base_.runtime import *  # noqa: F403

_tokenize = dict(type="Tokenize", tokenizer="data/kit/tokenizer", max_len=64)
_table = dict(type="TextTable", pipeline=[_tokenize])
_root = "data/kit/sentiment"

model = dict(type="TextClassifier", backbone=dict(type="MoMoViT", **_backbone), num_classes=2, pooling="mean")
train_dataloader = dict(
    primary="text",
    batch_size=32,
    num_workers=1,
    loaders=dict(text=dict(dataset=dict(file=f"{_root}/train.tsv", **_table))),
)
val_dataloader = dict(batch_size=64, loaders=dict(text=dict(dataset=dict(file=f"{_root}/val.tsv", **_table))))
test_dataloader = dict(batch_size=64, loaders=dict(text=dict(dataset=dict(file=f"{_root}/test.tsv", **_table))))
find_unused_parameters = True  # no image comes by, and the encoder has its embedding
train_cfg = dict(type="MultiModalTrainLoop", max_epochs=2)
val_cfg = dict(type="MultiModalValLoop")
test_cfg = dict(type="MultiModalTestLoop")
val_evaluator = dict(type="Classification", scores=["accuracy"])
test_evaluator = val_evaluator
optim_wrapper = dict(
    type="OptimWrapper",
    constructor="DecayMatricesOnly",
    optimizer=dict(type="AdamW", lr=5e-4, betas=(0.9, 0.98), weight_decay=0.1, fused=True),
    clip_grad=dict(max_norm=1.0),
)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.01, begin=0, end=0.2, convert_to_iter_based=True),
    dict(type="CosineAnnealingLR", eta_min=0.0, begin=0.2, convert_to_iter_based=True),
]
custom_hooks = [
    dict(type="ProgressHook"),
    dict(
        type="StageHook",
        checkpoint="work_dirs/demo/stage3",
        made_by="tools/dist_train.sh configs/demo/stage3.py 2",
        new=["head.*"],
        unused=["decoders.*", "objectives.*"],
    ),
]

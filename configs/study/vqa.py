"""Fine-tune an encoder of the demo on templated questions about emoji, in VQAv2's files.

python tools/train.py configs/study/vqa.py --test
"""

from mmengine.config import read_base

with read_base():
    from .._base_.models.demo import _backbone, _preprocessor
    from ..demo.sentiment import *  # noqa: F403

_pipeline = [dict(type="LoadImage"), dict(type="TokenizePair", tokenizer="data/kit/tokenizer", max_len=24)]
_dataset = dict(type="VQAv2", root="data/kit/vqa", pipeline=_pipeline)

model = dict(
    type="VQAClassifier",
    backbone=dict(type="MoMoViT", **_backbone),
    num_answers=66,
    data_preprocessor=dict(type="MoMoDataPreprocessor", **_preprocessor),
)
train_dataloader["primary"] = "image_text"
train_dataloader["loaders"] = dict(image_text=dict(dataset=dict(**_dataset, split="train")))
test_dataloader["loaders"] = dict(image_text=dict(dataset=dict(**_dataset, split="val")))
test_evaluator = dict(type="VQAAccuracy")
val_dataloader = val_evaluator = val_cfg = None  # nothing is chosen
find_unused_parameters = False

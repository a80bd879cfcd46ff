"""Linear evaluation of the frozen encoder: logistic regression on [CLS], as in FLAVA (MoMo 4.1)."""

from mmengine.config import read_base

with read_base():
    from ..runtime import *  # noqa: F403

_pipeline = [
    dict(type="torchvision/Resize", size=224, interpolation="bicubic", antialias=True),
    dict(type="torchvision/CenterCrop", size=224),
]

model = dict(type="ImageEncoder", backbone=dict(type="MoMoViT", arch="base", vocab_size=0))
test_dataloader = dict(
    batch_size=128,
    num_workers=4,
    loaders={
        split: dict(
            dataset=dict(type="VisionSet", name="food101", root="data/food101", split=split, pipeline=_pipeline)
        )
        for split in ("train", "val", "test")
    },
)
test_cfg = dict(type="LinearProbeLoop")
test_evaluator = dict(type="Classification", scores=["accuracy", "mean_per_class"])

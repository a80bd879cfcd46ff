"""Zero-shot classification: the class whose prompts are most similar to the image. Not in the paper."""

from mmengine.config import read_base

with read_base():
    from ..runtime import *  # noqa: F403

_pipeline = [
    dict(type="torchvision/Resize", size=224, interpolation="bicubic", antialias=True),
    dict(type="torchvision/CenterCrop", size=224),
]

model = dict(
    type="MoMoPretrainer",
    backbone=dict(type="MoMoViT", arch="base"),
    decoders=dict(),
    objectives=dict(image_text=dict(itc=dict(type="ITC"))),
)
test_dataloader = dict(
    batch_size=128,
    num_workers=4,
    loaders=dict(
        image=dict(
            dataset=dict(type="VisionSet", name="food101", root="data/food101", split="test", pipeline=_pipeline)
        )
    ),
)
test_cfg = dict(type="ZeroShotLoop", tokenize=dict(type="TokenizePair", tokenizer="data/bert-base-uncased", max_len=64))
test_evaluator = dict(type="Classification", scores=["accuracy", "mean_per_class"])

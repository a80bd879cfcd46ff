"""Zero-shot retrieval (MoMo 4.1): the encoder with the heads of stage 3's contrast and matching; nothing is trained."""

from mmengine.config import read_base

with read_base():
    from ..runtime import *  # noqa: F403

_tokenizer = "data/bert-base-uncased"

model = dict(
    type="MoMoPretrainer",
    data_preprocessor=dict(type="MoMoDataPreprocessor"),
    backbone=dict(type="MoMoViT", arch="base"),
    decoders={},
    objectives=dict(image_text=dict(itc=dict(type="ITC"), itm=dict(type="ITM", guide="itc"))),
)
# The whole picture, squeezed to a square as in ALBEF: captions also tell of what a centre crop would cut off.
_resize = dict(type="torchvision/Resize", size=[224, 224], interpolation="bicubic", antialias=True)
test_dataloader = dict(
    batch_size=64,
    num_workers=8,
    loaders=dict(
        image=dict(dataset=dict(type="KarpathyImages", split="test", pipeline=[dict(type="LoadImage"), _resize])),
        text=dict(
            batch_size=256,
            dataset=dict(
                type="KarpathyCaptions",
                split="test",
                pipeline=[dict(type="Tokenize", tokenizer=_tokenizer, max_len=64)],
            ),
        ),
    ),
)
# rerank: how many of the most similar entries the matching head puts in order for each query, such as 16 or 128.
test_cfg = dict(type="RetrievalLoop", rerank=0)
test_evaluator = dict(type="RankRecall", ks=[1, 5, 10])

"""Stage 2 (MoMo 3.2): masked images and masked text at once, each with a decoder of its own (3.3)."""

model = dict(
    type="MoMoPretrainer",
    data_preprocessor=dict(type="MoMoDataPreprocessor"),
    backbone=dict(type="MoMoViT", arch="base"),
    decoders=dict(
        image=dict(type="MoMoDecoder", outputs=["pixels"]),
        text=dict(type="MoMoDecoder", outputs=["tokens"]),
    ),
    objectives=dict(
        image=dict(mim=dict(type="MIM", decoder="image", mask_ratio=0.75)),
        text=dict(mlm=dict(type="MLM", decoder="text", mask_ratio=0.15)),
    ),
)

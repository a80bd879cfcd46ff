"""Stage 1 (MoMo 3.2): masked images."""

model = dict(
    type="MoMoPretrainer",
    data_preprocessor=dict(type="MoMoDataPreprocessor"),
    backbone=dict(type="MoMoViT", arch="base", vocab_size=0),  # vocab_size=0: no text yet
    decoders=dict(image=dict(type="MoMoDecoder", outputs=["pixels"])),
    objectives=dict(image=dict(mim=dict(type="MIM", decoder="image", mask_ratio=0.75))),
)

"""Stage 3 (MoMo 3.2): masked text; cross-modal masking, global contrastive and matching loss on pairs."""

model = dict(
    type="MoMoPretrainer",
    data_preprocessor=dict(type="MoMoDataPreprocessor"),
    backbone=dict(type="MoMoViT", arch="base"),
    decoders=dict(
        text=dict(type="MoMoDecoder", outputs=["tokens"]),
        cross_modal=dict(type="MoMoDecoder", outputs=["pixels", "tokens"]),
    ),
    objectives=dict(
        text=dict(mlm=dict(type="MLM", decoder="text", mask_ratio=0.15)),
        image_text=dict(
            cmm=dict(type="CMM", decoder="cross_modal", image_mask_ratio=0.75, text_mask_ratio=0.75),
            itc=dict(type="ITC", image_mask_ratio=0.75),
            itm=dict(type="ITM", guide="itc", image_mask_ratio=0.75),
        ),
    ),
)

"""The paper's pre-training data (MoMo 3.4, 3.6), where the readers expect it."""

_load = dict(type="LoadImage")
# 'Random resizing and cropping as the only augmentation' in stages 1 and 2; the scale is MAE's.
_crop = dict(type="torchvision/RandomResizedCrop", size=224, scale=(0.2, 1.0), interpolation="bicubic", antialias=True)
# Stage 3 adds RandAugment, with torchvision's defaults of its reference.
_augment = dict(type="torchvision/RandAugment", num_ops=2, magnitude=9)
_tokenizer = "data/bert-base-uncased"

_train = dict(
    image=dict(dataset=dict(type="ImageFolder", root="data/imagenet/train", pipeline=[_load, _crop])),
    text=dict(
        dataset=dict(
            type="TextCorpus",
            files=["data/wikipedia/*.parquet", "data/bookcorpus/*.parquet"],
            pipeline=[dict(type="Tokenize", tokenizer=_tokenizer, max_len=512)],
        )
    ),
    image_text=dict(
        dataset=dict(
            type="ImageText",
            annotations="data/pmd_subset/train.json",
            root="data/pmd_subset/images",
            pipeline=[_load, _crop, _augment, dict(type="Tokenize", tokenizer=_tokenizer, max_len=64)],
        )
    ),
)

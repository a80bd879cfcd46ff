"""The demo's data: emoji and their names, questions and articles, at 48 pixels. Made by tools/demo/prepare_kit.py."""

_root = "data/kit"
_tokenize = dict(type="Tokenize", tokenizer=f"{_root}/tokenizer", max_len=48)
_crop = dict(type="torchvision/RandomResizedCrop", size=48, scale=(0.5, 1.0), interpolation="bicubic", antialias=True)
_load = dict(type="LoadImage")

_train = dict(
    image=dict(
        batch_size=64,
        dataset=dict(type="ImageFolder", root=f"{_root}/images/train", pipeline=[_load, _crop]),
    ),
    text=dict(
        batch_size=48,
        dataset=dict(type="TextCorpus", files=[f"{_root}/text/train/*.txt"], pipeline=[_tokenize]),
    ),
    image_text=dict(
        batch_size=128,
        dataset=dict(
            type="ImageText",
            annotations=f"{_root}/pairs_train.json",
            root=f"{_root}/images",
            pipeline=[_load, _crop, _tokenize],
        ),
    ),
)
_held_out = dict()  # by split; tools/demo/measures.py reads both, the stages validate on the first
for _split in ("val", "test"):
    _held_out[_split] = dict(
        image=dict(
            batch_size=64,
            dataset=dict(type="ImageFolder", root=f"{_root}/images/{_split}", pipeline=[_load]),
        ),
        text=dict(
            batch_size=64,
            dataset=dict(type="TextCorpus", files=[f"{_root}/text/{_split}/*.txt"], pipeline=[_tokenize]),
        ),
    )
_val = _held_out["val"]
# Held-out pairs that the log shows in pictures.
_shown_pairs = dict(
    type="ImageText",
    annotations=f"{_root}/pairs_val_fluent.json",
    root=f"{_root}/images",
    pipeline=[_load, _tokenize],
)

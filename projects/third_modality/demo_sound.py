"""Sound beside images and text on the demo's encoder after stage 3: masked modelling of all three at once.

    export PYTHONPATH=.
    python tools/train.py projects/third_modality/demo_sound.py
    python tools/train.py projects/third_modality/demo_sound.py --cfg-options custom_hooks.1.checkpoint=None

The second run starts from random weights. Images and text are the demo's (`make demo`), sounds are made as they are
read. README.md has time and figures.
"""

from mmengine.config import read_base

with read_base():
    from ...configs._base_.data.kit import _train
    from ...configs._base_.models.demo import _backbone, _decoder, _preprocessor
    from ...configs._base_.runtime import *  # noqa: F403
    from ...configs._base_.schedules.demo import *  # noqa: F403

custom_imports = dict(imports=["projects.third_modality.sounds", "projects.third_modality.masked_sound"])

_pixels = dict(type="MoMoDecoder", outputs=["pixels"], **_decoder)
model = dict(
    type="MoMoPretrainer",
    data_preprocessor=dict(type="SoundPreprocessor", sound_mean=73.0, sound_std=55.0, **_preprocessor),
    backbone=dict(type="SoundMoMoViT", spectrogram_size=64, **_backbone),
    decoders=dict(
        image=_pixels,
        text=dict(type="MoMoDecoder", outputs=["tokens"], **_decoder),
        sound=dict(**_pixels, in_channels=1, img_size=64),
    ),
    objectives=dict(
        image=dict(mim=dict(type="MIM", decoder="image", mask_ratio=0.75)),
        text=dict(mlm=dict(type="MLM", decoder="text", mask_ratio=0.15)),
        sound=dict(masked=dict(type="MaskedSound", decoder="sound", mask_ratio=0.75)),
    ),
)
_spectrogram = dict(type="MelSpectrogram", mels=64, frames=64)
train_dataloader = dict(
    primary="sound",
    num_workers=1,
    loaders=dict(
        image={**_train["image"], "batch_size": 32},
        text={**_train["text"], "batch_size": 8},
        sound=dict(batch_size=32, dataset=dict(type="MadeSounds", split="train", size=2048, pipeline=[_spectrogram])),
    ),
)
val_dataloader = dict(
    batch_size=64,
    loaders=dict(sound=dict(dataset=dict(type="MadeSounds", split="val", size=512, pipeline=[_spectrogram]))),
)
val_cfg = dict(type="MultiModalValLoop")
val_evaluator = dict(type="MeanLoss")
train_cfg = dict(type="MultiModalTrainLoop", max_epochs=5)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.01, begin=0, end=0.5, convert_to_iter_based=True),
    dict(type="CosineAnnealingLR", eta_min=1e-5, begin=0.5, convert_to_iter_based=True),
]
custom_hooks = [
    dict(type="ProgressHook"),
    dict(
        type="StageHook",
        checkpoint="work_dirs/demo/stage3",
        made_by="make demo",
        new=["backbone.sound_embed.*", "decoders.image.*", "decoders.sound.*"],
        unused=["decoders.cross_modal.*", "objectives.*"],
    ),
]

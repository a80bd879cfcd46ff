"""Data and configs of runs that take a second: width 32, two layers, 20 steps in four epochs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

WORDS = ("sun", "moon", "red", "blue", "cat", "dog", "runs", "sleeps", "over", "under", "hill", "sea", "a", "the")
VOCABULARY = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS, "##s", ".")
STEPS, INTERVAL, GLOBAL_BATCH = 20, 3, 4
DECODER = dict(type="MoMoDecoder", decoder_dim=16, depth=1, num_heads=2)
DECODERS = dict(
    image=dict(**DECODER, outputs=["pixels"]),
    text=dict(**DECODER, outputs=["tokens"]),
    cross_modal=dict(**DECODER, outputs=["pixels", "tokens"]),
)
TEXT = dict(mlm=dict(type="MLM", decoder="text", mask_ratio=0.15))
PAIRS = dict(cmm=dict(type="CMM", decoder="cross_modal"), itc=dict(type="ITC"), itm=dict(type="ITM"))
OBJECTIVES = {
    1: dict(image=dict(mim=dict(type="MIM", decoder="image", mask_ratio=0.75))),
    2: dict(image=dict(mim=dict(type="MIM", decoder="image", mask_ratio=0.75)), text=TEXT),
    3: dict(text=TEXT, image_text=PAIRS),
}
PRIMARY = {1: "image", 2: "text", 3: "text"}
FROM_2_TO_3 = dict(
    type="StageHook", new=["decoders.cross_modal.*", "objectives.image_text.*"], unused=["decoders.image.*"]
)


def sentence(index: int) -> str:
    rng = np.random.default_rng(index)
    return " ".join(rng.choice(WORDS, rng.integers(3, 10)))


def write_data(folder: Path) -> dict[str, dict[str, Any]]:
    """Configs of datasets by modality: 12 images, 20 texts, 12 pairs. Sizes differ, so that epochs do."""
    images = folder / "images"
    images.mkdir(parents=True)
    for index in range(12):
        pixels = np.random.default_rng(index).integers(0, 256, (40, 40, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(images / f"{index:03d}.png")
    (folder / "text.txt").write_text("".join(f"{sentence(index)}\n" for index in range(20)))
    rows = [{"image": f"{i:03d}.png", "caption": [sentence(1000 + i), sentence(2000 + i)]} for i in range(12)]
    (folder / "pairs.json").write_text(json.dumps(rows))
    (folder / "tokenizer").mkdir()
    (folder / "tokenizer" / "vocab.txt").write_text("\n".join(VOCABULARY) + "\n")
    load = dict(type="LoadImage")
    crop = dict(type="torchvision/RandomResizedCrop", size=32, scale=(0.5, 1.0), interpolation="bicubic")
    tokenize = dict(type="Tokenize", tokenizer=str(folder / "tokenizer"), max_len=6)
    return dict(
        image=dict(type="ImageFolder", root=str(images), pipeline=[load, crop]),
        text=dict(type="TextCorpus", files=str(folder / "text.txt"), pipeline=[tokenize]),
        image_text=dict(
            type="ImageText",
            annotations=str(folder / "pairs.json"),
            root=str(images),
            pipeline=[load, crop, tokenize],
        ),
    )


def run_config(
    data: dict[str, dict[str, Any]], stage: int, world: int, workers: int = 0, steps: int = STEPS
) -> dict[str, Any]:
    """A short run with dropout, an average of the weights and all guards."""
    objectives = OBJECTIVES[stage]
    named = {cfg.get("decoder") for table in objectives.values() for cfg in table.values()}
    return dict(
        model=dict(
            type="MoMoPretrainer",
            backbone=dict(
                type="MoMoViT",
                arch=dict(embed_dim=32, depth=2, num_heads=4),
                img_size=32,
                patch_size=8,
                vocab_size=len(VOCABULARY),
                max_text_len=12,
                drop_path_rate=0.3,
            ),
            decoders={name: cfg for name, cfg in DECODERS.items() if name in named},
            objectives=objectives,
        ),
        train_dataloader=dict(
            batch_size=GLOBAL_BATCH // world,
            num_workers=workers,
            primary=PRIMARY[stage],
            loaders={modality: dict(dataset=data[modality]) for modality in objectives},
        ),
        train_cfg=dict(type="MultiModalTrainLoop", max_iters=steps),
        optim_wrapper=dict(
            type="OptimWrapper",
            constructor="DecayMatricesOnly",
            optimizer=dict(type="AdamW", lr=1e-3, betas=(0.9, 0.95), weight_decay=0.05, fused=stage == 2),
            clip_grad=dict(max_norm=1.0),
        ),
        param_scheduler=[
            dict(type="LinearLR", start_factor=0.1, by_epoch=False, begin=0, end=4),
            dict(type="CosineAnnealingLR", eta_min=0.0, by_epoch=False, begin=4),
        ],
        default_hooks=dict(
            timer=dict(type="IterTimerHook"),
            logger=dict(type="LoggerHook", interval=10),
            param_scheduler=dict(type="ParamSchedulerHook"),
            checkpoint=dict(type="MoMoCheckpointHook", by_epoch=False, interval=INTERVAL, max_keep_ckpts=2),
            preemption=dict(type="PreemptionHook"),
            finite_guard=dict(type="FiniteGuard"),
            stall=dict(type="StallHook"),
            sampler_seed=None,
        ),
        custom_hooks=[dict(type="EMAHook", momentum=0.1), dict(type="Ledger")],
        custom_imports=dict(imports=["reliability.child"]),
        default_scope="momo",
        randomness=dict(seed=3),
        visualizer=dict(type="Visualizer", vis_backends=[]),
    )


def write_config(path: Path, cfg: dict[str, Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{key} = {value!r}\n" for key, value in cfg.items()))
    return path

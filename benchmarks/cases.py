"""What is compared with what, and what is aimed at.

Sizes are those of the base model, batches those of the text beside each case. Peers run as they come.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from side_by_side import Side, Turn

MOMO, GEMM = "MoMo", "GEMM"
Seconds = Callable[[Turn], float]  # one of a turn's two clocks


class Target(NamedTuple):
    """own: the side that is judged. needs: all sides that the figure is made of. figure: of one round's turns.
    at_least: whether the figure must reach the limit, or else must not exceed it.
    """

    text: str
    own: str
    needs: tuple[str, ...]
    limit: float
    at_least: bool
    figure: Callable[[Mapping[str, Turn], Seconds], float]

    def met(self, figure: float) -> bool:
        return figure >= self.limit if self.at_least else figure <= self.limit


class Case(NamedTuple):
    """rounds: fewer where a step takes long."""

    sides: Mapping[str, Side]
    targets: list[Target]
    rounds: int = 5


def rate(turn: Turn, seconds: Seconds) -> float:
    """FLOP/s."""
    return turn.flops / seconds(turn)


# ------------------------------------------------------------------ kinds of targets
def times_as_fast(peer: str, limit: float, own: str = MOMO) -> Target:
    def figure(turns: Mapping[str, Turn], seconds: Seconds) -> float:
        return seconds(turns[peer]) / seconds(turns[own])

    who = "" if own == MOMO else f"{own}: "
    return Target(f"{who}at least {limit:g} x as fast as {peer}", own, (own, peer), limit, True, figure)


def share_of_peak(limit: float) -> Target:
    def figure(turns: Mapping[str, Turn], seconds: Seconds) -> float:
        return rate(turns[MOMO], seconds) / rate(turns[GEMM], seconds)

    return Target(f"at least {limit:g} of the GEMM rate", MOMO, (MOMO, GEMM), limit, True, figure)


def share_of_memory(peer: str, limit: float, own: str = MOMO) -> Target:
    def figure(turns: Mapping[str, Turn], seconds: Seconds) -> float:
        return turns[own].peak / turns[peer].peak

    return Target(f"peak memory at most {limit:g} of {peer}'s", own, (own, peer), limit, False, figure)


def share_of_time(own: str, parts: Iterable[str], limit: float, text: str) -> Target:
    """The time of one side over that of others together."""
    parts = tuple(parts)

    def figure(turns: Mapping[str, Turn], seconds: Seconds) -> float:
        return seconds(turns[own]) / sum(seconds(turns[part]) for part in parts)

    return Target(text, own, (own, *parts), limit, False, figure)


def spread_of_cost(units: Mapping[str, int], limit: float, text: str) -> Target:
    """The dearest time a unit over the cheapest, among sides with so many units each."""

    def figure(turns: Mapping[str, Turn], seconds: Seconds) -> float:
        costs = [seconds(turns[name]) / number for name, number in units.items()]
        return max(costs) / min(costs)

    return Target(text, max(units, key=units.get), tuple(units), limit, False, figure)


def bend_of_memory(one: str, two: str, four: str, limit: float, text: str) -> Target:
    """What the second doubling adds to a step's memory over twice what the first adds: 1 if linear, 2 if quadratic."""

    def figure(turns: Mapping[str, Turn], seconds: Seconds) -> float:
        first, second = (turns[large].grown - turns[small].grown for small, large in ((one, two), (two, four)))
        return second / (2 * first) if first > 0 else math.inf  # inputs so small that nothing grew tell nothing

    return Target(text, four, (one, two, four), limit, False, figure)


# ------------------------------------------------------------------ the cases
def gemm(half: bool = False) -> dict[str, Side]:
    return {GEMM: Side("peer_steps.gemm", dict(half=half))}


def masked_images(half: bool, peak: float) -> Case:
    """8 images, three quarters of their patches hidden."""
    peers = {"timm's MAE": "timm_mae", "mmpretrain's MAE": "mmpretrain_mae", "transformers' ViTMAE": "hf_mae"}
    sides = {name: Side(f"peer_steps.{function}", dict(images=8), half) for name, function in peers.items()}
    targets = [times_as_fast(name, 1.0 if name.startswith("timm") else 1.12) for name in peers]
    own = {MOMO: Side("momo_steps.pretraining", dict(stage=1, images=8), half)}
    return Case({**own, **sides, **gemm(half)}, [*targets, share_of_peak(peak)])


def masked_text(texts: tuple, peers: Mapping[str, tuple[int | None, float]], rounds: int) -> Case:
    """Peers: BERT, by what its texts are padded to (None: the longest), and the target."""
    sides = {MOMO: Side("momo_steps.pretraining", dict(stage=2, texts=texts))}
    for name, (pad_to, _) in peers.items():
        sides[name] = Side("peer_steps.bert", dict(texts=texts, pad_to=pad_to))
    return Case({**sides, **gemm()}, [times_as_fast(name, limit) for name, (_, limit) in peers.items()], rounds)


PAIRS = (8, 16, 40)
WITHOUT, WITH = "FLAVA without codebook", "FLAVA with codebook"
REUSED = "MoMo, ITM on CMM's pass"
# Settings of stage 3's objectives to measure on pairs: by name, what differs from the shipped ones by objective, and
# how many times as fast as FLAVA a step is to be, without and with its codebook.
PAIR_SETTINGS: dict[str, tuple[dict[str, dict[str, Any]], float, float]] = {
    MOMO: ({}, 1.6, 1.9),
    REUSED: ({"itm": {"reuses": "cmm"}}, 2.2, 2.2),
}


def pair_losses() -> Case:
    """8 pairs of 16 tokens, which FLAVA pads to 40."""
    sides, targets = {}, []
    for name, (options, without, with_codebook) in PAIR_SETTINGS.items():
        sides[name] = Side("momo_steps.pretraining", dict(stage=3, pairs=PAIRS, options=options))
        targets += [times_as_fast(WITHOUT, without, name), times_as_fast(WITH, with_codebook, name)]
        targets += [share_of_memory(peer, 0.6, name) for peer in (WITHOUT, WITH)]
    for name, codebook in ((WITHOUT, False), (WITH, True)):
        sides[name] = Side("peer_steps.flava_pairs", dict(pairs=PAIRS, pad_to=40, codebook=codebook))
    return Case({**sides, **gemm()}, targets, rounds=3)


STAGE2_TEXTS = (8, 64, 128)


def simultaneous() -> Case:
    """Stage 2 on 8 images and 8 texts of 64 tokens on average, against its parts."""
    inputs = {MOMO: dict(images=8, texts=STAGE2_TEXTS), "images": dict(images=8), "texts": dict(texts=STAGE2_TEXTS)}
    sides = {name: Side("momo_steps.pretraining", dict(stage=2, **own)) for name, own in inputs.items()}
    text = "at most 1.03 of the time of its parts alone"
    return Case({**sides, **gemm()}, [share_of_time(MOMO, ("images", "texts"), 1.03, text)])


def cmga() -> Case:
    """The same with an update, all modalities in one pass or one after the other."""
    batches = dict(image=(8, None), text=STAGE2_TEXTS)
    settings = dict(config="configs/momo/stage2_vitb.py", batches=batches, part="update")
    sides = {mode: Side("momo_steps.training", dict(**settings, cmga=mode)) for mode in ("joint", "sequential")}
    text = "'joint' not slower than 'sequential'"
    return Case({**sides, **gemm()}, [share_of_time("joint", ("sequential",), 1.0, text)])


def questions(number: int) -> Case:
    """Forward pass on pictures with questions of 20 tokens."""
    texts = dict(texts=(number, 20))
    sides = {
        MOMO: Side("momo_steps.vqa", texts),
        "FLAVA": Side("peer_steps.flava_vqa", texts),
        "ViLT": Side("peer_steps.vilt_vqa", texts),
        **gemm(),
    }
    return Case(sides, [times_as_fast("FLAVA", 1.5), times_as_fast("ViLT", 1.0)])


def embeddings(of: str, settings: dict[str, Any], limit: float) -> Case:
    """Forward pass to vectors; FLAVA pads texts to 40, open_clip to 77."""
    padded = {**settings, "pad_to": 40} if of == "texts" else settings
    sides = {
        MOMO: Side("momo_steps.image_embeddings" if of == "images" else "momo_steps.text_embeddings", settings),
        "FLAVA": Side(f"peer_steps.flava_{of}", padded),
        "open_clip": Side(f"peer_steps.open_clip_{of}", settings),
        **gemm(),
    }
    return Case(sides, [times_as_fast("FLAVA", limit), times_as_fast("open_clip", limit)])


STEPS = {  # config, batches: one of the base size, one of the demo's
    None: ("configs/momo/stage3_vitb.py", dict(text=(8, 16, 40), image_text=PAIRS)),
    "demo": ("configs/demo/stage3.py", dict(text=(8, 40, 48), image_text=(64, 8, 20))),
}


def overhead(size: str | None, limit: float) -> Case:
    """A whole step of stage 3, and the same calls on next to no numbers: what Python and dispatch take."""
    config, batches = STEPS[size]
    settings = dict(config=config, batches=batches, part="step")
    sides = {MOMO: Side("momo_steps.training", settings, size=size), **gemm()}
    sides["hollow"] = Side("momo_steps.training", settings, size=size, hollow=True)
    text = f"Python and dispatch at most {limit:g} of the step"
    return Case(sides, [share_of_time("hollow", (MOMO,), limit, text)._replace(own=MOMO)], rounds=3)


def loop(size: str | None, steps: int) -> Case:
    """The training loop with all hooks, against the bare step; the loop logs once in `steps` steps, not in 50."""
    config, batches = STEPS[size]
    settings = dict(config=config, batches=batches, steps=steps)
    sides = {part: Side("momo_steps.training", dict(**settings, part=part), size=size) for part in ("loop", "step")}
    text = "loop and hooks at most 1.02 of the bare step"
    return Case({**sides, **gemm()}, [share_of_time("loop", ("step",), 1.02, text)], rounds=3)


def cost_of_tokens() -> Case:
    """Forward and backward of one block of the base width, sequences of 50 tokens."""
    units = {f"{tokens:,} tokens": tokens for tokens in (1000, 10_000, 50_000)}
    sides = {name: Side("momo_steps.packed_tokens", dict(tokens=n, length=50)) for name, n in units.items()}
    return Case({**sides, **gemm()}, [spread_of_cost(units, 1.1, "time a token: dearest at most 1.1 of cheapest")])


def contrastive_memory() -> Case:
    """The contrastive loss of one process among many; 16,384 pairs on all of them."""
    names = {f"{local} of 16,384 pairs": local for local in (256, 512, 1024)}
    sides = {name: Side("momo_steps.contrastive", dict(local=n, everywhere=16_384)) for name, n in names.items()}
    text = "memory linear in the local batch: bend at most 1.1"
    return Case(sides, [bend_of_memory(*names, 1.1, text)], rounds=1)


CASES: dict[str, Callable[[], Case]] = {
    "mim": lambda: masked_images(half=False, peak=0.85),
    "mim_bf16": lambda: masked_images(half=True, peak=0.75),
    "mlm_captions": lambda: masked_text(
        (16, 12, 64), {"BERT padded to 64": (64, 4.0), "BERT padded to the longest": (None, 1.4)}, rounds=5
    ),
    "mlm_16x128": lambda: masked_text((16, 128), {"BERT": (None, 1.05)}, rounds=3),
    "pairs": pair_losses,
    "stage2": simultaneous,
    "cmga": cmga,
    "vqa_1": lambda: questions(1),
    "vqa_8": lambda: questions(8),
    "text_embeddings": lambda: embeddings("texts", dict(texts=(16, 12, 40)), 2.5),
    "image_embeddings": lambda: embeddings("images", dict(images=8), 1.0),
    "overhead": lambda: overhead(None, 0.05),
    "overhead_demo": lambda: overhead("demo", 0.15),
    "loop": lambda: loop(None, steps=1),
    "loop_demo": lambda: loop("demo", steps=10),
    "tokens": cost_of_tokens,
    "itc_memory": contrastive_memory,
}

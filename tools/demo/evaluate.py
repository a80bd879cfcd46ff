"""Evaluate the demo's encoders on held-out data, and check what the demo claims.

    python tools/demo/evaluate.py --kit data/kit --work-dir work_dirs/demo

Writes work_dirs/demo/evaluation/evaluation.json: {"metrics": [...], "claims": [...]}. Nothing here is tuned on test
data.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import torch
from measures import (
    Measure,
    caption_recalls,
    drawing_recalls,
    held_out_loss,
    matching_accuracy,
    model_of,
    pooled_features,
    probe,
    raw_pixels,
    text_floors,
    unigram_cross_entropy,
)
from rich.progress import track

from momo.apis import get_model
from momo.models import MoMoPretrainer

ENCODERS = ("random", "stage1", "stage2", "stage3")


def load(stage: str, work_dir: Path) -> MoMoPretrainer:
    """A stage's model; 'random' is stage 3's before any training."""
    torch.manual_seed(0)
    return get_model("demo/stage3") if stage == "random" else get_model(f"demo/{stage}", work_dir / stage)


def probes(kit: Path, models: dict[str, MoMoPretrainer]) -> Iterator[Measure]:
    floor, _ = probe(kit, "groups", raw_pixels)
    for stage in track(ENCODERS, "linear probes"):
        value, n = probe(kit, "groups", lambda images, model=models[stage]: pooled_features(model, images))
        yield Measure("emoji group, linear probe", stage, value, floor, "probe on 16 x 16 pixels", n)


def losses(models: dict[str, MoMoPretrainer]) -> Iterator[Measure]:
    for stage in ("stage1", "stage2", "stage2_text_only"):
        value, n = held_out_loss(models[stage], "image", "mim_loss_pixels")
        yield Measure("masked-image loss", stage, value, None, "lower is better", n)
    unigram = unigram_cross_entropy(models["stage2"])
    for stage in ("stage2", "stage2_text_only", "stage3"):
        value, n = held_out_loss(models[stage], "text", "mlm_loss_words")
        yield Measure("masked-text cross-entropy", stage, value, unigram, "word frequencies; lower is better", n)


def retrieval(kit: Path, models: dict[str, MoMoPretrainer]) -> Iterator[Measure]:
    for source in ("fluent", "openmoji"):
        recalls, n = caption_recalls(kit, models["stage3"], source)
        for k in (1, 5, 10):
            yield Measure(f"{source} captions, recall@{k}", "stage3", recalls[k], k / n, "chance", n)
        recalls, n = caption_recalls(kit, models["stage3"], source, twins=False)
        for k in (1, 5, 10):
            name = f"{source} captions without trained twins, recall@{k}"
            yield Measure(name, "stage3", recalls[k], k / n, "chance", n)
    for stage in ("random", "stage3"):
        recalls, n = drawing_recalls(kit, models[stage])
        for k in (1, 10):
            yield Measure(f"fluent to openmoji, recall@{k}", stage, recalls[k], k / n, "chance", n)
    value, n = matching_accuracy(kit, models["stage3"])
    yield Measure("image-text matching, balanced accuracy", "stage3", value, 0.5, "chance", n)


def sentiment(kit: Path, work_dir: Path) -> Iterator[Measure]:
    tf_idf, majority, n = text_floors(kit / "sentiment")
    for stage in ENCODERS:
        figures = work_dir / f"sentiment_{stage}" / "figures.json"
        if figures.exists():
            accuracy = json.loads(figures.read_text())["accuracy"]
            yield Measure("fresh or rotten, fine-tuned", stage, accuracy, tf_idf, "TF-IDF", n)
    yield Measure("fresh or rotten, fine-tuned", "majority class", majority, None, "", n)


def claims(metrics: list[Measure]) -> list[dict]:
    """What this demo sets out to show, and whether this run shows it."""
    value = {(m.name, m.stage): m.value for m in metrics}
    checks = []

    def claim(text: str, figure: float, limit: float, at_least: bool = True) -> None:
        met = figure >= limit if at_least else figure <= limit
        checks.append({"text": text, "met": bool(met), "detail": f"{figure:.3f} (limit {limit:.3f})"})

    for source in ("fluent", "openmoji"):
        for k, limit in ((1, 0.10), (10, 0.35)):
            figure = value[f"{source} captions, recall@{k}", "stage3"]
            claim(f"Caption retrieval on unseen {source} pictures, recall@{k}", figure, limit)
    claim("Fluent to OpenMoji, recall@1", value["fluent to openmoji, recall@1", "stage3"], 0.25)
    image = {stage: value["masked-image loss", stage] for stage in ("stage1", "stage2", "stage2_text_only")}
    claim(
        "Training text alone in stage 2 costs images: masked-image loss, times the joint one",
        image["stage2_text_only"] / image["stage2"],
        1.3,
    )
    claim(
        "Training both keeps images: masked-image loss of stage 2, times stage 1's",
        image["stage2"] / image["stage1"],
        1.05,
        at_least=False,
    )
    text = next(m for m in metrics if m.name == "masked-text cross-entropy" and m.stage == "stage2")
    claim("Masked-text cross-entropy below word frequencies", text.value, text.floor, at_least=False)
    probe = "emoji group, linear probe"
    claim("Stage 3's linear probe at least the random encoder's", value[probe, "stage3"], value[probe, "random"])
    if ("fresh or rotten, fine-tuned", "stage3") in value:
        claim("Fresh or rotten, fine-tuned from stage 3", value["fresh or rotten, fine-tuned", "stage3"], 0.72)
    return checks


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kit", type=Path, default=Path("data/kit"))
    parser.add_argument("--work-dir", type=Path, default=Path("work_dirs/demo"))
    args = parser.parse_args()
    models = {stage: load(stage, args.work_dir) for stage in ENCODERS}
    # Without images: its encoder, and the image decoder that stage 1 left behind.
    models["stage2_text_only"] = model_of("demo/stage2", args.work_dir / "stage1", args.work_dir / "stage2_text_only")
    metrics = [
        *probes(args.kit, models),
        *losses(models),
        *retrieval(args.kit, models),
        *sentiment(args.kit, args.work_dir),
    ]
    out = args.work_dir / "evaluation" / "evaluation.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    checked = claims(metrics)
    out.write_text(json.dumps({"metrics": [m._asdict() for m in metrics], "claims": checked}, indent=1))
    for m in metrics:
        floor = "" if m.floor is None else f"   {m.floor_is} {m.floor:.3f}"
        print(f"{m.name:<42} {m.stage:<18} {m.value:.3f}   n {m.n}{floor}")
    for check in checked:
        print(f"{'met    ' if check['met'] else 'NOT MET'}  {check['text']}: {check['detail']}")


if __name__ == "__main__":
    main()

"""Scenes of several emoji with masks and boxes, which projects/segmentation and projects/detection train on.

    python projects/make_scenes.py          # after `make demo`, or the two scripts that tools/demo/prepare_kit.py names

The pictures are Fluent's, cut out by their alpha channel and put on white as in the kit; the class of a pixel or box is
the emoji's Unicode group. Scenes of a split use that split's emoji only. The same kit always gives the same files.
Written under --out:

    {train,val,test}/images/00000.png    96 px, RGB
    {train,val,test}/masks/00000.png     a byte a pixel: 0 background, k + 1 for the k-th group
    {train,val,test}.json                boxes in COCO's form, categories from 1
"""

from __future__ import annotations

import argparse
import io
import json
import random
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from PIL import Image
from rich.progress import track

sys.path.insert(0, str(Path(__file__).parents[1] / "tools" / "demo"))

from kit_emoji import emoji_key  # noqa: E402
from kit_sources import FLUENT, read_members  # noqa: E402

SIZE = 96
COUNTS = {"train": 2000, "val": 300, "test": 300}
EMOJI_A_SCENE = (1, 3)
EMOJI_SIZES = (32, 72)  # pixels
MAX_COVERED = 0.2  # of a picture's box, by any later one
OPAQUE = 128  # alpha from which a pixel belongs to the emoji


class Cutout(NamedTuple):
    """picture: RGBA. label: which group, from 1."""

    picture: Image.Image
    label: int


class Scene(NamedTuple):
    """image: RGB. mask: labels. boxes: (left, top, width, height, label) of each emoji, covered parts included."""

    image: Image.Image
    mask: Image.Image
    boxes: list[tuple[int, int, int, int, int]]


def overlap(box: Sequence[int], other: Sequence[int]) -> float:
    """Share of `box` (left, top, right, bottom) that `other` covers."""
    width = min(box[2], other[2]) - max(box[0], other[0])
    height = min(box[3], other[3]) - max(box[1], other[1])
    return max(width, 0) * max(height, 0) / ((box[2] - box[0]) * (box[3] - box[1]))


def compose(cutouts: Sequence[Cutout], rng: random.Random, size: int = SIZE) -> Scene:
    """Put emoji at random places and sizes on white, later ones in front; one that finds no room is left out."""
    image, mask = Image.new("RGBA", (size, size), "white"), Image.new("L", (size, size), 0)
    placed: list[tuple[int, int, int, int]] = []
    boxes = []
    for picture, label in cutouts:
        side = rng.randint(*EMOJI_SIZES)
        small = picture.resize((side, side), Image.Resampling.LANCZOS)
        shape = small.getchannel("A").point(lambda alpha: 255 * (alpha >= OPAQUE))
        outline = shape.getbbox()
        if outline is None:
            continue
        for _ in range(20):
            left, top = rng.randint(0, size - side), rng.randint(0, size - side)
            box = (left + outline[0], top + outline[1], left + outline[2], top + outline[3])
            if all(overlap(other, box) <= MAX_COVERED for other in placed):
                image.alpha_composite(small, (left, top))
                mask.paste(label, (left, top), shape)
                placed.append(box)
                boxes.append((box[0], box[1], box[2] - box[0], box[3] - box[1], label))
                break
    return Scene(image.convert("RGB"), mask, boxes)


def read_cutouts(kit: Path, names: Sequence[str]) -> dict[str, list[Cutout]]:
    """The emoji of each split that have a group.

    Raises: FileNotFoundError if the kit is not there.
    """
    archive = kit / "downloads" / FLUENT.file
    if not archive.is_file():
        raise FileNotFoundError(f"{archive} is missing: run `python tools/demo/fetch_kit.py` first")
    place = {}
    for split in COUNTS:
        for row in json.loads((kit / f"groups_{split}.json").read_text(encoding="utf-8")):
            place[row["id"]] = (split, names.index(row["group"]) + 1)
    cutouts: dict[str, dict[str, Cutout]] = {split: {} for split in COUNTS}
    for name, content in read_members(archive, lambda name: name.endswith(".webp")):
        key = emoji_key(Path(name).stem)
        split, label = place.get(key, (None, 0))
        if split is not None and key not in cutouts[split]:
            cutouts[split][key] = Cutout(Image.open(io.BytesIO(content)).convert("RGBA"), label)
    return {split: [found[key] for key in sorted(found)] for split, found in cutouts.items()}


def write_split(out: Path, split: str, cutouts: Sequence[Cutout], names: Sequence[str], count: int) -> None:
    """Compose and write the scenes of a split."""
    for folder in ("images", "masks"):
        (out / split / folder).mkdir(parents=True, exist_ok=True)
    images, annotations = [], []
    for index in track(range(count), f"{split} scenes"):
        rng = random.Random(f"scene {split} {index}")
        scene = compose(rng.sample(cutouts, rng.randint(*EMOJI_A_SCENE)), rng)
        name = f"{index:05d}.png"
        scene.image.save(out / split / "images" / name)
        scene.mask.save(out / split / "masks" / name)
        images.append({"id": index, "file_name": name, "width": SIZE, "height": SIZE})
        for *box, label in scene.boxes:
            annotation = {"image_id": index, "category_id": label, "bbox": box, "area": box[2] * box[3], "iscrowd": 0}
            annotations.append({"id": len(annotations) + 1, **annotation})
    categories = [{"id": index + 1, "name": name} for index, name in enumerate(names)]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (out / f"{split}.json").write_text(json.dumps(content) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kit", type=Path, default=Path("data/kit"), help="where the demo's data lie")
    parser.add_argument("--out", type=Path, default=Path("data/scenes"))
    args = parser.parse_args()
    names = json.loads((args.kit / "kit.json").read_text(encoding="utf-8"))["group_names"]
    for split, cutouts in read_cutouts(args.kit, names).items():
        write_split(args.out, split, cutouts, names, COUNTS[split])
    print(f"{sum(COUNTS.values())} scenes of {len(names)} groups -> {args.out}")


if __name__ == "__main__":
    main()

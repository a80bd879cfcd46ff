"""Emoji of two artists with captions: keys, splits, captions, rendering.

Both sets draw the same things and most people come in six skin tones: a random split would put near copies on both
sides, so emoji are split by base code point, see `split_emoji`. Many people come in three genders too, which are code
points of their own: held-out emoji say whether a twin of another gender was trained on, see `concept_key`.
"""

from __future__ import annotations

import hashlib
import io
import json
import random
import re
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from kit_sources import FLUENT, OPENMOJI, read_member, read_members

IMAGE_SIZE = 48
NUM_CAPTIONS = 24
MAX_TAGS = 6
TAGS_ONLY_SHARE = 0.15  # how often a training caption leaves the annotation out

SKIN_TONES = frozenset(f"1f3f{digit}" for digit in "bcdef")
INVISIBLE = frozenset(("fe0f", "e007f"))  # 'draw as a picture' and 'end of tags': some sets write them, some do not
# Man, woman -> person; boy, girl -> child.
NEUTRAL = {"1f468": "1f9d1", "1f469": "1f9d1", "1f466": "1f9d2", "1f467": "1f9d2"}


@dataclass(frozen=True)
class Emoji:
    """One emoji of any skin tone.

    Args:
        key: Normalised code points, see `emoji_key`.
        base: Key of the same emoji without skin tones; its own key where it has none.
        group: The Unicode group, or one of OpenMoji's extra groups.
        annotation: Its name in words.
        tags: Words that describe it: distinct, none equal to the annotation.
    """

    key: str
    base: str
    group: str
    annotation: str
    tags: tuple[str, ...]


def emoji_key(name: str) -> str:
    """Write code points one way: '1F468_200D_2708-FE0F' -> '1f468-200d-2708', 'A9' -> '00a9'.

    Raises: ValueError if a part is not a hexadecimal code point.
    """
    parts = re.split("[-_]", name.lower())
    if not all(re.fullmatch("[0-9a-f]{2,6}", part) for part in parts):
        raise ValueError(f"{name!r} is not a list of hexadecimal code points")
    return "-".join(part for part in (part.zfill(4) for part in parts) if part not in INVISIBLE)


def base_key(key: str) -> str:
    """Drop the skin tones. A tone's own swatch is its own base."""
    return "-".join(part for part in key.split("-") if part not in SKIN_TONES) or key


def concept_key(key: str) -> str:
    """Drop skin tone and gender: 'man pilot', 'woman pilot' and 'pilot' are one concept.

    The gender sign at the end of a joined sequence goes, and inside joined sequences men and women become persons, boys
    and girls children.
    """
    base = re.sub("-200d-264[02]$", "", base_key(key))
    if "-200d-" not in base:
        return base
    return "-".join(NEUTRAL.get(part, part) for part in base.split("-"))


def split_name(name: str, train: float = 0.8, val: float = 0.1) -> str:
    """Put a name into 'train', 'val' or 'test' by its hash, so that the answer never depends on what else there is.

    Args:
        name: What is split: all that shares this name stays together.
        train, val: Shares in [0, 1]; the rest is for the test.
    """
    place = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") / 2**64
    return "train" if place < train else "val" if place < train + val else "test"


def connected(links: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Map each name to the smallest name that it is linked with, directly or through others."""
    parent: dict[str, str] = {}

    def root(name: str) -> str:
        parent.setdefault(name, name)
        while parent[name] != name:
            parent[name] = parent[parent[name]]
            name = parent[name]
        return name

    for left, right in links:
        low, high = sorted((root(left), root(right)))
        parent[high] = low
    return {name: root(name) for name in parent}


def read_emoji(openmoji: Path) -> dict[str, Emoji]:
    """All emoji that OpenMoji lists, by key."""
    emoji = {}
    for entry in json.loads(read_member(openmoji, "package/data/openmoji.json")):
        key = emoji_key(entry["hexcode"])
        # The table knows what code points do not tell: the two-handed handshake in two tones belongs to the plain one.
        base = emoji_key(entry["skintone_base_hexcode"]) if entry["skintone_base_hexcode"] else base_key(key)
        tags = distinct_tags(entry["annotation"], f"{entry['tags']},{entry['openmoji_tags']}".split(","))
        emoji[key] = Emoji(key, base, entry["group"], entry["annotation"], tags)
    return emoji


def distinct_tags(annotation: str, tags: Iterable[str]) -> tuple[str, ...]:
    """Tags in order, without empty ones, repetitions and the annotation itself, whatever the case."""
    seen = {annotation.lower(): annotation}
    for tag in (" ".join(tag.split()) for tag in tags):
        if tag:
            seen.setdefault(tag.lower(), tag)
    return tuple(seen.values())[1:]


def split_emoji(emoji: dict[str, Emoji]) -> dict[str, str]:
    """Choose each key's split, 80 / 10 / 10, so that no base code point lies in two.

    Kept together: all skin tones of an emoji, and emoji with the same annotation (an extra drawing of a 'brain' next to
    the Unicode one), whichever artist drew them.
    """
    links = []
    for item in emoji.values():
        links.append((item.key, item.base))
        links.append((item.base, f"named {emoji[item.base].annotation.lower()}"))
    together = connected(links)
    return {key: split_name(f"emoji {together[key]}") for key in emoji}


def caption_variants(base: str, annotation: str, tags: tuple[str, ...], count: int = NUM_CAPTIONS) -> list[str]:
    """Different training captions of one emoji: its annotation with 0 to 6 random tags, sometimes tags alone, shuffled.

    Depends on the arguments only. The first is the annotation alone. An emoji with few tags has fewer than `count`.
    """
    rng = random.Random(f"captions {base}")
    captions = {annotation: None}
    for _ in range(20 * count):
        if len(captions) == count:
            break
        parts = rng.sample(tags, min(len(tags), rng.randint(0, MAX_TAGS)))
        if not parts or rng.random() >= TAGS_ONLY_SHARE:
            parts.append(annotation)
        rng.shuffle(parts)
        captions.setdefault(", ".join(parts))
    return list(captions)


def eval_caption(annotation: str, tags: tuple[str, ...]) -> str:
    """The one caption used for evaluation: the annotation and its first tags, in order."""
    return ", ".join((annotation, *tags[:MAX_TAGS]))


def read_pictures(downloads: Path, emoji: dict[str, Emoji]) -> Iterator[tuple[str, str, bytes]]:
    """Yield (artist, key, file content) of each picture of a known emoji, each key once per artist.

    Fluent has a few pictures twice, under two spellings of the same code points; the first in the archive is taken.
    """
    for artist, source, folder, suffix in (
        ("fluent", FLUENT, "package/assets/", ".webp"),
        ("openmoji", OPENMOJI, "package/color/svg/", ".svg"),
    ):
        taken = set()

        def wanted(name: str, folder: str = folder, suffix: str = suffix) -> bool:
            return name.startswith(folder) and name.endswith(suffix)

        for name, content in read_members(downloads / source.file, wanted):
            key = emoji_key(name[len(folder) : -len(suffix)])
            if key in emoji and key not in taken:
                taken.add(key)
                yield artist, key, content


def render(content: bytes, target: Path, size: int = IMAGE_SIZE) -> None:
    """Turn a WebP or SVG picture into a square RGB PNG on white.

    White is put behind the picture before it is made smaller: resizing first would mix the colours that transparent
    pixels happen to hold into the edges.
    """
    from PIL import Image

    if content[:4] == b"RIFF":
        picture = Image.open(io.BytesIO(content))
    else:
        import resvg_py

        drawn = resvg_py.svg_to_bytes(
            svg_string=content.decode(), width=size, height=size, dpi=96.0, skip_system_fonts=True
        )
        picture = Image.open(io.BytesIO(bytes(drawn)))
    picture = picture.convert("RGBA")
    flat = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture).convert("RGB")
    flat.resize((size, size), Image.Resampling.LANCZOS).save(target)


def _render_batch(batch: list[tuple[bytes, Path]]) -> int:
    for content, target in batch:
        render(content, target)
    return len(batch)


def render_all(jobs: list[tuple[bytes, Path]], workers: int) -> Iterator[int]:
    """Render (content, target) jobs in `workers` processes; yields how many pictures each finished batch held."""
    for folder in {target.parent for _, target in jobs}:
        folder.mkdir(parents=True, exist_ok=True)
    rest = iter(jobs)
    batches = list(iter(lambda: list(islice(rest, 64)), []))
    with ProcessPoolExecutor(workers) as pool:
        yield from pool.map(_render_batch, batches)

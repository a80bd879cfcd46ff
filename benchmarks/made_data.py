"""Data for the benchmarks, made on the fly: nothing is downloaded, and every run of a seed has the same bytes."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from pydoc_data.topics import topics

import numpy as np
from PIL import Image
from tokenizers import BertWordPieceTokenizer

from momo.ops import keyed_generator


def photo(width: int, height: int, number: int, quality: int = 90) -> bytes:
    """A JPEG with a photograph's statistics: amplitude that falls with frequency, and shapes with edges.

    About 58 KB at 500x375 and 185 KB at 1024x768; the photographs that scikit-learn and matplotlib carry have 34 to 66
    and 80 to 207 KB at these sizes and this quality.
    """
    rng = keyed_generator("photo", width, height, number)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
    frequency[0, 0] = 1
    planes = []
    for strength in (30.0, 6.0, 6.0):  # brightness, and two colours that vary less
        noise = np.fft.rfft2(rng.standard_normal((height, width))) / frequency**1.3
        plane = np.fft.irfft2(noise, (height, width))
        planes.append(strength * (plane - plane.mean()) / plane.std())
    for _ in range(6):
        centre, radius = rng.random(2) * (height, width), rng.uniform(0.05, 0.3) * height
        inside = np.hypot(y - centre[0], (x - centre[1]) * rng.uniform(0.5, 2)) < radius
        for plane in planes:
            plane[inside] += rng.normal(0, 25)
    light, red, blue = planes
    pixels = np.stack([light + red, light - (red + blue) / 2, light + blue], axis=-1) + 120
    file = io.BytesIO()
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(file, "JPEG", quality=quality)
    return file.getvalue()


def words_of(number: int, count: int) -> str:
    """A text of English words: a piece of the manual that Python carries with it."""
    start = int(keyed_generator("text", number).integers(len(_manual()) - count))
    return " ".join(_manual()[start : start + count])


_words: list[str] = []


def _manual() -> list[str]:
    if not _words:
        _words.extend(" ".join(topics[name] for name in sorted(topics)).split())
    return _words


def write_tokenizer(folder: Path) -> str:
    """A vocabulary of word pieces as large as BERT's, or as the manual gives."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = BertWordPieceTokenizer(lowercase=True)
    lines = [" ".join(_manual()[i : i + 20]) for i in range(0, len(_manual()), 20)]
    tokenizer.train_from_iterator(lines, vocab_size=30522, min_frequency=1, show_progress=False)
    tokenizer.save_model(str(folder))
    return str(folder)


def write_pairs(folder: Path, size: tuple[int, int], count: int, words: int = 9) -> dict[str, Path]:
    """The same pairs as files with a JSON list of captions, and as one WebDataset tar: {'images', 'pairs', 'tar'}."""
    images, pairs, tar = folder / "images", folder / "pairs.json", folder / "pairs.tar"
    images.mkdir(parents=True, exist_ok=True)
    rows = []
    with tarfile.open(tar, "w") as archive:
        for number in range(count):
            name, caption, encoded = f"{number:06d}", words_of(number, words), photo(*size, number)
            (images / f"{name}.jpg").write_bytes(encoded)
            rows.append({"image": f"{name}.jpg", "caption": caption})
            for suffix, content in (("jpg", encoded), ("txt", caption.encode())):
                member = tarfile.TarInfo(f"{name}.{suffix}")
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    pairs.write_text(json.dumps(rows), encoding="utf-8")
    return {"images": images, "pairs": pairs, "tar": tar}

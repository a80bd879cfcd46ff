"""Encoded images to RGB tensors, within limits that are checked before anything is decoded."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor
from torchvision.io import ImageReadMode, decode_jpeg

from .broken import BrokenSample

MAX_PIXELS = 1024**3 // 12  # Pillow's limit: 89 million, 256 MB in RGB
# How files of each kind begin; the name of a file says nothing.
MAGIC = {"JPEG": (b"\xff\xd8\xff",), "PNG": (b"\x89PNG\r\n\x1a\n",), "GIF": (b"GIF87a", b"GIF89a"), "WEBP": (b"RIFF",)}
# What the decoders raise for data that is not what it seems.
BROKEN = (
    *(RuntimeError, OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError, OverflowError),
    *(struct.error, zlib.error, Image.DecompressionBombError),
)
FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # JPEG markers with the size (SOF)
ALONE = frozenset({0x00, 0x01, *range(0xD0, 0xD9)})  # JPEG markers that nothing belongs to


def decode_rgb(data: bytearray, max_pixels: int = MAX_PIXELS) -> Tensor:
    """The picture in the bytes of a JPEG, PNG, WebP or GIF file, RGB, uint8 (3, H, W).

    It is turned upright by its EXIF tag; of 16 bits the upper 8 are kept; transparent parts show white; of an animation
    the first picture is taken. JPEG goes through torchvision, which is fast, everything else through Pillow.

    Raises: BrokenSample for bytes of another kind, for more than `max_pixels`, and for what cannot be decoded.
    """
    kind = image_kind(data)
    try:
        if kind == "JPEG":
            _check_pixels(kind, *jpeg_size(data), max_pixels)
            encoded = torch.frombuffer(data, dtype=torch.uint8)
            return decode_jpeg(encoded, mode=ImageReadMode.RGB, apply_exif_orientation=True)
        with Image.open(io.BytesIO(data), formats=[kind]) as image:
            _check_pixels(kind, *image.size, max_pixels)
            return torch.from_numpy(to_rgb(image)).permute(2, 0, 1)
    except BrokenSample:
        raise
    except BROKEN as error:
        raise _broken(kind, error) from error


def image_size(data: bytes | bytearray, max_pixels: int = MAX_PIXELS) -> tuple[int, int]:
    """Width and height of such a picture as they are stored, from its header.

    Raises: BrokenSample as `decode_rgb`.
    """
    kind = image_kind(data)
    try:
        if kind == "JPEG":
            size = jpeg_size(data)
        else:
            with Image.open(io.BytesIO(data), formats=[kind]) as image:
                size = image.size
    except BROKEN as error:
        raise _broken(kind, error) from error
    _check_pixels(kind, *size, max_pixels)
    return size


def image_kind(data: bytes | bytearray) -> str:
    """JPEG, PNG, GIF or WEBP, by the first bytes.

    Raises: BrokenSample for anything else.
    """
    if not data:
        raise BrokenSample("empty", "no bytes")
    for kind, beginnings in MAGIC.items():
        if bytes(data[:12]).startswith(beginnings) and (kind != "WEBP" or data[8:12] == b"WEBP"):
            return kind
    raise BrokenSample("not an image", f"no JPEG, PNG, GIF or WebP: it begins with {bytes(data[:12])!r}")


def jpeg_size(data: bytes | bytearray) -> tuple[int, int]:
    """Width and height of a JPEG.

    Markers are looked for as libjpeg does it, or a file could show one size here and another to the decoder.

    Raises: ValueError if there is no frame header before the picture.
    """
    place = 2
    try:
        while True:
            place = data.index(b"\xff", place)
            while data[place] == 0xFF:
                place += 1
            marker = data[place]
            place += 1
            if marker in FRAMES:
                height, width = struct.unpack_from(">HH", data, place + 3)
                return width, height
            if marker in (0xD9, 0xDA):  # the end, or the picture
                break
            if marker not in ALONE:
                place += max(2, struct.unpack_from(">H", data, place)[0])
    except (ValueError, IndexError, struct.error):
        pass  # the data end
    raise ValueError("no frame header")


def _broken(kind: str, error: Exception) -> BrokenSample:
    """What a decoder's error says."""
    reason = "too large" if isinstance(error, Image.DecompressionBombError) else "truncated"
    what = str(error).splitlines()[0] if str(error) else type(error).__name__
    return BrokenSample(reason, f"{kind}: {what}")


def _check_pixels(kind: str, width: int, height: int, max_pixels: int) -> None:
    if not 0 < width * height <= max_pixels:
        what = f"{kind}: {width} x {height} pixels; between 1 and max_pixels={max_pixels} are read"
        raise BrokenSample("too large", what)


def to_rgb(image: Image.Image) -> np.ndarray:
    """An open picture as `decode_rgb` gives it, of shape (H, W, 3), uint8; its EXIF tag is used up."""
    image.load()
    try:
        ImageOps.exif_transpose(image, in_place=True)
    except BROKEN:  # of the tag alone, for the pixels are there: one that cannot be read turns nothing, as in a JPEG
        pass
    if image.mode.startswith("I"):
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return np.array(image.convert("RGB"))

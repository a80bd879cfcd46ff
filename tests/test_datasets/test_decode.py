"""Pictures of every kind to RGB, and limits before decoding."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from momo.datasets import BrokenSample, LoadImage
from momo.datasets.decode import decode_rgb, image_kind, image_size, jpeg_size

RAMP = np.arange(6 * 4 * 3, dtype=np.uint8).reshape(4, 6, 3) * 3


def encoded(image: Image.Image, kind: str, **settings) -> bytearray:
    file = io.BytesIO()
    image.save(file, kind, **settings)
    return bytearray(file.getvalue())


def rgb(data: bytes | bytearray) -> np.ndarray:
    """Decoded, height first."""
    pixels = decode_rgb(bytearray(data))
    assert pixels.dtype == torch.uint8 and pixels.shape[0] == 3
    return pixels.permute(1, 2, 0).numpy()


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_lossless_kinds_keep_every_pixel(kind: str) -> None:
    data = encoded(Image.fromarray(RAMP), kind, lossless=True)
    assert image_kind(data) == kind
    assert np.array_equal(rgb(data), RAMP)


@pytest.mark.parametrize("settings", [{}, {"progressive": True}, {"subsampling": 0}, {"comment": b"\xff\xc0" * 9}])
def test_jpeg_agrees_with_another_decoder(settings: dict) -> None:
    smooth = np.add.outer(np.arange(40), np.arange(64))[:, :, None].repeat(3, 2).astype(np.uint8)
    data = encoded(Image.fromarray(smooth), "JPEG", quality=95, **settings)
    assert jpeg_size(data) == (64, 40)
    expected = np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(int)
    assert np.abs(rgb(data) - expected).max() <= 2


def test_cmyk_is_converted() -> None:
    data = encoded(Image.new("CMYK", (16, 8), (0, 255, 255, 0)), "JPEG", quality=95)
    assert np.abs(rgb(data).astype(int) - (254, 0, 0)).max() <= 6  # red ink: no cyan, all magenta and yellow
    assert rgb(encoded(Image.new("L", (16, 8), 90), "JPEG")).tolist() == [[[90] * 3] * 16] * 8


def test_transparent_parts_show_white() -> None:
    for image in (
        Image.new("RGBA", (2, 1), (200, 10, 30, 0)),
        Image.new("LA", (2, 1), (0, 0)),
        Image.new("RGBA", (2, 1), (255, 255, 255, 90)),
    ):
        assert (rgb(encoded(image, "PNG")) == 255).all()
    assert np.abs(rgb(encoded(Image.new("RGBA", (1, 1), (0, 100, 0, 51)), "PNG"))[0, 0] - (204.0, 224, 204)).max() <= 1
    palette = Image.new("P", (2, 1))
    palette.putpalette([9, 8, 7, 200, 100, 0])
    palette.putpixel((1, 0), 1)
    for kind in ("PNG", "GIF"):
        assert rgb(encoded(palette, kind, transparency=0)).tolist() == [[[255] * 3, [200, 100, 0]]]


def test_sixteen_bits_are_scaled() -> None:
    values = np.array([[0, 255, 256, 32768, 65535]], dtype=np.uint16)
    assert rgb(encoded(Image.fromarray(values), "PNG"))[0, :, 0].tolist() == [0, 0, 1, 128, 255]
    raw = b"\0" + values.repeat(3).astype(">u2").tobytes()  # a row of 16-bit RGB, which Pillow does not write
    header = struct.pack(">IIBBBBB", 5, 1, 16, 2, 0, 0, 0)
    data = png(header, zlib.compress(raw))
    assert rgb(data)[0, :, 2].tolist() == [0, 0, 1, 128, 255]


def png(header: bytes, pixels: bytes) -> bytes:
    chunks = ((b"IHDR", header), (b"IDAT", pixels), (b"IEND", b""))
    parts = [
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)) for name, body in chunks
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def test_of_an_animation_the_first_picture_is_taken() -> None:
    frames = [Image.new("RGB", (4, 3), color) for color in ((250, 0, 0), (0, 250, 0))]
    for kind in ("GIF", "WEBP", "PNG"):
        data = encoded(frames[0], kind, save_all=True, append_images=frames[1:])
        assert rgb(data).shape == (3, 4, 3) and rgb(data)[0, 0, 0] > 240 > 10 > rgb(data)[0, 0, 1]


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_pictures_are_turned_upright(kind: str) -> None:
    exif = Image.Exif()
    exif[274] = 6  # taken with the camera on its side: the left column becomes the top row
    pixels = np.zeros((16, 24, 3), dtype=np.uint8)
    pixels[:, :8] = 255
    turned = rgb(encoded(Image.fromarray(pixels), kind, exif=exif, quality=95))
    assert turned.shape == (24, 16, 3)
    assert turned[:6].min() > 200 and turned[12:].max() < 50


@pytest.mark.parametrize("size", [(1, 1), (10000, 1), (1, 10000)])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP"])
def test_extreme_shapes(kind: str, size: tuple[int, int]) -> None:
    assert rgb(encoded(Image.new("RGB", size, (7, 7, 7)), kind)).shape == (size[1], size[0], 3)


@pytest.mark.parametrize("data", [b"", b"<html>", b"<svg/>", b"BM" + bytes(60), b"RIFF....WAVE", b"%PDF-1.7", b"II*\0"])
def test_other_kinds_are_refused_whatever_they_are_called(data: bytes, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no JPEG, PNG, GIF or WebP|no bytes"):
        image_kind(data)
    (tmp_path / "a.jpg").write_bytes(data)
    with pytest.raises(ValueError, match=r"a\.jpg cannot be read as an image: (no JPEG|no bytes)"):
        LoadImage()({"image_path": tmp_path / "a.jpg"})


def test_bytes_that_a_reader_has_read_are_decoded() -> None:
    data = encoded(Image.fromarray(RAMP), "PNG")
    for form in (bytes(data), data, memoryview(data), np.frombuffer(bytes(data), dtype=np.uint8)):
        sample = LoadImage()({"sample_id": "a.tar:3", "image_bytes": form})
        assert np.array_equal(sample["image"].permute(1, 2, 0), RAMP) and "image_bytes" not in sample
    with pytest.raises(ValueError, match="a.tar:3 cannot be read as an image: PNG: "):
        LoadImage()({"sample_id": "a.tar:3", "image_bytes": bytes(data[:40])})


def claiming(kind: str, width: int, height: int) -> bytes:
    """A small file whose header claims another size."""
    data = encoded(Image.fromarray(RAMP), kind)
    if kind == "JPEG":
        place = data.index(b"\xff\xc0")
        data[place + 5 : place + 9] = struct.pack(">HH", height, width)
    elif kind == "PNG":
        return png(struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0), zlib.compress(bytes(10**7)))
    elif kind == "GIF":
        data[6:10] = struct.pack("<HH", width, height)
    else:  # WebP without loss: 14 bits each, less one
        data = encoded(Image.fromarray(RAMP), kind, lossless=True)
        place = data.index(b"VP8L") + 9
        data[place : place + 4] = struct.pack("<I", (width - 1) | (height - 1) << 14)
    return bytes(data)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP"])
def test_size_is_limited(kind: str) -> None:
    data = bytearray(encoded(Image.fromarray(RAMP), kind))
    assert decode_rgb(data, max_pixels=24).shape == (3, 4, 6)
    with pytest.raises(ValueError, match=f"{kind}: 6 x 4 pixels; between 1 and max_pixels=23 are read"):
        decode_rgb(data, max_pixels=23)
    with pytest.raises(ValueError, match=f"{kind}: "):
        decode_rgb(bytearray(claiming(kind, 12000, 12000)))


def peak_memory() -> int:
    """The most that this process has held since `forget_peak`, MB."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) // 1024


def forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="reads the peak from Linux's /proc")
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_bombs_cost_no_memory(tmp_path: Path) -> None:
    """Bombs of each kind, which would take gigabytes."""
    sizes = {"JPEG": (65500, 65500), "PNG": (30000, 30000), "GIF": (65535, 65535), "WEBP": (16383, 16383)}
    names = []
    for kind, size in sizes.items():
        names.append(str(tmp_path / f"bomb.{kind.lower()}"))
        Path(names[-1]).write_bytes(claiming(kind, *size))
    # A GIF whose screen is small and whose first picture is not; a progressive JPEG, whose coefficients libjpeg keeps.
    gif = bytearray(claiming("GIF", 6, 4))
    place = gif.index(b",", 13)
    gif[place + 5 : place + 9] = struct.pack("<HH", 65535, 65535)
    jpeg = encoded(Image.fromarray(RAMP), "JPEG", progressive=True)
    place = jpeg.index(b"\xff\xc2")
    jpeg[place + 5 : place + 9] = struct.pack(">HH", 60000, 60000)
    for name, data in (("screen.gif", gif), ("progressive.jpg", jpeg)):
        names.append(str(tmp_path / name))
        Path(names[-1]).write_bytes(data)
    forget_peak()
    before = peak_memory()
    for name in names:
        with pytest.raises(ValueError, match="cannot be read as an image"):
            LoadImage()({"image_path": name})
    assert peak_memory() - before < 50


def test_sizes_are_read_where_the_decoder_reads_them() -> None:
    """Padding, rubbish between segments, and frame headers inside other segments fool neither."""
    data = encoded(Image.fromarray(RAMP), "JPEG")
    hidden = b"\xff\xe5\x00\x0b" + b"\xff\xc0\x00\x05\x08\x00\x01\x00\x01"
    for extra in (b"\xff\xff\xff", b"rubbish", b"\xff\x00", b"\xff\xd3", hidden):
        changed = data[:20] + extra + data[20:]  # after JFIF's segment
        assert jpeg_size(changed) == (6, 4)
        assert decode_rgb(bytearray(changed)).shape == (3, 4, 6)
    for cut in (data[:20], data[:2] + b"\xff\xd9", data[:2] + b"\xff\xda" + data[2:]):
        with pytest.raises(ValueError, match="no frame header"):
            jpeg_size(cut)


WHOLE = [
    encoded(Image.fromarray(RAMP.repeat(5, 0).repeat(5, 1)), kind, **extra)
    for kind, extra in (("JPEG", {}), ("JPEG", {"progressive": True}), ("PNG", {}), ("GIF", {}), ("WEBP", {}))
]


def damaged(which: int, places: list[tuple[int, int]], end: int) -> None:
    """Decode a file with some bytes changed, cut short: pixels, or a ValueError, and nothing else."""
    data = bytearray(WHOLE[which])
    for place, value in places:
        data[place % len(data)] = value
    try:
        assert decode_rgb(data[: len(data) - end % len(data)], max_pixels=10**6).dtype == torch.uint8
    except ValueError:
        pass


DAMAGE = dict(
    which=st.integers(0, len(WHOLE) - 1),
    places=st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 255)), max_size=8),
    end=st.one_of(st.just(0), st.integers(0, 4000)),
)


@settings(max_examples=300, deadline=None)
@given(**DAMAGE)
def test_damaged_files_give_pixels_or_an_error(which, places, end) -> None:
    damaged(which, places, end)


@pytest.mark.slow
@settings(max_examples=10_000, deadline=None)
@given(**DAMAGE)
def test_many_damaged_files_give_pixels_or_an_error(which, places, end) -> None:
    damaged(which, places, end)


def test_a_tag_that_cannot_be_read_turns_nothing() -> None:
    """Cameras and editors leave rubbish in EXIF; the picture is whole all the same."""
    data = bytes(encoded(Image.fromarray(RAMP), "PNG"))
    chunk = b"eXIf" + b"garbage!" * 4
    tagged = data[:33] + struct.pack(">I", 32) + chunk + struct.pack(">I", zlib.crc32(chunk)) + data[33:]
    assert np.array_equal(rgb(tagged), RAMP)
    with pytest.raises(BrokenSample, match="PNG"):  # which hides nothing that is broken
        rgb(tagged[: len(tagged) // 2])


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF"])
def test_sizes_come_from_the_header(kind: str) -> None:
    """As stored: turned by a tag or not."""
    exif = Image.Exif()
    exif[274] = 6
    data = encoded(Image.fromarray(RAMP), kind, **({} if kind == "GIF" else {"exif": exif}))
    assert image_size(data) == (6, 4)
    for wrong, reason in ((data[:14], "truncated"), (b"", "empty"), (b"<html>", "not an image")):
        with pytest.raises(BrokenSample) as caught:
            image_size(wrong)
        assert caught.value.reason == reason
    with pytest.raises(BrokenSample, match="6 x 4 pixels; between 1 and max_pixels=23 are read"):
        image_size(data, max_pixels=23)

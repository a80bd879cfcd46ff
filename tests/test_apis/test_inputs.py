"""Whatever stands for an image becomes the same tensor, and what does not is named."""

import io
from pathlib import Path

import fsspec
import numpy as np
import pytest
import torch
from PIL import Image

from momo.apis import read_image
from momo.apis.inputs import as_list, as_texts, fit, one_each, read_batches
from momo.datasets import BrokenSample


def test_all_forms_of_an_image_are_the_same(photos: list[str]) -> None:
    path = photos[0]
    picture = Image.open(path)
    array, url = np.array(picture), "memory://inputs/a.png"
    fsspec.filesystem("memory").pipe("/inputs/a.png", Path(path).read_bytes())
    expected = torch.from_numpy(array).permute(2, 0, 1)
    for source in (path, Path(path), url, picture, array, expected):
        assert torch.equal(read_image(source), expected)


def test_pictures_are_read_as_training_reads_them() -> None:
    """Transparent parts are white, a picture that lies on its side is turned, and the caller's stays as it was."""
    pixels = np.zeros((2, 4, 4), dtype=np.uint8)
    pixels[:, :2, 3] = 255  # the left half is black, the right one transparent
    expected = torch.tensor([0, 0, 255, 255], dtype=torch.uint8).expand(3, 2, 4)
    assert torch.equal(read_image(pixels), expected)
    assert torch.equal(read_image(Image.fromarray(pixels)), expected)
    data, tag = io.BytesIO(), Image.Exif()
    tag[274] = 6
    Image.fromarray(pixels[..., :3]).save(data, "PNG", exif=tag)
    sideways = Image.open(data)
    assert read_image(sideways).shape == (3, 4, 2)
    assert sideways.size == (4, 2)
    assert read_image(np.arange(6, dtype=np.uint8).reshape(2, 3)).tolist() == [[[0, 1, 2], [3, 4, 5]]] * 3


def test_what_is_no_image_is_named(tmp_path: Path) -> None:
    (tmp_path / "notes.png").write_text("not a picture")
    with pytest.raises(BrokenSample, match=r"notes.png cannot be read as an image: no JPEG, PNG, GIF or WebP"):
        read_image(tmp_path / "notes.png")
    with pytest.raises(BrokenSample, match="nowhere.png cannot be read as an image: .*No such file"):
        read_image("nowhere.png")
    with pytest.raises(BrokenSample, match="memory://inputs/gone.png cannot be read"):
        read_image("memory://inputs/gone.png")
    with pytest.raises(
        ValueError, match=r"a tensor must be \(3, H, W\) uint8, 0 to 255, got \(3, 4, 4\) torch.float32"
    ):
        read_image(torch.zeros(3, 4, 4))
    with pytest.raises(ValueError, match=r"an array must be .* got \(4, 4, 2\) uint8"):
        read_image(np.zeros((4, 4, 2), dtype=np.uint8))
    with pytest.raises(ValueError, match="7 is no image: give a path, a URL"):
        read_image(7)
    whole = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)).save(whole, "PNG")
    with pytest.raises(BrokenSample, match="cannot be read as an image"):
        read_image(Image.open(io.BytesIO(whole.getvalue()[:900])))


def test_single_inputs_are_lists_of_one() -> None:
    array, batch = np.zeros((2, 2, 3)), torch.arange(2 * 3 * 4).view(2, 3, 2, 2)
    assert as_list("a.png", "images") == ["a.png"]
    assert as_list(array, "images")[0] is array
    assert [image.tolist() for image in as_list(batch, "images")] == batch.tolist()
    with pytest.raises(ValueError, match="no images were given"):
        as_list([], "images")
    with pytest.raises(ValueError, match=r"captions\[1\] is None, not a string"):
        as_texts(["a", None], "captions")
    with pytest.raises(ValueError, match="each of the images needs one of the captions, got 2 and 1"):
        one_each("ab", "a", ("images", "captions"))


def test_batches_keep_the_order_and_say_what_is_broken(photos: list[str], tmp_path: Path) -> None:
    (tmp_path / "empty.png").touch()
    sources = [*photos[:3], str(tmp_path / "empty.png"), *photos[3:]]
    batches = list(read_batches(sources, (32, 32), 4, "read"))
    assert [len(batch) for batch in batches] == [4, 2]
    found = [image for batch in batches for image in batch]
    assert found[3].reason == "empty"
    for source, image in zip(sources, found, strict=True):
        if isinstance(image, torch.Tensor):
            assert torch.equal(image, fit(read_image(source), (32, 32))) and image.shape == (3, 32, 32)

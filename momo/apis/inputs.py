"""Whatever stands for an image, to RGB tensors of one size, read a batch ahead of the model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import v2

from momo.datasets import BrokenSample, LoadImage
from momo.datasets.broken import why_broken
from momo.datasets.decode import BROKEN, to_rgb
from momo.datasets.storage import is_url, read_bytes
from momo.engine.embed import progress

# A path, a URL that fsspec reads, a picture of Pillow, an array (H, W), (H, W, 3) or (H, W, 4), a tensor (3, H, W).
ImageSource = str | Path | Image.Image | np.ndarray | Tensor
THREADS = 8


def as_list(inputs: Any, what: str) -> list:
    """The inputs as a list, of which a single one is the only item.

    Raises: ValueError if there are none.
    """
    if isinstance(inputs, (str, Path, Image.Image)) or (isinstance(inputs, (np.ndarray, Tensor)) and inputs.ndim < 4):
        return [inputs]
    inputs = list(inputs)
    if not inputs:
        raise ValueError(f"no {what} were given")
    return inputs


def as_texts(texts: str | Sequence[str], what: str = "texts") -> list[str]:
    """Raises: ValueError naming the first that is not a string."""
    texts = as_list(texts, what)
    for place, text in enumerate(texts):
        if not isinstance(text, str):
            raise ValueError(f"{what}[{place}] is {text!r}, not a string")
    return texts


def one_each(first: Sequence, second: Sequence, what: tuple[str, str]) -> None:
    """Raises: ValueError if there is not one of the second for each of the first."""
    if len(first) != len(second):
        raise ValueError(f"each of the {what[0]} needs one of the {what[1]}, got {len(first)} and {len(second)}")


def first_of_batches(total: int, batch_size: int, title: str) -> Iterable[int]:
    """Where each batch begins; with a progress bar if there are several."""
    firsts = range(0, total, batch_size)
    return progress(firsts, title, len(firsts)) if len(firsts) > 1 else firsts


def read_image(source: ImageSource) -> Tensor:
    """An image as RGB, uint8 (3, H, W), read as training reads it: upright, transparent parts white.

    Raises: BrokenSample, a ValueError, naming the file if it cannot be read as an image; ValueError for anything that
        is no image, or one whose numbers are not bytes.
    """
    if isinstance(source, (str, Path)):
        return _read_file(str(source))
    if isinstance(source, Tensor):
        if source.dtype != torch.uint8 or source.ndim != 3 or source.shape[0] != 3:
            raise ValueError(f"a tensor must be (3, H, W) uint8, 0 to 255, got {tuple(source.shape)} {source.dtype}")
        return source.cpu()
    if isinstance(source, np.ndarray):
        if source.dtype != np.uint8 or source.ndim not in (2, 3) or source.shape[2:] not in ((), (3,), (4,)):
            wanted = "(H, W), (H, W, 3) or (H, W, 4) uint8, 0 to 255"
            raise ValueError(f"an array must be {wanted}, got {source.shape} {source.dtype}")
        source = Image.fromarray(source)
    if not isinstance(source, Image.Image):
        raise ValueError(f"{source!r} is no image: give a path, a URL, a picture of Pillow, an array or a tensor")
    try:
        return torch.from_numpy(to_rgb(source.copy())).permute(2, 0, 1)
    except BROKEN as error:
        raise BrokenSample("truncated", f"{source!r} cannot be read as an image: {error}") from error


def _read_file(path: str) -> Tensor:
    sample: dict[str, Any] = {"sample_id": path, "image_path": path}
    if is_url(path):
        try:
            sample["image_bytes"] = read_bytes(path)
        except OSError as error:
            raise BrokenSample(why_broken(error), f"{path} cannot be read: {error}") from error
    return LoadImage()(sample)["image"]


def fit(image: Tensor, size: tuple[int, int]) -> Tensor:
    """The whole image squeezed to (height, width), as the configs of retrieval and VQA do it.

    Shapes: image (3, H, W) uint8; the result is (3, height, width) uint8.
    """
    if image.shape[-2:] == size:
        return image
    return v2.functional.resize(image, list(size), v2.InterpolationMode.BICUBIC, antialias=True)


def read_batches(
    sources: Sequence[ImageSource], size: tuple[int, int], batch_size: int, title: str
) -> Iterator[list[Tensor | BrokenSample]]:
    """Images (3, height, width), a list a batch; of one that cannot be read, why not. Threads read a batch ahead."""

    def read(source: ImageSource) -> Tensor | BrokenSample:
        try:
            return fit(read_image(source), size)
        except BrokenSample as error:
            return error

    pool = ThreadPoolExecutor(THREADS)
    try:
        coming = [pool.submit(read, source) for source in sources[:batch_size]]
        for first in first_of_batches(len(sources), batch_size, title):
            batch = coming
            coming = [pool.submit(read, source) for source in sources[first + batch_size : first + 2 * batch_size]]
            yield [future.result() for future in batch]
    finally:
        pool.shutdown(cancel_futures=True)

"""Steps of a pipeline: each takes a sample and returns it."""

from __future__ import annotations

import inspect
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import v2

from momo.registry import TRANSFORMS

from .broken import BrokenSample, why_broken
from .decode import MAX_PIXELS, decode_rgb

Sample = dict[str, Any]


@TRANSFORMS.register_module()
class LoadImage:
    """Decode sample['image_bytes'], or else the file sample['image_path'], into sample['image']: RGB, uint8 (3, H, W).

    See `decode_rgb` for what becomes of EXIF tags, 16 bits, transparency and animations.

    Args:
        max_pixels: Pictures with more are refused by their header, before they are decoded.
    Raises: BrokenSample, a ValueError, naming the file if it cannot be read or decoded, or is too large.
    """

    def __init__(self, max_pixels: int = MAX_PIXELS) -> None:
        self.max_pixels = max_pixels

    def __call__(self, sample: Sample) -> Sample:
        data = sample.pop("image_bytes", None)
        try:
            data = Path(sample["image_path"]).read_bytes() if data is None else data
            sample["image"] = decode_rgb(bytearray(data), self.max_pixels)
        except (OSError, BrokenSample) as error:
            name = sample["image_path"] if "image_path" in sample else sample["sample_id"]
            raise BrokenSample(why_broken(error), f"{name} cannot be read as an image: {error}") from error
        return sample


class _Vision:
    """A torchvision v2 transform, applied to sample['image']."""

    transform_class: type

    def __init__(self, **settings: Any) -> None:
        if isinstance(settings.get("interpolation"), str):
            settings["interpolation"] = v2.InterpolationMode(settings["interpolation"])
        self.transform = self.transform_class(**settings)

    def __call__(self, sample: Sample) -> Sample:
        sample["image"] = self.apply(sample["image"])
        return sample

    def apply(self, image: Tensor) -> Tensor:
        return self.transform(image)


class _ResizedCrop(_Vision):
    """The same pixels in less time: torchvision's search for other kinds of input is left out, and the crop keeps the
    decoder's order of bytes (height, width, channel), in which resizing and copying are fast."""

    def apply(self, image: Tensor) -> Tensor:
        box = self.transform.make_params([image])
        crop = v2.functional.crop_image(image, *(box[side] for side in ("top", "left", "height", "width")))
        crop = crop.unsqueeze(0).contiguous(memory_format=torch.channels_last).squeeze(0)
        settings = dict(interpolation=self.transform.interpolation, antialias=self.transform.antialias)
        return v2.functional.resize_image(crop, self.transform.size, **settings)


class _OnPIL(_Vision):
    """Applied to a PIL image: torchvision then works on bytes, where on tensors many operations go through floats."""

    def apply(self, image: Tensor) -> Tensor:
        picture = Image.fromarray(image.permute(1, 2, 0).contiguous().numpy())
        return torch.from_numpy(np.array(self.transform(picture))).permute(2, 0, 1)


def _register_vision(name: str, base: type[_Vision] = _Vision) -> None:
    transform = getattr(v2, name)
    members = {
        "transform_class": transform,
        "__doc__": f"torchvision.transforms.v2.{name}.",
        "__signature__": inspect.signature(transform),  # the check of configs compares keys with it
    }
    # Workers that are started afresh get transforms by name, so the class has to be found here.
    globals()[name] = type(name, (base,), members)
    TRANSFORMS.register_module(name=f"torchvision/{name}", module=globals()[name])


for _name in ("CenterCrop", "RandomCrop", "RandomHorizontalFlip", "Resize"):
    _register_vision(_name)
_register_vision("RandomResizedCrop", _ResizedCrop)
_register_vision("RandAugment", _OnPIL)


@lru_cache(maxsize=4)
def load_tokenizer(path: str):
    """A `transformers` fast tokenizer from a folder with tokenizer.json or vocab.txt, read once a process.

    Raises: FileNotFoundError if neither lies there.
    """
    folder = Path(path)
    if not any((folder / name).is_file() for name in ("tokenizer.json", "vocab.txt")):
        raise FileNotFoundError(
            f"tokenizer={path!r}: no tokenizer.json or vocab.txt there. Put the BERT-uncased tokenizer in that folder "
            "(its vocab.txt is enough), or point the config's tokenizer elsewhere"
        )
    from transformers import BertTokenizerFast

    return BertTokenizerFast.from_pretrained(str(folder), local_files_only=True)


def word_pieces(text: str, tokenizer) -> list[int]:
    """Ids of a whole text's word pieces, without [CLS] and [SEP]; a text without any piece becomes one [UNK].

    Whoever used the tokenizer before may have left padding or truncation on; both are switched off.

    Args:
        tokenizer: As `load_tokenizer` returns it.
    """
    backend = tokenizer.backend_tokenizer
    if backend.padding is not None:
        backend.no_padding()
    if backend.truncation is not None:
        backend.no_truncation()
    text = text.encode("utf-8", errors="replace").decode("utf-8")  # half a surrogate pair is no text
    return backend.encode(text, add_special_tokens=False).ids or [tokenizer.unk_token_id]


@TRANSFORMS.register_module()
class Tokenize:
    """Cut sample['text'] into word pieces, sample['words'] (T,) int64, without [CLS] and [SEP].

    The encoder adds its own [CLS]. A text of more than `max_len` pieces is read through a window whose place is drawn
    from the sample's key, so that over epochs all of it is seen. A text without any piece becomes one [UNK].

    Args:
        tokenizer: Folder of a BERT tokenizer.
        max_len: Longest text in word pieces (MoMo 3.6 names none; our choice: 512 for documents, 64 for captions).
    Raises: ValueError naming the sample if its text is not a string.
    """

    def __init__(self, tokenizer: str, max_len: int = 512) -> None:
        self.max_len = max_len
        self.tokenizer = load_tokenizer(tokenizer)

    def __call__(self, sample: Sample) -> Sample:
        if not isinstance(sample["text"], str):
            raise ValueError(f"{sample['sample_id']}: the text is {sample['text']!r}, not a string")
        words = np.array(word_pieces(sample["text"], self.tokenizer), dtype=np.int64)
        if len(words) > self.max_len:
            start = int(torch.randint(len(words) - self.max_len + 1, ()))
            words = words[start : start + self.max_len]
        sample["words"] = words
        return sample

"""Steps of a pipeline: each takes a sample and returns it."""

from __future__ import annotations

import inspect
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torchvision.io import ImageReadMode, decode_image, read_file
from torchvision.transforms import v2

from momo.registry import TRANSFORMS

Sample = dict[str, Any]


@TRANSFORMS.register_module()
class LoadImage:
    """Decode sample['image_bytes'], or the file sample['image_path'], into sample['image']: RGB, uint8 (3, H, W).

    It is turned upright by its EXIF tag.

    16 bits are scaled to 8; of an animation the first picture is taken.

    Raises: ValueError naming the file if it cannot be decoded.
    """

    def __call__(self, sample: Sample) -> Sample:
        data = sample.pop("image_bytes", None)
        path = sample["image_path"] if data is None else sample["sample_id"]
        try:
            encoded = read_file(str(path)) if data is None else torch.frombuffer(bytearray(data), dtype=torch.uint8)
            image = decode_image(encoded, mode=ImageReadMode.RGB, apply_exif_orientation=True)
        except (RuntimeError, ValueError) as error:
            raise ValueError(f"{path} cannot be read as an image: {error}") from error
        if image.ndim == 4:
            image = image[0]
        if image.dtype == torch.uint16:
            image = (image.to(torch.int32) // 257).to(torch.uint8)  # 65535 is white
        sample["image"] = image
        return sample


class _Vision:
    """A torchvision v2 transform, applied to sample['image']."""

    transform_class: type

    def __init__(self, **settings: Any) -> None:
        if isinstance(settings.get("interpolation"), str):
            settings["interpolation"] = v2.InterpolationMode(settings["interpolation"])
        self.transform = self.transform_class(**settings)

    def __call__(self, sample: Sample) -> Sample:
        sample["image"] = self.transform(sample["image"])
        return sample


def _register_vision(name: str) -> None:
    transform = getattr(v2, name)
    members = {
        "transform_class": transform,
        "__doc__": f"torchvision.transforms.v2.{name}.",
        "__signature__": inspect.signature(transform),  # the check of configs compares keys with it
    }
    TRANSFORMS.register_module(name=f"torchvision/{name}", module=type(name, (_Vision,), members))


for _name in ("CenterCrop", "RandAugment", "RandomCrop", "RandomHorizontalFlip", "RandomResizedCrop", "Resize"):
    _register_vision(_name)


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
        text = sample["text"].encode("utf-8", errors="replace").decode("utf-8")  # half a surrogate pair is no text
        encoding = self.tokenizer.backend_tokenizer.encode(text, add_special_tokens=False)
        words = np.array(encoding.ids or [self.tokenizer.unk_token_id], dtype=np.int64)
        if len(words) > self.max_len:
            start = int(torch.randint(len(words) - self.max_len + 1, ()))
            words = words[start : start + self.max_len]
        sample["words"] = words
        return sample

"""Crops and RandAugment: torchvision's own results, reached faster."""

import io

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import v2

from momo.datasets.decode import decode_rgb
from momo.registry import TRANSFORMS


def decoded(width: int, height: int, seed: int = 0) -> Tensor:
    """A picture as the decoder hands it over: rows of RGB."""
    small = np.random.default_rng(seed).integers(0, 256, (height // 8 + 1, width // 8 + 1, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(small).resize((width, height), Image.BICUBIC).save(file, "JPEG", quality=90)
    return decode_rgb(bytearray(file.getvalue()))


CROPS = [
    dict(size=64, scale=(0.2, 1.0), interpolation="bicubic", antialias=True),
    dict(size=(48, 64), interpolation="bilinear"),
    dict(size=224, scale=(0.01, 0.05), interpolation="bicubic"),
    dict(size=32, interpolation="nearest"),
]


@pytest.mark.parametrize("settings", CROPS)
@pytest.mark.parametrize("size", [(500, 375), (90, 160), (1, 400), (7, 1)])
def test_crops_are_those_of_torchvision(settings: dict, size: tuple[int, int]) -> None:
    image = decoded(*size)
    ours = TRANSFORMS.build(dict(type="torchvision/RandomResizedCrop", **settings))
    mode = v2.InterpolationMode(settings["interpolation"])
    theirs = v2.RandomResizedCrop(**{**settings, "interpolation": mode})
    for seed in range(5):
        torch.manual_seed(seed)
        expected = theirs(image.contiguous())
        torch.manual_seed(seed)
        assert torch.equal(ours({"image": image})["image"], expected)
        torch.manual_seed(seed)
        box = theirs.make_params([image])
        whole = v2.functional.resized_crop(image, **box, size=list(expected.shape[1:]), interpolation=mode)
        assert (whole.int() - expected.int()).abs().max() <= 1


def test_crops_agree_with_pillow() -> None:
    image, close = decoded(500, 375), []
    crop = TRANSFORMS.build(dict(type="torchvision/RandomResizedCrop", **{**CROPS[0], "size": 224}))
    for seed in range(5):
        torch.manual_seed(seed)
        ours = crop({"image": image})["image"].permute(1, 2, 0).numpy().astype(int)
        torch.manual_seed(seed)
        box = crop.transform.make_params([image])
        edges = (box["left"], box["top"], box["left"] + box["width"], box["top"] + box["height"])
        picture = Image.fromarray(image.permute(1, 2, 0).numpy()).crop(edges).resize((224, 224), Image.BICUBIC)
        close.append(np.abs(ours - np.asarray(picture)).max())
    assert max(close) <= 2


def test_pictures_that_are_not_in_rows_of_rgb_are_cropped_alike() -> None:
    image = decoded(90, 60)
    crop = TRANSFORMS.build(dict(type="torchvision/RandomResizedCrop", **CROPS[0]))
    results = []
    for form in (image, image.contiguous()):
        torch.manual_seed(3)
        results.append(crop({"image": form})["image"])
    assert torch.equal(*results)


@pytest.mark.parametrize("channels_first", [False, True])
def test_randaugment_is_torchvisions_on_pil(channels_first: bool) -> None:
    image = decoded(64, 48)
    ours = TRANSFORMS.build(dict(type="torchvision/RandAugment", num_ops=2, magnitude=9))
    theirs, changed = v2.RandAugment(2, 9), 0
    for seed in range(40):
        torch.manual_seed(seed)
        expected = v2.functional.pil_to_tensor(theirs(v2.functional.to_pil_image(image)))
        torch.manual_seed(seed)
        augmented = ours({"image": image.contiguous() if channels_first else image})["image"]
        assert torch.equal(augmented, expected)
        changed += not torch.equal(augmented, image)
    assert changed > 30

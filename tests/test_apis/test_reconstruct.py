"""What a model makes of masked images, as pictures."""

import numpy as np
import pytest
import torch

from momo.apis import reconstruct_images
from momo.datasets import PackedCollate
from momo.models import MLM, MoMoPretrainer
from momo.ops import patchify

GREY = (123.675, 116.28, 103.53)  # ImageNet's mean: what a prediction of zero stands for


def tiny_model(norm_pix: bool = False) -> MoMoPretrainer:
    torch.manual_seed(0)
    return MoMoPretrainer(
        backbone=dict(
            type="MoMoViT", arch=dict(embed_dim=32, depth=2, num_heads=2), img_size=32, patch_size=8, vocab_size=0
        ),
        decoders=dict(image=dict(type="MoMoDecoder", outputs=["pixels"], decoder_dim=32, depth=1, num_heads=2)),
        objectives=dict(image=dict(mim=dict(type="MIM", decoder="image", mask_ratio=0.75, norm_pix=norm_pix))),
    ).eval()


def batch_of(model: MoMoPretrainer, keys: list[int]) -> dict:
    generator = torch.Generator().manual_seed(1)
    images = torch.randint(0, 256, (len(keys), 3, 32, 32), dtype=torch.uint8, generator=generator)
    samples = [
        {"key": key, "sample_id": str(key), "image_id": key, "image": image}
        for key, image in zip(keys, images, strict=True)
    ]
    return PackedCollate(model.planners("image"))(samples)


def predict_zero(model: MoMoPretrainer) -> None:
    torch.nn.init.zeros_(model.decoders["image"].pixel_head.weight)
    torch.nn.init.zeros_(model.decoders["image"].pixel_head.bias)


def test_visible_patches_stay_and_hidden_ones_are_the_prediction() -> None:
    model = tiny_model()
    predict_zero(model)
    batch = batch_of(model, [3, 4])
    original, restored, hidden = reconstruct_images(model, batch)
    assert torch.equal(original, batch["images"])
    hidden = hidden.expand_as(original)
    assert torch.equal(restored[~hidden], original[~hidden])
    expected = torch.tensor(GREY).round().byte().view(1, 3, 1, 1).expand_as(original)
    assert torch.equal(restored[hidden], expected[hidden])


def test_hidden_pixels_have_the_error_that_the_loss_says() -> None:
    model = tiny_model()
    batch = batch_of(model, [5, 6, 7])
    original, restored, hidden = reconstruct_images(model, batch)
    losses = model(**model.data_preprocessor({"image": batch}))
    normalize = model.data_preprocessor.normalize
    error = (normalize(restored) - normalize(original)).square()[hidden.expand_as(original)].mean()
    assert float(error) == pytest.approx(losses["image/mim_loss_pixels"].item(), rel=0.01)  # pixels are whole numbers


def test_mask_is_whole_patches_and_a_function_of_the_key() -> None:
    model = tiny_model()
    hidden = reconstruct_images(model, batch_of(model, [1, 2])).hidden
    assert torch.equal(hidden, reconstruct_images(tiny_model(), batch_of(model, [1, 2])).hidden)
    assert torch.equal(hidden.flip(0), reconstruct_images(model, batch_of(model, [2, 1])).hidden)
    assert not torch.equal(hidden[0], hidden[1])
    patches = patchify(hidden, 8)
    assert torch.equal(patches.any(-1), patches.all(-1))
    assert np.array_equal(patches.all(-1).sum(1), [12, 12])  # 0.75 of 16


def test_normalised_prediction_gets_mean_and_contrast_of_the_original() -> None:
    model = tiny_model(norm_pix=True)
    predict_zero(model)  # zero is now each patch's own mean, over its normalised pixels
    batch = batch_of(model, [8])
    original, restored, hidden = reconstruct_images(model, batch)
    means = patchify(model.data_preprocessor.normalize(original), 8).mean(-1)
    shown = patchify(model.data_preprocessor.normalize(restored), 8)
    chosen = patchify(hidden, 8).all(-1)
    for channel in shown[chosen].unflatten(-1, (3, 64)).unbind(1):
        assert torch.allclose(channel, means[chosen][:, None].expand_as(channel), atol=0.01)


def test_model_without_masked_images_is_refused() -> None:
    model = tiny_model()
    batch = batch_of(model, [1])
    model.objectives["image"]["mim"] = MLM("image")
    with pytest.raises(ValueError, match=r"not trained with MIM: its objectives are \['image.mim'\]"):
        reconstruct_images(model, batch)

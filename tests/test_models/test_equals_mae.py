"""Stage 1 is MAE: features, loss and gradients equal transformers' implementation with the same weights and noise."""

import pytest
import torch
from helpers import mae as reference

SIZES = [
    pytest.param(reference.SMALL, id="small"),
    pytest.param(reference.BASE, id="base", marks=pytest.mark.slow),
]


@pytest.mark.parametrize("sizes", SIZES)
def test_features_equal(sizes: dict) -> None:
    mae = reference.random_mae(norm_pix=False, **sizes)
    model = reference.same_model(mae)
    images = torch.randn(2, 3, mae.config.image_size, mae.config.image_size)
    mae.config.mask_ratio = 0.0
    in_order = torch.arange(mae.vit.embeddings.num_patches).expand(2, -1)
    with torch.no_grad():
        expected = mae.vit(images, noise=in_order.float()).last_hidden_state
        features = model.backbone.encode_images(images).x.view_as(expected)
    torch.testing.assert_close(features, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("norm_pix", [False, True])
@pytest.mark.parametrize("sizes", SIZES)
def test_loss_and_gradients_equal(sizes: dict, norm_pix: bool) -> None:
    mae = reference.random_mae(norm_pix, **sizes)
    model = reference.same_model(mae)
    images = torch.randn(2, 3, mae.config.image_size, mae.config.image_size)
    noise = torch.rand(2, mae.vit.embeddings.num_patches)
    expected = mae(images, noise=noise).loss
    loss = reference.loss_with_noise(model, images, noise)
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-5)

    expected.backward()
    loss.backward()
    for parameter in mae.parameters():
        parameter.data = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
    for name, slope in reference.renamed(mae).items():
        ours = model.get_parameter(name).grad
        torch.testing.assert_close(ours, slope, rtol=1e-3, atol=1e-5, msg=lambda text, name=name: f"{name}: {text}")

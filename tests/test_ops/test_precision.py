import pytest
import torch

from momo.ops import at_least_float32, without_autocast


@pytest.mark.parametrize(
    ("given", "kept"),
    [(torch.bfloat16, torch.float32), (torch.float16, torch.float32), (torch.float64, torch.float64)],
)
def test_half_precision_becomes_single_and_double_stays(given: torch.dtype, kept: torch.dtype) -> None:
    x = torch.tensor([0.5, -3.0], dtype=given)
    assert at_least_float32(x).dtype == kept
    assert at_least_float32(x).tolist() == [0.5, -3.0]


def test_autocast_is_off_and_comes_back() -> None:
    x = torch.ones(2, 2)
    with torch.autocast("cpu", torch.bfloat16):
        with without_autocast(x):
            assert (x @ x).dtype == torch.float32
        assert (x @ x).dtype == torch.bfloat16


def test_a_device_without_autocast_has_none_to_switch_off() -> None:
    x = torch.empty(2, 2, device="meta")
    with without_autocast(x):
        assert (x @ x).shape == (2, 2)

import pytest
import torch

from momo.ops import at_least_float32


@pytest.mark.parametrize(
    ("given", "kept"),
    [(torch.bfloat16, torch.float32), (torch.float16, torch.float32), (torch.float64, torch.float64)],
)
def test_half_precision_becomes_single_and_double_stays(given: torch.dtype, kept: torch.dtype) -> None:
    x = torch.tensor([0.5, -3.0], dtype=given)
    assert at_least_float32(x).dtype == kept
    assert at_least_float32(x).tolist() == [0.5, -3.0]

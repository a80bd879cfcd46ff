"""Collectives in two processes against one process with the joined rows; a moment with one process too."""

from pathlib import Path

import pytest
import torch
from helpers.processes import run_in_processes
from torch import Tensor
from torch.nn import functional as F

from momo.ops import gather_with_grad, global_mean, rank, world_size

ROWS, DIM, WORLD = 3, 4, 2


def features(process: int) -> tuple[Tensor, Tensor]:
    """Distinct unit-length image and text features of a process's rows."""
    generator = torch.Generator().manual_seed(process)
    draw = torch.randn(2, ROWS, DIM, generator=generator, dtype=torch.float64)
    return tuple(F.normalize(draw, dim=-1))


def weights(process: int) -> Tensor:
    return torch.arange(WORLD * ROWS * DIM, dtype=torch.float64).view(-1, DIM) * 10**process


def contrastive_gradients(image: Tensor, text: Tensor) -> dict[str, Tensor]:
    from momo.models.losses import GlobalContrastiveLoss

    image, text = image.clone().requires_grad_(), text.clone().requires_grad_()
    loss = GlobalContrastiveLoss().double()
    output = loss(image, text)
    output.loss.backward()
    return {
        "loss": output.loss.detach(),
        "image": image.grad,
        "text": text.grad,
        "scale": loss.logit_scale.grad,
        "similarity": output.similarity,
    }


def worker(process: int) -> dict[str, Tensor]:
    image, text = features(process)
    x = image.clone().requires_grad_()
    gathered = gather_with_grad(x)
    (gathered * weights(process)).sum().backward()
    total = torch.tensor([6.0, 8.0][process], requires_grad=True)
    mean = global_mean(total, [1, 3][process])
    mean.backward()
    nothing = torch.tensor(0.0, requires_grad=True)
    empty = global_mean(nothing, 0)
    empty.backward()
    return {
        "place": torch.tensor([rank(), world_size()]),
        "gathered": gathered.detach(),
        "gathered_grad": x.grad,
        "mean": torch.stack([mean.detach(), total.grad]),
        "tensor_count": global_mean(torch.tensor(6.0), torch.tensor(4)),
        "empty": torch.stack([empty.detach(), nothing.grad]),
        "contrastive": contrastive_gradients(image, text),
    }


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Tensor]]:
    folder: Path = tmp_path_factory.mktemp("gather")
    return run_in_processes(worker, folder)


def test_processes_know_their_place(results: list) -> None:
    assert [result["place"].tolist() for result in results] == [[0, 2], [1, 2]]
    assert (rank(), world_size()) == (0, 1)


def test_gather_joins_rows_in_rank_order(results: list) -> None:
    joined = torch.cat([features(process)[0] for process in range(WORLD)])
    for result in results:
        assert torch.equal(result["gathered"], joined)


def test_gradient_of_gather_is_what_all_ranks_ask_of_a_row(results: list) -> None:
    asked = sum(weights(process) for process in range(WORLD)).split(ROWS)
    for process, result in enumerate(results):
        assert torch.equal(result["gathered_grad"], asked[process])


def test_global_mean_averaged_over_ranks_is_the_mean_of_all_rows(results: list) -> None:
    """Totals 6 and 8 of 1 and 3 rows: the mean of all rows is 14 / 4; a rank's share of its gradient is 1 / 4."""
    values, slopes = torch.stack([result["mean"] for result in results]).unbind(1)
    assert values.mean().item() == 14 / 4
    assert (slopes / WORLD).tolist() == [1 / 4, 1 / 4]
    assert [result["tensor_count"].item() for result in results] == [6 * 2 / 8] * 2


def test_no_rows_anywhere_give_zero(results: list) -> None:
    assert [result["empty"][0].item() for result in results] == [0.0, 0.0]
    assert all(torch.isfinite(result["empty"]).all() for result in results)


def test_contrastive_loss_of_two_processes_is_that_of_the_joined_batch(results: list) -> None:
    """DDP averages gradients: the average over ranks must be the gradient of the joined batch."""
    joined = contrastive_gradients(*(torch.cat(parts) for parts in zip(*map(features, range(WORLD)), strict=True)))
    own = [result["contrastive"] for result in results]
    close = dict(rtol=0, atol=1e-12)
    torch.testing.assert_close(sum(result["loss"] for result in own) / WORLD, joined["loss"], **close)
    torch.testing.assert_close(sum(result["scale"] for result in own) / WORLD, joined["scale"], **close)
    for name in ("image", "text"):
        torch.testing.assert_close(torch.cat([result[name] for result in own]) / WORLD, joined[name], **close)
    for process, result in enumerate(own):
        block = slice(process * ROWS, (process + 1) * ROWS)
        torch.testing.assert_close(result["similarity"], joined["similarity"][block, block])


def test_one_process_needs_no_group() -> None:
    x = torch.arange(6.0).view(2, 3)
    assert gather_with_grad(x) is x
    assert global_mean(torch.tensor(6.0), 4).item() == 1.5
    assert global_mean(torch.tensor(6.0), torch.tensor(4)).item() == 1.5
    assert global_mean(torch.tensor(0.0), 0).item() == 0
    assert global_mean(torch.tensor(0.0), torch.tensor(0)).item() == 0

"""Pictures in the training log: what they show, and that training does not notice them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.processes import run_in_processes
from helpers.run import build_runner, run_config, same_tensors, weights, write_data
from helpers.tiny import tiny_batch, tiny_pretrainer, tiny_samples
from mmengine.config import Config
from PIL import Image
from torch import distributed
from torch.distributed.fsdp import fully_shard

from momo.datasets import PackedCollate
from momo.engine import pictures, pictures_hook
from momo.engine.pictures_hook import PicturesHook, evenly
from momo.models import CMM, MIM
from momo.models.downstream import Reconstruction, restore_patches
from momo.models.pretrainers import find_objective

pytestmark = pytest.mark.usefixtures("unformatted_configs")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> dict:
    return write_data(tmp_path_factory.mktemp("data"))


def trained(data: dict, work_dir: Path, stage: int, hook: dict | None, **settings: Any):
    hooks = [] if hook is None else [dict(type="PicturesHook", count=2, gallery=5, **hook)]
    cfg = run_config(data, work_dir, stage, custom_hooks=hooks, **settings)
    if "launcher" in settings:
        cfg["param_scheduler"] = []  # in two processes, warm-up would be shorter than a step
    runner = build_runner(cfg)
    runner.train()
    return runner


def drawn(work_dir: Path) -> list[str]:
    return sorted(path.name for path in work_dir.glob("*/vis_data/vis_image/*.png"))


@pytest.mark.parametrize(
    ("stage", "hook", "names"),
    [
        (2, dict(interval=2, by_epoch=False), [f"restored_image_mim_{step}.png" for step in (2, 4, 6, 8, 10)]),
        (3, {}, [f"{name}_{step}.png" for name in ("found_image_text", "restored_image_text_cmm") for step in (10, 5)]),
    ],
)
def test_training_ends_the_same_with_and_without(
    data: dict, tmp_path: Path, stage: int, hook: dict, names: list[str]
) -> None:
    """Stochastic depth draws random numbers in these runs, so one more draw would show."""
    visualizer = dict(type="Visualizer", vis_backends=[dict(type="LocalVisBackend")])
    shown = trained(data, tmp_path / "shown", stage, hook, visualizer=visualizer)
    hidden = trained(data, tmp_path / "hidden", stage, None)
    assert same_tensors(weights(shown), weights(hidden))
    assert drawn(tmp_path / "shown") == sorted(names)
    assert all(
        len(np.unique(np.array(Image.open(path)))) > 50 for path in (tmp_path / "shown").glob("*/vis_data/vis_image/*")
    )
    assert shown.model.training


def test_a_resumed_run_with_pictures_ends_as_one_without(data: dict, tmp_path: Path) -> None:
    whole = trained(data, tmp_path / "whole", 3, None, max_epochs=2)
    first = run_config(data, tmp_path / "first", 3, custom_hooks=[dict(type="PicturesHook", count=2)])
    first["default_hooks"]["checkpoint"].update(by_epoch=False, interval=3)
    build_runner(first).train()
    again = trained(
        data,
        tmp_path / "again",
        3,
        dict(interval=4, by_epoch=False),
        resume=True,
        load_from=str(tmp_path / "first/iter_6"),
    )
    assert again.iter == 10 and same_tensors(weights(again), weights(whole))


def test_tensorboard_has_scalars_and_pictures(data: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    default = Config.fromfile(Path(__file__).parents[2] / "configs/momo/stage3_vitb.py").visualizer
    trained(data, tmp_path, 2, {}, max_epochs=1, visualizer=default.to_dict())
    (folder,) = tmp_path.glob("*/vis_data")
    events = EventAccumulator(str(folder)).Reload()
    assert [event.step for event in events.Scalars("image/mim_loss_pixels")] == [1, 2, 3, 4, 5]
    (picture,) = events.Images("restored_image_mim")
    assert picture.step == 5 and (picture.width, picture.height) == (310, 470)


def test_examples_may_come_from_elsewhere(data: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[list[str]] = []

    def keep(model: Any, found: Any, samples: list[dict]) -> np.ndarray:
        shown.append([sample["sample_id"] for sample in samples])
        return np.zeros((2, 2, 3), dtype=np.uint8)

    monkeypatch.setattr(pictures_hook, "restored", keep)
    other = {**data["image"], "root": f"{data['image']['root']}/odd"}
    trained(data, tmp_path, 2, dict(examples=dict(image=other)))
    assert len(shown) == 2 and shown[0] == shown[1]
    assert len(shown[0]) == 2 and all(int(Path(name).stem) % 2 == 1 for name in shown[0])


def test_evenly() -> None:
    assert evenly(10, 3) == [0, 3, 6] and evenly(2, 5) == [0, 1] and evenly(0, 4) == []


@pytest.mark.parametrize("kind", [MIM, CMM])
def test_restored_patches_are_those_of_the_loss(kind: type) -> None:
    """The error of the hidden pixels is the loss, up to the rounding to bytes."""
    model = tiny_pretrainer("all").eval()
    found = find_objective(model, kind)
    batch = tiny_batch(model, found.modality, 3)
    original, restored, hidden = restore_patches(model, found, batch)
    normal = model.data_preprocessor.normalize
    clipped = (restored == 0) | (restored == 255)
    assert clipped.float().mean() < 0.2
    assert torch.equal(restored[~hidden.expand_as(restored)], original[~hidden.expand_as(original)])
    losses = model(**model.data_preprocessor({found.modality: batch}))
    error = (normal(restored) - normal(original)).square()[hidden.expand_as(original)].mean()
    assert float(error) == pytest.approx(float(losses[f"{found.modality}/{found.name}_loss_pixels"]), rel=0.02)


def test_what_was_hidden_is_grey() -> None:
    original = torch.full((1, 3, 2, 2), 9, dtype=torch.uint8)
    hidden = torch.tensor([[[[True, False], [False, False]]]])
    masked = Reconstruction(original, original, hidden).masked
    assert masked[0, :, 0, 0].tolist() == [128] * 3 and masked.flatten().tolist().count(9) == 9


def test_every_pair_is_restored_however_few_are_trained_on() -> None:
    objective = dict(type="CMM", decoder="cross_modal", max_pairs=1)
    model = tiny_pretrainer(dict(image_text=dict(cmm=objective))).eval()
    samples = tiny_samples("image_text", 4)
    seen: list[Reconstruction] = []

    def keep(reconstruction: Reconstruction, titles: list[str]) -> np.ndarray:
        seen.append(reconstruction)
        return np.zeros((1, 1, 3), dtype=np.uint8)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pictures, "draw_reconstruction", keep)
        pictures_hook.restored(model, find_objective(model, CMM), samples)
    assert seen[0].hidden.flatten(1).float().mean(1).tolist() == [0.75] * 4


def test_matches_are_the_most_similar_and_the_right_ones_are_marked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Features are replaced by known ones: caption i is most similar to picture i + 1, then i + 2, ..."""
    model, samples = tiny_pretrainer(3).eval(), tiny_samples("image_text", 6)
    for index, sample in enumerate(samples):
        sample |= {"text": f"caption {index}", "image": torch.full((3, 32, 32), index, dtype=torch.uint8)}
    samples[4]["words"] = samples[3]["words"]  # two pictures with one caption
    order = PackedCollate()(samples)["order"]
    place = torch.tensor(order).float()  # rows of the batch are sorted by length; features follow the samples
    angle = -place * 0.5
    texts = torch.stack([torch.cos(angle), torch.sin(angle)], 1)
    images = torch.stack([torch.cos(angle + 0.5), torch.sin(angle + 0.5)], 1)
    monkeypatch.setattr(pictures_hook, "text_features", lambda *_: texts)
    monkeypatch.setattr(pictures_hook, "image_features", lambda *_: images)
    rows: list = []
    monkeypatch.setattr(
        pictures, "draw_retrieval", lambda captions, found: rows.extend(zip(captions, found, strict=True))
    )
    pictures_hook.matches(model, samples, 6)
    for caption, found in rows:
        index = int(caption.split()[1])
        shown = [int(image[0, 0, 0]) for image, _, _ in found]
        assert len(shown) == 5 and shown[0] == min(index + 1, 5)
        assert found[0][1] == pytest.approx(1.0) if index < 5 else found[0][1] == pytest.approx(np.cos(0.5), abs=1e-6)
        own = {3, 4} if index in (3, 4) else {index}
        assert [right for _, _, right in found] == [place in own for place in shown]


def test_the_right_picture_has_a_green_frame() -> None:
    image = torch.full((3, 8, 8), 200, dtype=torch.uint8)

    def green(right: bool) -> int:
        page = pictures.draw_retrieval(["costs $5 or $6"], [[(image, 0.5, right)]]).astype(int)
        return int(((page[..., 1] - page[..., 0] > 60) & (page[..., 1] - page[..., 2] > 60)).sum())

    assert green(True) > 200 and green(False) == 0


def test_what_it_refuses(data: dict, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="PicturesHook.interval=0 must be at least 1"):
        PicturesHook(interval=0)
    with pytest.raises(
        ValueError, match=r"PicturesHook.examples are for \['audio'\], the model for \['image', 'text'\]"
    ):
        trained(data, tmp_path, 2, dict(examples=dict(audio={})))
    with pytest.raises(ValueError, match="PicturesHook shows what a MoMoPretrainer does, not a Linear"):
        PicturesHook().before_train(type("Runner", (), {"model": torch.nn.Linear(1, 1)}))


def in_two_processes(rank: int, folder: str) -> dict:
    """Weights of runs with and without pictures, and whether a model that is spread over both is left alone."""
    results = {}
    data = torch.load(Path(folder) / "data.pt")
    for name, hook in (("shown", dict(interval=2, by_epoch=False)), ("hidden", None)):
        distributed.barrier()
        wrapper = dict(type="momo.MoMoDistributedDataParallel")
        settings = dict(launcher="pytorch", model_wrapper_cfg=wrapper)
        visualizer = dict(type="Visualizer", vis_backends=[dict(type="LocalVisBackend")])
        runner = trained(data, Path(folder) / name, 3, hook, visualizer=visualizer, **settings)
        results |= {name: weights(runner), "steps": runner.iter}
    hook, runner.model = PicturesHook(), tiny_pretrainer(3)
    fully_shard(runner.model.backbone)
    hook.before_train(runner)
    hook._draw(runner, 1)  # nothing is run: alone, rank 0 would wait for ever
    return {**results, "active": hook._active}


@pytest.mark.dist
def test_two_processes(tmp_path: Path) -> None:
    torch.save(write_data(tmp_path / "data"), tmp_path / "data.pt")
    first, second = run_in_processes(in_two_processes, tmp_path, str(tmp_path))
    assert same_tensors(first["shown"], first["hidden"]) and same_tensors(first["shown"], second["shown"])
    assert len(drawn(tmp_path / "shown")) == 2 * (first["steps"] // 2) > 0
    assert not first["active"] and not second["active"]

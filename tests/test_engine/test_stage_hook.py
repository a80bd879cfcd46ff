"""Handing weights from one stage to the next."""

from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import pytest
import torch
from helpers.run import build_runner, run_config, same_tensors, weights, write_data
from helpers.tiny import tiny_pretrainer
from torch import nn

from momo.engine import StageHook
from momo.engine.checkpoint import read_checkpoint
from momo.engine.stage_hook import hand_over

pytestmark = pytest.mark.usefixtures("unformatted_configs")
FROM_1_TO_2 = ["backbone.text_embed.*", "decoders.text.*"]


def fresh_run(model: nn.Module, iteration: int = 0) -> SimpleNamespace:
    return SimpleNamespace(iter=iteration, model=model, logger=mock.Mock())


def stage(number: int, seed: int, **backbone) -> nn.Module:
    if number == 1:
        backbone["vocab_size"] = 0
    return tiny_pretrainer(number, seed, **backbone)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """Stage 1's work_dir."""
    folder = tmp_path / "stage1"
    folder.mkdir()
    torch.save({"state_dict": stage(1, seed=1).state_dict()}, folder / "epoch_3.pth")
    (folder / "last_checkpoint").write_text(str(folder / "epoch_3.pth"))
    return folder


@pytest.mark.parametrize("as_file", [False, True], ids=["work_dir", "file"])
def test_loads_what_both_stages_have_and_leaves_the_rest_new(checkpoint: Path, as_file: bool) -> None:
    previous, model, untouched = stage(1, seed=1), stage(2, seed=2), stage(2, seed=2)
    path = checkpoint / "epoch_3.pth" if as_file else checkpoint
    runner = fresh_run(model)
    StageHook(str(path), new=FROM_1_TO_2).before_train(runner)
    old, new = previous.state_dict(), untouched.state_dict()
    for name, value in model.state_dict().items():
        assert torch.equal(value, old[name] if name in old else new[name]), name
    ((table,), _) = runner.logger.info.call_args
    assert f"{checkpoint}/epoch_3.pth" in table
    assert "backbone.text_embed, decoders.text" in table
    assert "backbone.blocks" in table


def test_a_resumed_run_keeps_its_own_weights(checkpoint: Path) -> None:
    model = stage(2, seed=2)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    runner = fresh_run(model, iteration=1)
    StageHook(str(checkpoint)).before_train(runner)
    assert same_tensors(model.state_dict(), before)
    assert not runner.logger.info.called


def test_no_checkpoint_named_starts_from_random_weights() -> None:
    model = stage(1, seed=2)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    StageHook(None).before_train(fresh_run(model))
    assert same_tensors(model.state_dict(), before)


def test_new_weights_must_be_named(checkpoint: Path) -> None:
    message = (
        r"epoch_3.pth does not fit this stage's model:\n  decoders.text.* is not in the checkpoint \(allow it with"
    )
    with pytest.raises(ValueError, match=message) as caught:
        StageHook(str(checkpoint), new=["backbone.text_embed.*"]).before_train(fresh_run(stage(2, seed=2)))
    assert "text_embed" not in str(caught.value)


def test_weights_left_over_must_be_named(checkpoint: Path) -> None:
    new = ["backbone.text_embed.*", "decoders.*", "objectives.*"]
    message = r"  decoders.image.embed.weight: is in the checkpoint only \(allow it with StageHook.unused\)"
    with pytest.raises(ValueError, match=message):
        StageHook(str(checkpoint), new=new).before_train(fresh_run(stage(3, seed=2)))
    StageHook(str(checkpoint), new=new, unused=["decoders.image.*"]).before_train(fresh_run(stage(3, seed=2)))


def test_another_shape_is_always_refused(checkpoint: Path) -> None:
    model = stage(2, seed=2, patch_size=16)
    with pytest.raises(
        ValueError, match=r"backbone.image_embed.proj.weight: \(32, 192\) in the checkpoint, \(32, 768\) wanted"
    ):
        StageHook(str(checkpoint), new=["*"], unused=["*"]).before_train(fresh_run(model))


def test_many_problems_are_cut_short(checkpoint: Path) -> None:
    with pytest.raises(ValueError, match=r"\.\.\. \d+ more$"):
        StageHook(str(checkpoint)).before_train(fresh_run(stage(2, seed=2)))


def test_a_missing_stage_comes_with_its_command(tmp_path: Path) -> None:
    hook = StageHook(str(tmp_path / "stage1"), made_by="tools/dist_train.sh configs/momo/stage1_vitb.py 8")
    message = (
        r"StageHook.checkpoint='.*stage1': .* there is no checkpoint. Make it with:\n"
        r"  tools/dist_train.sh configs/momo/stage1_vitb.py 8\nor point StageHook.checkpoint to"
    )
    with pytest.raises(FileNotFoundError, match=message):
        hook.before_train(fresh_run(stage(2, seed=2)))


def test_hand_over_reports_all_four_kinds() -> None:
    model = nn.ModuleDict(dict(kept=nn.Linear(2, 2), grown=nn.Linear(2, 3), added=nn.Linear(1, 1)))
    old = nn.ModuleDict(dict(kept=nn.Linear(2, 2), grown=nn.Linear(2, 2), gone=nn.Linear(1, 1)))
    result = hand_over(model, old.state_dict())
    assert result.loaded == ["kept.weight", "kept.bias"]
    assert result.new == ["added.weight", "added.bias"]
    assert result.unused == ["gone.weight", "gone.bias"]
    assert result.mismatched == ["grown.weight", "grown.bias"]
    assert torch.equal(model["kept"].weight, old["kept"].weight)


def test_three_stages_one_after_another(tmp_path: Path) -> None:
    """Each starts from the work_dir of the one before, learns, and resumes from its own weights, not the stage's."""
    data = write_data(tmp_path / "data")
    hooks = {
        1: [],
        2: [dict(type="StageHook", checkpoint=str(tmp_path / "1"), new=FROM_1_TO_2)],
        3: [
            dict(
                type="StageHook",
                checkpoint=str(tmp_path / "2"),
                new=["decoders.cross_modal.*", "objectives.*"],
                unused=["decoders.image.*"],
            ),
            dict(type="EMAHook"),
        ],
    }
    for number, primary in ((1, "image"), (2, "text"), (3, "image_text")):
        cfg = run_config(data, tmp_path / str(number), number, primary, max_epochs=1, custom_hooks=hooks[number])
        if number == 1:
            cfg["model"]["backbone"]["vocab_size"] = 0
        build_runner(cfg).train()

    cfg = run_config(data, tmp_path / "3", 3, "image_text", max_epochs=1, custom_hooks=hooks[3], resume=True)
    resumed = build_runner(cfg)
    resumed.train()  # nothing is left to train
    saved = read_checkpoint(tmp_path / "3" / "epoch_1")
    live = {name.removeprefix("module."): value for name, value in saved["ema_state_dict"].items() if "." in name}
    assert all(torch.equal(value, live[name]) for name, value in weights(resumed).items())

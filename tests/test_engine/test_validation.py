"""Validation and testing on packed batches, through MMEngine's runner."""

from pathlib import Path

import pytest
import torch
from helpers.data import VOCABULARY, sentence, write_texts, write_tokenizer
from helpers.run import build_runner, logged, run_config, write_data
from helpers.tiny import BACKBONE, preprocessed

from momo.datasets import build_loader

pytestmark = pytest.mark.usefixtures("unformatted_configs")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> dict:
    return write_data(tmp_path_factory.mktemp("data"))


def validated(cfg: dict, *modalities: str, data: dict, batch_size: int = 5) -> dict:
    """The config with a validation of some modalities on the training data."""
    return cfg | dict(
        val_dataloader=dict(batch_size=batch_size, loaders={name: dict(dataset=data[name]) for name in modalities}),
        val_cfg=dict(type="MultiModalValLoop"),
        val_evaluator=dict(type="MeanLoss"),
    )


def test_losses_are_written_after_every_epoch(data: dict, tmp_path: Path) -> None:
    cfg = validated(run_config(data, tmp_path, stage=3), "text", "image_text", data=data)
    build_runner(cfg).train()
    lines = [line for line in logged(tmp_path) if "lr" not in line]
    assert [line["step"] for line in lines] == [1, 2]
    names = {"text/mlm_loss_words", *(f"image_text/{name}" for name in ("cmm_loss_words", "itc_loss", "itm_accuracy"))}
    assert all(names <= set(line) for line in lines)
    assert lines[0]["text/mlm_loss_words"] != lines[1]["text/mlm_loss_words"]


def test_a_loss_is_the_mean_over_samples_with_the_same_masks_each_time(data: dict, tmp_path: Path) -> None:
    """12 images in batches of 5, 5 and 2."""
    runner = build_runner(validated(run_config(data, tmp_path, stage=2), "image", data=data))
    metrics = runner.val()
    assert runner.val() == metrics
    model = runner.model.eval()
    loader = build_loader(dict(dataset=data["image"], batch_size=5), model.planners("image"), seed=0, training=False)
    total, sizes = 0.0, []
    with torch.no_grad():
        for batch in loader:
            sizes.append(len(batch["keys"]))
            losses = model(preprocessed(model, {"image": batch}))
            total += losses["image/mim_loss_pixels"].item() * sizes[-1]
    assert sizes == [5, 5, 2]
    assert metrics == {"image/mim_loss_pixels": pytest.approx(total / 12, rel=1e-6)}


def test_validation_leaves_the_training_run_as_it_is(data: dict, tmp_path: Path) -> None:
    final = []
    for name, change in (("without", lambda cfg: cfg), ("with", lambda cfg: validated(cfg, "image", data=data))):
        runner = build_runner(change(run_config(data, tmp_path / name)))
        runner.train()
        final.append(runner.model.state_dict())
        assert runner.model.training is (name == "without")
    assert all(torch.equal(final[1][name], value) for name, value in final[0].items())


def test_refuses_a_modality_without_objectives(data: dict, tmp_path: Path) -> None:
    cfg = validated(run_config(data, tmp_path, stage=1, primary="image"), "text", data=data)
    with pytest.raises(ValueError, match=r"val_dataloader.loaders are for \['text'\], but model.objectives for"):
        build_runner(cfg).val()


def labelled_texts(folder: Path, count: int) -> dict:
    """A table in which label and text go together: 'sun' is 0, 'moon' is 1, and the rest is noise."""
    rows = [f"{('sun', 'moon')[index % 2]} {sentence(index)}\t{index % 2}" for index in range(count)]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "table.tsv").write_text("\n".join(["text\tlabel", *rows]) + "\n", encoding="utf-8")
    tokenize = dict(type="Tokenize", tokenizer=write_tokenizer(folder / "tokenizer"), max_len=12)
    return dict(type="TextTable", file=str(folder / "table.tsv"), pipeline=[tokenize])


def classifier_config(data: dict, folder: Path, tmp_path: Path, count: int) -> dict:
    table = labelled_texts(folder, count)
    cfg = run_config(data, tmp_path) | dict(
        model=dict(
            type="TextClassifier", num_classes=2, backbone={**BACKBONE, "vocab_size": len(VOCABULARY)}, dropout=0.0
        ),
        train_dataloader=dict(batch_size=4, primary="text", loaders=dict(text=dict(dataset=table))),
    )
    return validated(cfg, "text", data={"text": table}) | dict(val_evaluator=dict(type="Classification"))


def test_accuracy_counts_every_sample(data: dict, tmp_path: Path) -> None:
    """11 texts in batches of 5, 5 and 1: the accuracy is a multiple of 1/11, and that of the model."""
    runner = build_runner(classifier_config(data, tmp_path / "table", tmp_path / "run", 11))
    accuracy = runner.val()["accuracy"]
    model, right = runner.model.eval(), 0
    for batch in runner.val_loop.loaders["text"]:
        right += sum(int(p["pred_score"].argmax()) == p["gt_label"] for p in model.val_step({"text": batch}))
    assert accuracy == pytest.approx(right / 11)
    assert 0 < right < 11 or accuracy in (0.0, 1.0)
    counts = []
    runner.val_loop.evaluator.metrics[0].compute_metrics = lambda results: counts.append(len(results)) or {}
    runner.val()
    assert counts == [11]


def test_fine_tuning_learns_a_word(data: dict, tmp_path: Path) -> None:
    cfg = classifier_config(data, tmp_path / "table", tmp_path / "run", 24)
    cfg["train_cfg"].update(max_epochs=12, val_interval=12)
    cfg["optim_wrapper"]["optimizer"]["lr"] = 3e-3
    runner = build_runner(cfg)
    runner.train()
    assert runner.val()["accuracy"] == 1.0


def test_the_test_loop_evaluates_test_settings(data: dict, tmp_path: Path) -> None:
    cfg = validated(run_config(data, tmp_path, stage=2), "text", data=data)
    more = dict(data["text"], files=write_texts(tmp_path / "more.txt", 6, start=50))
    cfg |= dict(
        test_dataloader=dict(batch_size=3, loaders=dict(text=dict(dataset=more))),
        test_cfg=dict(type="MultiModalTestLoop"),
        test_evaluator=dict(type="MeanLoss"),
    )
    runner = build_runner(cfg)
    assert set(runner.test()) == {"text/mlm_loss_words"}
    assert runner.test() != runner.val()

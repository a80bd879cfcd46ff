"""Counted FLOPs against torch's counter and a formula, counted bytes against the profiler's, times by hand."""

import json
import sys
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from helpers.tiny import MAX_WORDS, STAGES, tiny_config
from mmengine.config import Config
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tools" / "analysis"))

import cost  # noqa: E402
import meta_step  # noqa: E402
import plan  # noqa: E402
import training_plan  # noqa: E402

from momo.engine.config_check import ConfigError  # noqa: E402
from momo.ops import AttentionMaps  # noqa: E402
from momo.registry import MODELS  # noqa: E402

SETUP = training_plan.Setup(8, "v100", 32, "fp32", mfu=0.5, bandwidth=100.0, words={}, samples=102_400)


def config(stage: int, batch: int = 6, cmga: str = "joint", accumulate: int = 1, **backbone) -> Config:
    """A tiny model with loaders that name no data."""
    load, tokenize = dict(type="LoadImage"), dict(type="Tokenize", tokenizer="none", max_len=MAX_WORDS)
    steps = {"image": [load], "text": [tokenize], "image_text": [load, tokenize]}
    loaders = {name: dict(dataset=dict(type="TextCorpus", pipeline=steps[name])) for name in STAGES[stage]}
    return Config(
        dict(
            model=tiny_config(STAGES[stage], **backbone),
            train_dataloader=dict(primary=list(loaders)[0], batch_size=batch, loaders=loaders),
            train_cfg=dict(type="MultiModalTrainLoop", max_epochs=2, cmga=cmga),
            optim_wrapper=dict(
                type="OptimWrapper",
                constructor="DecayMatricesOnly",
                accumulative_counts=accumulate,
                optimizer=dict(type="AdamW", lr=1e-3),
            ),
        )
    )


class RealStep:
    """The same step on the CPU, with values."""

    def __init__(self, cfg: Config, half: torch.dtype | None = None) -> None:
        torch.manual_seed(0)
        self.model, self.half = MODELS.build(cfg.model).train(), half
        self.optimizer = torch.optim.AdamW(self.model.parameters(), foreach=True)
        self.batches = {name: meta_step.synthetic_batch(cfg, self.model, name) for name in self.model.modalities}

    def __call__(self) -> None:
        with torch.autocast("cpu", self.half) if self.half else nullcontext():
            data = self.model.data_preprocessor(self.batches, True)
            loss, _ = self.model.parse_losses(self.model(**data, mode="loss"))
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad()


def measured_peak(step: RealStep, trace: Path) -> int:
    """Bytes that torch's allocator hands out at most during a step, beyond those that were out before."""
    step()  # makes the optimizer's state
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        step()
    profiler.export_chrome_trace(str(trace))
    events = [event for event in json.loads(trace.read_text())["traceEvents"] if event.get("name") == "[memory]"]
    alive = peak = 0
    for event in sorted(events, key=lambda event: event["ts"]):
        alive += event["args"]["Bytes"]
        peak = max(peak, alive)
    return peak


# ------------------------------------------------------------------ FLOPs
@pytest.mark.parametrize("stage", [1, 2, 3])
def test_flops_are_those_of_a_real_step(stage: int) -> None:
    step = RealStep(config(stage))
    with AttentionMaps(), FlopCounterMode(display=False) as counter:
        step()
    assert cost.count_step(config(stage)).flops == pytest.approx(counter.get_total_flops(), rel=0.01)


def test_what_is_computed_again_is_counted_again() -> None:
    """A block up to its last layer, which nothing waits for: 8 of 12 C^2 products a token, and attention."""
    batch, length, width, depth = 6, 5, 32, 2
    once, again = (cost.count_step(config(1, batch, with_cp=with_cp)).flops for with_cp in (False, True))
    assert again - once == batch * 2 * depth * length * (8 * width**2 + 2 * length * width)


def test_flops_of_stage_1_are_the_formula_s() -> None:
    """Blocks: 12 C^2 products a token and 2 L C for attention; gradients twice that, but none into the pixels."""

    def blocks(length: int, width: int, depth: int) -> int:
        return 2 * depth * length * (12 * width**2 + 2 * length * width)

    batch, visible, patches, pixels, width, narrow = 6, 4, 16, 3 * 8 * 8, 32, 16
    project = 2 * visible * pixels * width
    encode = blocks(1 + visible, width, depth=2)
    decode = 2 * (1 + visible) * width * narrow + blocks(1 + patches, narrow, depth=1)
    predict = 2 * (patches - visible) * narrow * pixels
    forward = project + encode + decode + predict
    part = cost.count_step(config(1, batch)).backwards[0]
    assert part == (batch * forward, batch * (2 * forward - project), True)


def test_the_other_processes_pairs_are_compared_too() -> None:
    """Each direction multiplies B local rows with N B gathered ones, three times with both gradients."""
    batch, processes, width = 6, 8, 32
    alone, many = (cost.count_step(config(3, batch), gpus=n) for n in (1, processes))
    more = 2 * 3 * 2 * batch * (processes - 1) * batch * width
    assert many.flops - alone.flops == more

    features, number = 4 * batch * width, 4
    gathered = 2 * (processes - 1) * features + 2 * cost.ring_bytes(processes * features, processes)
    counts = 4 * cost.ring_bytes(number, processes)  # how many words, patches and pairs: MLM, CMM twice, ITM
    assert (alone.gathered, many.gathered) == (0, gathered + counts)
    assert alone.buckets == 0 and many.buckets == many.gradients


def test_cmga_costs_the_same_and_keeps_less() -> None:
    joint = cost.count_step(config(2))
    for cmga, exchanges in (("sequential", [False, True]), ("off", [True, True])):
        apart = cost.count_step(config(2, cmga=cmga))
        assert apart.flops == joint.flops and apart.kept < joint.kept
        assert [part.exchanges for part in apart.backwards] == exchanges


# ------------------------------------------------------------------ bytes
@pytest.mark.parametrize(
    ("stage", "with_cp", "half"),
    [
        (1, False, None),
        (2, True, torch.bfloat16),
        pytest.param(3, False, None, marks=pytest.mark.slow),
        pytest.param(3, True, torch.bfloat16, marks=pytest.mark.slow),
    ],
)
def test_peak_is_the_measured_one(stage: int, with_cp: bool, half: torch.dtype | None, tmp_path: Path) -> None:
    """96 samples: activations are then 98% of what is alive at the peak."""
    cfg = config(stage, batch=96, with_cp=with_cp)
    counted = cost.count_step(cfg, half=half)
    beyond_state = counted.peak - counted.parameters - counted.optimizer
    assert beyond_state == pytest.approx(measured_peak(RealStep(cfg, half), tmp_path / "trace.json"), rel=0.15)
    assert counted.parameters + counted.optimizer < 0.1 * beyond_state


def test_state_is_counted_by_the_number_of_parameters() -> None:
    counted = cost.count_step(config(2))
    model = MODELS.build(config(2).model)
    trained = sum(parameter.numel() for parameter in model.parameters())
    buffers = sum(buffer.nbytes for buffer in model.buffers())
    assert counted.num_parameters == trained
    assert (counted.parameters, counted.gradients) == (4 * trained + buffers, 4 * trained)
    assert counted.optimizer == 8 * trained  # two moments; the numbers of steps stay on the host


def test_gradients_of_earlier_steps_stay_while_they_accumulate() -> None:
    once, twice = cost.count_step(config(1)), cost.count_step(config(1, accumulate=2))
    assert twice.kept == once.kept
    assert once.peak < twice.peak <= once.peak + once.gradients


def test_pictures_and_texts_are_as_large_as_the_pipeline_makes_them() -> None:
    sizes = meta_step.sample_sizes
    cfg = config(3)
    assert sizes(cfg, "image_text", None) == ((32, 32), 12) and sizes(cfg, "text", 5) == (None, 5)
    dataset = cfg.train_dataloader.loaders.image_text.dataset
    dataset.pipeline[1].max_len = 7
    dataset.pipeline = [*dataset.pipeline, dict(type="Resize", size=[64, 32])]
    assert sizes(cfg, "image_text", None) == ((64, 32), 7)


def test_shorter_texts_cost_less() -> None:
    longer, shorter = cost.count_step(config(2)), cost.count_step(config(2), words={"text": 6})
    assert shorter.flops < longer.flops and shorter.peak < longer.peak


# ------------------------------------------------------------------ time
def test_seconds_by_hand() -> None:
    """A V100 at half its rate: 7.85 TFLOP/s. 8 processes send 1.75 times the gradients, at 100 GB/s."""
    parts = [cost.Backward(785 * 10**9, 1570 * 10**9, False), cost.Backward(785 * 10**9, 785 * 10**9, True)]
    fields = dict.fromkeys(cost.StepCost._fields, 0)
    counted = cost.StepCost(**{**fields, "gradients": 8 * 10**9, "gathered": 10**9, "backwards": parts})
    seconds = training_plan.step_seconds(counted, SETUP, accumulative_counts=1)
    assert seconds == pytest.approx(dict(compute=0.5, exchange=0.14, gather=0.01, step=0.5 + 0.04 + 0.01))
    rarely = training_plan.step_seconds(counted, SETUP, accumulative_counts=4)
    assert rarely == pytest.approx(dict(compute=0.5, exchange=0.035, gather=0.01, step=0.52))


def test_days_and_hours_follow_from_the_schedule() -> None:
    found = training_plan.make_plan(config(2, batch=6), SETUP)
    assert found["steps"] == 2 * (102_400 // 48)
    assert found["days"] * 86400 == pytest.approx(found["steps"] * found["seconds"]["step"])
    assert found["gpu_hours"] == pytest.approx(found["days"] * 24 * 8)
    assert found["samples_per_second"]["image"] == pytest.approx(48 / found["seconds"]["step"])
    assert found["fits"] and found["usable"] == int(0.9 * 32 * 2**30)


@pytest.mark.parametrize(
    ("stage", "steps"), [(1, 1600 * (1_281_167 // 4096)), (2, 100 * (6_600_000 // 4096)), (3, 161_100)]
)
def test_the_paper_s_stages_know_their_steps(stage: int, steps: int) -> None:
    for size in "ti", "s", "b", "l":
        cfg = plan.load_pretraining(str(ROOT / f"configs/momo/stage{stage}_vit{size}.py"), {})
        assert training_plan.num_steps(cfg, SETUP._replace(gpus=64, samples=None)) == steps


def test_steps_may_be_named() -> None:
    cfg = config(1)
    cfg.train_cfg = dict(type="MultiModalTrainLoop", max_iters=77)
    assert training_plan.num_steps(cfg, SETUP._replace(samples=None)) == 77


# ------------------------------------------------------------------ changes
@pytest.mark.slow
def test_every_change_saves_memory() -> None:
    cfg = config(3, batch=32)
    before = training_plan.make_plan(cfg, SETUP)
    after = {change.name: training_plan.with_change(cfg, SETUP, change) for change in training_plan.changes(cfg, SETUP)}
    assert len(after) == 6
    assert max(row["peak"] for row in after.values()) < before["peak"]
    together = list(after.values())[-1]
    assert together["peak"] == min(row["peak"] for row in after.values())
    assert after["--amp"]["seconds"]["compute"] == pytest.approx(before["seconds"]["compute"] * 15.7 / 125)
    assert after["half the batch a GPU, 16 GPUs"]["steps"] == before["steps"]
    assert after["half the batch a GPU, accumulative_counts=2"]["steps"] == 2 * before["steps"]
    assert cfg.train_dataloader == config(3, batch=32).train_dataloader  # the config itself is left alone


def test_what_is_in_use_or_cannot_be_is_not_proposed() -> None:
    used = config(3, batch=3, cmga="sequential", with_cp=True)
    for decoder in used.model.decoders.values():
        decoder.with_cp = True
    assert training_plan.changes(used, SETUP._replace(precision="amp")) == []


# ------------------------------------------------------------------ the command
def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", ["plan.py", str(ROOT / "configs/demo/stage1.py"), *arguments])
    plan.main()


SMALL = ["--samples", "1000", "--cfg-options", "train_dataloader.loaders.image.batch_size=2"]


def test_tables_and_json(monkeypatch: pytest.MonkeyPatch, capsys, tmp_path: Path) -> None:
    out = tmp_path / "a" / "plan.json"
    run(monkeypatch, "--gpus", "16", "--gpu", "a100", "--tf32", "--memory", "40", "--out", str(out), *SMALL)
    shown, found = capsys.readouterr().out, json.loads(out.read_text())
    assert "16 x a100 of 40 GiB, tf32" in shown and "what would fit" not in shown
    assert found["setup"]["bandwidth"] == training_plan.GPUS["a100"].network
    assert found["plan"]["samples"] == {"image": 2} and found["plan"]["fits"]
    assert found["alternatives"] == []
    assert f"{found['plan']['days']:.1f} days" in shown


@pytest.mark.slow
def test_where_it_does_not_fit_changes_are_counted(monkeypatch: pytest.MonkeyPatch, capsys, tmp_path: Path) -> None:
    monkeypatch.setattr(training_plan, "GIB", 10_000)
    run(monkeypatch, "--gpus", "4", "--gpu", "a100", "--out", str(tmp_path / "plan.json"), *SMALL)
    shown, found = capsys.readouterr().out, json.loads((tmp_path / "plan.json").read_text())
    assert "what would fit" in shown and not found["plan"]["fits"]
    assert found["setup"]["bandwidth"] == training_plan.GPUS["a100"].in_node
    assert [row["change"] for row in found["alternatives"]][1] == "--amp"
    assert found["alternatives"][0]["options"]["model.backbone.with_cp"] is True


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--gpus", "0", "--gpu", "v100"], "--gpus 0: at least 1"),
        (["--gpus", "8", "--gpu", "v100", "--memory", "80"], "--memory 80: a v100 has 16 or 32 GiB"),
        (["--gpus", "8", "--gpu", "v100", "--tf32"], "--tf32: a v100 has none"),
        (["--gpus", "8", "--gpu", "h100", "--tf32", "--amp"], "--amp and --tf32: give one"),
        (["--gpus", "8", "--gpu", "h100", "--mfu", "40"], "--mfu 40.0: above 0, at most 1"),
        (["--gpus", "8", "--gpu", "h100", "--bandwidth", "0"], "--bandwidth 0.0: above 0"),
        (["--gpus", "8", "--gpu", "h100", "--samples", "-3"], "--samples -3: above 0"),
    ],
)
def test_arguments_that_cannot_be(monkeypatch, capsys, arguments: list[str], message: str) -> None:
    with pytest.raises(SystemExit):
        run(monkeypatch, *arguments)
    assert message in capsys.readouterr().err


def test_words_that_cannot_be() -> None:
    assert plan.read_words(["text=3", "image_text=12"], ["text", "image_text"]) == {"text": 3, "image_text": 12}
    for entry in ("text=0", "text", "txt=3", "text=3.5"):
        with pytest.raises(ConfigError, match=rf"--words {entry}: give MODALITY=N"):
            plan.read_words([entry], ["text"])
    with pytest.raises(ValueError, match="cuts texts at 12 word pieces: text=13 is too many"):
        training_plan.make_plan(config(3), SETUP._replace(words={"text": 13}))
    with pytest.raises(ValueError, match=r"image\.dataset\.pipeline has no Tokenize: image=3"):
        training_plan.make_plan(config(2), SETUP._replace(words={"image": 3}))


def test_configs_that_cannot_be_planned() -> None:
    with pytest.raises(ConfigError, match="glue_rte_vitb.py pre-trains nothing, model.type='TextClassifier'"):
        plan.load_pretraining(str(ROOT / "configs/downstream/glue_rte_vitb.py"), {})
    with pytest.raises(ConfigError, match=r"loaders\.image has is not known: give --samples"):
        training_plan.make_plan(config(1), SETUP._replace(samples=None))
    with pytest.raises(ConfigError, match="40 samples do not fill a global batch of 8 x 6"):
        training_plan.make_plan(config(1), SETUP._replace(samples=40))
    nothing, unsized = config(1), config(1)
    nothing.train_dataloader.loaders.image.dataset.pipeline = []
    with pytest.raises(ValueError, match="neither LoadImage nor Tokenize"):
        training_plan.make_plan(nothing, SETUP)
    del unsized.train_dataloader["batch_size"]
    with pytest.raises(ValueError, match=r"loaders.image has neither batch_size nor max_tokens"):
        training_plan.make_plan(unsized, SETUP)

"""Signals end a run in order."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from helpers.run import RecordSamples, build_runner, run_config, same_tensors, weights, write_data
from mmengine.hooks import Hook

from momo.engine.checkpoint import find_checkpoint
from momo.engine.preemption_hook import EXIT_INTERRUPTED, EXIT_PREEMPTED, SIGNALS

pytestmark = pytest.mark.usefixtures("unformatted_configs")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> dict:
    return write_data(tmp_path_factory.mktemp("data"))


class Ask(Hook):
    """Sends this process signals within a step."""

    def __init__(self, step: int, *numbers: signal.Signals) -> None:
        self.step, self.numbers = step, numbers

    def before_train_iter(self, runner, batch_idx: int, data_batch=None) -> None:
        for number in self.numbers if runner.iter + 1 == self.step else ():
            os.kill(os.getpid(), number)


def config(data: dict, work_dir: Path, **settings) -> dict:
    cfg = run_config(data, work_dir, custom_hooks=[dict(type="EMAHook", momentum=0.1)], **settings)
    cfg["default_hooks"]["preemption"] = dict(type="PreemptionHook")
    return cfg


def ended(cfg: dict, *hooks: Hook) -> int:
    runner = build_runner(cfg)
    for hook in hooks:
        runner.register_hook(hook)
    with pytest.raises(SystemExit) as caught:
        runner.train()
    return caught.value.code


@pytest.mark.parametrize("step", [3, 5, 6])  # within an epoch, at its last step, at the first of the next
@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGTERM, EXIT_PREEMPTED), (signal.SIGUSR1, EXIT_PREEMPTED), (signal.SIGINT, EXIT_INTERRUPTED)],
)
def test_the_step_is_finished_and_saved(
    data: dict, tmp_path: Path, number: signal.Signals, code: int, step: int
) -> None:
    whole, expected = build_runner(config(data, tmp_path / "whole")), RecordSamples()
    whole.register_hook(expected)
    whole.train()
    handlers = [signal.getsignal(which) for which in SIGNALS]
    seen = RecordSamples()
    assert ended(config(data, tmp_path / "run"), seen, Ask(step, number)) == code
    assert [signal.getsignal(which) for which in SIGNALS] == handlers
    # What is asked before the step's flag is read, by a rank that is alone, counts for this step.
    done = len(seen.ids)
    assert step <= done <= step + 1
    assert find_checkpoint(tmp_path / "run") == tmp_path / "run" / f"iter_{done}"
    resumed, rest = build_runner(config(data, tmp_path / "run", resume=True)), RecordSamples()
    resumed.register_hook(rest)
    resumed.train()
    assert seen.ids + rest.ids == expected.ids
    assert same_tensors(weights(resumed), weights(whole))


def test_a_second_ctrl_c_stops_at_once(data: dict, tmp_path: Path) -> None:
    runner = build_runner(config(data, tmp_path))
    runner.register_hook(Ask(3, signal.SIGINT, signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        runner.train()
    assert find_checkpoint(tmp_path) is None
    for number in SIGNALS:
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)


def test_a_loop_that_cannot_resume_within_an_epoch_keeps_its_last_checkpoint(data: dict, tmp_path: Path) -> None:
    runner = build_runner(config(data, tmp_path))
    runner.register_hook(Ask(3, signal.SIGTERM))

    class Forget(Hook):
        def before_train(self, runner) -> None:
            runner.train_loop.resumes_within_epoch = False

    runner.register_hook(Forget())
    with pytest.raises(SystemExit):
        runner.train()
    assert find_checkpoint(tmp_path) is None


def test_a_run_that_ends_by_itself_gives_the_handlers_back(data: dict, tmp_path: Path) -> None:
    handlers = [signal.getsignal(number) for number in SIGNALS]
    build_runner(config(data, tmp_path)).train()
    assert [signal.getsignal(number) for number in SIGNALS] == handlers


def test_after_a_failure_signals_mean_again_what_they_meant(data: dict, tmp_path: Path) -> None:
    class Fail(Hook):
        def before_train_iter(self, runner, batch_idx: int, data_batch=None) -> None:
            raise MemoryError

    runner = build_runner(config(data, tmp_path))
    runner.register_hook(Fail())
    with pytest.raises(MemoryError):
        runner.train()
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)
        signal.sigtimedwait([], 1)

"""Rows about going on where a run was ended: T1 to T5, T9, T22, T25."""

from __future__ import annotations

import functools
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from momo.engine.checkpoint import CheckpointError, read_checkpoint
from momo.engine.checkpoint.work_dir import POINTER, listed
from momo.engine.preemption_hook import EXIT_PREEMPTED

from . import faults
from .full_disk import on_a_full_disk
from .runs import LIMIT, Lab, Reference, Running, ledger
from .tiny import FROM_2_TO_3, STEPS

SETTINGS = [(stage, world) for stage in (2, 3) for world in (1, 2)]
Result = tuple[str, str]  # what was tried, and what was wrong with it, '' if nothing


def resumed(lab: Lab, stage: int, world: int, work_dir: Path, **changes: Any) -> str:
    """Go on with --resume to the end; '' if the whole is what an undisturbed run does."""
    codes = lab.finish(lab.config(stage, world, **changes), work_dir, world, "--resume")
    if codes != [0] * world:
        return f"resuming ended with {codes}, see {work_dir / 'log.txt'}"
    difference = lab.reference(stage, world).difference(work_dir)
    return f"{difference}, see {work_dir}" if difference else ""


def wait_for_step(lab: Lab, running: Running, work_dir: Path, step: int) -> None:
    """Return when rank 0 has done a step, or the run has ended."""
    while len(ledger(work_dir)) < step and any(process.exitcode is None for process in running.processes):
        time.sleep(0.002)


def kill_at_random(lab: Lab, running: Running, work_dir: Path, seconds: float) -> str:
    """SIGKILL one rank or all at a random moment of a run that takes `seconds`; the others must end by themselves."""
    world, delay, before = len(running.processes), lab.random.uniform(0, seconds), len(ledger(work_dir))
    ranks = lab.random.choice([[rank] for rank in range(world)] + [list(range(world))])
    time.sleep(delay)
    running.signal(signal.SIGKILL, ranks)
    begun = len(ledger(work_dir)) > before
    codes = running.wait(LIMIT if begun else 1)  # those that have not met yet wait for each other; launchers end them
    return f"after the kill of {ranks} at {delay:.2f} s the others hung" if begun and None in codes else ""


def t1(lab: Lab, count: int) -> Iterator[Result]:
    """SIGKILL at a random time, one rank or all."""
    for stage, world in SETTINGS:
        seconds = lab.reference(stage, world).seconds
        for number in range(count):
            work_dir, workers = lab.new("t1"), 2 * (number % 5 == 4)
            running = lab.start(lab.config(stage, world, workers=workers), work_dir, world)
            problem = kill_at_random(lab, running, work_dir, seconds)
            yield (
                f"stage {stage}, {world} processes, {workers} workers",
                problem or resumed(lab, stage, world, work_dir, workers=workers),
            )


def t2(lab: Lab, count: int) -> Iterator[Result]:
    """SIGKILL inside a save, at each of its stages."""
    every = [(*setting, place) for place in faults.SAVE_STAGES for setting in SETTINGS]
    once = [(*lab.random.choice(SETTINGS), place) for place in faults.SAVE_STAGES]
    for stage, world, place in every * count or once:
        work_dir, save = lab.new("t2"), lab.random.randint(1, 4)
        fault = functools.partial(faults.die_in_save, place, save)
        problem = expect_kill(lab, lab.config(stage, world), work_dir, world, fault)
        if not problem and save > 1:
            problem = one_is_whole(work_dir)
        yield f"stage {stage}, {world} processes, {place}", problem or resumed(lab, stage, world, work_dir)


def one_is_whole(work_dir: Path) -> str:
    for folder, _ in listed(work_dir, None):
        try:
            read_checkpoint(folder)
            return ""
        except CheckpointError:
            continue
    return f"no whole checkpoint in {work_dir}"


def t3(lab: Lab, count: int) -> Iterator[Result]:
    """Five kills in a run: at an epoch's edge, in a save, at two random times, and at the edge of the next stage."""
    for number in range(count):
        world = 1 + number % 2
        second, third = lab.new("t3_stage2"), lab.new("t3_stage3")
        cfg = lab.config(2, world)
        problem = expect_kill(lab, cfg, second, world, functools.partial(faults.die_at_epoch_edge, 1))
        in_save = functools.partial(faults.die_in_save, lab.random.choice(list(faults.SAVE_STAGES)[:5]), 2)
        problem = problem or expect_kill(lab, cfg, second, world, in_save, "--resume")
        for _ in range(2):
            running = lab.start(cfg, second, world, "--resume")
            problem = problem or kill_at_random(lab, running, second, lab.reference(2, world).seconds)
        problem = problem or resumed(lab, 2, world, second)
        cfg = lab.config(3, world)
        cfg["custom_hooks"].append({**FROM_2_TO_3, "checkpoint": str(second)})
        undisturbed = lab.new("t3_reference")
        problem = problem or failed(lab.finish(cfg, undisturbed, world))
        at_edge = functools.partial(faults.die_in_save, "before pointer", 1)  # the stage's first checkpoint
        problem = problem or expect_kill(lab, cfg, third, world, at_edge)
        problem = problem or failed(lab.finish(cfg, third, world, "--resume"))
        yield f"{world} processes", problem or same_ends(lab, undisturbed, third, world)


def failed(codes: list[int | None]) -> str:
    return "" if set(codes) == {0} else f"ended with {codes}"


def same_ends(lab: Lab, undisturbed: Path, work_dir: Path, world: int) -> str:
    return Reference(undisturbed, world, 0.0).difference(work_dir)


def expect_kill(lab: Lab, cfg: dict, work_dir: Path, world: int, fault: Any, *arguments: str) -> str:
    codes = lab.finish(cfg, work_dir, world, *arguments, fault=fault)
    return "" if codes[0] == -signal.SIGKILL else f"the fault was not met: {codes}, see {work_dir}"


def t4(lab: Lab, count: int) -> Iterator[Result]:
    """SIGTERM and SIGUSR1 to one rank or all: saved at the step's end on all, exit code 75."""
    for stage, world in SETTINGS:
        for number in range(count):
            asked = (signal.SIGTERM, signal.SIGUSR1)[number % 2]
            work_dir = lab.new("t4")
            cfg = lab.config(stage, world)
            cfg["custom_hooks"][-1]["pause"] = 0.03
            running = lab.start(cfg, work_dir, world)
            wait_for_step(lab, running, work_dir, lab.random.randint(1, STEPS - 6))
            running.signal(asked, None if number % 3 else [world - 1])
            codes = running.wait()
            done = len(ledger(work_dir))
            problem = "" if codes == [EXIT_PREEMPTED] * world else f"exit codes {codes}, see {work_dir}"
            saved = max((m.step for _, m in listed(work_dir, None) if not isinstance(m, CheckpointError)), default=0)
            problem = problem or ("" if saved == done else f"{done} steps done, {saved} saved, see {work_dir}")
            yield (
                f"stage {stage}, {world} processes, {asked.name}",
                problem or resumed(lab, stage, world, work_dir),
            )


def t5(lab: Lab, count: int) -> Iterator[Result]:
    """A full disk while saving."""
    for number in range(count):
        stage = 2 + number % 2
        yield f"stage {stage}", on_a_full_disk(lab, stage)


def t9(lab: Lab, count: int) -> Iterator[Result]:
    """Resume with other workers (exact), other processes (same order or refusal), another batch (refusal)."""
    for number in range(count):
        stage = 2 + number % 2
        step = lab.random.randint(4, 12)
        for change in ("workers", "processes", "processes and batch", "batch"):
            work_dir = lab.new("t9")
            cfg = lab.config(stage, 1)
            cfg["custom_hooks"][-1]["pause"] = 0.03
            running = lab.start(cfg, work_dir, 1)
            wait_for_step(lab, running, work_dir, step)
            running.signal(signal.SIGTERM)
            running.wait()
            yield f"stage {stage}, other {change}", after_change(lab, stage, work_dir, change)


def after_change(lab: Lab, stage: int, work_dir: Path, change: str) -> str:
    if change == "workers":
        return resumed(lab, stage, 1, work_dir, workers=2)
    world = 1 + change.startswith("processes")
    cfg = lab.config(stage, world)
    if change == "processes":  # as many samples a step
        codes = lab.finish(cfg, work_dir, 2, "--resume")
        return failed(codes) or same_order(lab, stage, work_dir)
    cfg["train_dataloader"]["batch_size"] = 4 if world == 2 else 2
    running = lab.start(cfg, work_dir, world, "--resume")
    refused = 0 not in running.wait() and "resume with the data and the samples a step" in running.text()
    return "" if refused else f"was not refused, see {work_dir}"


def same_order(lab: Lab, stage: int, work_dir: Path) -> str:
    """Whether two ranks saw together, in order, what one sees alone."""
    expected = {line["step"]: line["samples"] for line in lab.reference(stage, 1).ledgers[0]}
    first, second = ({line["step"]: line["samples"] for line in ledger(work_dir, rank)} for rank in range(2))
    for step in second:
        for modality, ids in expected[step].items():
            # batches are sorted by length after they are drawn
            if sorted(first[step][modality] + second[step][modality]) != sorted(ids):
                return f"step {step}: other samples, see {work_dir}"
    return "" if second else "the second rank saw nothing"


def t22(lab: Lab, count: int) -> Iterator[Result]:
    """A stale pointer; two jobs in one work_dir."""
    for number in range(count):
        for pointer in ("names nothing", "is empty", "names an older one"):
            work_dir = lab.new("t22")
            running = lab.start(lab.config(2, 1), work_dir, 1)
            wait_for_step(lab, running, work_dir, 11)
            running.signal(signal.SIGKILL)
            running.wait()
            found, before = listed(work_dir, None), len(ledger(work_dir))
            text = {"names nothing": "/nowhere/iter_9", "is empty": "", "names an older one": str(found[-1][0])}[
                pointer
            ]
            (work_dir / POINTER).write_text(text)
            problem = resumed(lab, 2, 1, work_dir)
            first = ledger(work_dir)[before]["step"]
            problem = problem or ("" if first == found[0][1].step + 1 else f"went on with step {first}, see {work_dir}")
            yield f"the pointer {pointer}", problem
        yield f"two jobs, {1 + number % 2} processes", two_jobs(lab, 1 + number % 2)


def two_jobs(lab: Lab, world: int) -> str:
    work_dir = lab.new("t22_two")
    cfg = lab.config(2, world)
    cfg["custom_hooks"][-1]["pause"] = 0.2
    first = lab.start(cfg, work_dir, world)
    wait_for_step(lab, first, work_dir, 2)
    second = lab.start(cfg, work_dir, world)
    codes = second.wait(20)  # without a launcher, its other rank waits for the first
    named = f"in use by process {first.processes[0].pid} on " in second.text()
    problem = "" if 0 not in codes[:1] and named else f"the second ended with {codes}, see {work_dir}"
    difference = failed(first.wait()) or lab.reference(2, world).difference(work_dir)
    return problem or difference


def t25(lab: Lab, seconds: int) -> Iterator[Result]:
    """Soak: 2 processes, a kill every so many seconds, to the end."""
    world, steps, work_dir = 2, 100 * seconds, lab.new("t25")
    cfg = lab.config(3, world, steps=steps)
    undisturbed = lab.new("t25_reference")
    problem = failed(lab.start(cfg, undisturbed, world).wait(LIMIT + steps / 5))  # however slow the machine
    kills, codes, done_before = 0, None, 0
    while not problem and codes != [0, 0]:
        running = lab.start(cfg, work_dir, world, "--resume")
        end = time.monotonic() + lab.random.uniform(0.7, 1.3) * seconds
        while time.monotonic() < end and any(process.exitcode is None for process in running.processes):
            time.sleep(0.05)
        if any(process.exitcode is None for process in running.processes):
            running.signal(signal.SIGKILL, lab.random.choice([[0], [1], [0, 1]]))
            kills += 1
        codes = running.wait()
        done_before = len(ledger(work_dir))
        problem = "no end after 100 kills" if kills > 100 else ""
    if not problem:
        problem = Reference(undisturbed, world, 0.0).difference(work_dir, steps)
    yield f"{kills} kills survived, goodput {steps / max(done_before, 1):.2f}", problem

"""How the shell scripts spread processes over nodes, and what they refuse.

A script that prints its arguments stands in for Python.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

TOOLS = Path(__file__).parents[2] / "tools"
ECHO = """#!/usr/bin/env bash
printf 'OMP=%s\\n' "$OMP_NUM_THREADS"
printf '%s\\n' "$@"
"""


@pytest.fixture
def folder(tmp_path):
    """A folder with a blank in its name, a config, a checkpoint and a machine of 4 cores."""
    folder = tmp_path / "my configs"
    folder.mkdir()
    (folder / "a config.py").touch()
    (folder / "epoch 1.pth").touch()
    for name, text in (
        ("echo python", ECHO),
        ("nproc", "#!/bin/sh\necho 4\n"),
        ("srun", '#!/bin/sh\nprintf "%s\\n" "$@"\n'),
    ):
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    return folder


def run(folder: Path, script: str, *args: str, gpus: int = 0, **environment: str) -> subprocess.CompletedProcess:
    clean = {key: os.environ[key] for key in ("HOME", "LANG") if key in os.environ}
    environment = {
        **clean,
        "PATH": f"{folder}:{os.environ['PATH']}",
        "PYTHON": str(folder / "echo python"),
        "CUDA_VISIBLE_DEVICES": ",".join(map(str, range(gpus))),
        **environment,
    }
    return subprocess.run([TOOLS / script, *args], capture_output=True, text=True, cwd=folder, env=environment)


def train(folder: Path, nproc: str, *args: str, **environment) -> subprocess.CompletedProcess:
    return run(folder, "dist_train.sh", "a config.py", nproc, *args, **environment)


@pytest.mark.parametrize(
    ("nproc", "gpus", "environment", "local", "threads"),
    [
        ("8", 8, {}, "8", "1"),
        ("2", 8, {}, "2", "2"),
        ("64", 8, dict(NNODES="8", NODE_RANK="3", MASTER_ADDR="node0"), "8", "1"),
        ("12", 8, dict(NNODES="2", NODE_RANK="0", MASTER_ADDR="node0"), "6", "1"),
        ("16", 8, dict(NNODES="4", NODE_RANK="0", MASTER_ADDR="node0", GPUS_PER_NODE="4"), "4", "1"),
        ("1", 0, {}, "1", "4"),
        ("4", 0, {}, "4", "1"),
        ("64", 0, dict(GPUS_PER_NODE="64"), "64", "1"),
        ("2", 0, dict(OMP_NUM_THREADS="7"), "2", "7"),
    ],
)
def test_processes_of_this_node(folder, nproc, gpus, environment, local, threads):
    result = train(folder, nproc, gpus=gpus, **environment)
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[:3] == [f"OMP={threads}", "-m", "torch.distributed.run"]
    assert lines[lines.index("--nnodes") + 1] == environment.get("NNODES", "1")
    assert lines[lines.index("--nproc-per-node") + 1] == local


@pytest.mark.parametrize(
    ("nproc", "gpus", "environment", "message"),
    [
        (
            "64",
            8,
            {},
            "64 processes do not fit 1 node of 8 GPUs: run this on each of 8 nodes with NNODES=8 NODE_RANK=0..7 "
            "MASTER_ADDR=<host of node 0>",
        ),
        (
            "12",
            8,
            {},
            "12 processes do not fit 1 node of 8 GPUs: run this on each of 2 nodes with NNODES=2 NODE_RANK=0..1",
        ),
        (
            "64",
            0,
            {},
            "64 processes do not fit 1 node of 4 cores without a GPU: run this on each of 16 nodes with NNODES=16 "
            "NODE_RANK=0..15 MASTER_ADDR=<host of node 0>, or set GPUS_PER_NODE=<processes on this node>",
        ),
        (
            "64",
            0,
            dict(GPUS_PER_NODE="6"),
            "64 processes are not 1 node of GPUS_PER_NODE=6: unset GPUS_PER_NODE, or run this on each of 16 nodes with "
            "NNODES=16 NODE_RANK=0..15 MASTER_ADDR=<host of node 0> GPUS_PER_NODE=4",
        ),
        ("9", 4, dict(GPUS_PER_NODE="9"), "GPUS_PER_NODE=9, but this node shows 4 GPUs"),
        ("4", 0, dict(NNODES="2"), "NNODES=2 needs NODE_RANK=<0..1> and MASTER_ADDR=<host of node 0> on every node"),
        ("4", 0, dict(NNODES="2", NODE_RANK="1"), "NNODES=2 needs NODE_RANK=<0..1> and MASTER_ADDR"),
        ("4", 0, dict(NNODES="2", NODE_RANK="2", MASTER_ADDR="h"), "NODE_RANK=2: with NNODES=2 it goes from 0 to 1"),
        ("4", 0, dict(NNODES="x"), "NNODES=x is not a whole number of at least 1"),
        ("0", 0, {}, "NPROC=0 is not a whole number of at least 1"),
        ("many", 0, {}, "NPROC=many is not a whole number"),
    ],
)
def test_refusals_say_what_to_set(folder, nproc, gpus, environment, message):
    result = train(folder, nproc, gpus=gpus, **environment)
    assert result.returncode == 2 and result.stdout == ""
    assert result.stderr.startswith(f"error: {message}")


def test_one_node_takes_a_free_port_unless_told(folder):
    assert "--standalone" in train(folder, "2").stdout.splitlines()
    lines = train(folder, "2", MASTER_PORT="1234").stdout.splitlines()
    assert lines[lines.index("--master-port") + 1] == "1234" and "--standalone" not in lines
    lines = train(folder, "4", NNODES="2", NODE_RANK="1", MASTER_ADDR="node0").stdout.splitlines()
    named = {option: lines[lines.index(option) + 1] for option in ("--node-rank", "--master-addr", "--master-port")}
    assert named == {"--node-rank": "1", "--master-addr": "node0", "--master-port": "29500"}


def test_arguments_and_paths_with_blanks_arrive_whole(folder):
    lines = train(folder, "2", "--resume", "--cfg-options", "a.b=[1, 2]", 'c="d e"').stdout.splitlines()
    tail = [str(TOOLS / "train.py"), "a config.py", "--resume", "--cfg-options", "a.b=[1, 2]", 'c="d e"']
    assert lines[-8:] == [*tail, "--launcher", "pytorch"]
    lines = run(folder, "dist_test.sh", "a config.py", "epoch 1.pth", "2").stdout.splitlines()
    assert lines[-5:] == [str(TOOLS / "test.py"), "a config.py", "epoch 1.pth", "--launcher", "pytorch"]


def test_tools_may_lie_under_a_path_with_blanks(folder):
    copy = folder / "a tree" / "tools"
    shutil.copytree(TOOLS, copy, ignore=shutil.ignore_patterns("demo", "__pycache__"))
    result = run(folder, str(copy / "dist_train.sh"), "a config.py", "2")
    assert str(copy / "train.py") in result.stdout.splitlines()


def test_missing_files(folder):
    assert "b.py: there is no such config file" in run(folder, "dist_train.sh", "b.py", "2").stderr
    assert "b.pth: there is no such checkpoint" in run(folder, "dist_test.sh", "a config.py", "b.pth", "2").stderr
    assert "usage: " in run(folder, "dist_train.sh", "a config.py").stderr


def test_slurm(folder):
    result = run(
        folder, "slurm_train.sh", "gpu", "my job", "a config.py", "--amp", GPUS="16", SRUN_ARGS="--mem=0 --qos q"
    )
    lines = result.stdout.splitlines()
    assert lines[
        :6
    ] == "--partition=gpu|--job-name=my job|--gres=gpu:8|--ntasks=16|--ntasks-per-node=8|--cpus-per-task=5".split("|")
    assert lines[6:11] == ["--kill-on-bad-exit=1", "--signal=USR1@120", "--mem=0", "--qos", "q"]
    assert lines[-5:] == [str(TOOLS / "train.py"), "a config.py", "--launcher", "slurm", "--amp"]
    result = run(folder, "slurm_train.sh", "gpu", "job", "a config.py", GPUS="12", GPUS_PER_NODE="8")
    assert result.returncode == 2 and "set GPUS_PER_NODE to a divisor of 12" in result.stderr


def slurm(folder: Path, *codes: int, **environment: str) -> subprocess.CompletedProcess:
    """Run the script with an srun that exits with these codes, one after the other, and prints its last arguments."""
    (folder / "codes").write_text(" ".join(map(str, codes)))
    (folder / "srun").write_text(
        f'#!/bin/bash\necho "srun ${{@: -1}}"\nread -r code rest <"{folder}/codes"\necho "$rest" >"{folder}/codes"\nexit "$code"\n'
    )
    (folder / "scontrol").write_text('#!/bin/sh\necho "scontrol $*"\n')
    (folder / "scontrol").chmod(0o755)
    return run(folder, "slurm_train.sh", "gpu", "job", "a config.py", "--amp", **environment)


def test_slurm_starts_a_preempted_run_again(folder):
    result = slurm(folder, 75, 75, 0)
    assert result.returncode == 0
    assert result.stdout.splitlines() == ["srun --amp", "srun --resume", "srun --resume"]
    assert result.stderr.count("has saved and is started again") == 2


def test_slurm_requeues_a_batch_job(folder):
    result = slurm(folder, 75, SLURM_JOB_ID="17")
    assert (result.returncode, result.stdout.splitlines()) == (0, ["srun --amp", "scontrol requeue 17"])


def test_slurm_hands_other_failures_on(folder):
    result = slurm(folder, 75, 3)
    assert (result.returncode, result.stdout.splitlines()) == (3, ["srun --amp", "srun --resume"])

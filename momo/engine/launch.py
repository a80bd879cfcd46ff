"""What `tools/train.py` and `tools/test.py` do before they have a runner."""

from __future__ import annotations

import argparse
import datetime
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config, DictAction
from mmengine.utils import import_modules_from_strings

from momo.engine.config_check import ConfigError, check_config
from momo.engine.data_workers import end_with_parent
from momo.engine.distributed import MoMoDistributedDataParallel
from momo.engine.run_lock import RunLock
from momo.ops import rank
from momo.stack import check_stack

LAUNCHERS = ("none", "pytorch", "slurm")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command-line arguments that both tools have."""
    parser.add_argument("--work-dir", help="where logs and checkpoints go; default: work_dirs/<config below configs/>")
    parser.add_argument("--launcher", choices=LAUNCHERS, default="none", help="who started this process")
    parser.add_argument(
        "--local-rank",
        type=int,
        metavar="N",
        help="passed by torch.distributed.launch (mim); LOCAL_RANK is what counts",
    )
    parser.add_argument(
        "--cfg-options",
        nargs="+",
        action=DictAction,
        default={},
        metavar="KEY=VALUE",
        help="change settings of the config, such as train_dataloader.batch_size=8 'model.backbone.out_indices=[3,7]'",
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the figures of the test as JSON")


def load_config(
    path: str, options: Mapping[str, Any], *, launcher: str = "none", work_dir: str | None = None
) -> Config:
    """Read a config file, apply --cfg-options, check the result and leave out the helper variables (`_name`).

    Args:
        path: A config file.
        options: Values by dotted key.
        launcher: One of LAUNCHERS.
        work_dir: None takes the config's own `work_dir`, or else `default_work_dir`.
    Raises: FileNotFoundError without the file; ConfigError if the config cannot work.
    """
    check_stack()
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path}: there is no such config file")
    cfg = Config.fromfile(path)
    try:
        cfg.merge_from_dict(dict(options))
    except (KeyError, TypeError) as error:  # an index past the end of a list, a key inside a number
        raise ConfigError(f"{path}: --cfg-options {' '.join(options)} do not fit the config: {error}") from error
    if cfg.get("custom_imports"):
        import_modules_from_strings(**cfg.custom_imports)
    cfg.launcher = launcher
    cfg.work_dir = work_dir or cfg.get("work_dir") or default_work_dir(path)
    check_config(cfg, overrides=options)
    # Helper variables have done their work; MMEngine would log and save them, and cannot if one is a function.
    for key in [key for key in cfg if key.startswith("_")]:
        cfg.pop(key)
    return cfg


def require_test(cfg: Config) -> None:
    """Raises: ConfigError if `cfg` has nothing to evaluate with."""
    if cfg.get("test_cfg") is None:
        raise ConfigError(f"{cfg.filename} has no test_dataloader, test_cfg and test_evaluator to evaluate with")


def write_metrics(path: Path | None, metrics: Mapping[str, Any]) -> None:
    """Write what a test measured as JSON, from the first process only; None writes nothing."""
    if path is None or rank() > 0:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({name: float(value) for name, value in metrics.items()}, indent=1) + "\n")


def default_work_dir(config: str) -> str:
    """Where a run goes: `configs/demo/stage3.py` -> `work_dirs/demo/stage3`, `configs/momo/x.py` -> `work_dirs/x`.

    A config outside a folder `configs` goes by its file name alone.
    """
    parts = Path(config).resolve().with_suffix("").parts
    if "configs" in parts:
        below = parts[len(parts) - parts[::-1].index("configs") :]
        below = below[1:] if below[0] == "momo" else below
    else:
        below = parts[-1:]
    return str(Path("work_dirs", *below))


def enable_amp(cfg: Config) -> None:
    """Train in mixed precision: bfloat16 where the GPU has it, else float16 with loss scaling.

    Raises: ConfigError on a machine without a GPU.
    """
    if not torch.cuda.is_available():
        raise ConfigError("--amp needs a GPU, and torch sees none here: leave it out to train in float32")
    bfloat16 = torch.cuda.is_bf16_supported(including_emulation=False)
    cfg.optim_wrapper.type = "AmpOptimWrapper"
    cfg.optim_wrapper.setdefault("dtype", "bfloat16" if bfloat16 else "float16")
    # bfloat16 has float32's range: a fixed scale of 1 is none.
    cfg.optim_wrapper.setdefault("loss_scale", 1.0 if cfg.optim_wrapper.dtype == "bfloat16" else "dynamic")


def set_up_distributed(cfg: Config) -> None:
    """Join the other processes where there is no GPU, and choose the wrapper for the model.

    With GPUs MMEngine's runner starts NCCL itself. Without one it would still ask for a CUDA device, so gloo is started
    here, and the runner finds it running. A process that torchrun has started ends with it.
    """
    if cfg.launcher == "none":
        return
    if cfg.launcher == "slurm":
        _slurm_environment()
    else:
        end_with_parent()
    if not torch.cuda.is_available() and not torch.distributed.is_initialized():
        timeout = cfg.get("env_cfg", {}).get("dist_cfg", {}).get("timeout", 1800)
        torch.distributed.init_process_group("gloo", timeout=datetime.timedelta(seconds=timeout))
    if cfg.get("model_wrapper_cfg") is None:
        # One backward over all modalities reaches every parameter; a backward a modality leaves the others' out.
        several_backwards = (cfg.get("train_cfg") or {}).get("cmga", "joint") != "joint"
        cfg.model_wrapper_cfg = dict(
            type=f"momo.{MoMoDistributedDataParallel.__name__}",
            find_unused_parameters=cfg.get("find_unused_parameters", several_backwards),
        )


def leave_distributed() -> None:
    """Part from the other processes in order, unless something has failed: then they may not be there to answer."""
    if torch.distributed.is_initialized() and not isinstance(sys.exc_info()[1], Exception):
        torch.distributed.destroy_process_group()


def was_restarted() -> bool:
    """Whether Slurm has requeued this job, or torchrun has started these processes again."""
    counts = (os.environ.get(name, "0") for name in ("SLURM_RESTART_COUNT", "TORCHELASTIC_RESTART_COUNT"))
    return any(int(count) > 0 for count in counts)


def one_run_in(work_dir: str) -> AbstractContextManager:
    """Hold the work_dir, on the first process, before anything is written there; see RunLock."""
    first = int(os.environ.get("RANK", os.environ.get("SLURM_PROCID", 0))) == 0
    return RunLock(work_dir) if first else nullcontext()


def _slurm_environment() -> None:
    """Translate Slurm's variables into torch's; whatever is set already stays."""
    for name in ("SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID", "SLURM_NODELIST"):
        if name not in os.environ:
            raise ValueError(f"--launcher slurm needs {name}: start this through srun (tools/slurm_train.sh)")
    os.environ["RANK"] = os.environ["SLURM_PROCID"]
    os.environ["WORLD_SIZE"] = os.environ["SLURM_NTASKS"]
    os.environ["LOCAL_RANK"] = os.environ["SLURM_LOCALID"]
    if "MASTER_ADDR" not in os.environ:
        command = ["scontrol", "show", "hostnames", os.environ["SLURM_NODELIST"]]
        os.environ["MASTER_ADDR"] = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[
            0
        ]
    # Two jobs on one node must not meet on one port.
    os.environ.setdefault("MASTER_PORT", str(20000 + int(os.environ.get("SLURM_JOB_ID", 0)) % 10000))

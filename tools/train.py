"""Train a model.

python tools/train.py configs/momo/stage1_vitb.py
python tools/train.py configs/momo/stage1_vitb.py --resume --cfg-options train_dataloader.batch_size=8
tools/dist_train.sh configs/momo/stage1_vitb.py 64 --amp

A run that was interrupted goes on with --resume, from the newest whole checkpoint of its work_dir. Where Slurm has
requeued the job, or torchrun has restarted the processes, that is the default. Exit code 75: it was asked to stop, has
saved, and is to be run again; 130: the same after Ctrl-C.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from mmengine.runner import Runner

from momo.engine.config_check import ConfigError
from momo.engine.launch import (
    add_arguments,
    enable_amp,
    leave_distributed,
    load_config,
    one_run_in,
    require_test,
    set_up_distributed,
    was_restarted,
    write_metrics,
)
from momo.engine.run_lock import WorkDirInUse


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", help="config file")
    parser.add_argument(
        "--resume",
        nargs="?",
        const="auto",
        metavar="CHECKPOINT",
        help="go on from this checkpoint, or from the newest whole one of the work_dir (begin anew if there is none)",
    )
    parser.add_argument("--amp", action="store_true", help="mixed precision (needs a GPU)")
    parser.add_argument("--test", action="store_true", help="evaluate with the config's test settings afterwards")
    add_arguments(parser)
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    cfg = load_config(args.config, args.cfg_options, launcher=args.launcher, work_dir=args.work_dir)
    if args.test:
        require_test(cfg)
    elif args.out:
        raise ConfigError("--out takes the figures of a test: give --test too")
    resume = args.resume or ("auto" if was_restarted() else None)
    if resume is not None:
        cfg.resume = True
        cfg.load_from = None if resume == "auto" else resume
        if cfg.load_from and not Path(cfg.load_from).exists():
            raise FileNotFoundError(f"--resume {cfg.load_from}: there is no such checkpoint")
    if args.amp:
        enable_amp(cfg)
    with one_run_in(cfg.work_dir):
        set_up_distributed(cfg)
        runner = Runner.from_cfg(cfg)
        runner.train()
        if args.test:
            write_metrics(args.out, runner.test())


def run() -> None:
    """`main` as a program: mistakes in one line, and an orderly end."""
    try:
        main()
    except (ConfigError, WorkDirInUse) as error:
        sys.exit(f"error: {error}")
    finally:
        leave_distributed()


if __name__ == "__main__":
    run()

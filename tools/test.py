"""Evaluate a checkpoint with the test settings of its config.

python tools/test.py configs/demo/sentiment.py work_dirs/demo/sentiment_stage3/epoch_1.pth
tools/dist_test.sh configs/demo/sentiment.py work_dirs/demo/sentiment_stage3/epoch_1.pth 8
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from mmengine.runner import Runner

from momo.engine.config_check import ConfigError
from momo.engine.launch import add_arguments, load_config, require_test, set_up_distributed


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", help="config file")
    parser.add_argument("checkpoint", help="weights to evaluate")
    add_arguments(parser)
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    cfg = load_config(args.config, args.cfg_options, launcher=args.launcher, work_dir=args.work_dir)
    require_test(cfg)
    if not Path(args.checkpoint).is_file():
        raise FileNotFoundError(f"{args.checkpoint}: there is no such checkpoint")
    cfg.load_from, cfg.resume = args.checkpoint, False
    set_up_distributed(cfg)
    Runner.from_cfg(cfg).test()


if __name__ == "__main__":
    try:
        main()
    except ConfigError as error:
        sys.exit(f"error: {error}")

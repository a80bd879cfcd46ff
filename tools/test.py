"""Evaluate a checkpoint with the test settings of a config: its own, or another that takes its weights.

python tools/test.py configs/demo/sentiment.py work_dirs/demo/sentiment_stage3/epoch_2
tools/dist_test.sh configs/demo/sentiment.py work_dirs/demo/sentiment_stage3/epoch_2 8
"""

from __future__ import annotations

import argparse
import sys

from mmengine.runner import Runner

from momo.engine.checkpoint import find_checkpoint, require_all_weights
from momo.engine.config_check import ConfigError
from momo.engine.launch import add_arguments, load_config, require_test, set_up_distributed, write_metrics
from momo.engine.train_loop import unwrap


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", help="config file")
    parser.add_argument("checkpoint", help="what to evaluate: a checkpoint, a file of weights, or a work_dir")
    add_arguments(parser)
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    cfg = load_config(args.config, args.cfg_options, launcher=args.launcher, work_dir=args.work_dir)
    require_test(cfg)
    path = find_checkpoint(args.checkpoint)
    if path is None:
        raise FileNotFoundError(f"{args.checkpoint}: there is no such checkpoint, and no work_dir that has one")
    cfg.load_from, cfg.resume = str(path), False
    set_up_distributed(cfg)
    runner = Runner.from_cfg(cfg)
    require_all_weights(unwrap(runner.model), path)
    write_metrics(args.out, runner.test())


if __name__ == "__main__":
    try:
        main()
    except ConfigError as error:
        sys.exit(f"error: {error}")

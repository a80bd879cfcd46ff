"""The ablations of the paper's Tables 4, 5 and 6 at the demo's size, over several seeds.

    python tools/ablate.py table6 --seeds 3
    python tools/ablate.py shared_decoder --scale 0.25      # one column of a table, in a quarter of the steps

Every run is an ordinary command, printed before it starts. What is done is not done again, so the same line goes on
where it was stopped, and a second table takes over the runs that it shares with the first. Writes
work_dirs/ablations/<table>.json and .md: mean and standard error over the seeds, and the paper's mean difference.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).parent / "demo"))

from ablation_report import as_markdown, as_table, compare
from ablation_tables import COMPARISONS, RUNS, TABLES, chosen, needed
from run import KIT, PREPARE, ROOT, run, with_options


class Planned(NamedTuple):
    """A run with a seed. fingerprint: of everything that its weights follow from."""

    name: str
    seed: int
    work_dir: Path
    command: str
    fingerprint: str


def shortened(cfg: dict[str, Any], processes: int, scale: float) -> list[str]:
    """The settings that train for a share of a config's steps, with the same share of warm-up."""
    from momo.datasets import GlobalBatchSampler
    from momo.registry import DATASETS

    data, train = cfg["train_dataloader"], cfg["train_cfg"]
    loader = data["loaders"][data["primary"]]
    sampler = GlobalBatchSampler(len(DATASETS.build(loader["dataset"])), loader["batch_size"], world_size=processes)
    whole = train.get("max_iters") or train["max_epochs"] * len(sampler)
    steps = max(2, round(whole * scale))
    warm_up = min(max(1, round(cfg["param_scheduler"][0]["end"] * len(sampler) * scale)), steps - 1)
    by_step = [f"param_scheduler.{i}.{key}=False" for i in (0, 1) for key in ("by_epoch", "convert_to_iter_based")]
    ends = [f"param_scheduler.0.end={warm_up}", f"param_scheduler.1.begin={warm_up}"]
    return ["train_cfg.max_epochs=None", f"train_cfg.max_iters={steps}", *by_step, *ends]


def plan(names: list[str], seeds: int, work: Path, scale: float, kit_stamp: str) -> list[Planned]:
    """Every run with every seed, in an order in which each finds what it starts from."""
    from momo.apis import get_config

    configs = {name: get_config(RUNS[name].config).to_dict() for name in names}
    lengths = {name: [] if scale == 1 else shortened(configs[name], RUNS[name].processes, scale) for name in names}
    planned: dict[tuple[int, str], Planned] = {}
    for seed in range(seeds):
        for name in names:
            config, after, processes, _ = RUNS[name]
            work_dir = work / f"seed{seed}" / name
            options = [f"randomness.seed={seed}", *lengths[name]]
            before = planned[seed, after] if after else None
            if before:
                options.append(f"custom_hooks.1.checkpoint={before.work_dir}")
            train = f"tools/dist_train.sh configs/{config}.py {processes} --work-dir {work_dir}"
            command = with_options(train, *options)
            made_from = [command, configs[name], kit_stamp, before.fingerprint if before else None]
            text = json.dumps(made_from, sort_keys=True, default=str)
            digest = hashlib.sha256(text.encode()).hexdigest()[:16]
            planned[seed, name] = Planned(name, seed, work_dir, command, digest)
    return list(planned.values())


class Ledger:
    """What is done, and what was measured, in a file of the work_dir."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.entries: dict[str, dict] = json.loads(path.read_text()) if path.exists() else {}

    def entry(self, job: Planned) -> dict | None:
        """What is known about a run, None if it is not done, or was made from something else."""
        found = self.entries.get(f"seed{job.seed}/{job.name}")
        return found if found and found["fingerprint"] == job.fingerprint else None

    def write(self, job: Planned, entry: dict | None) -> None:
        """Keep an entry, or forget it."""
        self.entries.pop(f"seed{job.seed}/{job.name}", None)
        if entry is not None:
            self.entries[f"seed{job.seed}/{job.name}"] = entry
        self.path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = self.path.with_suffix(".part")
        unfinished.write_text(json.dumps(self.entries, indent=1))
        unfinished.replace(self.path)


def train_all(jobs: list[Planned], ledger: Ledger) -> None:
    """Run the commands that are not done."""
    from momo.engine.checkpoint import find_checkpoint

    for number, job in enumerate(jobs, 1):
        entry = ledger.entry(job)
        if entry and find_checkpoint(job.work_dir):
            print(f"[{number}/{len(jobs)}] done before in {entry['seconds']:.0f} s: {job.command}", flush=True)
            continue
        print(f"\n[{number}/{len(jobs)}] $ {job.command}", flush=True)
        ledger.write(job, None)  # its folder is about to change
        seconds = run(job.command)
        ledger.write(job, {"fingerprint": job.fingerprint, "command": job.command, "seconds": seconds, "figures": {}})


def measure(job: Planned, split: str) -> dict[str, tuple[float, int]]:
    """The demo's figures for a run, by name: value and number of samples. Which ones depends on its objectives."""
    import measures

    config, after, _, measured_in = RUNS[job.name]
    before = [job.work_dir.parent / after] if measured_in else []
    model = measures.model_of(measured_in or config, *before, job.work_dir)
    kit = Path(KIT)
    found = {
        "emoji group, linear probe": measures.probe(
            kit, "groups", lambda images: measures.pooled_features(model, images), split
        )
    }
    if "image" in model.modalities:
        found["masked-image loss"] = measures.held_out_loss(model, "image", "mim_loss_pixels", split)
    if "text" in model.modalities:
        found["masked-text cross-entropy"] = measures.held_out_loss(model, "text", "mlm_loss_words", split)
    if "image_text" in model.modalities:
        for source in ("fluent", "openmoji"):
            recalls, n = measures.caption_recalls(kit, model, source, split)
            found |= {f"{source} captions, recall@{k}": (recalls[k], n) for k in (1, 10)}
    return found


def measure_all(jobs: list[Planned], ledger: Ledger, split: str) -> dict[str, list[dict[str, tuple[float, int]]]]:
    """By run, the figures of each seed."""
    found: dict[str, list] = {}
    for job in jobs:
        entry = ledger.entry(job)
        if split not in entry["figures"]:
            print(f"measuring seed {job.seed}, {job.name}", flush=True)
            entry["figures"][split] = measure(job, split)
            ledger.write(job, entry)
        found.setdefault(job.name, []).append(entry["figures"][split])
    return found


def at_least_one(text: str) -> int:
    if int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is below 1")
    return int(text)


def share(text: str) -> float:
    if not 0 < float(text) <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not above 0 and at most 1")
    return float(text)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", choices=(*TABLES, *COMPARISONS), help="a table, or one comparison of it")
    parser.add_argument("--seeds", type=at_least_one, default=3, metavar="N", help="seeds 0 to N - 1 (default 3)")
    parser.add_argument("--scale", type=share, default=1.0, help="share of the demo's steps to train (default 1)")
    parser.add_argument("--split", choices=("val", "test"), default="val", help="what to measure on (default val)")
    parser.add_argument("--work-dir", type=Path, default=Path("work_dirs/ablations"))
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    work = args.work_dir.resolve()
    os.chdir(ROOT)  # configs name the data from here
    work = work.relative_to(ROOT) if work.is_relative_to(ROOT) else work
    marker = Path(KIT, "kit.json")
    if not marker.exists():
        for command in PREPARE:
            print(f"$ {command}", flush=True)
            run(command)
    comparisons = chosen(args.table)
    names = needed(comparisons)
    stamp = hashlib.sha256(marker.read_bytes()).hexdigest()
    jobs, ledger = plan(names, args.seeds, work, args.scale, stamp), Ledger(work / "done.json")
    train_all(jobs, ledger)
    compared = {name for key in comparisons for _, name in (COMPARISONS[key].first, COMPARISONS[key].second)}
    figures = measure_all([job for job in jobs if job.name in compared], ledger, args.split)

    results = {
        "table": args.table,
        "seeds": list(range(args.seeds)),
        "split": args.split,
        "scale": args.scale,
        "seconds": sum(ledger.entry(job)["seconds"] for job in jobs),
        "comparisons": [compare(key, figures) for key in comparisons],
    }
    (work / f"{args.table}.json").write_text(json.dumps(results, indent=1) + "\n")
    (work / f"{args.table}.md").write_text(as_markdown(results))
    from rich.console import Console

    for comparison in results["comparisons"]:
        Console().print(as_table(comparison, results))
    print(f"written: {work / args.table}.json and .md")


if __name__ == "__main__":
    main()

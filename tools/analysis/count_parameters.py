"""Count the parameters that each kind of task uses, beside the paper's Table 1.

python tools/analysis/count_parameters.py
"""

from __future__ import annotations

import argparse

import torch
from rich.console import Console
from rich.table import Table
from torch import nn

from momo.apis import get_config
from momo.registry import MODELS

PAPER = {  # Table 1, millions
    "base": {"image": 86, "text": 110, "image_text": 110},
    "large": {"image": 303, "text": 335, "image_text": 335},
    "FLAVA": {"image": 86, "text": 110, "image_text": 241},
}


def count(*modules: nn.Module) -> int:
    """Parameters of modules that share none."""
    return sum(p.numel() for module in modules for p in module.parameters())


def beside_paper(parameters: int, paper: int | None) -> list[str]:
    """Cells of a table: the count, the paper's millions, how far they are apart."""
    if paper is None:
        return [f"{parameters:,}", "", ""]
    return [f"{parameters:,}", f"{paper} M", f"{parameters / paper / 1e6 - 1:+.2%}"]


def active_parameters(arch: str) -> dict[str, int]:
    """Parameters that run for images, for text and for pairs, decoders left out.

    Retrieval compares projected features, so images and text count their projection; pairs count the matching head.
    Fixed positions are no parameters.
    """
    cfg = get_config("momo/stage3_vitb").model
    cfg.backbone.arch = arch
    with torch.device("meta"):
        model = MODELS.build(cfg)
    backbone, tasks = model.backbone, model.objectives["image_text"]
    shared = [backbone.blocks, backbone.norm]
    used: dict[str, list[nn.Module]] = {
        "image": [*shared, backbone.image_embed, tasks["itc"].neck.image],
        "text": [*shared, backbone.text_embed, tasks["itc"].neck.text],
        "image_text": [*shared, backbone.image_embed, backbone.text_embed, tasks["itm"].head],
    }
    return {name: backbone.cls_token.numel() + count(*modules) for name, modules in used.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arch", nargs="+", default=["tiny", "small", "base", "large", "huge"])
    table = Table("arch", "task", "parameters", "paper", "difference")
    for arch in parser.parse_args().arch:
        for task, parameters in active_parameters(arch).items():
            table.add_row(arch, task, *beside_paper(parameters, PAPER.get(arch, {}).get(task)))
    Console().print(table)


if __name__ == "__main__":
    main()

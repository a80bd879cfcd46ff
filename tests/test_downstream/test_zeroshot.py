"""Zero-shot classification: what a class's features are, and several processes."""

import json
from pathlib import Path

import pytest
import torch
from helpers.downstream import small
from helpers.processes import run_in_processes
from helpers.run import build_runner
from helpers.vision_sets import WRITERS, write_vision_set
from torch.nn import functional as F

from momo.apis import embed_texts
from momo.datasets import load_tokenizer
from momo.evaluation import TEMPLATES

pytestmark = [pytest.mark.usefixtures("unformatted_configs"), pytest.mark.filterwarnings("ignore")]


def zero_shot_runner(folder: Path):
    torch.manual_seed(0)
    cfg = small("zeroshot_food101_vitb", folder, folder / "data")
    for step in cfg.test_dataloader.loaders.image.dataset.pipeline:
        step["size"] = 32
    return build_runner(cfg)


def test_a_class_is_the_mean_of_its_prompts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_vision_set("food101", tmp_path / "data" / "food101", monkeypatch)
    runner = zero_shot_runner(tmp_path)
    model, loop = runner.model.eval(), runner.test_loop
    tokenizer = load_tokenizer(str(tmp_path / "data" / "bert-base-uncased"))
    expected = [
        F.normalize(embed_texts(model, [t.replace("{}", name) for t in TEMPLATES["food101"]], tokenizer).mean(0), dim=0)
        for name in loop.dataset.class_names
    ]
    with torch.no_grad():
        torch.testing.assert_close(loop._class_features(), torch.stack(expected), rtol=0, atol=1e-5)
    assert len(expected) == len(loop.dataset.class_names) > 1


def run_share(rank: int, folder: str) -> dict[str, float]:
    return zero_shot_runner(Path(folder)).test()


@pytest.mark.dist
def test_two_processes_find_the_same(tmp_path: Path) -> None:
    """Five images do not share out evenly."""
    WRITERS["food101"](tmp_path / "data" / "food101")
    listed = tmp_path / "data" / "food101" / "food-101" / "meta" / "test.json"
    content = json.loads(listed.read_text())
    content[next(iter(content))].pop()
    listed.write_text(json.dumps(content))
    assert len(zero_shot_runner(tmp_path).test_loop.dataset) == 5
    alone = run_share(0, str(tmp_path))
    assert run_in_processes(run_share, tmp_path, str(tmp_path)) == [alone, alone]

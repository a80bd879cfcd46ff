"""Every config that ships: it loads, every key and value is known, its model can be built, and it survives a dump."""

from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope

from momo.engine import MoMoFullyShardedDataParallel
from momo.engine.config_check import check_config
from momo.registry import MODEL_WRAPPERS, MODELS

ROOT = Path(__file__).parents[1]
CONFIGS = sorted(path for path in (ROOT / "configs").rglob("*.py") if "_base_" not in path.parts)


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT / "configs"))


def of_mmpretrain(path: Path) -> bool:
    """Read from the text: loading it may import mmpretrain, which takes 5 s."""
    return "mmpretrain" in path.read_text(encoding="utf-8")


PARAMETERS = [
    pytest.param(path, id=name_of(path), marks=[pytest.mark.slow] if of_mmpretrain(path) else []) for path in CONFIGS
]


def test_there_are_configs() -> None:
    assert CONFIGS


@pytest.mark.filterwarnings("ignore")
@pytest.mark.usefixtures("unformatted_configs")
@pytest.mark.parametrize("path", PARAMETERS)
def test_config_works(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    cfg = Config.fromfile(path)
    check_config(cfg)
    scope = cfg.get("default_scope", "momo")
    with torch.device("meta"), DefaultScope.overwrite_default_scope(scope):
        model = MODELS.build(cfg.model)
    assert sum(parameter.numel() for parameter in model.parameters()) > 0
    cfg.dump(tmp_path / "dumped.py")
    again = Config.fromfile(tmp_path / "dumped.py")
    check_config(again)
    assert again.to_dict() == cfg.to_dict()


@pytest.mark.filterwarnings("ignore")
def test_the_huge_size_is_sharded_and_its_encoder_is_vit_h(monkeypatch: pytest.MonkeyPatch) -> None:
    """ViT-H/14: 32 blocks of width 1280, 16 heads, 14-pixel patches; 12 width^2 + 13 width a block."""
    monkeypatch.chdir(ROOT)
    cfg = Config.fromfile("configs/momo/stage3_vith.py")
    assert MODEL_WRAPPERS.get(cfg.model_wrapper_cfg.type) is MoMoFullyShardedDataParallel
    with torch.device("meta"):
        model = MODELS.build(cfg.model)
    blocks = model.backbone.blocks
    assert len(blocks) == 32 and all(block.attn.num_heads == 16 for block in blocks)
    assert sum(parameter.numel() for parameter in blocks.parameters()) == 32 * (12 * 1280**2 + 13 * 1280)
    assert model.backbone.image_embed.proj.in_features == 3 * 14**2
    assert model.backbone.with_cp and all(decoder.with_cp for decoder in model.decoders.values())


@pytest.mark.parametrize("path", CONFIGS, ids=name_of)
def test_config_opens_with_its_command(path: Path) -> None:
    """'each experiment file opens with the command': it names itself, so that it can be copied."""
    opening = path.read_text(encoding="utf-8").split('"""')[1]
    assert f"configs/{name_of(path)}" in opening

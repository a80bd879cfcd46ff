"""Every mistake in a config is found before anything is built, with the right name in the message."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mmengine.config import Config
from mmengine.registry import DATASETS, MODELS
from mmengine.runner import Runner
from torch import nn

from momo.engine.config_check import ConfigError, check_config
from momo.engine.config_check import schema as config_schema
from momo.engine.launch import load_config
from momo.models.backbones import arch_settings

ROOT = Path(__file__).parents[2]
SHIPPED = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "configs").rglob("*.py") if "_base_" not in path.parts)


class _Base(nn.Module):
    def __init__(self, width: int, betas: tuple[float, float] = (0.9, 0.95)) -> None:
        raise AssertionError("the check must not build anything")


@MODELS.register_module()
class ConfigCheckModel(_Base):
    def __init__(self, depth: int = 2, backbone: dict | None = None, ratio: float = 0.5, **kwargs: Any) -> None:
        super().__init__(**kwargs)


@DATASETS.register_module()
class ConfigCheckDataset:
    def __init__(self, root: str, pipeline: list[dict] | None = None) -> None:
        raise AssertionError("the check must not build anything")


def small_config(**changes: Any) -> Config:
    """A config without mistakes, changed: `small_config(model__depth=3)`; the value `...` removes a key."""
    loader = dict(dataset=dict(type="ConfigCheckDataset", root="x"), sampler=dict(type="DefaultSampler", shuffle=True))
    cfg = dict(
        default_scope="mmengine",
        model=dict(type="ConfigCheckModel", width=8, depth=2, backbone=dict(type="ConfigCheckModel", width=4)),
        train_dataloader=dict(batch_size=2, **loader),
        train_cfg=dict(type="EpochBasedTrainLoop", max_epochs=2),
        optim_wrapper=dict(
            optimizer=dict(type="AdamW", lr=1e-3, betas=[0.9, 0.95]),
            clip_grad=dict(max_norm=1),
            paramwise_cfg=dict(norm_decay_mult=0.0, custom_keys={"head": dict(lr_mult=10)}),
        ),
        param_scheduler=[dict(type="LinearLR", end=0.5, convert_to_iter_based=True), dict(type="CosineAnnealingLR")],
        default_hooks=dict(timer=None, logger=dict(type="LoggerHook", interval=5, priority="LOW")),
        custom_hooks=[dict(type="EMAHook")],
        env_cfg=dict(cudnn_benchmark=True, mp_cfg=dict(mp_start_method="fork"), dist_cfg=dict(backend="nccl")),
        randomness=dict(seed=0),
        visualizer=dict(type="Visualizer", vis_backends=[dict(type="LocalVisBackend")]),
        _helper=dict(anything=1),
    )
    for path, value in changes.items():
        *parents, key = path.split("__")
        section: Any = cfg
        for parent in parents:
            section = section[int(parent) if parent.isdigit() else parent]
        if value is ...:
            del section[key]
        else:
            section[key] = value
    return Config(cfg)


def test_config_without_mistakes_passes():
    check_config(small_config())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        # unknown names
        (dict(train_dataloder={}), "train_dataloder: a config takes no .* did you mean 'train_dataloader'"),
        (dict(helper=1), r"helper: a config takes no 'helper' \(names of helper variables start with '_'\)"),
        (dict(model__dept=1), "model.dept: ConfigCheckModel takes no 'dept'; did you mean 'depth'"),
        (dict(model__widht=1), "model.widht: ConfigCheckModel takes no 'widht'; did you mean 'width'"),
        (dict(model__backbone__dept=1), "model.backbone.dept: .* did you mean 'depth'"),
        (dict(train_dataloader__dataset__rot="x"), "train_dataloader.dataset.rot: .* did you mean 'root'"),
        (dict(train_dataloader__batchsize=2), "train_dataloader.batchsize: .* did you mean 'batch_size'"),
        (dict(train_dataloader__sampler__shufle=True), "train_dataloader.sampler.shufle: .* did you mean 'shuffle'"),
        (dict(train_cfg__max_epoch=1), "train_cfg.max_epoch: .* did you mean 'max_epochs'"),
        (dict(train_cfg=dict(by_epoch=True, max_epoch=1)), "train_cfg.max_epoch: .* did you mean 'max_epochs'"),
        (dict(optim_wrapper__optimizer__beta=1), "optim_wrapper.optimizer.beta: .* did you mean 'betas'"),
        (dict(optim_wrapper__clip_grad__maxnorm=1), "clip_grad.maxnorm: .* did you mean 'max_norm'"),
        (
            dict(optim_wrapper__paramwise_cfg__norm_decay=0),
            "paramwise_cfg.norm_decay: .* did you mean 'norm_decay_mult'",
        ),
        (
            dict(optim_wrapper__paramwise_cfg__custom_keys__head=dict(lr_mul=1)),
            "custom_keys.head.lr_mul: .* did you mean 'lr_mult'",
        ),
        (dict(param_scheduler__1__eta_mim=0), "param_scheduler.1.eta_mim: .* did you mean 'eta_min'"),
        (dict(param_scheduler__1__param_name="lr"), "param_scheduler.1.param_name: CosineAnnealingLR takes no"),
        (dict(default_hooks__loger=dict(type="LoggerHook")), "default_hooks.loger: .* did you mean 'logger'"),
        (dict(default_hooks__mine=None), "default_hooks.mine: is no default hook"),
        (dict(default_hooks__logger__intervall=1), "default_hooks.logger.intervall: .* did you mean 'interval'"),
        (dict(default_hooks__checkpoint=dict(type="CheckpointHook", interva=1)), "checkpoint.interva: .*'interval'"),
        (dict(env_cfg__cudnn_benchmarck=True), "env_cfg.cudnn_benchmarck: .* did you mean 'cudnn_benchmark'"),
        (dict(env_cfg__dist_cfg__timout=1), "env_cfg.dist_cfg.timout: .* did you mean 'timeout'"),
        (dict(randomness__sed=1), "randomness.sed: .* did you mean 'seed'"),
        (
            dict(visualizer__vis_backends=[dict(type="LocalVisBackend", savedir="x")]),
            "vis_backends.0.savedir: .*save_dir",
        ),
        (dict(auto_scale_lr=dict(enabled=True)), "auto_scale_lr.enabled: .* did you mean 'enable'"),
        # unknown types
        (dict(model__type="ConfigCheckModle"), "model.type: 'ConfigCheckModle' .* did you mean 'ConfigCheckModel'"),
        (dict(model__type="momo.MoMoPretrianer"), "model.type: .* did you mean 'momo.MoMoPretrainer'"),
        (dict(model__type="mmnowhere.Model"), "model.type: .*the package 'mmnowhere' is not installed"),
        (dict(model__backbone=dict(tipe="X")), "model.backbone: needs 'type'"),
        (dict(custom_hooks__0__type="EMAHok"), "custom_hooks.0.type: .* did you mean 'EMAHook'"),
        (
            dict(optim_wrapper__optimizer__type="AdamWW"),
            "optimizer.type: .* registered OPTIMIZERS; did you mean 'AdamW'",
        ),
        (dict(optim_wrapper__clip_grad__type="nom"), "clip_grad.type: 'nom' is no way to clip; did you mean 'norm'"),
        (dict(default_scope="nowhere"), "default_scope: there is no package 'nowhere'"),
        # missing
        (dict(model=...), "model: is missing"),
        (dict(model__width=...), "model: ConfigCheckModel needs 'width'"),
        (dict(train_cfg=...), "train_cfg: is missing, while there is train_dataloader and optim_wrapper"),
        (dict(train_cfg=dict(max_epochs=1)), "train_cfg: needs 'type' or 'by_epoch'"),
        (dict(train_dataloader__sampler=...), "train_dataloader: needs 'sampler'"),
        (dict(optim_wrapper__optimizer=...), "optim_wrapper.optimizer: expected a dict"),
        # wrong values
        (dict(model__depth="two"), "model.depth: expected int, got str 'two'"),
        (dict(model__depth=2.0), "model.depth: expected int, got float 2.0"),
        (dict(model__depth=True), "model.depth: expected int, got bool True"),
        (dict(model__betas=[0.9, 0.95, 0.99]), r"model.betas: expected tuple\[float, float\], got list"),
        (dict(model__betas=["a", 0.95]), "model.betas: expected"),
        (dict(optim_wrapper__optimizer__lr="1e-3"), "optimizer.lr: expected float .*, got str '1e-3'"),
        (dict(param_scheduler__1__begin=2), r"param_scheduler.1.begin: 2 is past the end of train_cfg.max_epochs=2"),
        (dict(param_scheduler__1__begin=0.5), "param_scheduler.1.begin: expected int, got float 0.5"),
        (dict(randomness=3), "randomness: expected a dict, got 3"),
        (dict(resume="yes"), "resume: expected bool, got str 'yes'"),
    ],
)
def test_mistake_is_named(changes, message):
    with pytest.raises(ConfigError, match=message):
        check_config(small_config(**changes))


@pytest.mark.parametrize(
    "changes",
    [
        dict(model__ratio=1),  # an int for a float
        dict(model__backbone=None),
        dict(model__betas=(0.9, 0.99)),
        dict(model__type="mmengine.ConfigCheckModel"),
        dict(optim_wrapper__type="AmpOptimWrapper", optim_wrapper__loss_scale=1.0),  # annotated as str in MMEngine
        dict(optim_wrapper__optimizer__type="torch.optim.AdamW"),
        dict(optim_wrapper__paramwise_cfg__custom_keys__head=dict(lr_mult=1, trust=0.1)),  # a setting of the optimizer
        dict(default_hooks__mine=dict(type="EMAHook")),
        dict(train_dataloader__collate_fn=dict(type="pseudo_collate")),
        dict(randomness__seed=None),
        dict(param_scheduler__0__end=3),
        dict(param_scheduler__1__begin=1),
        dict(param_scheduler__1__begin=5, param_scheduler__1__by_epoch=False),
        dict(train_cfg=dict(by_epoch=False, max_iters=3)),
        dict(compile=True),
        dict(compile=dict(mode="reduce-overhead")),
        dict(model_wrapper_cfg=dict(find_unused_parameters=True)),
    ],
)
def test_right_spellings_pass(changes):
    check_config(small_config(**changes))


def test_loaders_of_several_modalities():
    def loaders(**changes):
        dataset = dict(type="ConfigCheckDataset", root="x")
        cfg = dict(primary="text", batch_size=2, loaders=dict(text=dict(dataset=dataset), image=dict(dataset=dataset)))
        return small_config(train_dataloader=cfg, **changes)

    check_config(loaders())
    with pytest.raises(ConfigError, match="train_dataloader.primary: 'txt' .* did you mean 'text'"):
        check_config(loaders(train_dataloader__primary="txt"))
    with pytest.raises(ConfigError, match="loaders.image.dataset.rot: .* did you mean 'root'"):
        check_config(loaders(train_dataloader__loaders__image__dataset__rot=1))
    with pytest.raises(ConfigError, match="loaders.text: needs 'dataset'"):
        check_config(loaders(train_dataloader__loaders__text__dataset=...))
    check_config(loaders(train_dataloader__loaders__text__max_tokens=4096, train_dataloader__batch_size=None))
    with pytest.raises(ConfigError, match="loaders.text: needs 'batch_size' or 'max_tokens'"):
        check_config(loaders(train_dataloader__batch_size=...))
    with pytest.raises(ConfigError, match="loaders.text.max_token: .* did you mean 'max_tokens'"):
        check_config(loaders(train_dataloader__loaders__text__max_token=4096))
    with pytest.raises(ConfigError, match="loaders.text.sampler: .*takes no 'sampler'"):
        check_config(loaders(train_dataloader__loaders__text__sampler=dict(type="DefaultSampler")))


def test_all_problems_are_listed_one_a_line():
    with pytest.raises(ConfigError) as error:
        check_config(small_config(model__dept=1, randomness__sed=1, optim_wrapper__optimizer__lr="x"))
    first, *lines = str(error.value).splitlines()
    assert first == "the config has 3 problems:"
    assert [line.split(":")[0].strip() for line in lines] == [
        "model.dept",
        "optim_wrapper.optimizer.lr",
        "randomness.sed",
    ]


def test_problem_from_the_command_line_says_so():
    cfg = small_config()
    cfg.merge_from_dict({"model.bakbone.depth": 3, "train_cfg.max_epochs": "x"})
    cfg.randomness["sed"] = 1
    with pytest.raises(ConfigError) as error:
        check_config(cfg, overrides=["model.bakbone.depth", "train_cfg.max_epochs"])
    with pytest.raises(ConfigError, match="_helper.anything: changes nothing"):
        check_config(small_config(), overrides=["_helper.anything"])
    marked = [line.split(":")[0].strip() for line in str(error.value).splitlines() if "(from --cfg-options)" in line]
    assert marked == ["model.bakbone", "train_cfg.max_epochs"]


def test_known_names_are_those_that_mmengine_reads():
    source = inspect.getsource(Runner)
    read = set(re.findall(r"cfg\.get\(\s*'(\w+)'", inspect.getsource(Runner.from_cfg)))
    read |= set(re.findall(r"self\.cfg\.get\(\s*'(\w+)'", source))
    assert read <= set(config_schema.TOP_LEVEL.parameters)
    hooks = re.findall(
        r"^            (\w+)=dict\(type='\w+Hook'", inspect.getsource(Runner.register_default_hooks), re.M
    )
    assert set(hooks) == set(config_schema.DEFAULT_HOOKS)
    env_cfg = re.findall(r"env_cfg\.get\('(\w+)'", inspect.getsource(Runner.setup_env))
    assert set(env_cfg) == set(config_schema.PLAIN_SECTIONS["env_cfg"].parameters)


def test_known_sizes_are_those_that_the_backbone_takes():
    sizes = dict.fromkeys(config_schema.ARGUMENT_KEYS["MoMoViT", "arch"].parameters, 1)
    assert arch_settings(sizes) == sizes
    with pytest.raises(ValueError, match="arch needs"):
        arch_settings({**sizes, "other": 1})


# The configs that are shipped


def keys_of(value: Any, path: tuple = ()) -> Iterator[tuple]:
    """The path of every key of every dict, at any depth."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield (*path, key)
            yield from keys_of(item, (*path, key))
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield from keys_of(item, (*path, index))


def is_invented(path: tuple) -> bool:
    """Whether the config's author was free to choose this name."""
    *parents, key = path
    table = parents[-1] if parents else None
    return (
        table in ("loaders", "decoders", "objectives", "custom_keys")
        or table == "examples"  # PicturesHook refuses modalities that the model does not have
        or parents[-2:-1] == ["objectives"]
        or (table == "default_hooks" and key not in config_schema.DEFAULT_HOOKS)
        or "metainfo" in parents
        or "hparams" in parents  # handed on to each of RandAugment's operations
    )


def misspelt(cfg: dict, path: tuple) -> dict:
    """A copy of `cfg` in which the key at `path` has an x too many."""
    key, *rest = path
    if isinstance(cfg, (list, tuple)):
        return [misspelt(item, tuple(rest)) if index == key else item for index, item in enumerate(cfg)]
    if rest:
        return {name: misspelt(item, tuple(rest)) if name == key else item for name, item in cfg.items()}
    return {f"{name}x" if name == key else name: item for name, item in cfg.items()}


def assert_found(cfg: dict, path: tuple) -> None:
    with pytest.raises(ConfigError) as error:
        check_config(Config(misspelt(cfg, path)))
    wrong = ".".join(map(str, path)) + "x"
    lines = [line for line in str(error.value).splitlines() if line.startswith(f"  {wrong}: ")]
    assert any(re.search(rf"[' ]{re.escape(path[-1])}['\b,]", line.split("; ")[-1]) for line in lines), error.value


def load(config: str) -> dict:
    return load_config(str(ROOT / config), {}).to_dict()


@pytest.mark.parametrize("config", SHIPPED)
def test_shipped_config_passes(config):
    load(config)


_tried: set[tuple] = set()


@pytest.mark.parametrize("config", SHIPPED)
def test_misspelt_key_of_shipped_config_is_found(config):
    """Keys that an earlier config has at the same place are left to the slow test."""
    cfg = load(config)
    for path in keys_of(cfg):
        if path not in _tried and not is_invented(path):
            _tried.add(path)
            assert_found(cfg, path)


@pytest.mark.slow
@pytest.mark.parametrize("config", SHIPPED)
def test_every_misspelt_key_of_shipped_config_is_found(config):
    cfg = load(config)
    for path in keys_of(cfg):
        if not is_invented(path):
            assert_found(cfg, path)

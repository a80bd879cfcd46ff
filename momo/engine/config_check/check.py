"""Find every mistake in a config before anything is built.

MMEngine reads the keys that it knows and ignores the others, and it meets a wrong argument only when it builds the
class, which for a scheduler is after the model and the data. Here all names and plain values of a config are compared
with the signatures of what would be built.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

from mmengine.config import Config

from . import schema
from .signatures import Accepted, accepted_parameters, without
from .type_lookup import nearest
from .walk import ConfigWalk


class ConfigError(ValueError):
    """A config that cannot work; the message has one line for each problem."""


def check_config(cfg: Config, overrides: Iterable[str] = ()) -> None:
    """Refuse a config with unknown keys, unknown types, missing arguments or values of the wrong type.

    - Top-level keys must be ones that the runner reads. MMEngine keeps a config file's helper variables as top-level
      keys too, where a helper and a misspelt key look the same: helpers start with '_'. Imported modules and classes
      are left out by MMEngine itself.
    - A dict with a `type` must name a registered class or function, and its keys must be arguments of that.
    - Dicts that the runner reads without building them (env_cfg, randomness, clip_grad, ...) have fixed keys.
    - Plain values must fit the annotation of their parameter (see `annotations.type_problem`).
    - Names that the user invents are free: those of loaders, objectives, decoders, added hooks and custom_keys.

    Nothing is built and no path is looked at. Modules in `custom_imports` must have been imported before.

    Args:
        cfg: As `Config.fromfile` returns it.
        overrides: Dotted keys that came from --cfg-options; the message marks them.
    Raises: ConfigError, listing all problems.
    """
    overrides = tuple(overrides)
    problems = _Sections(cfg.get("default_scope") or "mmengine").check(cfg.to_dict())
    # A helper variable has done its work when the file has been read.
    problems += [(key, "changes nothing; give the keys that use this variable") for key in overrides if key[0] == "_"]
    if problems:
        lines = [f"  {path}: {what}{_origin(path, overrides)}" for path, what in problems]
        count = "1 problem" if len(lines) == 1 else f"{len(lines)} problems"
        raise ConfigError("\n".join([f"{cfg.filename or 'the config'} has {count}:", *lines]))


def _origin(path: str, overrides: tuple[str, ...]) -> str:
    from_options = any(path == key or path.startswith(f"{key}.") or key.startswith(f"{path}.") for key in overrides)
    return " (from --cfg-options)" if from_options else ""


class _Sections(ConfigWalk):
    """The top level of a config, section by section."""

    def check(self, cfg: dict) -> list[tuple[str, str]]:
        cfg = {key: value for key, value in cfg.items() if not key.startswith("_")}
        self.keys("", cfg, schema.TOP_LEVEL, "a config", hint=" (names of helper variables start with '_')")
        self.complete(cfg)
        for key, value in cfg.items():
            if value is not None and key in schema.TOP_LEVEL.parameters:
                self.section(key, value)
        self.schedule_within_training(cfg)
        return self.problems

    def complete(self, cfg: dict) -> None:
        """The model, and for training, validation and test all of what they need or none."""
        if cfg.get("model") is None:
            self.report("model", "is missing")
        for group in schema.GROUPS:
            present = [key for key in group if cfg.get(key) is not None]
            for key in group:
                if present and key not in present:
                    self.report(key, f"is missing, while there is {' and '.join(present)}")

    def schedule_within_training(self, cfg: dict) -> None:
        """A scheduler of epochs that would begin when training is over; MMEngine's own message names no key."""
        schedulers, train_cfg = cfg.get("param_scheduler"), cfg.get("train_cfg")
        if not isinstance(schedulers, list) or not isinstance(train_cfg, Mapping):
            return
        last = train_cfg.get("max_epochs")
        for index, scheduler in enumerate(schedulers):
            begin = scheduler.get("begin", 0) if isinstance(scheduler, Mapping) else 0
            in_epochs = isinstance(begin, (int, float)) and isinstance(last, int) and scheduler.get("by_epoch", True)
            if in_epochs and begin >= last:
                self.report(f"param_scheduler.{index}.begin", f"{begin} is past the end of train_cfg.max_epochs={last}")

    def section(self, key: str, value: Any) -> None:
        """One top-level entry that is not None."""
        if key in schema.PLAIN_SECTIONS:
            self.plain_section(key, value)
        elif key == "default_hooks":
            self.default_hooks(value)
        elif key == "optim_wrapper":
            self.optim_wrapper(value)
        elif key == "train_cfg":
            self.train_cfg(value)
        elif key.endswith("dataloader"):
            self.dataloader(key, value, required=("dataset", "sampler"))
        elif key.endswith("evaluator") and isinstance(value, Mapping) and "metrics" in value:
            self.built(key, value, "EVALUATOR", default="Evaluator")
        elif key in schema.TYPED_SECTIONS:
            self.built(key, value, *schema.TYPED_SECTIONS[key])
        elif key == "data_preprocessor":  # its model may know the type
            self.argument(key, key, value, "MODELS")

    def plain_section(self, path: str, value: Any) -> None:
        """A dict with fixed keys and no class behind it."""
        if path == "compile" and isinstance(value, bool):
            return
        self.keys(path, value, schema.PLAIN_SECTIONS[path], path)
        if isinstance(value, Mapping):
            for key in value:
                if f"{path}.{key}" in schema.PLAIN_SECTIONS:
                    self.plain_section(f"{path}.{key}", value[key])

    def default_hooks(self, hooks: Any) -> None:
        if not isinstance(hooks, Mapping):
            return
        for name, hook in hooks.items():
            # Other names add hooks. One that nearly names a default hook would run beside it, and None switches off
            # nothing.
            near = difflib.get_close_matches(name, schema.DEFAULT_HOOKS, cutoff=0.8)
            if name not in schema.DEFAULT_HOOKS and (near or hook is None):
                self.report(f"default_hooks.{name}", f"is no default hook{nearest(name, schema.DEFAULT_HOOKS)}")
            if hook is not None:
                self.built(f"default_hooks.{name}", hook, "HOOKS")

    def train_cfg(self, value: Any) -> None:
        if not isinstance(value, Mapping) or "type" in value:
            self.built("train_cfg", value, "LOOPS")
            return
        if "by_epoch" not in value:
            self.report("train_cfg", "needs 'type' or 'by_epoch'")
        default = "EpochBasedTrainLoop" if value.get("by_epoch", True) else "IterBasedTrainLoop"
        self.built("train_cfg", value, "LOOPS", default, extra=schema.fields(by_epoch=bool))

    def optim_wrapper(self, value: Any) -> None:
        self.built("optim_wrapper", value, "OPTIM_WRAPPERS", "OptimWrapper")
        if not isinstance(value, Mapping):
            return
        if not isinstance(value.get("optimizer"), Mapping):
            self.report("optim_wrapper.optimizer", "expected a dict with the optimizer's 'type'")
            return
        if isinstance(value.get("clip_grad"), Mapping):
            self.clip_grad("optim_wrapper.clip_grad", value["clip_grad"])
        name = value.get("constructor", "DefaultOptimWrapperConstructor")
        constructor = self.resolve("optim_wrapper.constructor", name, "OPTIM_WRAPPER_CONSTRUCTORS")
        if constructor is not None and isinstance(value.get("paramwise_cfg"), Mapping):
            known = schema.paramwise_keys(constructor)
            self.keys("optim_wrapper.paramwise_cfg", value["paramwise_cfg"], known, constructor.__name__)
            self.custom_keys("optim_wrapper.paramwise_cfg.custom_keys", value)

    def clip_grad(self, path: str, clip: Mapping) -> None:
        kind = clip.get("type", "norm")
        if kind not in schema.CLIP_GRAD:
            self.report(f"{path}.type", f"{kind!r} is no way to clip{nearest(str(kind), schema.CLIP_GRAD)}")
            return
        known = {**schema.fields(type=str).parameters, **accepted_parameters(schema.CLIP_GRAD[kind]).parameters}
        self.keys(path, clip, without(Accepted(known), "parameters"), f"clipping by {kind}")

    def custom_keys(self, path: str, wrapper: Mapping) -> None:
        """Settings by part of a parameter's name."""
        optimizer = self.types.find(str(wrapper["optimizer"].get("type")), "OPTIMIZERS")
        table = wrapper["paramwise_cfg"].get("custom_keys")
        if optimizer is None or not isinstance(table, Mapping):
            return
        known = schema.group_keys(optimizer)
        for name, settings in table.items():
            # Other settings are handed on to the parameter group; only one that nearly is a known one is a mistake.
            names = [key for key in settings if difflib.get_close_matches(key, known.parameters, cutoff=0.8)]
            self.keys(f"{path}.{name}", {key: settings[key] for key in names}, known, "a parameter group")

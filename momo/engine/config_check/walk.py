"""Compare dicts of a config with the classes that they build, at any depth."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from typing import Any

from . import schema
from .annotations import type_problem
from .signatures import Accepted, accepted_parameters, of_toolkit
from .type_lookup import TypeLookup, nearest


class ConfigWalk:
    """Collects `problems`: (dotted path, what is wrong).

    Args:
        scope: The config's `default_scope`.
    """

    def __init__(self, scope: str) -> None:
        self.problems: list[tuple[str, str]] = []
        try:
            self.types = TypeLookup(scope)
        except ModuleNotFoundError as error:
            if error.name not in (scope, f"{scope}.registry"):
                raise
            self.report("default_scope", f"there is no package '{scope}' with registries")
            self.types = TypeLookup("mmengine")

    def report(self, path: str, what: str) -> None:
        self.problems.append((path, what))

    def keys(self, path: str, given: Any, known: Accepted, title: str, hint: str = "") -> None:
        """Names and plain values of `given` against what `title` takes."""
        if not isinstance(given, Mapping):
            self.report(path, f"expected a dict, got {given!r}")
            return
        for key, value in given.items():
            where = f"{path}.{key}" if path else key
            if key in known.parameters:
                problem = type_problem(value, known.parameters[key])
                if problem and (title, key) not in schema.WRONG_ANNOTATIONS:
                    self.report(where, problem)
            elif not known.is_open:
                near = nearest(key, [*known.parameters, "type"])
                self.report(where, f"{title} takes no '{key}'{hint}{near}")

    def built(
        self,
        path: str,
        value: Any,
        kind: str,
        default: str | None = None,
        extra: Accepted | None = None,
        anywhere: bool = False,
    ) -> None:
        """A dict that registry `kind` builds, or a list of them.

        Args:
            default: The type where the dict names none.
            extra: Keys that the builder takes out before the class sees them; None: those of `kind`.
            anywhere: The type may be in another registry too.
        """
        if isinstance(value, (list, tuple)):
            for index, item in enumerate(value):
                self.built(f"{path}.{index}", item, kind, default, extra, anywhere)
            return
        if not isinstance(value, Mapping):
            return
        name = value.get("type", default)
        if name is None:
            self.report(path, "needs 'type'")
            self.misspelt_type(path, value)
            return
        target = self.resolve(f"{path}.type", name, kind, anywhere)
        if target is None:
            return
        title = getattr(target, "__name__", str(target))
        accepted = accepted_parameters(target)
        extra = extra or schema.EXTRA.get(kind) or schema.fields()
        arguments = {key: item for key, item in value.items() if key not in ("type", "_scope_")}
        known = {**extra.parameters, **accepted.parameters}
        if value.get("convert_to_iter_based"):  # this builder multiplies epochs, which may be fractions then
            known |= accepted_parameters(target.build_iter_from_epoch).parameters
        self.keys(path, arguments, Accepted(known, accepted.is_open), title)
        if extra is not schema.LAYER_CFG and kind != "FUNCTIONS":  # the caller of these passes more
            for key in accepted.required():
                if key not in arguments and key not in schema.INJECTED.get(kind, ()):
                    self.report(path, f"{title} needs '{key}'")
        for key, item in arguments.items():
            if (title, key) in schema.ARGUMENT_KEYS and isinstance(item, Mapping):
                self.keys(f"{path}.{key}", item, schema.ARGUMENT_KEYS[title, key], f"{title}'s {key}")
        self.arguments(path, arguments, kind, of_toolkit(target))

    def arguments(self, path: str, arguments: Mapping, kind: str, foreign: bool = False) -> None:
        """Look into the values for more dicts to build.

        A class of another toolkit (`foreign`) may edit a dict before it builds it; such dicts are left alone.
        """
        for key, value in arguments.items():
            if key not in schema.CHECKED_APART:
                self.argument(f"{path}.{key}", key, value, kind, foreign)

    def argument(self, path: str, key: str, value: Any, kind: str, foreign: bool = False) -> None:
        """One value; see `arguments`."""
        if key in schema.REGISTRY_OF:
            self.built(path, value, schema.REGISTRY_OF[key])
        elif isinstance(value, (list, tuple)):
            for index, item in enumerate(value):
                self.argument(f"{path}.{index}", key, item, kind, foreign)
        elif not isinstance(value, Mapping):
            return
        elif key.endswith("dataloader"):
            self.dataloader(path, value)
        elif "type" not in value:
            self.misspelt_type(path, value)
            self.arguments(path, value, kind, foreign)
        elif not foreign or key in schema.BUILT_AS_GIVEN:
            self.built(path, value, kind, extra=schema.LAYER_CFG if key.endswith("_cfg") else None, anywhere=True)

    def dataloader(self, path: str, loader: Any, required: tuple[str, ...] = ()) -> None:
        """A data loader, or one for each modality."""
        if not isinstance(loader, Mapping):
            return
        if "loaders" in loader:
            self.modality_loaders(path, loader)
            return
        self.keys(path, loader, schema.DATALOADER, "a data loader")
        for key in required:
            if key not in loader:
                self.report(path, f"needs '{key}'")
        self.arguments(path, loader, "DATASETS")

    def modality_loaders(self, path: str, cfg: Mapping) -> None:
        """A loader for each modality; what stands beside them holds for all."""
        self.keys(path, cfg, schema.SHARED_LOADER, "a dict of loaders")
        loaders, primary = cfg["loaders"], cfg.get("primary")
        if not isinstance(loaders, Mapping):
            return
        if (primary is not None or path == "train_dataloader") and primary not in loaders:
            self.report(f"{path}.primary", f"{primary!r} is not among the loaders{nearest(str(primary), loaders)}")
        for name, own in loaders.items():
            where = f"{path}.loaders.{name}"
            self.keys(where, own, schema.MODALITY_LOADER, "a loader of one modality")
            if isinstance(own, Mapping):
                for keys in (("dataset",), ("batch_size", "max_tokens")):
                    if not any(key in own or key in cfg for key in keys):
                        self.report(where, f"needs {' or '.join(map(repr, keys))}")
                self.arguments(where, own, "DATASETS")

    def misspelt_type(self, path: str, value: Mapping) -> None:
        for key in difflib.get_close_matches("type", value, n=1, cutoff=0.8):
            self.report(f"{path}.{key}", "unknown; did you mean 'type'?")

    def resolve(self, path: str, name: Any, kind: str, anywhere: bool = False) -> Callable | None:
        """The class or function behind a `type`; an unknown one is a problem."""
        if callable(name):
            return name
        target = self.types.find(name, kind, anywhere) if isinstance(name, str) else None
        if target is None:
            self.report(path, f"{name!r} is not among the registered {kind}{self.types.hint(str(name), kind)}")
        return target

"""Find the class behind a config's `type`, as MMEngine's registries would, and the nearest name where there is none."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Callable, Iterable
from importlib.util import find_spec
from types import ModuleType

import mmengine.registry
from mmengine.registry import Registry

# The runner looks these up without a default scope: MMEngine's own names, or 'scope.Name'.
UNSCOPED = frozenset({"FUNCTIONS", "MODEL_WRAPPERS"})


def nearest(name: str, names: Iterable[str]) -> str:
    """A hint to append to an error message: the name that was probably meant, or all of them if they are few."""
    names = sorted(set(names))
    close = difflib.get_close_matches(name, names, n=1)
    if close:
        return f"; did you mean '{close[0]}'?"
    return f"; choose from: {', '.join(names)}" if 0 < len(names) <= 12 else ""


class TypeLookup:
    """Types by registry and name, seen from a default scope.

    All modules of the scope are imported first, so that the answers do not depend on the order of the questions.

    Args:
        scope: The config's `default_scope`, a package with a `registry` module.
    Raises: ModuleNotFoundError if there is no such package.
    """

    def __init__(self, scope: str) -> None:
        self.scope = scope
        self._found: dict[tuple[str, str, bool], Callable | None] = {}
        for registry in _registries(importlib.import_module(f"{scope}.registry")):
            registry.import_from_location()

    def find(self, name: str, kind: str, anywhere: bool = False) -> Callable | None:
        """The class or function called `name`, or None.

        Args:
            name: 'MoMoViT', 'mmpretrain.VisionTransformer' or the full path 'torch.optim.AdamW'.
            kind: The registry's variable name in `mmengine.registry`, for example 'MODELS'.
            anywhere: If that registry has none, ask the others; for parameters whose registry is known only to the
                class that builds them.
        """
        key = (name, kind, anywhere)
        if key not in self._found:
            registries = [self._registry(kind)]
            if anywhere:
                registries += self._others(name)
            self._found[key] = next(filter(callable, (_get(registry, name) for registry in registries)), None)
        return self._found[key]

    def hint(self, name: str, kind: str) -> str:
        """Why `name` may have been unknown, to append to an error message."""
        package, dot, _ = name.partition(".")
        if dot and find_spec(package) is None:
            return f"; the package '{package}' is not installed"
        return nearest(name, self._names(kind, package if dot else ""))

    def _names(self, kind: str, package: str) -> list[str]:
        registry = self._registry(kind)
        root = registry.root
        if package in root.children:  # these were spelt with their package
            return [f"{package}.{name}" for name in root.children[package].module_dict]
        return [*registry.module_dict, *root.module_dict]

    def _registry(self, kind: str) -> Registry:
        root = getattr(mmengine.registry, kind)
        return root if kind in UNSCOPED else root.children.get(self.scope, root)

    def _others(self, name: str) -> list[Registry]:
        """Every registry of MMEngine, of the default scope and of the package that `name` begins with."""
        modules = [importlib.import_module(f"{self.scope}.registry"), mmengine.registry]
        package = name.partition(".")[0]
        if "." in name and any(package in registry.children for registry in _registries(mmengine.registry)):
            modules.insert(0, importlib.import_module(f"{package}.registry"))
        return [registry for module in modules for registry in _registries(module)]


def _registries(module: ModuleType) -> list[Registry]:
    return [value for value in vars(module).values() if isinstance(value, Registry)]


def _get(registry: Registry, name: str) -> Callable | None:
    registry.import_from_location()  # before `get`, so that an import that fails is not taken for an unknown name
    try:
        return registry.get(name)
    except RuntimeError:  # MMEngine's answer for an unknown name
        return None

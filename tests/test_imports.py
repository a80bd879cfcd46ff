"""Which package may import which, read from the source."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "momo"
# Packages by layer: imports point down only, and never sideways within a layer.
LAYERS = (("ops",), ("models", "datasets", "evaluation"), ("engine",), ("interop", "apis"))
LAYER = {package: level for level, packages in enumerate(LAYERS) for package in packages}
TOP_LEVEL = {"registry": {"models", "datasets", "evaluation", "engine", "interop", "apis"}, "stack": {"engine"}}
MODULES = sorted(ROOT.rglob("*.py"))


def imported(path: Path) -> set[str]:
    """The parts of momo that a module imports, by the first name below momo."""
    package = ("momo", *path.relative_to(ROOT).parent.parts)
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) + "." if node.level else ""
            module = (base + (node.module or "")).rstrip(".")
            names = [f"{module}.{alias.name}" for alias in node.names] if module == "momo" else [module]
        else:
            continue
        found |= {name.split(".")[1] for name in names if name.startswith("momo.")}
    return found


def test_every_package_has_its_layer() -> None:
    packages = {path.name for path in ROOT.iterdir() if (path / "__init__.py").exists()}
    assert packages <= set(LAYER)
    modules = {path.stem for path in ROOT.glob("*.py")} - {"__init__"}
    assert modules == set(TOP_LEVEL)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_down(path: Path) -> None:
    parts = path.relative_to(ROOT).parts
    if len(parts) == 1:  # momo/__init__.py, momo/registry.py: whatever they need, they import when it is asked for
        tree = ast.parse(path.read_text(encoding="utf-8"))
        at_once = [node for node in tree.body if isinstance(node, (ast.Import, ast.ImportFrom))]
        assert not [node for node in at_once if "momo" in ast.unparse(node)]
        return
    own = parts[0]
    for other in imported(path) - {own}:
        if other in TOP_LEVEL:
            assert own in TOP_LEVEL[other], f"momo.{own} imports momo.{other}"
        else:
            assert LAYER[other] < LAYER[own], f"momo.{own} imports momo.{other}"


@pytest.mark.parametrize("path", sorted((ROOT / "ops").glob("*.py")), ids=lambda path: path.name)
def test_ops_know_nothing_of_openmmlab(path: Path) -> None:
    assert "mmengine" not in path.read_text(encoding="utf-8").replace("no MMEngine", "").lower()


def fresh(code: str) -> list[str]:
    """What a new interpreter prints."""
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()


def test_importing_momo_is_light() -> None:
    heavy = ("torch", "numpy", "mmengine", "transformers", "mmpretrain")
    assert fresh(f"import sys, momo; print(*[name for name in {heavy} if name in sys.modules])") == []


def test_mmpretrain_is_imported_where_it_is_used() -> None:
    code = (
        "import sys, momo.models, momo.datasets, momo.engine, momo.evaluation\n"
        "print(*[name for name in ('mmpretrain', 'mmcv') if name in sys.modules])"
    )
    assert fresh(code) == []

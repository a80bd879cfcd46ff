"""Build `momo-multimodal`. Metadata and tool settings are in pyproject.toml; this part cannot be written there."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent


def read_version() -> str:
    """The version in momo/__init__.py, read as text: an import would need the requirements."""
    return re.search(r'^__version__ = "(.+)"$', (ROOT / "momo/__init__.py").read_text(), re.MULTILINE).group(1)


def read_requirements(name: str) -> list[str]:
    """The lines of a requirements file that name a package."""
    lines = (
        line.partition("#")[0].strip() for line in (ROOT / "requirements" / f"{name}.txt").read_text().splitlines()
    )
    return [line for line in lines if line]


class BuildWithConfigs(build_py):
    """Put configs, tools and the model index into the wheel as `momo/.mim`, where OpenMMLab's tools look for them.

    They are copied into the build folder, never into the source tree; an editable install reads the source tree itself.
    """

    def run(self) -> None:
        super().run()
        if self.editable_mode:
            return
        target = Path(self.build_lib, "momo", ".mim")
        shutil.rmtree(target, ignore_errors=True)
        for name in ("configs", "tools"):
            shutil.copytree(ROOT / name, target / name, ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("model-index.yml", "dataset-index.yml"):
            if (ROOT / name).exists():
                shutil.copy2(ROOT / name, target / name)


setup(
    name="momo-multimodal",
    version=read_version(),
    description="One transformer encoder for images, text and image-text pairs, on OpenMMLab's stack",
    long_description=(ROOT / "README.md").read_text() if (ROOT / "README.md").exists() else "",
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.10",
    packages=find_packages(include=["momo", "momo.*"]),
    include_package_data=True,
    install_requires=read_requirements("runtime"),
    extras_require={
        "tests": read_requirements("tests"),
        "demo": read_requirements("optional"),
        "app": read_requirements("app"),
        "browser": read_requirements("browser"),
        "cluster": read_requirements("cluster"),
        "doctor": read_requirements("doctor"),
        "projects": read_requirements("projects"),
        "docs": read_requirements("docs"),
        "benchmarks": read_requirements("benchmarks"),
        "onnx": read_requirements("onnx"),
    },
    cmdclass={"build_py": BuildWithConfigs},
    zip_safe=False,
)

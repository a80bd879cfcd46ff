"""Bytes from local files and from URLs, and never from outside the root that a dataset names.

A URL is whatever fsspec reads: s3://, gs://, https://, hf://, memory:// and others, each by its own package, and chains
such as zip://images::s3://bucket/data.zip. Nothing is kept open between reads, so that processes of a loader share no
position and no connection.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple

import fsspec

from .broken import BrokenSample
from .manifest import ImageReference, parse_reference


def is_url(path: str) -> bool:
    return "://" in path


class _Chain(NamedTuple):
    """A URL's parts: `own` has the path, as zip://a.jpg in zip://a.jpg::data.zip; before or after it, others' are."""

    before: str
    own: str
    after: str


def _chain(path: str) -> _Chain:
    if not is_url(path):
        return _Chain("", path, "")
    parts = path.split("::")
    place = next(number for number, part in enumerate(parts) if is_url(part))
    return _Chain("".join(f"{part}::" for part in parts[:place]), parts[place], path.partition(parts[place])[2])


def below(root: str, name: str) -> str:
    """The path of `name`, which is relative to `root` or begins with it.

    Names come from data, so they may not lead out of the root: no '..', no other absolute path, no other URL. A link
    that lies below the root is followed, wherever it points: whoever may put links there owns the folder.

    Raises: BrokenSample if it lies outside the root.
    """
    before, own, after = _chain(root)
    prefix = before + (own if own.endswith("/") else own + "/")
    inner = name.removesuffix(after).removeprefix(prefix) if name.startswith(prefix) else name
    if is_url(inner) or "::" in inner or inner.startswith("/") or ".." in inner.split("/") or "\0" in inner:
        raise BrokenSample("outside the root", f"{name!r} does not lie below {root!r}")
    return prefix + inner + after


def resolve(root: str, reference: str) -> ImageReference:
    """A manifest's reference to an image, with the root before its path.

    Raises: BrokenSample if it is empty or lies outside the root.
    """
    if not reference:
        raise BrokenSample("missing", "the reference to an image is empty")
    parsed = parse_reference(reference)
    return parsed._replace(path=below(root, parsed.path))


@contextmanager
def open_binary(path: str) -> Iterator[BinaryIO]:
    """A file to read from. Its name is no pattern, whatever is in it."""
    if not is_url(path):
        with open(path, "rb") as file:
            yield file
        return
    system, inner = fsspec.core.url_to_fs(path)  # an archive is closed when nobody holds it
    with system.open(inner, "rb") as file:
        yield file


def read_bytes(path: str, offset: int = 0, size: int | None = None) -> bytes:
    """A whole file or a part of it.

    Raises: FileNotFoundError, or another OSError, if it cannot be read; BrokenSample if it ends before the part does.
    """
    data = _read_url(path, offset, size) if is_url(path) else _read_file(path, offset, size)
    if size is not None and len(data) < size:
        raise BrokenSample("truncated", f"{path} ends {size - len(data)} bytes before byte {offset + size}")
    return data


def _read_file(path: str, offset: int, size: int | None) -> bytes:
    with open(path, "rb", buffering=0) as file:
        if size is None:
            return file.read()
        # No more than there is: a wrong size would ask for that much memory.
        size = min(size, os.fstat(file.fileno()).st_size - offset)
        return os.pread(file.fileno(), size, offset) if size > 0 else b""


def _read_url(path: str, offset: int, size: int | None) -> bytes:
    try:
        system, inner = fsspec.core.url_to_fs(path)
        return system.cat_file(inner, offset, None if size is None else offset + size)
    except (OSError, ValueError):
        raise
    except Exception as error:  # each service has its own exceptions, which fsspec passes on
        raise OSError(f"{path} cannot be read: {error}") from error


def fingerprint(path: str) -> str:
    """What changes when the content of a file does: size and time of change, or what the service says of a URL (its
    ETag among others).

    Raises: FileNotFoundError if nothing is there.
    """
    if not is_url(path):
        status = os.stat(path)
        return f"{status.st_size}-{status.st_mtime_ns}"
    system, inner = fsspec.core.url_to_fs(path)
    return system.ukey(inner)


def list_files(root: str, suffixes: tuple[str, ...]) -> list[str]:
    """Files below a folder or a URL whose names end in one of `suffixes`, in any case, in order of their paths.

    Links to folders are followed, but for those that lead back up.
    """
    if is_url(root):
        system, inner = fsspec.core.url_to_fs(root)
        paths = [found_url(root, system, path) for path in system.find(inner)]
    else:
        paths = _walk(root) if os.path.isdir(root) else []
    return sorted((path for path in paths if has_suffix(_chain(path).own, suffixes)), key=os.fsencode)


def has_suffix(name: str, suffixes: tuple[str, ...]) -> bool:
    """Whether a file's name ends in one of these, and it is not what macOS keeps beside a file, as '._a.jpg'."""
    return name.lower().endswith(suffixes) and not posixpath.basename(name).startswith("._")


def _walk(folder: str, above: tuple[str, ...] = ()) -> Iterator[str]:
    """Files below a folder. above: what it lies in, without links."""
    above = (*above, os.path.realpath(folder))
    with os.scandir(folder) as entries:
        for entry in entries:
            if not entry.is_dir():
                yield entry.path
            elif not entry.is_symlink() or not _leads_up(os.path.realpath(entry.path), above):
                yield from _walk(entry.path, above)


def _leads_up(target: str, above: tuple[str, ...]) -> bool:
    """Whether a folder holds one of these."""
    return any(f"{folder}{os.sep}".startswith(f"{target.rstrip(os.sep)}{os.sep}") for folder in above)


def found_url(root: str, system: fsspec.AbstractFileSystem, path: str) -> str:
    """The URL of what a file system of `root` calls `path`."""
    before, own, after = _chain(root)
    if before or after:
        return before + (path if is_url(path) else f"{own.partition('://')[0]}://{path}") + after
    return system.unstrip_protocol(path)


def parent(path: str) -> str:
    """The folder of a file, or its URL."""
    if not is_url(path):
        return str(Path(path).parent)
    before, own, after = _chain(path)
    scheme, slashes, inner = own.partition("://")
    return before + scheme + slashes + posixpath.dirname(inner) + after


def base_name(path: str) -> str:
    return posixpath.basename(_chain(path).own) if is_url(path) else Path(path).name

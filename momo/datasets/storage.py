"""Bytes from local files and from URLs, and never from outside the root that a dataset names.

A URL is whatever fsspec reads: s3://, gs://, https://, hf://, memory:// and others, each by its own package. Nothing is
kept open between reads, so that processes of a loader share no position and no connection.
"""

from __future__ import annotations

import os
import posixpath
from pathlib import Path

import fsspec

from .broken import BrokenSample
from .manifest import ImageReference, parse_reference


def is_url(path: str) -> bool:
    return "://" in path


def below(root: str, name: str) -> str:
    """The path of `name`, which is relative to `root` or begins with it.

    Names come from data, so they may not lead out of the root: no '..', no other absolute path, no other URL. A link
    that lies below the root is followed, wherever it points: whoever may put links there owns the folder.

    Raises: BrokenSample if it lies outside the root.
    """
    prefix = root if root.endswith("/") else root + "/"
    inner = name.removeprefix(prefix)
    if is_url(inner) or "::" in inner or inner.startswith("/") or ".." in inner.split("/") or "\0" in inner:
        raise BrokenSample("outside the root", f"{name!r} does not lie below {root!r}")
    return prefix + inner


def resolve(root: str, reference: str) -> ImageReference:
    """A manifest's reference to an image, with the root before its path.

    Raises: BrokenSample if it is empty or lies outside the root.
    """
    if not reference:
        raise BrokenSample("missing", "the reference to an image is empty")
    parsed = parse_reference(reference)
    return parsed._replace(path=below(root, parsed.path))


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
        return os.pread(file.fileno(), size, offset)


def _read_url(path: str, offset: int, size: int | None) -> bytes:
    system, inner = fsspec.core.url_to_fs(path)
    try:
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
    """Files below a folder or a URL whose names end in one of `suffixes`, in any case, in order of their paths."""
    if is_url(root):
        system, inner = fsspec.core.url_to_fs(root)
        paths = [system.unstrip_protocol(path) for path in system.find(inner)]
    else:
        paths = [os.path.join(folder, name) for folder, _, names in os.walk(root) for name in names]
    return sorted((path for path in paths if path.lower().endswith(suffixes)), key=os.fsencode)


def base_name(path: str) -> str:
    return posixpath.basename(path) if is_url(path) else Path(path).name

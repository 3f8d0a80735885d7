"""Where things lie: a path on this machine or its mounts, or the address of an object (s3://bucket/key, gs://bucket/key)."""

from __future__ import annotations

import os

#: What the address of an object begins with.
REMOTE_SCHEMES = ("s3://", "gs://")


def is_remote(text: str) -> bool:
    """True for the address of an object, False for a path."""
    return text.startswith(REMOTE_SCHEMES)


def absolute(text: str) -> str:
    """The same place from any working folder: addresses lose only a trailing slash. "" stays ""."""
    if not text:
        return text
    return text.rstrip("/") if is_remote(text) else os.path.abspath(text)


def join(location: str, name: str) -> str:
    """``name`` (with forward slashes) inside ``location``; an absolute path or an address stays as it is."""
    if is_remote(name):
        return name
    return f"{location.rstrip('/')}/{name.lstrip('/')}" if is_remote(location) else os.path.join(location, name)


def parent(location: str) -> str:
    """The folder that ``location`` lies in; for an address down to its bucket ("s3://bucket")."""
    if not is_remote(location):
        return os.path.dirname(location) or "."
    scheme, _, path = location.rstrip("/").partition("://")
    bucket, _, key = path.partition("/")
    inside = key.rpartition("/")[0]
    return f"{scheme}://{bucket}/{inside}".rstrip("/")


def name(location: str) -> str:
    """The last part of ``location``, as ``Path.name``; "" for a bucket alone."""
    if not is_remote(location):
        return os.path.basename(location.rstrip("/"))
    return location.rstrip("/").partition("://")[2].partition("/")[2].rpartition("/")[2]


def suffix(location: str) -> str:
    """The suffix with its dot (".mkv"), as ``Path.suffix``; "" without."""
    return os.path.splitext(name(location))[1]

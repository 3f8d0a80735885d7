"""Where things lie: a path on this machine or its mounts, or the address of an object (s3://bucket/key, gs://bucket/key)."""

from __future__ import annotations

import os
import re

from vsalign.errors import InputError

#: What the address of an object begins with.
REMOTE_SCHEMES = ("s3://", "gs://")


def is_remote(text: str) -> bool:
    """True for the address of an object, False for a path."""
    return text.startswith(REMOTE_SCHEMES)


def check_address(address: str) -> None:
    """See that an address names a bucket, holds no credentials and leaves no part of its key empty. Raises InputError.

    Stores take "a//b" and "a/b" for two keys; whoever writes the one by mistake finds nothing under the other.
    """
    scheme, _, path = address.partition("://")
    bucket, _, key = path.partition("/")
    accepted = f"accepted: {scheme}://BUCKET/NAME"
    if without_credentials(address) != address:
        why = "the address holds credentials, which belong in the store's own environment"
        raise InputError(f"{scheme}://***: {why}; {accepted}")
    if not bucket:
        raise InputError(f"{address}: the address names no bucket; {accepted}")
    if key.startswith("/") or "//" in key.rstrip("/"):
        raise InputError(f"{address}: the address has an empty part (//); {accepted}")


def without_credentials(text: str) -> str:
    """``text`` with *** for what stands before the @ of addresses in it (s3://KEY:SECRET@bucket; a secret may hold /)."""
    return re.sub(r"://(?:[^/@\s\"']*:[^@\s\"']*|[^/@\s\"']*)@", "://***@", text)


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

"""The few calls that an object store is made of, for S3 and Google Cloud Storage, over fsspec's file systems.

Both know conditional writes: S3 by If-None-Match and If-Match with the ETag, Google by ifGenerationMatch with the generation.
A client sends a request again when its answer was lost; the second one then fails on the first one's own object, so that every
object carries the token of its write, by which a refused write knows itself.
"""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from tasks.location import check_address
from vsalign.errors import InputError

#: For ``put``: only when the key has no object.
ABSENT = "absent"
#: A file from twice this size on goes up in parts, four at a time, and appears when the last is there.
PART_BYTES = 16 << 20
MOST_PARTS = 9_000
#: The entry of an object's own metadata that tells whose write it is.
TOKEN = "vsalign-write"
#: A connection, and an answer or more of it, are waited for so long; then the client tries again, a few times.
CONNECT_SECONDS, SILENCE_SECONDS = 10.0, 60.0
_PACKAGES = {"s3": "s3fs", "gs": "gcsfs"}
_EXTRAS = {"s3": "s3", "gs": "gcs"}


@dataclass(frozen=True, slots=True)
class ObjectFacts:
    """What is known of an object: its size in bytes, a tag that changes with its content, notes kept with it."""

    size: int
    tag: str
    notes: Mapping[str, str]


class ObjectClient(Protocol):
    """Calls on one bucket; ``key`` is an object's whole name in it. Errors of the client's library go through."""

    def put(self, key: str, data: bytes, condition: str | None = None) -> bool:
        """Write an object; with a condition (ABSENT or a tag) only while it holds, False otherwise."""

    def get(self, key: str) -> tuple[bytes, str] | None:
        """Content and tag, None when absent."""

    def stat(self, key: str) -> ObjectFacts | None:
        """What is known of an object, None when absent."""

    def listing(self, prefix: str, delimiter: str) -> tuple[dict[str, int], set[str]]:
        """(size by key, prefixes that end in ``delimiter``) of all that begins with ``prefix``; "" for no delimiter."""

    def delete(self, keys: Iterable[str]) -> None:
        """Delete; absent keys are no error."""

    def copy(self, source: str, target: str) -> None:
        """Copy inside the bucket. Raises FileNotFoundError."""

    def upload(self, local: Path, key: str, notes: Mapping[str, str]) -> None:
        """A file as an object, whole or not at all."""

    def download(self, key: str, local: Path) -> None:
        """An object as a file."""

    def abort_uploads(self, prefix: str) -> None:
        """Give up what killed processes have sent of objects that begin with ``prefix``, and nobody sees, where it is kept."""


def open_client(location: str) -> tuple[ObjectClient, str]:
    """The client for an address, and the key of the address in its bucket. Raises InputError for a bad address."""
    check_address(location)
    scheme, _, path = location.partition("://")
    bucket, _, key = path.partition("/")
    files = file_system(scheme)
    if scheme == "s3":
        from tasks.s3client import S3Client

        return S3Client(files, bucket), key.strip("/")
    from tasks.gcsclient import GcsClient

    return GcsClient(files, bucket), key.strip("/")


def file_system(scheme: str) -> Any:
    """The fsspec file system of "s3" or "gs", one per process and environment, which never remembers listings.

    Endpoint and credentials come from the store's own environment. Raises InputError when the package is not installed.
    """
    own = tuple(sorted(item for item in os.environ.items() if item[0].startswith(("AWS_", "GOOGLE_", "GCLOUD_", "STORAGE_"))))
    return _file_system(scheme, os.getpid(), hash(own))


@functools.lru_cache(maxsize=4)
def _file_system(scheme: str, pid: int, environment: int) -> Any:
    options: dict[str, Any] = {"use_listings_cache": False, "skip_instance_cache": True}
    try:
        if scheme == "s3":
            from s3fs import S3FileSystem

            return S3FileSystem(**options, config_kwargs={"connect_timeout": CONNECT_SECONDS, "read_timeout": SILENCE_SECONDS})
        # Without them a server that falls silent is waited for without end.
        from aiohttp import ClientTimeout

        # The plain class: the extended one asks another service what kind of bucket it is.
        from gcsfs.core import GCSFileSystem
    except ImportError:
        raise InputError(
            f"{scheme}:// needs the package {_PACKAGES[scheme]}; pip install 'vsalign[{_EXTRAS[scheme]}]' installs it"
        ) from None
    # It logs every refused request with its traceback, those too that we expect.
    logging.getLogger("gcsfs").setLevel(logging.CRITICAL)
    silence = ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=SILENCE_SECONDS)
    return GCSFileSystem(**options, requests_timeout=silence)


def part_bytes(size: int) -> int:
    """Bytes of each part of a file of ``size``: stores limit their number, and Google wants multiples of 256 KiB."""
    least = -(-size // MOST_PARTS)
    return max(PART_BYTES, -(-least // (1 << 18)) * (1 << 18))

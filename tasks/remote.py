"""Where films are read from: paths on this machine, or objects of a store (s3://, gs://) through the node's block cache.

What a worker fetches of a remote film to render a chunk: the container's head and its list of key frames once per node, then
the bytes from the key frame that decoding starts at to the chunk's last frame, in blocks of 128 KiB, and at most a sixteenth
more. Streams that lie between (sound, in most containers) come with them. Transport streams have no list of key frames: there
a jump costs a dozen blocks. Reads are pinned to the version that was probed.
"""

from __future__ import annotations

import hashlib
import os

from tasks.blockcache import node_cache
from tasks.errors import TaskError
from tasks.location import is_remote
from tasks.objectread import bytes_fetched, open_object
from tasks.remotefile import RemoteFile
from tasks.sequence import find_sequence
from vsalign.errors import InputError

__all__ = [
    "RemoteFile",
    "bytes_fetched",
    "open_source",
    "read_range",
    "size_if_there",
    "source_sha256",
    "source_size",
    "source_version",
]

_PIECE_BYTES = 1 << 20


def open_source(path: str, version: str = "", through: bool = False) -> str | RemoteFile:
    """What ``av.open`` takes: a local path as it is, an object as a seekable file.

    ``version``: what :func:`source_version` gave when the film was probed; "" takes the one that is there. ``through``: it will
    be read from end to end. Raises FileNotFoundError and IsADirectoryError for an object that is none, SourceChanged when it is
    not of ``version`` any more, StorageError when the store refuses or cannot be reached.
    """
    return RemoteFile(open_object(path, version), node_cache(), through) if is_remote(path) else path


def source_size(path: str, version: str = "") -> int:
    """Bytes of a file, an object or all files of an image sequence; raises as :func:`open_source`, OSError, and InputError for
    a sequence with a gap."""
    if (sequence := find_sequence(path)) is not None:
        return sequence.size()
    return open_object(path, version).size if is_remote(path) else os.path.getsize(path)


def source_version(path: str) -> str:
    """What changes when the object at ``path`` is written again (ETag, generation); "" for local files."""
    return open_object(path).version if is_remote(path) else ""


def read_range(path: str, start: int, stop: int | None = None, version: str = "") -> bytes:
    """Bytes [start, stop) of a file or an object, fewer only at its end; raises as :func:`source_size`."""
    source = open_source(path, version)
    with open(source, "rb") if isinstance(source, str) else source as file:
        file.seek(start)
        return file.read(-1 if stop is None else max(stop - start, 0))


def source_sha256(path: str, version: str = "") -> str:
    """Hex sha256 of all bytes of a file, an object or an image sequence; raises as :func:`source_size`."""
    if (sequence := find_sequence(path)) is not None:
        return sequence.sha256()
    source, digest = open_source(path, version, through=True), hashlib.sha256()
    with open(source, "rb") if isinstance(source, str) else source as file:
        while piece := file.read(_PIECE_BYTES):
            digest.update(piece)
    return digest.hexdigest()


def size_if_there(path: str) -> int:
    """:func:`source_size`, or 0 for what is not there or cannot be reached."""
    try:
        return source_size(path)
    except (OSError, TaskError, InputError):
        return 0

"""Which streams an output container can hold: asked of FFmpeg's muxers, by writing a header in memory; and which stay
in time when they are copied."""

from __future__ import annotations

import io
from collections.abc import Sequence
from contextlib import suppress
from itertools import dropwhile

import av
from av.stream import AttachmentStream, Disposition, Stream

from tasks.codecs import CONTAINERS
from tasks.openfilm import captured_log, open_container
from tasks.streamcheck import is_cover


def not_held(path: str, version: str, indexes: Sequence[int], container: str) -> tuple[int, ...]:
    """Of streams ``indexes`` of a film those that ``container`` (FFmpeg's muxer name) can't hold; an object's ``version``."""
    with open_container(path, version) as film:
        return tuple(index for index in indexes if not _holds(container, film.streams[index]))


def holders(path: str, version: str, indexes: Sequence[int]) -> tuple[str, ...]:
    """The extensions of the outputs that can hold all these streams."""
    return tuple(ending for ending, name in CONTAINERS.items() if not not_held(path, version, indexes, name))


def cut_by_edits(path: str, version: str, indexes: Sequence[int]) -> tuple[int, ...]:
    """Of streams ``indexes`` of a film those of whose packets an edit list leaves some out after the first that is heard: the
    rest does not fit together at whole packets."""
    with open_container(path, version) as film:
        if "mov" not in film.format.name:
            return ()
        return tuple(index for index in indexes if _is_cut(film.streams[index]))


def _is_cut(stream: Stream) -> bool:
    heard = dropwhile(lambda entry: entry.is_discard, stream.index_entries)
    return any(entry.is_discard for entry in heard)


def _holds(container: str, stream: Stream) -> bool:
    if isinstance(stream, AttachmentStream) or (is_cover(stream) and container != "mp4"):
        return container == "matroska"  # to which covers are attachments; in mov they would be films of one picture
    scratch = av.open(io.BytesIO(), "w", format=container)
    try:
        with captured_log(av.logging.PANIC):
            copy = scratch.add_stream_from_template(stream, opaque=True)
            if is_cover(stream):
                copy.disposition = Disposition.attached_pic
            scratch.start_encoding()  # some muxers list a codec and refuse it only now
    except (av.FFmpegError, ValueError):
        return False
    finally:
        with suppress(av.FFmpegError):
            scratch.close()
    return True

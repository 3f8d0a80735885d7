"""A film's path or address -> its opened container and the video stream that is meant."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import av
from av.codec.hwaccel import HWAccel
from av.container import InputContainer
from av.video.stream import VideoStream

from tasks.messages import Source
from tasks.remote import RemoteFile, open_source, source_version
from tasks.sequence import find_sequence
from vsalign.errors import InputError

#: FFmpeg's log level belongs to the whole process.
_log_level = threading.RLock()
#: Pictures a second of an image sequence for which no rate is given.
SEQUENCE_RATE = 25
KINDS = ("video", "audio", "subtitle", "data", "attachment")
#: Demuxers that make pictures out of things that are no film (a text file would "play" as a scrolling terminal).
_NOT_FILMS = ("tty", "lrc", "srt", "ass", "webvtt", "sbg", "bin", "xbin", "idf", "adf")


def version_of(source: Source) -> str:
    """:func:`tasks.remote.source_version` of a film. Raises InputError for one that is not there, StorageError."""
    find_sequence(source.path)
    with _one_line_errors(source.path):
        return source_version(source.path)


@contextmanager
def _one_line_errors(path: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except IsADirectoryError:
        raise InputError(f"{path}: is a folder, not a video file") from None
    except PermissionError:
        raise InputError(f"{path}: may not be read (permission denied)") from None
    except (av.FFmpegError, OSError) as error:
        raise InputError(f"{path}: not a readable video file ({_reason(error)})") from None


@contextmanager
def captured_log(level: int) -> Iterator[list[tuple[int, str, str]]]:
    """FFmpeg's log lines (level, who, text) of this thread while the block runs; the process-wide level is put back."""
    with _log_level:
        before, skips = av.logging.get_level(), av.logging.get_skip_repeated()
        av.logging.set_level(level)
        av.logging.set_skip_repeated(False)  # a fault that is met twice would be told once
        try:
            with av.logging.Capture(local=True) as log:
                yield log
        finally:
            av.logging.set_level(before)
            av.logging.set_skip_repeated(skips)


def _reason(error: Exception) -> str:
    """FFmpeg's last log line says more than its error name ("moov atom not found")."""
    log = getattr(error, "log", None)
    text = log[2] if log else getattr(error, "strerror", None) or str(error)
    return " ".join(str(text).split())


def open_stream(
    source: Source,
    version: str = "",
    through: bool = False,
    hwaccel: HWAccel | None = None,
    *,
    errors: list[str] | None = None,
) -> tuple[InputContainer, VideoStream]:
    """The opened file (the caller closes it) and the chosen video stream, all others discarded; decoded by ``hwaccel``, if any.

    ``version`` and ``through`` as :func:`tasks.remote.open_source` takes them. ``errors`` gets what FFmpeg found wrong and went
    on from. Raises InputError; for a remote film StorageError and SourceChanged, as do all reads from it.
    """
    with _one_line_errors(source.path):
        opened, how = _opening(source, version, through)
        with captured_log(av.logging.ERROR) as log:  # so that the error brings the log line that explains it
            container = av.open(opened, "r", hwaccel=hwaccel, metadata_errors="replace", **how)
    if errors is not None:
        errors += [line for _, _, line in log]
    try:
        return container, _video_stream(container, source)
    except BaseException:
        container.close()
        raise


def open_container(path: str, version: str = "") -> InputContainer:
    """A source with all its streams, for copying; the caller closes it. Raises as opening a file does."""
    opened, how = _opening(Source(path), version, through=False)
    container: InputContainer = av.open(opened, "r", metadata_errors="replace", **how)
    return container


def _opening(source: Source, version: str, through: bool) -> tuple[str | RemoteFile, dict[str, Any]]:
    """What ``av.open`` takes, and how."""
    sequence = find_sequence(source.path)
    if sequence is None:
        if source.rate is not None:
            raise InputError(
                f"{source}: a film has its own times; a rate (#fps) is accepted for image sequences (frame_%04d.png)"
            )
        return open_source(source.path, version, through), {}
    rate = source.rate or SEQUENCE_RATE
    options = {"framerate": str(rate), "start_number": str(sequence.first), "pattern_type": "sequence"}
    return sequence.ffmpeg_path(), {"format": "image2", "options": options}


def _video_stream(container: InputContainer, source: Source) -> VideoStream:
    if container.format.name in _NOT_FILMS:
        raise InputError(f"{source.path}: not a video file (it reads as {container.format.name!r})")
    attached = av.stream.Disposition.attached_pic
    streams = [s for s in container.streams.video if not s.disposition & attached]
    if not streams:
        raise InputError(f"{source.path}: no video stream ({_count_streams(container)})")
    if source.video_stream >= len(streams):
        last = len(streams) - 1
        accepted = "#v:0" if last == 0 else f"#v:0 to #v:{last}"
        raise InputError(f"{source}: the file has {len(streams)} video stream{'s' * (last > 0)}; accepted are {accepted}")
    chosen = streams[source.video_stream]
    if chosen.codec_context is None:
        raise InputError(f"{source}: no decoder for this video stream")
    for other in container.streams:
        if other.index != chosen.index:
            other.discard = av.stream.Discard.all
    return chosen


def _count_streams(container: InputContainer) -> str:
    kinds = [s.type for s in container.streams]
    counts = [f"{kinds.count(kind)} {kind}" for kind in KINDS if kind in kinds]
    return "it has " + ", ".join(counts) if counts else "it has no streams at all"

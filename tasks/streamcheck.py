"""What a film holds beside its picture: counted and hashed while it is written, found again in the finished file, compared.

A packet's bytes are what counts: FFmpeg cuts some streams into other packets when it reads them (PCM in mp4 and mov), so a
stream's hash goes over all its bytes in order.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any

import av
from av.container import InputContainer
from av.packet import Packet
from av.stream import AttachmentStream, DataStream, Disposition, Stream
from av.video.stream import VideoStream

from tasks.contents import AttachmentSum, ChapterMark, Contents, StreamSums, content_problems, label_problems
from tasks.streamlabels import labels_of, language_of, tags_of

_NO_TEXT = b"\0\0"


@dataclass(slots=True)
class RunningSum:
    """The packets of one stream as they pass by. Empty ones of mov_text, which fill the time in which nothing is said, don't
    count: the muxer makes its own."""

    codec: str
    num_packets: int = 0
    start_seconds: float = 0.0
    _digest: Any = field(default_factory=hashlib.sha256)

    def take(self, packet: Packet[Any]) -> bool:
        """False for one that does not count."""
        if self.codec == "mov_text" and bytes(packet) == _NO_TEXT:
            return False
        if not self.num_packets and packet.pts is not None:
            self.start_seconds = float(packet.pts * packet.time_base)
        self.num_packets += 1
        self._digest.update(memoryview(packet))
        return True

    def of(self, kind: str, codec: str, language: str) -> StreamSums:
        digest = self._digest.hexdigest()
        return StreamSums(kind, codec, language, self.num_packets, digest, round(self.start_seconds, 4))


class ContentsWatch:
    """Finds out what ``container`` holds beside its picture while its packets are demuxed (``take``)."""

    def __init__(self, container: InputContainer) -> None:
        self._container = container
        self._sums = {s.index: RunningSum(codec_name(s)) for s in container.streams if is_copied(s)}
        self._covers: dict[int, AttachmentSum] = {}

    @property
    def picture(self) -> VideoStream | None:
        """The film's own video stream."""
        return next((stream for stream in self._container.streams.video if not is_still(stream)), None)

    @property
    def streams(self) -> list[Stream]:
        """Those whose packets are wanted."""
        return [s for s in self._container.streams if s.index in self._sums or is_cover(s)]

    def take(self, packet: Packet[Any]) -> None:
        if not packet.size:
            return
        if packet.stream_index in self._sums:
            self._sums[packet.stream_index].take(packet)
        elif is_cover(packet.stream) and packet.stream_index not in self._covers:
            self._covers[packet.stream_index] = attachment_sum(True, packet.stream.metadata.get("filename", ""), bytes(packet))

    def found(self) -> Contents:
        """To be called when all packets are through."""
        container, streams, labels = self._container, [], []
        attached = list(self._covers.values())
        for stream in container.streams:
            if stream.index in self._sums:
                streams.append(self._sums[stream.index].of(stream.type, codec_name(stream), language_of(stream.metadata)))
                labels.append(labels_of(stream))
            elif isinstance(stream, AttachmentStream):
                attached.append(attachment_sum(False, stream.name or "", stream.data))
        picture = labels_of(self.picture) if self.picture else ()
        return Contents(
            tuple(streams), tuple(attached), chapters_of(container), tags_of(container.metadata), (picture, *labels)
        )


def is_cover(stream: Stream) -> bool:
    """A still picture about the film, and none of the pictures of chapters that QuickTime has."""
    flags = stream.disposition
    return bool(flags & Disposition.attached_pic) and not flags & Disposition.timed_thumbnails


def is_still(stream: Stream) -> bool:
    """A cover, or the pictures of chapters."""
    return bool(stream.disposition & (Disposition.attached_pic | Disposition.timed_thumbnails))


def is_copied(stream: Stream) -> bool:
    """Sound and text. Data streams are none of them: FFmpeg makes up its own for chapters and time codes."""
    return stream.type in ("audio", "subtitle")


def codec_name(stream: Stream) -> str:
    """FFmpeg's; "" of a stream that it has no codec for."""
    if stream.codec_context is not None:
        return stream.codec_context.codec.canonical_name
    return (stream.name or "") if isinstance(stream, DataStream) else ""


def attachment_sum(is_cover: bool, name: str, data: bytes) -> AttachmentSum:
    return AttachmentSum(is_cover, name, len(data), hashlib.sha256(data).hexdigest())


def chapters_of(container: InputContainer) -> tuple[ChapterMark, ...]:
    marks = [(c["start"] * (c["time_base"] or 0), c["metadata"].get("title", "")) for c in container.chapters()]
    return tuple(ChapterMark(round(float(start), 3), title) for start, title in sorted(marks, key=lambda mark: mark[0]))


def contents_of(path: str) -> Contents:
    """What the file at ``path`` holds, by demuxing it once. Raises av.FFmpegError and OSError."""
    with av.open(path, "r") as container:
        watch = ContentsWatch(container)
        if watch.streams:
            for packet in container.demux(*watch.streams):
                watch.take(packet)
        return watch.found()


def stream_problems(path: str, expected: Contents) -> list[str]:
    """One line for each way in which the finished film at ``path`` holds beside its picture what it should not, or not what it
    should; an unreadable file is one too. Reads it once, and memory does not grow with it."""
    try:
        found = contents_of(path)
    except (av.FFmpegError, OSError, UnicodeDecodeError) as error:
        return [f"{path} cannot be read: {error}"]
    return [*content_problems(found, expected), *label_problems(found, expected)]

"""All packets of a video stream, read once from end to end, and what shows of damage on the way."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import av
from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from tasks.messages import Source
from tasks.notcoded import NotCoded
from tasks.openfilm import captured_log
from tasks.packets import PacketTable, hides_its_frame, packet_table
from tasks.remote import source_size
from tasks.wholeness import missing_bytes

#: pts, duration, key, size, visible, dts
type Row = tuple[int | None, int, bool, int, bool, int | None]


@dataclass(frozen=True, slots=True, eq=False)
class PacketsFound:
    """``table``: all whole packets, in file order. ``cut_off``: the file ends before it should. ``corrupt``: ranks of packets
    that the container calls damaged. ``errors``: what FFmpeg complained of and went on from."""

    table: PacketTable
    cut_off: bool
    corrupt: tuple[int, ...]
    errors: tuple[str, ...]


def read_packets(container: InputContainer, stream: VideoStream, source: Source, version: str) -> PacketsFound:
    """Demux ``stream`` without decoding it."""
    codec, file_size = stream.codec_context.codec.canonical_name, source_size(source.path, version)
    rows: list[Row] = []
    corrupt: list[int] = []
    not_coded = NotCoded(stream.codec_context.extradata or b"") if codec == "mpeg4" else None
    cut_off = False
    with captured_log(av.logging.ERROR) as log:
        try:
            for packet in container.demux(stream):
                if not packet.size:
                    continue  # the flush packet that closes every stream
                if packet.pos is not None and packet.pos + packet.size > file_size:
                    cut_off = True
                    continue
                if packet.is_corrupt:
                    corrupt.append(len(rows))
                visible = not packet.is_discard and not hides_its_frame(codec, memoryview(packet))
                duration = packet.duration or 0
                if visible and not_coded and not_coded.shows_nothing(bytes(packet)):
                    visible = False
                    _prolong_last(rows, duration)
                rows.append((packet.pts, duration, packet.is_keyframe, packet.size, visible, packet.dts))
        except av.FFmpegError:
            cut_off = True
    while corrupt and corrupt[-1] == len(rows) - 1:  # what a file's end cut off
        rows.pop()
        corrupt.pop()
        cut_off = True
    # MP4 lists all samples up front: one that lies past the file's end was cut off
    cut_off = cut_off or any(entry.pos + entry.size > file_size for entry in stream.index_entries)
    # Last: by now a remote film's blocks are on this machine.
    cut_off = cut_off or missing_bytes(source.path, container.format.name, version) > 0
    table = packet_table(*zip(*rows, strict=True)) if rows else packet_table([], [], [], [], [])
    return PacketsFound(table, cut_off, tuple(corrupt), tuple(line for _, _, line in log))


def _prolong_last(rows: list[Row], ticks: int) -> None:
    """The last frame so far is shown for longer."""
    at = next((at for at in range(len(rows) - 1, -1, -1) if rows[at][4]), None)
    if at is not None:
        pts, duration, *others = rows[at]
        rows[at] = (pts, duration + ticks, *others)  # type: ignore[assignment]


def packets_to_the_end(container: InputContainer, stream: VideoStream) -> Iterator[Packet[VideoStream]]:
    """Packets up to where the demuxer gives up; the flush packet, for what the decoder still holds, comes in any case."""
    try:
        yield from container.demux(stream)
    except av.FFmpegError:
        flush = Packet()
        flush.stream = stream
        yield flush  # type: ignore[misc]

"""Which packets of a stream show a frame, and in which order: found by decoding all of it once, where timestamps don't say."""

from __future__ import annotations

import re
from collections.abc import Iterator

import av
from av.codec.context import ThreadType

from tasks.frametimes import ShownFrame
from tasks.messages import Source
from tasks.openfilm import open_stream
from tasks.packetread import packets_to_the_end

#: H.264 has no longer way from decoding to showing; without it a decoder drops frames until it has found the stream's own.
_DEEPEST_REORDER = 16
#: What DivX wrote into the stream's head when it packed frames.
_PACKED = re.compile(rb"DivX\d+b\d+p")


def packs_frames(source: Source, version: str) -> bool:
    """True for MPEG-4 as DivX stored it: a B frame lies in the packet of the P frame before it, an empty one in its place."""
    container, stream = open_stream(source, version)
    with container:
        first = next((packet for packet in packets_to_the_end(container, stream) if packet.size), None)
        return first is not None and _PACKED.search(bytes(first)) is not None


def shown_frames(source: Source, version: str, threads: int = 0) -> list[ShownFrame]:
    """All frames that decoding gives, in the order in which they are shown; frames of damaged packets may be missing.

    ``rank`` counts packets in file order, as the frame index does. Pictures are not made well (no deblocking), only in the
    right order. ``threads`` 0: as the machine has cores.
    """
    container, stream = open_stream(source, version)
    with container:
        stream.thread_count, stream.thread_type = threads, ThreadType.AUTO
        context = stream.codec_context
        context.options = {"skip_loop_filter": "all"}
        if context.codec.canonical_name == "h264":
            context.reorder_depth = max(context.reorder_depth, _DEEPEST_REORDER)
        return list(_shown(container, stream))


def _shown(container: av.container.InputContainer, stream: av.VideoStream) -> Iterator[ShownFrame]:
    rank = 0
    for packet in packets_to_the_end(container, stream):
        if packet.size:
            # Without a decode time the decoder can't mistake one for the other.
            packet.pts, packet.dts, rank = rank, None, rank + 1
        try:
            for frame in packet.decode():
                if frame.pts is not None:
                    yield ShownFrame(frame.pts, bool(frame.interlaced_frame), bool(frame.is_corrupt))
        except av.FFmpegError:
            continue

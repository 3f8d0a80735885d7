"""Frame numbers -> pictures, each equal to what linear decoding of the whole file gives."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from itertools import chain
from types import TracebackType

import av
import numpy as np
import numpy.typing as npt
from av.codec.context import ThreadType
from av.container import InputContainer
from av.packet import Packet
from av.video.reformatter import ColorRange, Interpolation, VideoReformatter
from av.video.stream import VideoStream

from tasks.errors import DecodeError
from tasks.formats import is_planar_name, planar_format
from tasks.messages import Probe
from tasks.openfilm import open_stream
from tasks.seekplan import FILE_START, SeekPlan, reorder_depth
from vsalign.frames import FrameRange
from vsalign.picture import RANGE_FULL, ColourTags, Picture, Plane, SampleFormat

_KEPT_PICTURES = 2
#: Where a start gives no right picture, try again this many key frames earlier, then from the file's first packet.
_EARLIER_STARTS = (0, 1, 4)
#: A container may land behind the key frame asked for; so many key frames further back are tried.
_SEEK_TRIES = 3
#: Every flag that makes swscale give the same samples on every machine.
_EXACT = Interpolation.ACCURATE_RND | Interpolation.BITEXACT
#: Limited-range luma -> full range.
_EXPANDED = np.clip(np.rint((np.arange(256) - 16) * 255 / 219), 0, 255).astype(np.uint8)


class FrameReader:
    """Reads one video stream by frame number; a context manager, one decoder, memory independent of the film's length.

    ``threads`` are the decoder's; the pictures don't depend on them. With ``only_thumbs`` frames that no other frame is
    predicted from go without the codec's deblocking: :meth:`thumbs` hardly sees it and comes sooner, the rest is refused.
    """

    def __init__(self, probe: Probe, threads: int = 1, *, only_thumbs: bool = False) -> None:
        self._info, self._index, self._threads = probe.info, probe.index, max(1, threads)
        self._only_thumbs = only_thumbs
        self._plan = SeekPlan.of(probe.index, probe.info.codec)
        self._reorder_depth = reorder_depth(probe.index.packet)
        self._container: InputContainer | None = None
        self._stream: VideoStream | None = None
        self._coming: Iterator[tuple[int, av.VideoFrame]] = iter(())
        self._next_frame: int | None = None
        self._kept: OrderedDict[int, Picture] = OrderedDict()
        self._reformatter = VideoReformatter()

    def __enter__(self) -> FrameReader:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the file and forget all pictures; reading again opens it anew."""
        self._kept.clear()
        self._close_file()

    def pictures(self, wanted: Iterable[int]) -> Iterator[tuple[int, Picture]]:
        """(frame number, picture) for each wanted number, in the order asked; ascending numbers cost one pass.

        Raises IndexError for a number outside the index, DecodeError when the file doesn't give the frame, ValueError from a
        reader of thumbs alone.
        """
        if self._only_thumbs:
            raise ValueError("this reader was opened for thumbs alone, accepted is one without only_thumbs")
        for frame in wanted:
            if frame not in self._kept:
                self._keep(frame, self._picture(self._decoded(frame), frame))
            self._kept.move_to_end(frame)
            yield frame, self._kept[frame]

    def thumbs(self, frames: FrameRange, width: int, height: int) -> Iterator[tuple[int, npt.NDArray[np.uint8]]]:
        """(frame number, luma (height, width) uint8, 0 black to 255 white) of a run of frames, averaged down by area."""
        for frame in frames:
            yield frame, self.thumb(self._decoded(frame), width, height)

    def thumb(self, frame: av.VideoFrame, width: int, height: int) -> npt.NDArray[np.uint8]:
        """Luma (height, width) uint8 of a decoded frame of this stream, as :meth:`thumbs` gives it."""
        small = self._reformatter.reformat(
            frame,
            width=width,
            height=height,
            format="gray",
            interpolation=Interpolation.AREA | _EXACT,
            dst_color_range=ColorRange.JPEG,
            threads=1,
        )
        thumb = _plane(small, 0, planar_format("gray")).astype(np.uint8, copy=False)
        layout, colour = planar_format(frame.format.name), _colour_of(frame, self._info.colour)
        # swscale takes all gray for full range; here untagged gray is limited, as everywhere in this project
        return _EXPANDED[thumb] if layout.family == "gray" and colour.range != RANGE_FULL else thumb

    def _keep(self, frame: int, picture: Picture) -> None:
        self._kept[frame] = picture
        while len(self._kept) > _KEPT_PICTURES:
            self._kept.popitem(last=False)

    # --- from frame number to decoded frame

    def _decoded(self, frame: int) -> av.VideoFrame:
        if not 0 <= frame < len(self._index):
            raise IndexError(f"{self._info.source}: frame {frame} is outside [0, {len(self._index)})")
        found: av.VideoFrame | None = None
        for start in self._starts(frame):
            if start is not None and not self._start(start):
                continue
            found = self._run_to(frame)
            if found is not None and not found.is_corrupt:
                return found
        if found is None:
            raise DecodeError(str(self._info.source), frame, f"no picture with PTS {self._index.pts[frame]} comes out")
        return found  # damage that linear decoding shows as well is the source's own

    def _starts(self, frame: int) -> Iterator[int | None]:
        """Where to decode from, best guess first: None (go on from here), key frames ever earlier, at last the file's start."""
        if self._next_frame is not None and not self._plan.worth_seeking(frame, self._next_frame):
            yield None
        keys = {self._plan.start_key(frame, earlier): None for earlier in _EARLIER_STARTS}
        yield from keys
        if FILE_START not in keys:
            yield FILE_START

    def _run_to(self, frame: int) -> av.VideoFrame | None:
        for number, decoded in self._coming:
            self._next_frame = number + 1
            if number >= frame:
                return decoded if number == frame else None
        self._next_frame = None
        return None

    # --- starting exactly at a key frame

    def _start(self, key: int) -> bool:
        """Let decoding begin exactly at key frame ``key``, wherever the container's own seek lands; False: it is not found."""
        packets = next(self._landings(key), None)
        if packets is None:
            return False
        self._next_frame = int(self._plan.key_frames[key]) if key >= 0 else 0
        self._coming = self._frames(packets, int(self._plan.key_ranks[key]) if key >= 0 else 0)
        return True

    def _landings(self, key: int) -> Iterator[Iterator[Packet[VideoStream]]]:
        """Packets from key frame ``key`` on: by seeking to it, to ones before it, at last by reading from the file's start."""
        for target in range(key, max(FILE_START, key - _SEEK_TRIES), -1):
            container, stream = self._opened()
            try:
                container.seek(int(self._index.pts[self._plan.key_frames[target]]), stream=stream)
            except av.FFmpegError:
                continue
            if (packets := self._from_key(_demuxed(container, stream), key)) is not None:
                yield packets
        self._close_file()
        if (packets := self._from_key(_demuxed(*self._opened()), key)) is not None:
            yield packets

    def _from_key(self, packets: Iterator[Packet[VideoStream]], key: int) -> Iterator[Packet[VideoStream]] | None:
        """Skip to the packet of key frame ``key``; None if reading began behind it."""
        if key == FILE_START:
            return packets
        frame, rank = int(self._plan.key_frames[key]), int(self._plan.key_ranks[key])
        for packet in packets:
            number = self._number(packet.pts)
            if number == frame and packet.size == self._index.packet_bytes[frame]:
                return chain((packet,), packets)
            if number is not None and self._index.packet[number] > rank:
                return None
        return None

    def _frames(self, packets: Iterator[Packet[VideoStream]], rank: int) -> Iterator[tuple[int, av.VideoFrame]]:
        """(frame number, decoded frame) from packets beginning with ``rank``; ends where they are not those of the index."""
        for packet in packets:
            if packet.size and not packet.is_corrupt:
                if not self._is_as_indexed(packet, rank):
                    return
                rank += 1
            try:
                decoded = packet.decode()
            except av.FFmpegError:
                continue  # whether a promised frame is lost shows when it doesn't come
            for frame in decoded:
                if (number := self._number(frame.pts)) is not None:
                    yield number, frame

    def _is_as_indexed(self, packet: Packet[VideoStream], rank: int) -> bool:
        """Compare a packet with the one of ``rank`` in the index, and give it that one's PTS: behind a seek some containers
        (MPEG program streams) know only every few of them."""
        frame = self._plan.frame_of(rank)
        if frame is None:
            return True  # shows nothing, or its frame left the index
        packet.pts = int(self._index.pts[frame])
        return packet.size == int(self._index.packet_bytes[frame])

    def _number(self, pts: int | None) -> int | None:
        if pts is None:
            return None
        at = int(np.searchsorted(self._index.pts, pts))
        return at if at < len(self._index) and self._index.pts[at] == pts else None

    def _opened(self) -> tuple[InputContainer, VideoStream]:
        self._coming = iter(())  # lets go of the old demuxer before the file moves
        if self._container is None:
            self._container, self._stream = open_stream(self._info.source, self._info.version)
            self._stream.thread_count = self._threads
            self._stream.thread_type = ThreadType.AUTO if self._threads > 1 else ThreadType.SLICE
            if self._only_thumbs:
                # Of frames that others are predicted from all must be right: errors would add up and depend on the key frame.
                self._stream.codec_context.options = {"skip_loop_filter": "noref"}
        assert self._stream is not None
        if self._info.codec == "h264":
            # a flushed H.264 decoder forgets how far pictures are reordered and would drop some
            context = self._stream.codec_context
            context.reorder_depth = max(context.reorder_depth, self._reorder_depth)
        return self._container, self._stream

    def _close_file(self) -> None:
        self._coming, self._next_frame = iter(()), None
        if self._container is not None:
            self._container.close()
            self._container = self._stream = None

    # --- from decoded frame to arrays

    def _picture(self, frame: av.VideoFrame, number: int) -> Picture:
        info = self._info
        if (frame.width, frame.height) != (info.width, info.height):
            found = f"it is {frame.width}x{frame.height}, the stream began as {info.width}x{info.height}"
            raise DecodeError(str(info.source), number, found)
        return picture_of(frame, info.colour, self._reformatter)


def picture_of(frame: av.VideoFrame, stream_colour: ColourTags, reformatter: VideoReformatter) -> Picture:
    """A decoded frame as planar arrays of its own, every sample unchanged, alpha dropped; InputError for float formats."""
    layout, colour = planar_format(frame.format.name), _colour_of(frame, stream_colour)
    if not is_planar_name(frame.format.name):
        frame = reformatter.reformat(frame, format=layout.name, interpolation=_EXACT, threads=1)
    return Picture(tuple(_plane(frame, i, layout) for i in range(layout.num_planes)), layout, colour)


def _demuxed(container: InputContainer, stream: VideoStream) -> Iterator[Packet[VideoStream]]:
    try:
        yield from container.demux(stream)
    except av.FFmpegError:  # a cut file: what the decoder still holds must come out
        flush = Packet()
        flush.stream = stream
        yield flush  # type: ignore[misc]


def _plane(frame: av.VideoFrame, number: int, layout: SampleFormat) -> Plane:
    """A copy of one plane, since the decoder will use its buffer again."""
    plane = frame.planes[number]
    dtype = np.dtype("<u2" if layout.bit_depth > 8 else np.uint8)
    rows = np.frombuffer(plane, dtype=dtype).reshape(plane.height, abs(plane.line_size) // dtype.itemsize)
    if plane.line_size < 0:
        rows = rows[::-1]
    return np.array(rows[:, : plane.width], order="C", copy=True)


def _colour_of(frame: av.VideoFrame, stream: ColourTags) -> ColourTags:
    """The frame's own tags; what it leaves open is taken from the stream."""
    full = frame.format.name.startswith("yuvj")
    return ColourTags(
        primaries=_either(frame.color_primaries, stream.primaries, 2),
        transfer=_either(frame.color_trc, stream.transfer, 2),
        matrix=_either(frame.colorspace, stream.matrix, 2),
        range=RANGE_FULL if full else _either(frame.color_range, stream.range, 0),
        chroma_location=stream.chroma_location,
    )


def _either(own: int, otherwise: int, unspecified: int) -> int:
    return int(own) if own != unspecified else otherwise

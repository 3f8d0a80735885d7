"""One open video stream, decoded onwards from exactly the key frame asked for; tells what damage it meets on the way."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from itertools import chain, islice

import av
import numpy as np
from av.codec.context import ThreadType
from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from tasks.errors import fault_of, unreadable
from tasks.messages import Probe
from tasks.openfilm import captured_log, open_stream
from tasks.seekplan import FILE_START, SeekPlan, reorder_depth
from tasks.spread import Run, Spread

#: A container may land behind the key frame asked for; so many key frames further back are tried.
_SEEK_TRIES = 3
#: Decoders that show damaged pictures without a flag and say so only in FFmpeg's log, and in which words.
_ONLY_LOGGED = {"ffv1": "CRC mismatch", "hevc": r"find ref|frame RPS|POC|PPS id|[Ss]lice|refs|ref_idx|MVP|alignment_bit"}
#: No packet has this rank.
_NEVER = np.iinfo(np.int64).max

FLAGGED = "the container flags its data as damaged"
GUESSED = "the decoder had to guess parts of it"
ABSENT = "no picture comes out"

type Decoded = tuple[int, av.VideoFrame]


def _stands_alone(codec: str) -> bool:
    try:
        return av.Codec(codec, "r").intra_only
    except ValueError:
        return False


class Decoder:
    """A decoder that begins at a key frame and runs on; :meth:`close` when done.

    ``start``: where the present run began, a position in the plan's key frames. ``next_frame``: the least number that may come
    next, None at the end. ``damage``: the frames that this run found damaged, and why. ``hopeless``: those of them whose own
    data are damaged, so that no other start helps. ``damaged_from``: rank of the first packet in this run that may be damaged.
    ``is_harmed``: this run met damage other than frames that did not come.

    A frame that may be predicted from a damaged one is damaged, whatever it looks like. So that this is known when a frame is
    given out, those decoded before it come out first, and are held.
    """

    def __init__(self, probe: Probe, plan: SeekPlan, threads: int, options: dict[str, str]) -> None:
        self._info, self._index, self._plan = probe.info, probe.index, plan
        self._only_logged = _ONLY_LOGGED.get(probe.info.codec, "")
        # What other threads log is not heard; never listen all the time: a codec's thread that logs waits for Python's lock,
        # which whoever closes that codec holds while it waits for the thread.
        self.threads, self._options = 1 if self._only_logged else threads, options
        self._reorder_depth = reorder_depth(probe.index.packet)
        self._container: InputContainer | None = None
        self._stream: VideoStream | None = None
        self._spread = Spread(plan, probe.info.codec, _stands_alone(probe.info.codec))
        self._run = Run()
        self._coming: Iterator[Decoded] = iter(())
        self._held: deque[Decoded] = deque()
        #: The frame that should arrive next, None where none is missed.
        self._awaited: int | None = None
        self.start: int | None = None
        self.next_frame: int | None = None
        self._forget_damage()

    def begin(self, key: int) -> bool:
        """Let decoding begin exactly at key frame ``key``, wherever the container's own seek lands; False: it is not found."""
        packets = next(self._landings(key), None)
        if packets is None:
            return False
        self._forget_damage()
        self.start, self.next_frame = key, int(self._plan.key_frames[key]) if key >= 0 else 0
        # Of several threads it is not known which packet they call damaged.
        self._run = self._spread.run(key) if self.threads == 1 else Run()
        # An H.264 key frame may be a mere recovery point, whose own picture can't be shown from there.
        self._awaited = None if key >= 0 and self._info.codec == "h264" else self.next_frame
        self._coming = self._frames(packets, int(self._plan.key_ranks[key]) if key >= 0 else 0)
        return True

    def run_to(self, frame: int) -> av.VideoFrame | None:
        """The decoded frame, None when it does not come. Frames that are missing on the way are noted as damaged."""
        while (taken := self._held.popleft() if self._held else self._arrival()) is not None:
            number, decoded = taken
            self.next_frame = number + 1
            if number >= frame:
                if number > frame:
                    return None
                self._hold_earlier_ones(frame)
                self._judge(frame)
                return decoded
        self.next_frame = None
        return None

    def known_doubt(self, start: int, frame: int) -> tuple[str, bool] | None:
        """Why ``frame`` is damaged by what it is predicted from when decoding begins at ``start``, as far as earlier runs from
        there know; and whether they met other damage than frames that did not come."""
        run = self._spread.run(start)
        rank = self._spread.doubt(run, frame)
        return None if rank is None else (self._predicted_from(rank), run.is_harmed)

    def close(self) -> None:
        """Close the file; :meth:`begin` opens it anew."""
        self._coming, self.next_frame, self.start = iter(()), None, None
        self._held.clear()
        if self._container is not None:
            self._container.close()
            self._container = self._stream = None

    # --- frames as they arrive

    def _arrival(self) -> Decoded | None:
        arrived = next(self._coming, None)
        if arrived is not None:
            if self._awaited is not None:
                self._note_absent(range(self._awaited, arrived[0]))
            self._awaited = arrived[0] + 1
        return arrived

    def _hold_earlier_ones(self, frame: int) -> None:
        """Let those come out that are decoded before ``frame`` and shown behind it."""
        rank = int(self._index.packet[frame])
        last = int(self._plan.shown[rank])
        while self._awaited is not None and self._awaited <= last:
            if (arrived := self._arrival()) is None:
                missing = range(self._awaited, last + 1)
                self._note_absent(number for number in missing if self._index.packet[number] < rank)
                return
            self._held.append(arrived)

    # --- damage

    def _judge(self, frame: int) -> None:
        """Note a frame as damaged that may be predicted from a damaged one."""
        if self.threads > 1:
            if self.is_harmed:
                self.damage.setdefault(frame, GUESSED)
        elif (rank := self._spread.doubt(self._run, frame)) is not None:
            self.damage.setdefault(frame, self._predicted_from(rank))

    def _predicted_from(self, rank: int) -> str:
        frame = self._plan.frame_of(rank)
        return "it may be predicted from " + (f"frame {frame}, which is damaged" if frame is not None else "damaged data")

    def _forget_damage(self) -> None:
        self.damage: dict[int, str] = {}
        self.hopeless: set[int] = set()
        self.damaged_from = _NEVER
        self.is_harmed = False
        self._held.clear()

    def _note(self, rank: int, why: str, hopeless: bool) -> None:
        """Damage of the frame in the packet of ``rank``; ``hopeless``: that packet itself is damaged, not one before it."""
        # Several threads tell of damage late, and not in which packet.
        self.damaged_from = min(self.damaged_from, rank if hopeless and self.threads == 1 else -1)
        self.is_harmed |= why != ABSENT
        self._spread.note(self._run, rank, is_harm=why != ABSENT, lost_before=why == FLAGGED)
        if (frame := self._plan.frame_of(rank)) is not None:
            self.damage.setdefault(frame, why)
            if hopeless:
                self.hopeless.add(frame)

    def _note_absent(self, frames: Iterable[int]) -> None:
        for frame in (number for number in frames if number not in self.hopeless):
            self._note(int(self._index.packet[frame]), ABSENT, hopeless=False)

    # --- starting exactly at a key frame

    def _landings(self, key: int) -> Generator[Iterator[Packet[VideoStream]]]:
        """Packets from key frame ``key`` on: by seeking to it, to ones before it, at last by reading from the file's start."""
        nearest = FILE_START if self._info.made_times else key
        for target in range(nearest, max(FILE_START, nearest - _SEEK_TRIES), -1):
            container, stream = self._opened()
            try:
                container.seek(int(self._index.pts[self._plan.key_frames[target]]), stream=stream)
            except av.FFmpegError:
                continue
            if (packets := self._from_key(self._demuxed(container, stream), key)) is not None:
                yield packets
        self.close()
        if (packets := self._from_key(self._demuxed(*self._opened()), key)) is not None:
            yield packets

    def _from_key(self, packets: Iterator[Packet[VideoStream]], key: int) -> Iterator[Packet[VideoStream]] | None:
        """Skip to the packet of key frame ``key``; None if reading began behind it."""
        if key == FILE_START:
            return packets
        frame, rank = int(self._plan.key_frames[key]), int(self._plan.key_ranks[key])
        if self._info.made_times:  # no packet has a time that tells which one it is; reading began at the file's start
            return islice(packets, rank, None)
        for packet in packets:
            number = self._number(packet.pts)
            if number == frame and packet.size == self._index.packet_bytes[frame]:
                return chain((packet,), packets)
            if number is not None and self._index.packet[number] > rank:
                return None
        return None

    def _frames(self, packets: Iterator[Packet[VideoStream]], rank: int) -> Iterator[Decoded]:
        """(frame number, decoded frame) from packets beginning with ``rank``; ends where they are not those of the index."""
        for packet in packets:
            own = rank
            if packet.size:
                if not self._is_as_indexed(packet, rank):
                    return
                self._look(packet, rank)
                rank += 1
                if packet.is_corrupt:
                    self._note(own, FLAGGED, hopeless=True)
            for frame in self._decoded(packet, own):
                if (number := self._number(frame.pts)) is not None:
                    if why := self._wrong_in(frame):
                        self._note(int(self._index.packet[number]), why, hopeless=False)
                    yield number, frame

    def _look(self, packet: Packet[VideoStream], rank: int) -> None:
        stream = self._stream
        assert stream is not None
        self._spread.look(self._run, rank, lambda: (bytes(packet), stream.codec_context.extradata or b""))

    def _wrong_in(self, frame: av.VideoFrame) -> str:
        if (frame.width, frame.height) != (self._info.width, self._info.height):
            return f"it is {frame.width}x{frame.height}, the stream began as {self._info.width}x{self._info.height}"
        return GUESSED if frame.is_corrupt else ""

    def _decoded(self, packet: Packet[VideoStream], rank: int) -> list[av.VideoFrame]:
        try:
            if not self._only_logged:
                return packet.decode()
            with captured_log(av.logging.ERROR) as log:
                frames = packet.decode()
            if any(re.search(self._only_logged, text) for _, _, text in log):
                self._note(rank, GUESSED, hopeless=False)
            return frames
        except av.FFmpegError as error:
            if isinstance(error, MemoryError):
                raise
            self._note(rank, f"it can't be decoded ({error.strerror})", hopeless=True)
            return []

    def _is_as_indexed(self, packet: Packet[VideoStream], rank: int) -> bool:
        """Compare a packet with the one of ``rank`` in the index, and give it that one's PTS: behind a seek some containers
        (MPEG program streams) know only every few of them."""
        frame = self._plan.frame_of(rank)
        if self._info.made_times:
            packet.pts = packet.dts = None
        if frame is None:
            return True  # shows nothing, or its frame left the index
        packet.pts = int(self._index.pts[frame])
        return packet.size == int(self._index.packet_bytes[frame])

    def _number(self, pts: int | None) -> int | None:
        if pts is None:
            return None
        at = int(np.searchsorted(self._index.pts, pts))
        return at if at < len(self._index) and self._index.pts[at] == pts else None

    # --- the file

    def _opened(self) -> tuple[InputContainer, VideoStream]:
        self._coming = iter(())  # lets go of the old demuxer before the file moves
        if self._container is None:
            self._container, self._stream = open_stream(self._info.source, self._info.version)
            self._stream.thread_count = self.threads
            self._stream.thread_type = ThreadType.AUTO if self.threads > 1 else ThreadType.SLICE
            if self._options:
                self._stream.codec_context.options = self._options
        assert self._stream is not None
        if self._info.codec == "h264":
            # a flushed H.264 decoder forgets how far pictures are reordered and would drop some
            context = self._stream.codec_context
            context.reorder_depth = max(context.reorder_depth, self._reorder_depth)
        return self._container, self._stream

    def _demuxed(self, container: InputContainer, stream: VideoStream) -> Iterator[Packet[VideoStream]]:
        try:
            yield from container.demux(stream)
        except av.FFmpegError as error:
            if isinstance(error, MemoryError):
                raise
            # A whole film was read to its end when it was probed: what fails now is the disk, and no frame is damaged.
            if not self._info.truncated and isinstance(error, OSError) and fault_of(error.errno) is not None:
                raise unreadable(self._info.source.path, error) from error
            flush = Packet()  # a cut file: what the decoder still holds must come out
            flush.stream = stream
            yield flush  # type: ignore[misc]

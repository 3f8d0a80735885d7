"""Where segments meet: what a segment held when it was closed, and whether the joined film decodes to the same there."""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

import av
import numpy as np
import numpy.typing as npt
from av.codec.context import ThreadType
from av.container import InputContainer
from av.packet import Packet
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream

from tasks.decode import picture_of
from tasks.errors import SegmentMismatch, StitchError
from tasks.joinplan import head_start
from tasks.seamplan import DIGITS, Seams, SegmentEnds, Shown, packet_problems, picked_places, seam_problems
from tasks.store import JobStore
from tasks.timing import rounded_pts
from vsalign.picture import ColourTags

_FOLDER = "seams"


@dataclass(frozen=True, slots=True)
class SeamCheck:
    """What was found in a film: problems, one line each, and at how many of its seams the pictures were decoded."""

    problems: tuple[str, ...]
    num_seams: int
    num_looked_at: int


def segment_ends(path: str) -> SegmentEnds:
    """Hashes of a closed segment's packets and, decoded again from the file, of its first and last frame.

    The last frame takes decoding the last group of pictures, less those that no other is predicted from. Raises StitchError
    when the file can't be read, SegmentMismatch when a frame does not come out.
    """
    try:
        packets, last, last_key = _Digest(), 0, 0
        with _opened(path) as (container, stream):
            for packet in _whole(container, stream):
                packets.add(packet)
                last = max(last, packet.pts or 0)
                last_key = (packet.pts or 0) if packet.is_keyframe else last_key
        with _opened(path) as (container, stream):
            first = next((frame_sha256(frame) for frame in _decoded(container.demux(stream))), "")
        ends = SegmentEnds(first, _last_sha256(path, last_key, last, "NONREF"), packets.text())
    except (av.FFmpegError, OSError) as error:
        raise StitchError(f"{path}: segment cannot be decoded ({error})") from error
    if not (ends.first_sha256 and ends.last_sha256):
        raise SegmentMismatch(path, "a frame at its ends", "decoded", "missing")
    return ends


def _last_sha256(path: str, key: int, last: int, skip: Literal["NONREF", "DEFAULT"]) -> str:
    """Hash of the frame with PTS ``last``, decoded from the key frame ``key``; "" when it does not come out."""
    latest = None
    with _opened(path) as (container, stream):
        stream.codec_context.skip_frame = skip
        for frame in _decoded(_from_key(container, stream, key, key)):
            latest = frame
    if latest is not None and latest.pts == last:
        return frame_sha256(latest)
    return _last_sha256(path, key, last, "DEFAULT") if skip == "NONREF" else ""


def check_seams(path: str, pts: npt.NDArray[np.int64], time_base: Fraction, seams: Seams, most: int | None) -> SeamCheck:
    """Decode a joined film across its seams, in one go from the key frame before each, as a player does, and compare with what
    the segments held; ``pts`` (ticks of ``time_base``) are ref's. ``most``: of so many seams, None: of all.

    An unreadable film is a problem too. Places of which nothing is known are left out.
    """
    picked = picked_places(len(seams.segments), most, seams.joined)
    places = [place for place in picked if seams.expected(place)]
    known = {sha256: frame for place in range(len(seams.segments) + 1) for frame, sha256 in seams.expected(place).items()}
    problems: list[str] = []
    try:
        for place in places:
            wanted = seams.expected(place)
            with _opened(path) as (container, stream):
                shown = _shown(stream, pts, time_base)
                found, problem = _found_at(container, stream, shown, wanted)
            problems += [problem] if problem else seam_problems(found, wanted, known)
    except (av.FFmpegError, OSError) as error:
        problems.append(f"cannot be decoded: {error}")
    looked_at = sum(0 < place < len(seams.segments) for place in places)
    return SeamCheck(tuple(problems), len(seams.segments) - 1, looked_at)


def write_seams(store: JobStore, sha256: str, seams: Seams) -> None:
    """Keep what is known of the segments of the film with hash ``sha256``, which is about to be published: they themselves may
    be deleted.

    What is known of the film at OUT is kept beside it: a kill may leave that one there.
    """
    store.replace(_name(sha256), seams.to_json())


def read_seams(store: JobStore, sha256: str) -> Seams | None:
    """What is known of the segments of the film with hash ``sha256``; None for one that an earlier version joined."""
    try:
        return Seams.from_json(store.read(_name(sha256)) or b"")
    except ValueError:
        return None


def drop_seams(store: JobStore, but_of: str) -> None:
    """Forget the segments of all films but the one with hash ``but_of``."""
    store.remove([name for name in store.names(_FOLDER) if name != _name(but_of)])


def _name(sha256: str) -> str:
    return f"{_FOLDER}/{sha256[:DIGITS]}.json"


def check_packets(path: str, pts: npt.NDArray[np.int64], time_base: Fraction, seams: Seams) -> tuple[str, ...]:
    """Read all picture packets of a joined film and compare them with those of its segments; one line for each problem."""
    starts = [segment.ref_frames.start for segment in seams.segments]
    digests = [_Digest() for _ in starts]
    try:
        with _opened(path) as (container, stream):
            shown = _shown(stream, pts, time_base)
            for packet in _whole(container, stream):
                if packet.pts is not None and not packet.is_discard:
                    digests[bisect_right(starts, shown.number(packet.pts)) - 1].add(packet)
    except (av.FFmpegError, OSError) as error:
        return (f"cannot be read: {error}",)
    return tuple(packet_problems([(digest.count, digest.text()) for digest in digests], seams.segments))


def frame_sha256(frame: av.VideoFrame) -> str:
    """The first ``DIGITS`` hex digits of the sha256 of a frame's samples, whatever its rows are padded by."""
    picture = picture_of(frame, ColourTags(), VideoReformatter())
    digest = hashlib.sha256(f"{picture.format.name} {picture.width}x{picture.height};".encode())
    for plane in picture.planes:
        digest.update(np.ascontiguousarray(plane))
    return digest.hexdigest()[:DIGITS]


class _Digest:
    """Number and hash of packets, in the order they are added."""

    def __init__(self) -> None:
        self.count = 0
        self._hash = hashlib.sha256()

    def add(self, packet: Packet[VideoStream]) -> None:
        self.count += 1
        self._hash.update(f"{packet.size};".encode())
        self._hash.update(packet)

    def text(self) -> str:
        return self._hash.hexdigest()[:DIGITS]


@contextmanager
def _opened(path: str) -> Iterator[tuple[InputContainer, VideoStream]]:
    """Afresh each time, for a flushed decoder is not quite a new one; and with one thread, for closing a decoder whose frame
    threads are at work, as happens here, may wait for ever (they want to log, which PyAV lets one thread do at a time)."""
    with av.open(path, "r") as container:
        stream = container.streams.video[0]
        for other in container.streams:
            if other.index != stream.index:
                other.discard = av.stream.Discard.all
        stream.thread_count, stream.thread_type = 1, ThreadType.SLICE
        yield container, stream


def _whole(container: InputContainer, stream: VideoStream) -> Iterator[Packet[VideoStream]]:
    return (packet for packet in container.demux(stream) if packet.size)


def _shown(stream: VideoStream, pts: npt.NDArray[np.int64], time_base: Fraction) -> Shown:
    assert stream.time_base is not None
    return Shown(rounded_pts(pts + head_start(pts), time_base, stream.time_base))


def _decoded(packets: Iterable[Packet[VideoStream]]) -> Iterator[av.VideoFrame]:
    for packet in packets:
        yield from packet.decode()


def _from_key(container: InputContainer, stream: VideoStream, pts: int, earliest: int) -> Iterator[Packet[VideoStream]]:
    """Packets from the key frame on that a seek to ``pts`` finds at or before it, the flush packet at last; where a container
    lands behind, from ``earliest`` or from the file's first packet."""
    for target in (pts, earliest, None):
        if target is not None:
            container.seek(target, stream=stream)
        else:
            container.seek(0)
        packets = container.demux(stream)
        for packet in packets:
            if packet.size and packet.is_keyframe and packet.pts is not None:
                if packet.pts <= pts or target is None:
                    yield packet
                    yield from packets
                    return
                break


def _found_at(
    container: InputContainer, stream: VideoStream, shown: Shown, wanted: dict[int, str]
) -> tuple[dict[int, str], str]:
    """Hashes by frame number of the ``wanted`` frames, or a problem: the frames that come out do not follow one another."""
    found: dict[int, str] = {}
    first, last = min(wanted), max(wanted)
    before = None
    for frame in _decoded(_from_key(container, stream, int(shown.pts[first]), 0)):
        if frame.pts is None:
            return found, f"a frame without time comes out near frame {first}"
        number = shown.number(frame.pts)
        if before is not None and number != before + 1:
            return found, f"frame {number} follows frame {before}"
        before = number
        if number in wanted:
            found[number] = frame_sha256(frame)
        if number >= last:
            break
    return found, ""

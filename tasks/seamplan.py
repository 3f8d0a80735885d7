"""What is known of segments where they meet, and which seams are looked at. Pure."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt
from pydantic import TypeAdapter

from tasks.messages import VideoFormat
from vsalign.frames import FrameRange

#: Hex digits that are kept of a sha256: among a film's frames no two differ by chance.
DIGITS = 16


@dataclass(frozen=True, slots=True)
class SegmentEnds:
    """What a segment held when it was closed: hashes of its first and last decoded frame in presentation order, and of all its
    packets in decode order. Each the first ``DIGITS`` hex digits of a sha256, "" where it is not known."""

    first_sha256: str = ""
    last_sha256: str = ""
    packets_sha256: str = ""

    def facts(self) -> dict[str, float | int | str]:
        """As a record keeps it."""
        return {**asdict(self)}

    @staticmethod
    def of_facts(facts: Mapping[str, float | int | str]) -> SegmentEnds:
        """From a record's facts, which those of an earlier version don't have."""
        names = ("first_sha256", "last_sha256", "packets_sha256")
        return SegmentEnds(*(str(facts.get(name, "")) for name in names))


UNKNOWN_ENDS = SegmentEnds()


@dataclass(frozen=True, slots=True)
class JoinedSegment:
    """A segment as it went into the film."""

    ref_frames: FrameRange
    ends: SegmentEnds


@dataclass(frozen=True, slots=True)
class PicturePlan:
    """What all segments of a film were encoded as."""

    video: VideoFormat
    pixel_format: str
    codec: str


@dataclass(frozen=True, slots=True)
class Seams:
    """All segments of a film in order; ``joined`` is what final.json calls that film."""

    joined: str
    segments: tuple[JoinedSegment, ...]
    picture: PicturePlan | None = None

    def to_json(self) -> bytes:
        return _SEAMS.dump_json(self) + b"\n"

    @staticmethod
    def from_json(data: bytes) -> Seams:
        """Raises ValueError for anything else."""
        return _SEAMS.validate_json(data)

    def known(self) -> bool:
        """Every segment has its hashes."""
        return all(all(asdict(segment.ends).values()) for segment in self.segments)

    def expected(self, place: int) -> dict[int, str]:
        """Hash by frame number of the frames that meet at ``place``: 0 is the film's start, k the seam before segment k, and
        the number of segments the film's end. Unknown ones are left out."""
        found = {}
        if place > 0:
            before = self.segments[place - 1]
            found[before.ref_frames.stop - 1] = before.ends.last_sha256
        if place < len(self.segments):
            after = self.segments[place]
            # A segment of one frame has one hash twice.
            found[after.ref_frames.start] = after.ends.first_sha256
        return {frame: sha256 for frame, sha256 in found.items() if sha256}


_SEAMS = TypeAdapter(Seams)


def picked_places(num_segments: int, most: int | None, seed: str) -> list[int]:
    """Places (as :meth:`Seams.expected` counts them) to be looked at, ascending: the film's start and end and, of the seams,
    all or ``most`` drawn by ``seed``."""
    inner = range(1, num_segments)
    few = most is not None and len(inner) > most
    return [0, *(sorted(random.Random(seed).sample(inner, most or 0)) if few else inner), num_segments]


class Shown:
    """Which frame a picture is, by its time: ticks need not be exact, as those of a file that was copied by another program
    may be rounded otherwise."""

    def __init__(self, expected: npt.NDArray[np.int64]) -> None:
        self.pts = expected
        self._middles = (expected[:-1] + expected[1:]) / 2

    def number(self, pts: int) -> int:
        """The frame whose planned time lies nearest."""
        return int(np.searchsorted(self._middles, pts, side="right"))


def seam_problems(found: Mapping[int, str], expected: Mapping[int, str], known: Mapping[str, int]) -> list[str]:
    """One line for each frame number whose hash is not the expected one; ``known`` tells which frame a hash belongs to."""
    problems = []
    for frame, sha256 in expected.items():
        if frame not in found:
            problems.append(f"frame {frame} does not come out at the seam")
        elif found[frame] != sha256:
            other = known.get(found[frame])
            instead = f"; what is shown belongs to frame {other}" if other is not None else ""
            problems.append(f"frame {frame} is not the picture that was rendered{instead}")
    return problems


def packet_problems(found: Sequence[tuple[int, str]], segments: Sequence[JoinedSegment]) -> list[str]:
    """One line for each segment whose (number of packets, hash), as found in the film, is not what the segment had."""
    owner = {segment.ends.packets_sha256: segment.ref_frames for segment in segments}
    problems = []
    for (count, sha256), segment in zip(found, segments, strict=True):
        frames, wanted = segment.ref_frames, segment.ends.packets_sha256
        if count != len(frames):
            problems.append(f"frames {frames} are {count} packets, {len(frames)} were planned")
        elif wanted and sha256 != wanted:
            instead = f"; they are those of frames {owner[sha256]}" if sha256 in owner else ""
            problems.append(f"the packets of frames {frames} are not those that were rendered{instead}")
    return problems

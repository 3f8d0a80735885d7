"""The words that cross process borders: frozen records of numbers, names and paths, never frames.

Everything here is small and made of plain values, so that it pickles for Ray and, through pydantic's TypeAdapter, reads and
writes as JSON in the job directory.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

import numpy as np
import numpy.typing as npt

from tasks.fields import PLAIN, Fields
from tasks.hdr import NO_HDR, Hdr
from vsalign.frames import FrameRange
from vsalign.picture import ColourTags
from vsalign.settings import DEFAULT_SMOOTH_TIME, SpatialSettings

Role = Literal["clip", "ref", "fallback", "mask"]
MismatchShow = Literal["keep", "ref", "black", "white"]
OnCorrupt = Literal["stop", "repeat", "skip-chunk"]
#: How fields lie in the frames of the output: none, the upper one first ("tt"), the lower one first ("bb").
FieldOrder = Literal["progressive", "tt", "bb"]
StreamKind = Literal["video", "audio", "subtitle", "data", "attachment"]


@dataclass(frozen=True, slots=True)
class Source:
    """A file and which of its video streams is meant (``film.mp4#v:1`` is the second one); or an image sequence and how many
    of its pictures are shown in a second (``frame_%04d.png#fps:24``)."""

    path: str
    video_stream: int = 0
    rate: Fraction | None = None

    def __str__(self) -> str:
        rate = "" if self.rate is None else f"#fps:{self.rate}"
        return f"{self.path}#v:{self.video_stream}" if self.video_stream else f"{self.path}{rate}"


@dataclass(frozen=True, slots=True)
class StreamInfo:
    """One stream of a container; ``index`` counts all streams, ``language`` and ``title`` are empty when untagged.

    ``is_cover``: a still picture about the film rather than of it. ``filename`` and ``mimetype`` are of attachments and covers.
    """

    index: int
    kind: StreamKind
    codec: str
    language: str
    time_base: Fraction
    title: str = ""
    is_cover: bool = False
    filename: str = ""
    mimetype: str = ""


@dataclass(frozen=True, slots=True)
class MediaInfo:
    """What a container says of itself and of the chosen video stream, found without decoding the film.

    ``identity`` is a sha256 over the file's size, its first and last MiB and the demuxed packet table: it changes when the
    film changes and not when the file is copied or moved. ``width`` and ``height`` are coded pixels before
    ``sample_aspect_ratio`` and ``rotation_degrees`` (clockwise, to be applied by a player).
    """

    source: Source
    identity: str
    container: str
    streams: tuple[StreamInfo, ...]
    codec: str
    width: int
    height: int
    pixel_format: str
    bit_depth: int
    time_base: Fraction
    average_rate: Fraction
    num_frames: int
    sample_aspect_ratio: Fraction
    rotation_degrees: int
    field_order: str
    colour: ColourTags
    size_bytes: int
    truncated: str = ""
    """Empty, or one clause that says where the file ends too early ("ends at frame 311 of 720")."""
    version: str = ""
    """Of a remote film: what changes when it is written again, so that no reader mixes two (:mod:`tasks.remote`)."""
    hdr: Hdr = NO_HDR
    turned_degrees: int = 0
    """By so much, clockwise, the reader turns what it decodes (:mod:`tasks.turning`): all else here is true of what comes
    out."""
    stored_chroma_location: int = 0
    """Of a turned film: where chroma lies in its file."""
    alpha: bool = False
    """The pictures have an alpha channel, which is not used."""
    fields: Fields = PLAIN
    num_chapters: int = 0
    made_times: str = ""
    """Empty, or one clause that says how the frames' times were found where the file gives none or wrong ones. Its packets are
    then known by their rank alone, not by their timestamps."""
    damage: str = ""
    """Empty, or clauses that say what is damaged or not there before the film's end, as far as the container shows it."""

    @property
    def has_audio(self) -> bool:
        return any(stream.kind == "audio" for stream in self.streams)


@dataclass(frozen=True, eq=False)
class FrameIndex:
    """One row per visible frame, in presentation order; arrays of length N.

    pts, duration: int64 ticks of the stream's time base (pts strictly rising). keyframe: bool, a decoder can start here.
    packet: int64, the frame's rank among the stream's packets in file (decode) order. packet_bytes: int64.
    """

    pts: npt.NDArray[np.int64]
    duration: npt.NDArray[np.int64]
    keyframe: npt.NDArray[np.bool_]
    packet: npt.NDArray[np.int64]
    packet_bytes: npt.NDArray[np.int64]
    time_base: Fraction

    def __len__(self) -> int:
        return len(self.pts)

    @property
    def whole(self) -> FrameRange:
        return FrameRange(0, len(self.pts))

    def seconds(self) -> npt.NDArray[np.float64]:
        """Presentation time of every frame in seconds, for comparison and printing only."""
        return np.asarray(self.pts * float(self.time_base), dtype=np.float64)


@dataclass(frozen=True, slots=True)
class Probe:
    """A source as found: its description and its frame index.

    ``coded``: the frames as they lie in the file, where a field filter (``info.fields.filter``) makes the index's of them.
    """

    info: MediaInfo
    index: FrameIndex
    coded: FrameIndex | None = None


@dataclass(frozen=True, slots=True)
class ReadSettings:
    """How a worker reads sources. ``on_corrupt``: what becomes of a frame that is damaged or missing ("repeat": the last whole
    one before it is shown). ``hwaccel`` changes no sample. ``written``: changes when a source's file is written again (""
    where that is not known), so that what was shown in place of damage is not kept when a film was repaired."""

    on_corrupt: OnCorrupt = "stop"
    hwaccel: Literal["auto", "none"] = "auto"
    written: str = ""


#: Reading without wishes.
AS_IT_IS = ReadSettings()


@dataclass(frozen=True, slots=True)
class EncodeSettings:
    """All that changes an encoder's bytes. ``pixel_format`` "" means: what the clip has, or the nearest that the codec can.

    ``crf`` None leaves quality to the codec (lossless for ffv1). ``threads`` is pinned because libx264's bytes depend on it.
    """

    codec: str = "libx264"
    crf: float | None = None
    preset: str = ""
    options: tuple[tuple[str, str], ...] = ()
    pixel_format: str = ""
    threads: int = 2


@dataclass(frozen=True, slots=True)
class VideoFormat:
    """What every segment of a job looks like; ``rate`` is nominal, true times come from ref's PTS at stitch."""

    width: int
    height: int
    rate: Fraction
    sample_aspect_ratio: Fraction
    colour: ColourTags
    hdr: Hdr = NO_HDR
    rotation_degrees: int = 0
    """Clockwise, to be applied by a player."""
    field_order: FieldOrder = "progressive"


@dataclass(frozen=True, slots=True)
class AlignSettings:
    """All that changes the aligned pixels; from ``engine`` on as :class:`vsalign.settings.SpatialSettings` has them.

    ``unmatched`` says what a ref frame without counterpart shows; ``mismatch`` what is shown where clip and ref do not show the
    same thing ("keep": the clip). ``smooth_time``: matched ref frames up to so many away take part in a frame's warp.
    """

    warp: bool = True
    precision: int = 2
    unmatched: Literal["hold", "ref", "fallback", "black"] = "hold"
    mismatch: MismatchShow = "keep"
    smooth_time: int = DEFAULT_SMOOTH_TIME
    engine: Literal["dense", "rife"] = "dense"
    weights: str = ""
    wide_search: bool = False
    lq_input: bool = False
    iterations: int = 1
    exact_peer: bool = False

    def spatial(self) -> SpatialSettings:
        """What the library needs of it."""
        return SpatialSettings(
            precision=self.precision,
            lq_input=self.lq_input,
            wide_search=self.wide_search,
            iterations=self.iterations,
            engine=self.engine,
            weights=self.weights,
            exact_peer=self.exact_peer,
        )


@dataclass(frozen=True, slots=True)
class SyncSettings:
    """All that changes the frame map. ``temporal_radius`` is in clip frames, searched on each side of the coarse path."""

    temporal_radius: int = 20


@dataclass(frozen=True, slots=True)
class MetricSettings:
    """What tells how unlike two pictures are, as it was found before the work began (:func:`tasks.metrics.find_metric`).

    ``precision``: 1 PlaneStats, 2 the metric of a VapourSynth plugin, 3 TOPIQ. ``name`` and ``version`` (the plugin's, or the
    hash of the network's weights) are part of every fingerprint. ``backend`` as the plugin's filter was chosen by, "" for none.
    ``weights``: path of the network's file. ``on_gpu``: it runs on a GPU where the worker has one.
    """

    precision: int
    name: str
    version: str
    backend: str = ""
    weights: str = ""
    on_gpu: bool = False

    def __str__(self) -> str:
        return f"{self.name} of {self.version}" if self.precision == 2 else f"{self.name} {self.version}"


@dataclass(frozen=True, slots=True)
class Segment:
    """One encoded chunk as found on disk; ``num_frames`` is counted from the file, not copied from the plan."""

    path: str
    num_frames: int
    size_bytes: int
    header_sha256: str
    """Of the codec's extradata: equal in all segments that may be joined."""

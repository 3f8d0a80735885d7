"""Units of work as they cross to a worker, and the record that proves one is done.

A unit is a pure description: equal fingerprints mean equal results. ``inputs`` is what the fingerprint is made of, field by
field, kept in the record so that a later run can say why a result is stale.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field

from pydantic import TypeAdapter

from tasks.messages import (
    AS_IT_IS,
    AlignSettings,
    EncodeSettings,
    MetricSettings,
    ReadSettings,
    Role,
    SyncSettings,
    VideoFormat,
)
from tasks.seamplan import UNKNOWN_ENDS, PicturePlan, SegmentEnds
from tasks.soundplan import SoundPlan
from tasks.streamplan import Extras
from vsalign.frames import FrameRange
from vsalign.metric import Select

#: Raised by hand when a change alters the numbers a stage produces, so that no old result is mixed with new ones.
RECORD_SCHEMA = 1
SCAN_ABI = 2
SOLVE_ABI = 2
COMPARE_ABI = 1
CHOOSE_ABI = 1
RENDER_ABI = 3

#: The film geometry of a clip that shows what the ref shows from edge to edge.
SAME_PICTURE = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)

#: The name of the unit that joins the film.
STITCH = "stitch"

Inputs = dict[str, str]


def fingerprint(inputs: Inputs) -> str:
    """sha256 over the canonical JSON of ``inputs``: JSON quotes every field, so no two sets of fields share a text."""
    text = json.dumps(inputs, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def unit_of(record_name: str) -> str:
    """The unit that a record's name ("done/render-00012-1a2b3c4d5e6f.json") belongs to; see ``Work.record_name``."""
    return record_name.rpartition("/")[2].rpartition("-")[0]


@dataclass(frozen=True, slots=True)
class Attempt:
    """Which try at a unit this is."""

    number: int = 1
    """1, 2, ..."""
    thrift: int = 0
    """Index into ``tasks.thrift.LEVELS`` at which the attempt begins; it moves on by itself where memory does not suffice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What every unit has: a name unique in the job, the job directory, and what its result depends on."""

    name: str
    job_dir: str
    inputs: Inputs
    num_frames: int

    @property
    def fingerprint(self) -> str:
        return fingerprint(self.inputs)

    @property
    def counts_frames(self) -> bool:
        """It tells of every frame that it has done, so that one that tells of none for long hangs."""
        return not isinstance(self, SolveWork | ChooseWork | SoundWork | StitchWork)

    @property
    def record_name(self) -> str:
        return f"done/{self.name}-{self.fingerprint[:16]}.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanWork(Work):
    """Signatures of the frames ``frames`` of one source."""

    role: Role
    frames: FrameRange
    read: ReadSettings = AS_IT_IS


@dataclass(frozen=True, slots=True, kw_only=True)
class SolveWork(Work):
    """The frame map of the whole film from all signatures; blobs in order of their frames."""

    clip_blobs: tuple[str, ...]
    ref_blobs: tuple[str, ...]
    settings: SyncSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class CompareWork(Work):
    """Costs, by a picture metric, of the clip frames around the one that the solve gave to each ref frame of ``ref_frames``."""

    ref_frames: FrameRange
    expected: tuple[int, ...]
    """Per ref frame: the clip frame that the solve gave it, -1 where there is none and nothing is compared."""
    film_geometry: tuple[float, ...]
    """How the clip is laid onto the ref to be compared, as ``vsalign.warp.affine_warp`` takes it."""
    tr: int
    """Clip frames compared on each side of the expected one."""
    metric: MetricSettings
    select: Select
    device: str = "cpu"
    threads: int = 0
    """Threads of a plugin's core; 0 leaves it its own number. The costs do not depend on it."""
    read: ReadSettings = AS_IT_IS


@dataclass(frozen=True, slots=True, kw_only=True)
class ChooseWork(Work):
    """The frame map of the whole film from all costs: each ref frame's least ("argmin") or the least-cost path ("path")."""

    solved_blob: str
    """The solve's map."""
    cost_blobs: tuple[str, ...]
    tr: int
    select: Select


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderWork(Work):
    """One chunk: ref frame ``ref_frames.start + i`` shows clip frame ``clip_frames[i]``, moved to where ``aligned_to[i]`` has
    it."""

    ref_frames: FrameRange
    aligned_to: tuple[int, ...]
    """Per frame: the ref frame whose geometry counts; a neighbour's where an unmatched frame holds that one's picture."""
    clip_frames: tuple[int, ...]
    """Per frame: the clip frame shown, -1 for the substitute that ``align.unmatched`` names."""
    pairs: tuple[tuple[int, int], ...]
    """(ref frame, clip frame) of all matched rows that a warp of this chunk is settled from, ascending by ref frame: those in
    ``aligned_to`` and, around each, those within ``align.smooth_time`` ref frames, in this chunk or not."""
    film_geometry: tuple[float, ...]
    """The film's constant misalignment, six numbers as ``vsalign.warp.affine_warp`` takes them, for pairs that tell nothing."""
    align: AlignSettings
    encode: EncodeSettings
    video: VideoFormat
    pixel_format: str
    masked: bool = False
    """The job has a mask: what it shows white is not trusted."""
    device: str = "cpu"
    read: ReadSettings = AS_IT_IS


@dataclass(frozen=True, slots=True, kw_only=True)
class SoundWork(Work):
    """The audio streams number ``streams`` of the file (an object's ``version``) at ``path`` laid on ref's time by ``plan``,
    in a file with ``suffix``."""

    path: str
    version: str
    streams: tuple[int, ...]
    plan: SoundPlan
    suffix: str


@dataclass(frozen=True, slots=True)
class Part:
    """A finished unit that goes into the film: its record's name, and the file that this promises."""

    unit: str
    record: str
    blob: str
    sha256: str
    size_bytes: int
    ref_frames: FrameRange
    ends: SegmentEnds = UNKNOWN_ENDS


@dataclass(frozen=True, slots=True, kw_only=True)
class StitchWork(Work):
    """All segments and the extras -> the film at ``out``, verified before it is published. Its record's blob is ``out``."""

    parts: str
    """Name, in the job directory, of the list of segments (``Part``), which is too long to send about. Of this run alone: once
    it is gone, another run has the say over OUT."""
    out: str
    """Where the film goes: an absolute path that this worker shares, or an address."""
    extras: Extras
    sound: Part | None
    """The file of the origin whose role is "sound"."""
    joined: str
    """What final.json calls this film: a hash of all that it is made of."""
    picture: PicturePlan | None = None
    """What the segments were encoded as, which the film is held against."""
    container_options: tuple[tuple[str, str], ...] = ()
    """Options of the output's muxer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """Proof that a unit is done: its blob's name, size and hash. Immutable; created if absent, after the blob is safe."""

    schema: int
    work: str
    fingerprint: str
    inputs: Inputs
    blob: str
    sha256: str
    size_bytes: int
    num_frames: int
    attempt: int
    seconds: float
    host: str
    device: str
    versions: dict[str, str]
    facts: dict[str, float | int | str] = field(default_factory=dict)

    def to_json(self) -> bytes:
        return _RECORDS.dump_json(self, indent=1) + b"\n"

    @staticmethod
    def from_json(data: bytes) -> Record:
        """Raises ValueError when the bytes are no whole record of this schema."""
        record = _RECORDS.validate_json(data)
        if record.schema != RECORD_SCHEMA:
            raise ValueError(f"record schema {record.schema}, this version reads {RECORD_SCHEMA}")
        return record


_RECORDS = TypeAdapter(Record)

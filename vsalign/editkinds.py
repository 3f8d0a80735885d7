"""What one version of a film does differently from the other, as records and as sentences.

Frame ranges are half-open; times are seconds since the first frame of the film they belong to.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from vsalign.frames import FrameRange
from vsalign.timecode import timecode

Span = tuple[float, float]
#: Said where there is nothing to tell.
NO_EDITS = "no edits: both films show the same frames in the same order"


@dataclass(frozen=True, slots=True)
class Edit:
    """Where an edit lies in both films. An empty range says between which two frames: before frame ``start``.

    ref_seconds, clip_seconds: times of the first frame of the range and of the first one after it.
    """

    kind: ClassVar[str] = ""

    ref_frames: FrameRange
    clip_frames: FrameRange
    ref_seconds: Span
    clip_seconds: Span

    def words(self) -> str:
        """The edit in one line, for people."""
        raise NotImplementedError

    def to_json(self) -> dict[str, Any]:
        """Kind, words, ranges as [start, stop], and what else the kind has."""
        values = asdict(self) | {
            "ref_frames": [self.ref_frames.start, self.ref_frames.stop],
            "clip_frames": [self.clip_frames.start, self.clip_frames.stop],
            "ref_seconds": [round(t, 6) for t in self.ref_seconds],
            "clip_seconds": [round(t, 6) for t in self.clip_seconds],
        }
        return {"kind": self.kind, "words": self.words(), **values}


@dataclass(frozen=True, slots=True)
class Start(Edit):
    """One film begins before the other; one of the ranges is empty, or next to it."""

    kind: ClassVar[str] = "start"

    def words(self) -> str:
        if len(self.clip_frames) > len(self.ref_frames):
            return f"clip starts {_length(self.clip_seconds)} earlier (its first {_frames(self.clip_frames)} not in ref)"
        return f"clip starts {_length(self.ref_seconds)} later (ref's first {_frames(self.ref_frames)} not in the clip)"


@dataclass(frozen=True, slots=True)
class End(Edit):
    """One film goes on after the other's end."""

    kind: ClassVar[str] = "end"

    def words(self) -> str:
        if len(self.clip_frames) > len(self.ref_frames):
            return f"clip ends {_length(self.clip_seconds)} later (its last {_frames(self.clip_frames)} not in ref)"
        return f"clip ends {_length(self.ref_seconds)} earlier (ref's last {_frames(self.ref_frames)} not in the clip)"


@dataclass(frozen=True, slots=True)
class Missing(Edit):
    """Ref frames that the clip lacks; ``clip_frames`` are the few, if any, that it has in their place."""

    kind: ClassVar[str] = "missing"

    def words(self) -> str:
        instead = f"; {_count(len(self.clip_frames))} in their place" if len(self.clip_frames) else ""
        where = f"(ref frames {self.ref_frames}{instead})"
        return f"{_count(len(self.ref_frames))} missing from the clip at {timecode(self.ref_seconds[0])} {where}"


@dataclass(frozen=True, slots=True)
class Extra(Edit):
    """Clip frames that ref lacks; ``ref_frames`` are the few, if any, that it has in their place."""

    kind: ClassVar[str] = "extra"

    def words(self) -> str:
        instead = f"; {_count(len(self.ref_frames))} of ref in their place" if len(self.ref_frames) else ""
        where = f"(clip frames {self.clip_frames}{instead})"
        return f"{_count(len(self.clip_frames))} only in the clip at {timecode(self.ref_seconds[0])} {where}"


@dataclass(frozen=True, slots=True)
class Replaced(Edit):
    """Both films have frames here, and they show other things."""

    kind: ClassVar[str] = "replaced"

    def words(self) -> str:
        frames = f"{_count(len(self.ref_frames), 'ref frame')} {_from_to(self.ref_seconds)} replaced"
        return f"{frames} (clip shows something else there: its frames {self.clip_frames})"


@dataclass(frozen=True, slots=True)
class Nothing(Edit):
    """No frame of ref has a counterpart."""

    kind: ClassVar[str] = "nothing"

    def words(self) -> str:
        return f"nothing matched: none of {len(self.ref_frames)} ref frames has a counterpart in the clip"


@dataclass(frozen=True, slots=True)
class Moved(Edit):
    """A scene that the clip has elsewhere, ``earlier`` or later than its neighbours."""

    kind: ClassVar[str] = "moved"

    earlier: bool

    def words(self) -> str:
        found = f"found {'earlier' if self.earlier else 'later'} in the clip at {timecode(self.clip_seconds[0])}"
        start, stop = (timecode(t) for t in self.ref_seconds)
        return f"{start} to {stop} of ref is {found} (ref frames {self.ref_frames}, clip frames {self.clip_frames})"


@dataclass(frozen=True, slots=True)
class Speed(Edit):
    """The clip runs at another speed in real time: ``speed`` ref seconds pass in one clip second. ``throughout``: all of the
    time that both films share."""

    kind: ClassVar[str] = "speed"

    speed: float
    throughout: bool

    def words(self) -> str:
        percent = 100.0 * abs(self.speed - 1.0)
        faster = f"clip runs {percent:.2f} % {'faster' if self.speed > 1 else 'slower'}"
        return faster if self.throughout else f"{faster} {_from_to(self.ref_seconds)}"


@dataclass(frozen=True, slots=True)
class Cadence(Edit):
    """Frames repeated or dropped at a steady beat: ``step`` clip frames to a ref frame, and one more (``change`` 1) or fewer
    (-1) once in ``period`` ref frames; ``change`` 0: at no time."""

    kind: ClassVar[str] = "cadence"

    step: int
    change: int
    period: float

    @property
    def pace(self) -> float:
        """Clip frames per ref frame."""
        return self.step + (self.change / self.period if self.change else 0.0)

    def words(self) -> str:
        return f"{self._pattern()} {_from_to(self.ref_seconds)}"

    def _pattern(self) -> str:
        if (self.step, self.change) == (1, 1):
            if self.period == 4:
                return "telecine 3:2 (2:3 pull-down, every 5th frame repeated)"
            return f"{_every(self.period + 1)} repeated"
        if (self.step, self.change) == (1, -1):
            undone = " (as when 3:2 pull-down is taken out)" if self.period == 5 else ""
            return f"{_every(self.period)} dropped{undone}"
        if self.pace == 2.5:
            return "telecine 3:2 (2:3 pull-down, frames shown twice and three times)"
        clip, ref = _ratio(self.pace)
        return f"{_count(clip, 'clip frame')} for every {'ref frame' if ref == 1 else f'{ref} ref frames'}"


@dataclass(frozen=True, slots=True)
class Uneven(Edit):
    """Many frames without a beat: ``dropped`` of ref, ``repeated`` or added in the clip, ``replaced``; ``single``: never two
    at one place."""

    kind: ClassVar[str] = "uneven"

    dropped: int
    repeated: int
    replaced: int
    single: bool

    def words(self) -> str:
        counts = [(self.dropped, "dropped"), (self.repeated, "repeated"), (self.replaced, "replaced")]
        told = [f"{n} {what}" for n, what in counts if n]
        first, _, rest = told[0].partition(" ")
        start, stop = (timecode(t) for t in self.ref_seconds)
        frames = _count(int(first), "single frame" if self.single else "frame")
        how = "" if self.single else ", one or two at a time"
        return f"{', '.join([f'{frames} {rest}', *told[1:]])}{how}, between {start} and {stop}"


def _count(number: int, what: str = "frame") -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _frames(frames: FrameRange) -> str:
    return "frame is" if len(frames) == 1 else f"{len(frames)} frames are"


def _length(span: Span) -> str:
    return f"{span[1] - span[0]:.2f} s"


def _from_to(span: Span) -> str:
    return f"from {timecode(span[0])} to {timecode(span[1])}"


def _every(number: float) -> str:
    if number != round(number):
        return f"1 frame in {number:.3g}"
    whole = round(number)
    ending = "th" if 10 <= whole % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(whole % 10, "th")
    return f"every {whole}{ending} frame"


def _ratio(pace: float) -> tuple[int, int]:
    """The simplest ratio close to ``pace``: (clip frames, ref frames)."""
    for ref in range(1, 1000):
        clip = round(pace * ref)
        if abs(clip / ref - pace) < 0.003 / ref:
            return clip, ref
    return round(pace * 1000), 1000

"""PURE: what goes into the output beside the picture, and what is done with it: copied, or the clip's sound laid on ref's time
by a unit, and the clip's subtitles and chapters moved by the frame map."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import astuple, dataclass, replace
from fractions import Fraction

import numpy as np

from orchestrator.config import JobConfig
from orchestrator.inputs import Inputs
from orchestrator.streamchoice import Choice, Chosen, Film
from tasks.commit import library_versions
from tasks.location import suffix
from tasks.messages import FrameIndex, Probe
from tasks.sound import SOUND_ABI
from tasks.soundplan import SoundPlan, plan_sound
from tasks.streamplan import Extras, Origin, Pick, PickKind
from tasks.work import SoundWork
from vsalign.errors import InputError
from vsalign.framemap import FrameMap


@dataclass(frozen=True, slots=True)
class Soundtrack:
    """``plan``: the clip's audio streams number ``streams`` are laid on ref's time by it first; None where packets are only
    copied. ``moved``: by so much later the clip's packets are, where one shift does. ``fingerprint`` covers all that the
    conformed file's bytes depend on, "" without one."""

    extras: Extras
    streams: tuple[int, ...] = ()
    plan: SoundPlan | None = None
    moved: Fraction | None = None
    fingerprint: str = ""

    @property
    def text(self) -> str:
        """All that the joined film depends on beside its pictures, the films' identities aside."""
        return f"{self.extras.text()} {self.fingerprint}".strip()

    def describe(self) -> str:
        """What was done with the clip's sound, in words; "" where it has no part in the film."""
        if not self.streams:
            return ""
        if self.plan is not None:
            return f"clip's audio: {self.plan.describe()}"
        shift = float(self.moved or 0)
        moved = f", {abs(shift):.3f} s {'later' if shift > 0 else 'earlier'}" if round(shift, 3) else ""
        return f"clip's audio: copied as it is{moved}"


def choose_soundtrack(config: JobConfig, inputs: Inputs, frame_map: FrameMap) -> Soundtrack:
    """What ``inputs.choice`` asks for. The clip's sound is copied where one shift of all its packets lays it on ref's time and
    the container holds them, else conformed by the frame map. Raises InputError where neither can be."""
    choice = inputs.choice
    sound = choice.of("clip", "audio")
    ref = Origin("ref", inputs.ref.info.source.path, inputs.ref.info.version)
    if not sound and not choice.of("clip") and "clip" not in (choice.chapters, choice.tags):
        return Soundtrack(_extras(choice, inputs, ref, None, None))
    plan = _plan(inputs, frame_map)
    clip = Origin("clip", inputs.clip.info.source.path, inputs.clip.info.version, stop_seconds=_stop(inputs.ref.index))
    if plan is None or _is_shift(plan, inputs):
        shift = median_shift(inputs.clip, inputs.ref, frame_map)
        clip, moved = replace(clip, shift_seconds=shift), shift
    else:
        clip, moved = replace(clip, plan=plan), None
    if sound and plan is None and not inputs.clip_sound_fits:
        raise InputError(
            f"{config.out}: the sound of {inputs.clip.info.source.path} cannot be copied into it as it is, and too few frames "
            f"match to lay it on ref's time; --audio ref or none goes without it"
        )
    numbers = tuple(each.stream.index for each in sound)
    if not sound or plan is None or (moved is not None and inputs.clip_sound_fits):
        return Soundtrack(_extras(choice, inputs, ref, clip, clip if sound else None), numbers, moved=moved)
    # In the output the conformed file's zero is ref's first frame.
    start = int(inputs.ref.index.pts[0]) * inputs.ref.index.time_base
    laid = Origin("sound", "", shift_seconds=start)
    return Soundtrack(
        _extras(choice, inputs, ref, clip, laid), numbers, plan, None, _fingerprint(config, inputs, plan, numbers)
    )


def _extras(choice: Choice, inputs: Inputs, ref: Origin, clip: Origin | None, sound: Origin | None) -> Extras:
    """``sound``: where the clip's sound comes from. Only the origins that something is taken from."""
    wanted = [(each, _origin_of(each, ref, clip, sound)) for each in choice.streams]
    by_film = {"ref": ref, "clip": clip}
    used = [origin for _, origin in wanted] + [by_film[film] for film in (choice.chapters, choice.tags) if film]
    origins = tuple(dict.fromkeys(origin for origin in used if origin is not None))
    laid = 0
    picks = []
    for each, origin in wanted:
        index = each.stream.index
        if origin.role == "sound":
            index, laid = laid, laid + 1
        picks.append(Pick(origins.index(origin), index, _pick_kind(each)))
    chapters, tags = (_place(origins, by_film[film] if film else None) for film in (choice.chapters, choice.tags))
    return Extras(origins, tuple(picks), chapters, tags, _picture(inputs, choice.tags))


def _origin_of(each: Chosen, ref: Origin, clip: Origin | None, sound: Origin | None) -> Origin:
    origin = ref if each.film == "ref" else sound if each.kind == "audio" else clip
    assert origin is not None
    return origin


def _place(origins: Sequence[Origin], origin: Origin | None) -> int | None:
    return None if origin is None else origins.index(origin)


def _pick_kind(each: Chosen) -> PickKind:
    return "cover" if each.stream.is_cover else each.kind


def _picture(inputs: Inputs, film: Film | None) -> int | None:
    """The stream whose labels the picture gets: the film's own video stream."""
    if film is None:
        return None
    info = (inputs.ref if film == "ref" else inputs.clip).info
    pictures = [stream.index for stream in info.streams if stream.kind == "video" and not stream.is_cover]
    return pictures[info.source.video_stream] if info.source.video_stream < len(pictures) else None


def sound_work(config: JobConfig, inputs: Inputs, sound: Soundtrack, job_dir: str) -> SoundWork | None:
    """The unit that lays the sound on ref's time; None where packets are only copied."""
    if sound.plan is None:
        return None
    return SoundWork(
        name="sound",
        job_dir=job_dir,
        inputs={"clip": inputs.clip.info.identity, "sound plan": sound.fingerprint},
        num_frames=len(inputs.ref.index),
        path=inputs.clip.info.source.path,
        version=inputs.clip.info.version,
        streams=sound.streams,
        plan=sound.plan,
        suffix=suffix(config.out).lower(),
    )


def _plan(inputs: Inputs, frame_map: FrameMap) -> SoundPlan | None:
    clip, ref = inputs.clip.index, inputs.ref.index
    return plan_sound(frame_map, clip.seconds(), ref.seconds(), float(_stop(clip)), float(_stop(ref)))


def _is_shift(plan: SoundPlan, inputs: Inputs) -> bool:
    return plan.is_shift(float(inputs.clip.index.seconds()[0]), float(_stop(inputs.clip.index)))


def median_shift(clip: Probe, ref: Probe, frame_map: FrameMap) -> Fraction:
    """Seconds from a clip frame's time to its ref frame's time, median over all matches; 0 without any."""
    matched = np.flatnonzero(frame_map.matched)
    if not len(matched):
        return Fraction(0)
    shifts = ref.index.seconds()[matched] - clip.index.seconds()[frame_map.clip_frame[matched]]
    middle = int(matched[np.argsort(shifts, kind="stable")[len(shifts) // 2]])
    ref_time = int(ref.index.pts[middle]) * ref.index.time_base
    return ref_time - int(clip.index.pts[frame_map.clip_frame[middle]]) * clip.index.time_base


def _stop(index: FrameIndex) -> Fraction:
    return int(index.pts[-1] + index.duration[-1]) * index.time_base


def _fingerprint(config: JobConfig, inputs: Inputs, plan: SoundPlan, streams: tuple[int, ...]) -> str:
    """Hash of all that the conformed file's bytes depend on."""
    versions = library_versions()
    pieces = "".join(" ".join(value.hex() for value in astuple(piece)) + "\n" for piece in plan.pieces)
    film = f"{plan.ref_start.hex()} {plan.ref_stop.hex()}"
    container = suffix(config.out).lower()
    parts = (
        str(SOUND_ABI),
        inputs.clip.info.identity,
        " ".join(map(str, streams)),
        pieces,
        film,
        container,
        *(versions[n] for n in ("av", "ffmpeg", "numpy", "numba")),
    )
    digest = hashlib.sha256()
    for part in parts:
        digest.update(f"{len(part)}:{part}".encode())
    return digest.hexdigest()

"""PURE: whose sound goes into the output, and what is done with it: copied, or the clip's laid on ref's time by a unit."""

from __future__ import annotations

import hashlib
from dataclasses import astuple, dataclass
from fractions import Fraction

import numpy as np

from orchestrator.config import JobConfig
from orchestrator.inputs import Inputs
from tasks.commit import library_versions
from tasks.location import suffix
from tasks.messages import FrameIndex, Probe
from tasks.sound import SOUND_ABI
from tasks.soundplan import SoundPlan, plan_sound
from tasks.stitch import AudioCopy, check_audio
from tasks.work import SoundWork
from vsalign.errors import InputError
from vsalign.framemap import FrameMap


@dataclass(frozen=True, slots=True)
class Soundtrack:
    """``copy``: the packets as they are; or, with ``plan``, the file at ``path`` is laid on ref's time first.

    ``fingerprint`` covers all that the sound depends on.
    """

    path: str
    copy: AudioCopy
    plan: SoundPlan | None
    fingerprint: str
    whose: str

    def describe(self) -> str:
        """What was done with the sound, in words; "" where ref's own is copied."""
        if self.whose == "ref":
            return ""
        if self.plan is not None:
            return f"clip's audio: {self.plan.describe()}"
        shift = float(self.copy.shift_seconds)
        moved = f", {abs(shift):.3f} s {'later' if shift > 0 else 'earlier'}" if round(shift, 3) else ""
        return f"clip's audio: copied as it is{moved}"


def choose_soundtrack(config: JobConfig, inputs: Inputs, frame_map: FrameMap) -> Soundtrack | None:
    """The sound that ``config`` asks for; None without any. The clip's is copied where one shift of all its packets lays it on
    ref's time and the container holds them, else conformed by the frame map."""
    whose = config.output.audio
    source = inputs.ref if whose == "ref" else inputs.clip
    if whose == "none" or not source.info.has_audio:
        return None
    path = source.info.source.path
    if whose == "ref":
        return Soundtrack(path, AudioCopy(path, version=source.info.version), None, "0", whose)
    clip, ref = inputs.clip.index, inputs.ref.index
    plan = plan_sound(frame_map, clip.seconds(), ref.seconds(), float(_stop(clip)), float(_stop(ref)))
    if plan is None or (plan.is_shift(float(clip.seconds()[0]), float(_stop(clip))) and _holds(inputs.clip, config.out)):
        shift = median_shift(inputs.clip, inputs.ref, frame_map)
        copy = AudioCopy(path, shift, _stop(ref), source.info.version)
        return Soundtrack(path, copy, None, f"{copy.shift_seconds} {copy.stop_seconds}", whose)
    # In the output the conformed file's zero is ref's first frame.
    start = int(ref.pts[0]) * ref.time_base
    copy = AudioCopy(path, start, version=source.info.version)
    return Soundtrack(path, copy, plan, _fingerprint(config, inputs, plan), whose)


def sound_work(config: JobConfig, inputs: Inputs, sound: Soundtrack, job_dir: str) -> SoundWork | None:
    """The unit that lays the sound on ref's time; None where packets are only copied."""
    if sound.plan is None:
        return None
    return SoundWork(
        name="sound",
        job_dir=job_dir,
        inputs={"clip": inputs.clip.info.identity, "sound plan": sound.fingerprint},
        num_frames=len(inputs.ref.index),
        path=sound.path,
        version=sound.copy.version,
        plan=sound.plan,
        suffix=suffix(config.out).lower(),
    )


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


def _holds(clip: Probe, out: str) -> bool:
    try:
        check_audio(clip.info, out)
    except InputError:
        return False
    return True


def _fingerprint(config: JobConfig, inputs: Inputs, plan: SoundPlan) -> str:
    """Hash of all that the conformed file's bytes depend on."""
    versions = library_versions()
    pieces = "".join(" ".join(value.hex() for value in astuple(piece)) + "\n" for piece in plan.pieces)
    film = f"{plan.ref_start.hex()} {plan.ref_stop.hex()}"
    container = suffix(config.out).lower()
    parts = (
        str(SOUND_ABI),
        inputs.clip.info.identity,
        pieces,
        film,
        container,
        *(versions[n] for n in ("av", "numpy", "numba")),
    )
    digest = hashlib.sha256()
    for part in parts:
        digest.update(f"{len(part)}:{part}".encode())
    return digest.hexdigest()

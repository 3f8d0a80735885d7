"""Whose sound goes into the output, and what is done with it: copied, or the clip's laid on ref's time in a file of the job."""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import astuple, dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from orchestrator.config import JobConfig
from orchestrator.inputs import Inputs
from orchestrator.jobrun import JobRun
from orchestrator.report import StageReport
from tasks.commit import library_versions
from tasks.messages import FrameIndex, Probe
from tasks.sound import SOUND_ABI, conform
from tasks.soundplan import SoundPlan, plan_sound
from tasks.stitch import AudioCopy, check_audio
from tasks.store import file_sha256
from vsalign.errors import InputError
from vsalign.framemap import FrameMap

#: Conformed sound in the job directory: NAME.mkv (or .mp4, .mov) and, written after it, NAME.json.
SOUND_FOLDER = "sound"


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
        return Soundtrack(path, AudioCopy(path), None, "0", whose)
    clip, ref = inputs.clip.index, inputs.ref.index
    plan = plan_sound(frame_map, clip.seconds(), ref.seconds(), float(_stop(clip)), float(_stop(ref)))
    if plan is None or (plan.is_shift(float(clip.seconds()[0]), float(_stop(clip))) and _holds(inputs.clip, config.out)):
        copy = AudioCopy(path, median_shift(inputs.clip, inputs.ref, frame_map), _stop(ref))
        return Soundtrack(path, copy, None, f"{copy.shift_seconds} {copy.stop_seconds}", whose)
    # In the output the conformed file's zero is ref's first frame.
    start = int(ref.pts[0]) * ref.time_base
    return Soundtrack(path, AudioCopy(path, start), plan, _fingerprint(config, inputs, plan), whose)


def audio_to_stitch(run: JobRun, sound: Soundtrack | None) -> tuple[AudioCopy | None, tuple[StageReport, ...]]:
    """What stitch copies; sound that has to be conformed is made now unless the job directory has it. Raises StitchError."""
    if sound is None or sound.plan is None:
        return (sound.copy if sound else None), ()
    store, started = run.job.store, time.monotonic()
    name = f"{SOUND_FOLDER}/{sound.fingerprint[:16]}"
    blob = name + Path(run.config.out).suffix.lower()
    if _is_there(run, sound.fingerprint, name, blob):
        run.ui.say("sound: reused")
    else:
        local = store.scratch() / Path(blob).name
        _make(run, sound, sound.plan, local)
        note = {"fingerprint": sound.fingerprint, "size_bytes": local.stat().st_size, "sha256": file_sha256(local)}
        store.publish(local, blob)
        store.replace(f"{name}.json", (json.dumps(note, indent=1) + "\n").encode())
    stage = StageReport("sound", len(run.inputs.ref.index), round(time.monotonic() - started, 3))
    return AudioCopy(str(store.local_path(blob)), sound.copy.shift_seconds), (stage,)


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
    container = Path(config.out).suffix.lower()
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


def _is_there(run: JobRun, fingerprint: str, name: str, blob: str) -> bool:
    """Whether the job directory has the sound whole; a damaged file is made again."""
    store = run.job.store
    try:
        note = json.loads(store.read(f"{name}.json") or b"")
        if note["fingerprint"] != fingerprint or note["size_bytes"] != store.size(blob):
            return False
        return bool(note["sha256"] == file_sha256(store.local_path(blob)))
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _make(run: JobRun, sound: Soundtrack, plan: SoundPlan, local: Path) -> None:
    num_frames, seconds = len(run.inputs.ref.index), max(plan.ref_stop - plan.ref_start, 1e-6)
    with run.ui.stage("sound", num_frames) as view:
        conform(sound.path, plan, str(local), lambda done: view.running(round(num_frames * done / seconds)))

"""The end of the walk: segments -> one file, written aside, verified, then renamed. Its own record makes it resumable."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from orchestrator.config import JobConfig
from orchestrator.errors import InterruptedRun, StageFailed
from orchestrator.inputs import Inputs
from orchestrator.jobdir import JobDir
from orchestrator.jobrun import JobRun
from orchestrator.report import StageReport
from tasks.commit import file_sha256
from tasks.messages import Probe
from tasks.stitch import AudioCopy, SegmentPlan, stitch, verify
from tasks.store import publish_file
from tasks.work import Record, RenderWork
from vsalign.framemap import FrameMap


@dataclass(frozen=True, slots=True)
class Finished:
    """A published output and the time its last stages took."""

    stages: tuple[StageReport, ...]


def finish(run: JobRun, works: Sequence[RenderWork], records: Mapping[str, Record], frame_map: FrameMap) -> Finished:
    """Join the segments of ``works`` with the audio to OUT. Raises StageFailed when the joined file is not as planned."""
    config, inputs, store = run.config, run.inputs, run.job.store
    audio = audio_copy(config, inputs, frame_map)
    fingerprint = _fingerprint(config, inputs, audio, works, records)
    out = Path(config.out)
    if _final(config) == (fingerprint, _sha_if_there(out)):
        run.ui.say(f"{config.out} is finished already")
        return Finished(())
    part = out.with_name(f".{out.stem}.part{out.suffix}")
    segments = [SegmentPlan(str(store.local_path(records[work.name].blob)), work.ref_frames) for work in works]
    started, num_frames = time.monotonic(), len(inputs.ref.index)
    _stitch(run, segments, part, audio)
    stitched = time.monotonic()
    result = verify(str(part), inputs.ref.index.pts, inputs.ref.index.time_base, audio is not None)
    if result.problems:
        raise StageFailed("verify", str(part), "; ".join(result.problems))
    # The record goes first: a kill between the two leaves an OUT that resume knows as its own.
    final = {"fingerprint": fingerprint, "sha256": file_sha256(part), "out": str(out.absolute())}
    store.replace("final.json", (json.dumps(final, indent=1) + "\n").encode())
    publish_file(part, out)
    if config.output.clean:
        _clean(run.job, works, records)
    verified = time.monotonic()
    return Finished(
        (
            StageReport("stitch", num_frames, round(stitched - started, 3)),
            StageReport("verify", num_frames, round(verified - stitched, 3)),
        )
    )


def _stitch(run: JobRun, segments: list[SegmentPlan], part: Path, audio: AudioCopy | None) -> None:
    ref = run.inputs.ref.index
    with run.ui.stage("stitch", len(ref)) as view:

        def progress(frames: int) -> None:
            if run.stop.kill:
                raise InterruptedRun("stitch", frames, len(ref))
            view.running(frames)

        stitch(segments, ref.pts, ref.time_base, int(ref.duration[-1]), str(part), audio, progress)


def audio_copy(config: JobConfig, inputs: Inputs, frame_map: FrameMap) -> AudioCopy | None:
    """Whose audio goes in, and how far it is moved: the clip's by the median distance in time of matched frames."""
    if config.output.audio == "none":
        return None
    source = inputs.ref if config.output.audio == "ref" else inputs.clip
    if not any(stream.kind == "audio" for stream in source.info.streams):
        return None
    shift = Fraction(0) if config.output.audio == "ref" else median_shift(inputs.clip, inputs.ref, frame_map)
    return AudioCopy(source.info.source.path, shift)


def median_shift(clip: Probe, ref: Probe, frame_map: FrameMap) -> Fraction:
    """Seconds from a clip frame's time to its ref frame's time, median over all matches; 0 without any."""
    matched = np.flatnonzero(frame_map.matched)
    if not len(matched):
        return Fraction(0)
    shifts = ref.index.seconds()[matched] - clip.index.seconds()[frame_map.clip_frame[matched]]
    middle = int(matched[np.argsort(shifts, kind="stable")[len(shifts) // 2]])
    ref_time = int(ref.index.pts[middle]) * ref.index.time_base
    return ref_time - int(clip.index.pts[frame_map.clip_frame[middle]]) * clip.index.time_base


def out_is_ours(config: JobConfig) -> bool:
    """OUT is, byte for byte, what this job directory says it published."""
    final = _final(config)
    return final is not None and final[1] == _sha_if_there(Path(config.out))


def _final(config: JobConfig) -> tuple[str, str | None] | None:
    """(fingerprint, sha256) of the output that this job published last."""
    try:
        final = json.loads((config.job_dir / "final.json").read_bytes())
        return str(final["fingerprint"]), str(final["sha256"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _sha_if_there(path: Path) -> str | None:
    return file_sha256(path) if path.is_file() else None


def _fingerprint(
    config: JobConfig,
    inputs: Inputs,
    audio: AudioCopy | None,
    works: Sequence[RenderWork],
    records: Mapping[str, Record],
) -> str:
    digest = hashlib.sha256()
    sound = f"{config.output.audio} {audio.shift_seconds if audio else ''}"
    parts = [sound, Path(config.out).suffix, inputs.ref.info.identity, inputs.clip.info.identity]
    for part in (*parts, *(records[work.name].sha256 for work in works)):
        digest.update(f"{len(part)}:{part}".encode())
    return digest.hexdigest()


def _clean(job: JobDir, works: Sequence[RenderWork], records: Mapping[str, Record]) -> None:
    """Drop the segments with their records, so that nothing points at what is gone."""
    job.store.remove([work.record_name for work in works])
    job.store.remove([records[work.name].blob for work in works])

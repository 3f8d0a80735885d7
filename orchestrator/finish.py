"""The end of the walk: segments -> one file, written aside, verified, then renamed. Its own record makes it resumable."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from orchestrator.config import JobConfig
from orchestrator.errors import StageFailed
from orchestrator.jobdir import JobDir
from orchestrator.jobrun import JobRun
from orchestrator.report import StageReport
from orchestrator.soundtrack import SOUND_FOLDER, Soundtrack, audio_to_stitch
from tasks.stitch import AudioCopy, SegmentPlan, stitch, verify
from tasks.store import JobStore, file_sha256, open_store, publish_file
from tasks.work import Record, RenderWork

#: Raised by hand when a change to stitching alters its bytes.
STITCH_ABI = 1


@dataclass(frozen=True, slots=True)
class Final:
    """What was published: the hash of all it was made of, the file's own hash, and whether it has sound."""

    fingerprint: str
    sha256: str
    has_audio: bool


def read_final(store: JobStore) -> Final | None:
    """What this job published last; None when it has not, or its note is torn."""
    try:
        return Final(**json.loads(store.read("final.json") or b""))
    except (ValueError, TypeError):
        return None


@dataclass(frozen=True, slots=True)
class Finished:
    """A published output and the time its last stages took; no stages when it was there already."""

    stages: tuple[StageReport, ...]


def already_finished(run: JobRun, works: Sequence[RenderWork], sound: Soundtrack | None) -> Finished | None:
    """OUT as this job published it, made of these very units; None when there is something left to do."""
    out = Path(run.config.out)
    final = _final(run.config)
    if final is None or (final.fingerprint, final.sha256) != (_fingerprint(run, sound, works), _sha_if_there(out)):
        return None
    run.ui.say(f"{out} is finished already")
    if run.config.output.clean:
        _clean(run.job)
    return Finished(())


def finish(run: JobRun, works: Sequence[RenderWork], records: Mapping[str, Record], sound: Soundtrack | None) -> Finished:
    """Join the segments of ``works`` with the audio to OUT. Raises StageFailed when the joined file is not as planned."""
    # Absolute, for FFmpeg takes "Alien: Covenant.mkv" for a protocol; resolved, so that a link is followed and not replaced.
    out = Path(run.config.out).resolve()
    part = out.with_name(f".{out.stem}.part{out.suffix}")
    store, num_frames = run.job.store, len(run.inputs.ref.index)
    segments = [SegmentPlan(str(store.local_path(records[work.name].blob)), work.ref_frames) for work in works]
    audio, stages = audio_to_stitch(run, sound)
    started = time.monotonic()
    try:
        _stitch(run, segments, part, audio)
        stitched = time.monotonic()
        _verify(run, part, audio is not None)
        # The record goes first: a kill between the two leaves an OUT that resume knows as its own.
        final = Final(_fingerprint(run, sound, works), file_sha256(part), audio is not None)
        store.replace("final.json", (json.dumps(asdict(final), indent=1) + "\n").encode())
        publish_file(part, out)
    finally:
        part.unlink(missing_ok=True)
    if run.config.output.clean:
        _clean(run.job)
    verified = time.monotonic()
    return Finished(
        (
            *stages,
            StageReport("stitch", num_frames, round(stitched - started, 3)),
            StageReport("verify", num_frames, round(verified - stitched, 3)),
        )
    )


def _stitch(run: JobRun, segments: list[SegmentPlan], part: Path, audio: AudioCopy | None) -> None:
    ref = run.inputs.ref.index
    with run.ui.stage("stitch", len(ref)) as view:
        stitch(segments, ref.pts, ref.time_base, int(ref.duration[-1]), str(part), audio, view.running)


def _verify(run: JobRun, part: Path, audio_expected: bool) -> None:
    ref = run.inputs.ref.index
    result = verify(str(part), ref.pts, ref.time_base, audio_expected)
    if result.problems:
        raise StageFailed("verify", str(part), "; ".join(result.problems))


def out_is_ours(config: JobConfig) -> bool:
    """OUT is, byte for byte, what this job directory says it published."""
    final = _final(config)
    return final is not None and final.sha256 == _sha_if_there(Path(config.out))


def _final(config: JobConfig) -> Final | None:
    return read_final(open_store(str(config.job_dir)))


def _sha_if_there(path: Path) -> str | None:
    return file_sha256(path) if path.is_file() else None


def _fingerprint(run: JobRun, soundtrack: Soundtrack | None, works: Sequence[RenderWork]) -> str:
    """Hash of all that the joined file depends on: its units, the audio, the container, the ref's times."""
    sound = f"{run.config.output.audio} {soundtrack.fingerprint if soundtrack else ''}"
    times = run.inputs.ref.info.identity
    parts = [str(STITCH_ABI), sound, Path(run.config.out).suffix, times, run.inputs.clip.info.identity]
    digest = hashlib.sha256()
    for part in (*parts, *(work.fingerprint for work in works)):
        digest.update(f"{len(part)}:{part}".encode())
    return digest.hexdigest()


def _clean(job: JobDir) -> None:
    """Drop all segments and sound, those of earlier settings too, with their records, so nothing points at what is gone."""
    job.store.remove([name for name in job.store.names("done") if name.startswith("done/render-")])
    job.store.remove(job.store.names("seg"))
    job.store.remove(job.store.names(SOUND_FOLDER))

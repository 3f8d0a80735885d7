"""The end of the walk: segments -> one file. Decided here, done by a worker; files that do not hold are rendered again."""

from __future__ import annotations

import hashlib
import secrets
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from orchestrator.config import JobConfig
from orchestrator.errors import StageFailed
from orchestrator.jobrun import JobRun, UnitsDone, do_units
from orchestrator.report import StageReport
from orchestrator.resume import Found, load_records, sort_units
from orchestrator.soundtrack import Soundtrack, sound_work
from orchestrator.streamchoice import Choice
from orchestrator.works import content_digest, versions
from tasks.codecs import container_of
from tasks.final import Final, read_final, settle_final
from tasks.join import parts_to_json
from tasks.location import is_remote, suffix
from tasks.outfile import drop_parts, out_sha256, out_size
from tasks.presets import container_options
from tasks.seamplan import PicturePlan, SegmentEnds
from tasks.seams import drop_seams
from tasks.store import open_store
from tasks.work import STITCH, Part, Record, RenderWork, SoundWork, StitchWork, Work
from tasks.work import Inputs as WorkInputs
from vsalign.frames import FrameRange

#: Raised by hand when a change to stitching alters its bytes.
STITCH_ABI = 3
#: So often damaged files are rendered again within one run; a disk that goes on damaging them is nothing to fight.
MOST_REPAIRS = 3
_PARTS_FOLDER = "parts"
_ARRIVAL_SECONDS = 70.0


@dataclass(frozen=True, slots=True)
class Finished:
    """A published output and the time its last stages took; no stages when it was there already. ``left_out``: what of the
    chosen streams it has no place for."""

    stages: tuple[StageReport, ...]
    left_out: str = ""


def already_finished(run: JobRun, works: Sequence[RenderWork], sound: Soundtrack) -> Finished | None:
    """OUT as this job published it, made of these very units; None when there is something left to do."""
    final = read_final(run.job.store)
    out = out_location(run.config)
    if final is None or (final.fingerprint, final.sha256) != (_fingerprint(run, sound, works), out_sha256(out)):
        return None
    if not _joins_these(works, load_records(run.job.store), final):
        return None
    run.ui.say(f"{run.config.out} is finished already")
    _tidy(run, final)
    return Finished((), final.left_out)


def finish(
    run: JobRun, works: Sequence[RenderWork], rendered: UnitsDone, sound: Soundtrack
) -> tuple[UnitsDone, Finished | None]:
    """Join the segments of ``works`` with the audio to OUT; where their files do not hold, those chunks are rendered again.

    Returns what was rendered in the end, and None for a film when chunks were given up on the way. Raises StageFailed.
    """
    drop_parts(out_location(run.config))
    conforming = sound_work(run.config, run.inputs, sound, run.job_dir)
    stages: list[StageReport] = []
    failure, tried_again = "", False
    for _ in range(1 + MOST_REPAIRS):
        _check_alike(works, rendered.records)
        heard = _conformed(run, conforming, stages) if conforming else None
        joined = do_units(run, "stitch", "films", [stitch_work(run, works, rendered.records, sound, heard)], kind="joining")
        if joined.records:
            record = joined.records[STITCH]
            _check_arrived(run, record)
            contents, left_out = (str(record.facts.get(name, "")) for name in ("contents", "left_out"))
            final = Final(_fingerprint(run, sound, works), record.sha256, contents, left_out=left_out)
            settle_final(run.job.store, final)
            _tidy(run, final)
            return rendered, Finished((*stages, *_stages(joined)), left_out)
        failure = joined.outcome.parked[STITCH].message
        lost = _lost_units(run, [*works, *([conforming] if conforming else [])])
        if not lost and tried_again:
            break
        if not lost:
            # What this process sees is whole: the joining machine may have seen it otherwise (NFS), once.
            tried_again = True
            continue
        run.ui.say(f"stitch: {lost} made again")
        rendered = _both(rendered, do_units(run, "render", "chunks", works, kind="spatial"))
        if rendered.outcome.parked:
            return rendered, None
    raise StageFailed("stitch", run.config.out, failure)


def stitch_work(
    run: JobRun, works: Sequence[RenderWork], records: Mapping[str, Record], sound: Soundtrack, heard: Part | None
) -> StitchWork:
    """The one unit that joins the film; leaves the list of what it joins in the job directory, in place of all earlier ones,
    without which their attempts publish no more."""
    parts = parts_to_json([_part(work, records[work.name], work.ref_frames) for work in works])
    name, earlier = f"{_PARTS_FOLDER}/{secrets.token_hex(8)}.json", run.job.store.names(_PARTS_FOLDER)
    run.job.store.create(name, parts)
    run.job.store.remove(earlier)
    return StitchWork(
        name=STITCH,
        job_dir=run.job_dir,
        inputs={
            "abi": str(STITCH_ABI),
            "segments": content_digest(records[work.name] for work in works),
            "streams": sound.text,
            **_stream_inputs(run.inputs.choice),
            "container": suffix(run.config.out),
            "container options": _options_text(run.config),
            **versions("av", "ffmpeg"),
            "clip": run.inputs.clip.info.identity,
            "ref": run.inputs.ref.info.identity,
        },
        num_frames=len(run.inputs.ref.index),
        parts=name,
        out=out_location(run.config),
        extras=sound.extras,
        sound=heard,
        joined=_fingerprint(run, sound, works),
        picture=PicturePlan(works[0].video, works[0].pixel_format, works[0].encode.codec),
        container_options=_container_options(run.config),
    )


def out_location(config: JobConfig) -> str:
    """OUT as any worker finds it. Absolute, for FFmpeg takes "Alien: Covenant.mkv" for a protocol; resolved, so that a link is
    followed and not replaced."""
    return config.out if is_remote(config.out) else str(Path(config.out).resolve())


def out_is_ours(config: JobConfig) -> bool:
    """OUT is, byte for byte, what this job directory says it published."""
    final = read_final(open_store(config.job_location))
    return final is not None and out_sha256(out_location(config)) in (final.sha256, *final.previous_sha256)


def _joins_these(works: Sequence[RenderWork], found: Found, final: Final) -> bool:
    """PURE: the film was joined of these units as they may be used and are now, as far as records tell; --clean takes them
    away."""
    reuse = sort_units(works, found)
    if reuse.num_refused:
        return False
    joined = {r.inputs.get("segments") for r in found.records if r.work == STITCH and r.sha256 == final.sha256}
    if reuse.todo or not joined or None in joined:  # None: of an earlier version
        return True
    return content_digest(reuse.done[work.name] for work in works) in joined


def _conformed(run: JobRun, work: SoundWork, stages: list[StageReport]) -> Part:
    """The sound on ref's time, made now unless the job directory has it."""
    done = do_units(run, "sound", "soundtracks", [work], kind="joining")
    for failure in done.outcome.parked.values():
        raise StageFailed("sound", run.config.out, failure.message)
    stages.append(done.report)
    return _part(work, done.records[work.name], FrameRange(0, work.num_frames))


def _part(work: Work, record: Record, frames: FrameRange) -> Part:
    ends = SegmentEnds.of_facts(record.facts)
    return Part(work.name, work.record_name, record.blob, record.sha256, record.size_bytes, frames, ends)


def _lost_units(run: JobRun, works: Sequence[Work]) -> str:
    """In words, the units whose records a failed stitch has put aside; "" for none."""
    again = [work.name for work in sort_units(works, load_records(run.job.store, works)).todo]
    more = f" and {len(again) - 5} more" if len(again) > 5 else ""
    return f"{', '.join(again[:5])}{more}: gone, or not the bytes that were recorded;" if again else ""


def _check_arrived(run: JobRun, record: Record) -> None:
    """OUT is where this process sees it; NFS may show a new file a minute late."""
    deadline = time.monotonic() + _ARRIVAL_SECONDS
    while out_size(record.blob) != record.size_bytes:
        if time.monotonic() > deadline:
            why = (
                f"{record.host} has written it, but it is not to be seen here: OUT has to lie on storage that all workers share"
            )
            raise StageFailed("stitch", record.blob, why)
        time.sleep(1)


def _stages(joined: UnitsDone) -> tuple[StageReport, StageReport]:
    """Stitching and verifying, as two stages of the report; a film that was there took no time."""
    record, frames = joined.records[STITCH], joined.report.frames
    verifying = sum(float(record.facts.get(name, 0.0)) for name in ("verify_seconds", "seams_seconds")) if frames else 0.0
    return (
        replace(joined.report, seconds=round(max(joined.report.seconds - verifying, 0.0), 3)),
        StageReport("verify", frames, verifying),
    )


def _both(first: UnitsDone, again: UnitsDone) -> UnitsDone:
    """One account of a stage that was gone through twice."""
    report = replace(
        first.report,
        frames=first.report.frames + again.report.frames,
        seconds=round(first.report.seconds + again.report.seconds, 3),
        retries=first.report.retries + again.report.retries,
    )
    return UnitsDone(again.records, again.outcome, report)


def _check_alike(works: Sequence[RenderWork], records: Mapping[str, Record]) -> None:
    """All segments were encoded with the same codec headers, without which no player shows more than the first of them."""
    headers = {work.name: str(records[work.name].facts.get("header_sha256", "")) for work in works}
    usual, _ = Counter(headers.values()).most_common(1)[0]
    odd = [name for name, header in headers.items() if header != usual]
    if odd:
        alike = next(records[name] for name, header in headers.items() if header == usual)
        raise StageFailed(
            "stitch",
            odd[0],
            f"codec headers of {len(odd)} of {len(works)} chunks differ from the others': "
            f"{'; '.join(_made_by(records[name]) for name in odd[:5])}; the others as {_made_by(alike)}",
        )


def _made_by(record: Record) -> str:
    versions = " ".join(f"{name} {version}" for name, version in sorted(record.versions.items()) if version)
    return f"{record.work} on {record.host} ({record.device}, {versions})"


def _fingerprint(run: JobRun, soundtrack: Soundtrack, works: Sequence[RenderWork]) -> str:
    """Hash of all that the joined file depends on: its units, the streams beside them, the container, the ref's times, and the
    libraries that write it."""
    films = [run.inputs.ref.info.identity, run.inputs.clip.info.identity]
    container = [suffix(run.config.out), _options_text(run.config), *versions("av", "ffmpeg").values()]
    parts = [str(STITCH_ABI), soundtrack.text, *container, *films]
    digest = hashlib.sha256()
    for part in (*parts, *(work.fingerprint for work in works)):
        digest.update(f"{len(part)}:{part}".encode())
    return digest.hexdigest()


def _stream_inputs(choice: Choice) -> WorkInputs:
    """What is taken from where, for people: "ref 0,1" are the first two streams of a kind of ref's."""
    told: WorkInputs = {}
    for kind, name in (("audio", "audio"), ("subtitle", "subtitles"), ("attachment", "attachments")):
        chosen = [each for each in choice.streams if each.kind == kind]
        films = dict.fromkeys(each.film for each in chosen)
        told[f"streams.{name}"] = "; ".join(
            f"{film} {','.join(str(each.number) for each in chosen if each.film == film)}" for film in films
        )
    return {**told, "streams.chapters": choice.chapters or "", "streams.tags": choice.tags or ""}


def _container_options(config: JobConfig) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(container_options(config.encode.preset, container_of(config.out)).items()))


def _options_text(config: JobConfig) -> str:
    return " ".join(f"{name}={value}" for name, value in _container_options(config))


def _tidy(run: JobRun, final: Final) -> None:
    """Drop what only joining needed, what killed attempts at it left, and what is known of other films; with --clean all
    segments and sound, those of earlier settings too, with their records, so that nothing points at what is gone."""
    store = run.job.store
    drop_parts(out_location(run.config))
    store.remove(store.names(_PARTS_FOLDER))
    drop_seams(store, final.sha256)
    if run.config.output.clean:
        made = ("done/render-", "done/sound-")
        store.remove([name for name in store.names("done") if name.startswith(made)])
        store.remove(store.names("seg"))
        store.remove(store.names("sound"))

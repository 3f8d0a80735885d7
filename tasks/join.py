"""Join as a unit of work: segments and sound -> the film at OUT. Only files that are what their records say are joined.

Order: a part file is written and verified, final.json names it, OUT is published, the record proves it. A kill anywhere leaves
the old OUT or the new one, and what the next attempt needs to know which. The list of parts is a run's own and goes with it: an
attempt that comes back when it is gone publishes nothing.
"""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import perf_counter

from pydantic import TypeAdapter

from tasks.colourcheck import colour_problems
from tasks.commit import find_record, put_in_place, record_of, retire_result, whole_blob
from tasks.errors import DamagedResults, StitchError, TaskError
from tasks.final import Final, write_final
from tasks.joinplan import SegmentPlan
from tasks.outfile import part_for, publish_out
from tasks.progress import OnFrame, Share
from tasks.refusal import refusals_told
from tasks.room import check_join_room
from tasks.seamplan import JoinedSegment, Seams
from tasks.seams import check_seams, write_seams
from tasks.sources import read_probe
from tasks.stitch import stitch, verify
from tasks.store import JobStore, file_sha256
from tasks.streamplan import Extras
from tasks.work import Attempt, Part, Record, StitchWork

#: Files that are fetched and hashed at once.
_AT_ONCE = 8
#: Share of the unit's progress that checking takes; the rest is writing, verifying comes on top.
_CHECKED = 0.3
#: Seams at which the film is decoded before it is published; ``vsalign verify`` looks at more.
_SEAMS_LOOKED_AT = 8

Facts = dict[str, float | int | str]

_PARTS = TypeAdapter(tuple[Part, ...])


def parts_to_json(parts: Sequence[Part]) -> bytes:
    """The list of segments that a StitchWork names."""
    return _PARTS.dump_json(tuple(parts)) + b"\n"


def join_film(work: StitchWork, attempt: Attempt, store: JobStore, on_frame: OnFrame) -> Record:
    """Write, verify and publish the film and commit that it is there.

    Raises DamagedResults, with the records put aside, when files are not those of their records; StitchError when segments and
    plan do not make one film; StorageError when OUT's disk refuses; TaskError when another run has finished the job meanwhile.
    """
    share, folder = Share(work.num_frames, on_frame), store.scratch()
    part = part_for(work.out, folder, secrets.token_hex(4))
    try:
        with refusals_told(part.parent, folder, work.job_dir):
            parts = _parts(store, work)
            wanted = (*parts, work.sound) if work.sound else parts
            check_join_room(work.job_dir, part, sum(each.size_bytes for each in wanted))
            started = perf_counter()
            files = whole_files(store, wanted, lambda n: share.reach(_CHECKED * n))
            facts: Facts = {"check_seconds": round(perf_counter() - started, 3)}
            segments = [SegmentPlan(str(file), each.ref_frames) for file, each in zip(files, parts, strict=False)]
            extras = work.extras.sound_at(str(files[-1])) if work.sound else work.extras
            options = dict(work.container_options)
            facts |= _write_verified(
                store, segments, extras, options, part, lambda n: share.reach(_CHECKED + (1 - _CHECKED) * n)
            )
            seams = Seams(work.joined, tuple(JoinedSegment(each.ref_frames, each.ends) for each in parts), work.picture)
            _check_picture(seams, part)
            facts |= _check_seams(store, seams, part)
            return _published(work, attempt, store, part, seams, facts, started)
    finally:
        part.unlink(missing_ok=True)
        shutil.rmtree(folder, ignore_errors=True)


def _parts(store: JobStore, work: StitchWork) -> tuple[Part, ...]:
    """What is to be joined. Raises TaskError when the run that wanted it is over."""
    data = store.read(work.parts)
    if data is None:
        raise TaskError(f"{work.out}: another run has published, or has begun to; this one's film is not needed")
    return _PARTS.validate_json(data)


def whole_files(store: JobStore, parts: Sequence[Part], on_share: Callable[[float], None]) -> list[Path]:
    """Files on this machine with the bytes that the records of ``parts`` promise.

    Raises DamagedResults naming the units that have none; their records are put aside, so that they can be done again; and
    StorageError where files can't be read, which says nothing of them.
    """
    recorded = set(store.names("done"))
    # A listing may be older than a name that is asked for by itself (NFS).
    if absent := [part.unit for part in parts if part.record not in recorded and store.size(part.record) is None]:
        raise DamagedResults(absent)
    files, damaged = [], []
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for number, file in enumerate(pool.map(lambda part: whole_blob(store, part.blob, part.sha256), parts)):
            if file is None:
                damaged.append(parts[number])
            else:
                files.append(file)
            on_share((number + 1) / len(parts))
    if damaged:
        for part in damaged:
            retire_result(store, part.record, part.blob)
        raise DamagedResults([part.unit for part in damaged])
    return files


def _write_verified(
    store: JobStore,
    segments: list[SegmentPlan],
    extras: Extras,
    options: Mapping[str, str],
    part: Path,
    on_share: Callable[[float], None],
) -> Facts:
    """Write ``part`` and look whether it is what was planned; returns how long each took, what the film holds and what not."""
    ref, started = read_probe(store, "ref").index, perf_counter()
    last = int(ref.duration[-1])
    made = stitch(segments, ref.pts, ref.time_base, last, str(part), extras, lambda done: on_share(done / len(ref)), options)
    written = perf_counter()
    found = verify(str(part), ref.pts, ref.time_base, made.contents)
    if found.problems:
        raise StitchError("the joined film is not as planned: " + "; ".join(found.problems))
    left_out = [f"{number} {what} that the film has no place for" for what, number in sorted(made.left_out.items())]
    return {
        "stitch_seconds": round(written - started, 3),
        "verify_seconds": round(perf_counter() - written, 3),
        "contents": found.contents.to_json(),
        "left_out": "; ".join([*left_out, *made.notes, *found.lost]),
    }


def _check_picture(seams: Seams, part: Path) -> None:
    """Colour, shape of pixels, rotation and brightness are those the segments were encoded with."""
    picture = seams.picture
    if picture and (problems := colour_problems(str(part), picture.video, picture.pixel_format, picture.codec)):
        raise StitchError("the joined film's picture is not as planned: " + "; ".join(problems))


def _check_seams(store: JobStore, seams: Seams, part: Path) -> Facts:
    """Decode the film where some of its segments meet."""
    ref, started = read_probe(store, "ref").index, perf_counter()
    if problems := check_seams(str(part), ref.pts, ref.time_base, seams, _SEAMS_LOOKED_AT).problems:
        raise StitchError("the joined film is not what was rendered: " + "; ".join(problems))
    return {"seams_seconds": round(perf_counter() - started, 3)}


def _published(
    work: StitchWork, attempt: Attempt, store: JobStore, part: Path, seams: Seams, facts: Facts, started: float
) -> Record:
    sha256, size = file_sha256(part), part.stat().st_size
    _parts(store, work)
    write_seams(store, sha256, seams)
    contents, left_out = (str(facts.get(name, "")) for name in ("contents", "left_out"))
    write_final(store, Final(work.joined, sha256, contents, left_out=left_out))
    _parts(store, work)
    publish_out(part, work.out, sha256)
    seconds = perf_counter() - started
    record = record_of(work, work.out, sha256, size, attempt=attempt.number, seconds=seconds, device="cpu", facts=facts)
    if store.create(work.record_name, record.to_json()):
        return record
    # An earlier record counts only if it is of the very bytes that are at OUT now.
    earlier = find_record(store, work)
    return earlier if earlier is not None and earlier.sha256 == sha256 else put_in_place(store, work, record)

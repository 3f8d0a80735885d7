"""The sync stage: the frame map of the film, solved from both films or given by the user."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from orchestrator.compareworks import choose_work, compare_works
from orchestrator.errors import StageFailed
from orchestrator.jobdir import discard
from orchestrator.jobrun import JobRun, UnitsDone, do_units
from orchestrator.plan import expected_clip_frames
from orchestrator.report import StageReport
from orchestrator.works import scan_works, solve_work
from tasks.messages import MetricSettings
from tasks.work import SAME_PICTURE, Record
from vsalign.editkinds import Edit
from vsalign.edits import find_edits
from vsalign.errors import NoMatchError
from vsalign.framemap import FrameMap

Facts = Mapping[str, float | int | str]


@dataclass(frozen=True, slots=True)
class Synced:
    """The frame map of the film, what the solve found, the film's constant misalignment, how long it took, the edits that the
    map tells of, and the records of the scans, if there were any."""

    frame_map: FrameMap
    facts: Facts
    film_geometry: tuple[float, ...]
    stages: tuple[StageReport, ...]
    edits: tuple[Edit, ...]
    records: tuple[Record, ...] = ()


def sync_films(run: JobRun, given_map: FrameMap | None) -> Synced:
    """The map that the settings ask for, left in the job directory as map.csv. Raises NoMatchError, StageFailed."""
    facts: Facts = {}
    stages: tuple[StageReport, ...] = ()
    records: tuple[Record, ...] = ()
    if run.config.sync.mode == "auto":
        frame_map, facts, stages, records = _solved_map(run)
    else:
        frame_map = _plain_map(run) if given_map is None else given_map
    _write_map(run, frame_map.to_csv().encode())
    edits = find_edits(frame_map, run.inputs.clip.index.seconds(), run.inputs.ref.index.seconds())
    return Synced(frame_map, facts, _film_geometry(run, facts), stages, edits, records)


def _write_map(run: JobRun, text: bytes) -> None:
    """Leave the map as map.csv; one that differs, perhaps edited by hand, is kept beside it."""
    store = run.job.store
    before = store.read("map.csv")
    if before is not None and before != text:
        store.replace("map.before.csv", before)
        run.ui.say("map.csv differs from this run's map; it was kept as map.before.csv (--frame-map renders by a map of yours)")
    store.replace("map.csv", text)


def _plain_map(run: JobRun) -> FrameMap:
    clip, ref, settings = run.inputs.clip.index, run.inputs.ref.index, run.config.sync
    if settings.mode == "offset":
        return FrameMap.constant_offset(len(ref), expected_clip_frames(clip, ref), settings.offset, len(clip))
    return FrameMap.identity(len(ref), len(clip))


def _solved_map(run: JobRun) -> tuple[FrameMap, Facts, tuple[StageReport, ...], tuple[Record, ...]]:
    scans = do_units(run, "scan", "scans", scan_works(run.plan, run.inputs, run.config, run.job_dir), kind="temporal")
    _nothing_parked("scan", scans)
    scanned = tuple(scans.records.values())
    work = solve_work(run.plan, run.inputs, run.config, scans.records, run.job_dir)
    solved = do_units(run, "solve", "maps", [work], kind="temporal")
    _nothing_parked("solve", solved)
    record = solved.records[work.name]
    score, needed = float(record.facts["score"]), float(record.facts["needed_score"])
    if score < needed and not run.config.sync.force:
        discard(run.job)
        raise NoMatchError(score, needed)
    text = (run.job.store.read(record.blob) or b"").decode()
    frame_map = FrameMap.from_csv(text, len(run.inputs.ref.index), len(run.inputs.clip.index))
    if run.inputs.metric is None:
        return frame_map, record.facts, (scans.report, solved.report), scanned
    chosen, stages = _compared_map(run, run.inputs.metric, frame_map, record)
    facts = {**record.facts, "precision": run.config.sync.precision, "select": run.config.sync.select}
    return chosen, {**facts, "metric": run.inputs.metric.name}, (scans.report, solved.report, *stages), scanned


def _compared_map(
    run: JobRun, metric: MetricSettings, solved: FrameMap, record: Record
) -> tuple[FrameMap, tuple[StageReport, ...]]:
    """The map anew: each ref frame that the solve matched against the clip frames around its own, by the metric."""
    works = compare_works(run.plan, run.inputs, run.config, solved, _six(record.facts), run.job_dir)
    run.ui.say(f"compare: by {metric.name}, {2 * run.config.sync.tr + 1} clip frames around each")
    compared = do_units(run, "compare", "chunks", works, kind="spatial" if metric.on_gpu else "temporal")
    _nothing_parked("compare", compared)
    work = choose_work(run.inputs, run.config, works, compared.records, record, run.job_dir)
    chosen = do_units(run, "choose", "maps", [work], kind="temporal")
    _nothing_parked("choose", chosen)
    text = (run.job.store.read(chosen.records[work.name].blob) or b"").decode()
    frame_map = FrameMap.from_csv(text, len(run.inputs.ref.index), len(run.inputs.clip.index))
    return frame_map, (compared.report, chosen.report)


def _six(facts: Facts) -> tuple[float, ...]:
    """The film geometry that a solve's record tells."""
    return tuple(float(number) for number in str(facts["film_geometry"]).split())


def _film_geometry(run: JobRun, facts: Facts) -> tuple[float, ...]:
    """The misalignment that this solve found. A map of the user's own comes, as a rule, from editing what this job's solve
    found: it keeps that solve's geometry, so that chunks whose rows are unchanged are not rendered again."""
    store = run.job.store
    if "film_geometry" in facts:
        store.replace("film-geometry.txt", f"{facts['film_geometry']}\n".encode())
    elif run.config.sync.mode != "map":
        return SAME_PICTURE
    found = (store.read("film-geometry.txt") or b"").decode().split()
    return tuple(float(number) for number in found) if found else SAME_PICTURE


def _nothing_parked(stage: str, done: UnitsDone) -> None:
    for name, failure in done.outcome.parked.items():
        raise StageFailed(stage, name, failure.message)

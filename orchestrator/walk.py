"""The walk: probe -> plan -> sync -> align + encode -> stitch -> verify -> report, each step resumable."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass

from orchestrator.config import JobConfig
from orchestrator.errors import StageFailed
from orchestrator.estimate import estimate
from orchestrator.finish import Finished, finish, out_is_ours
from orchestrator.inputs import Inputs
from orchestrator.jobdir import JobDir, bounds_for, check_job_dir, discard, open_job
from orchestrator.plan import Plan, expected_clip_frames, make_plan
from orchestrator.pools import Pools
from orchestrator.preflight import check_disk, check_out_path, load_frame_map, look_at_inputs, look_at_sources
from orchestrator.progress import Ui
from orchestrator.report import Report, StageReport, format_report, summarise_matches
from orchestrator.resume import load_records, sort_units
from orchestrator.stopping import StopRequest
from orchestrator.supervise import StageOutcome, run_stage
from orchestrator.works import render_works, scan_works, solve_work
from tasks.work import SAME_PICTURE, Record, Work
from vsalign.errors import NoMatchError
from vsalign.framemap import FrameMap


@dataclass(frozen=True, slots=True)
class Synced:
    """The frame map of the film, what the solve found, the film's constant misalignment, and how long it took."""

    frame_map: FrameMap
    facts: dict[str, float | int | str]
    film_geometry: tuple[float, ...]
    stages: tuple[StageReport, ...]


def render(config: JobConfig, ui: Ui, stop: StopRequest, resuming: bool = False) -> Report:
    """Do the whole job, or what is left of it; chunks that fail are in the report.

    Raises InputError, InterruptedRun, PoolError and StageFailed.
    """
    inputs = look_at_inputs(config, out_may_exist=resuming and out_is_ours(config))
    with closing(Pools(config.run)) as pools:
        given_map = _prepare(config, inputs, pools)
        with open_job(config, inputs) as job:
            return _render(config, inputs, given_map, job, pools, ui, stop)


def _render(
    config: JobConfig, inputs: Inputs, given_map: FrameMap | None, job: JobDir, pools: Pools, ui: Ui, stop: StopRequest
) -> Report:
    for line in inputs.notices:
        ui.say(f"notice: {line}")
    plan = plan_job(job, config, inputs, pools.num_workers())
    synced = _sync(config, inputs, plan, job, pools, ui, stop, given_map)
    job_dir = str(job.path.absolute())
    works = render_works(plan, inputs, config, synced.frame_map, job_dir, synced.film_geometry)
    records, outcome, stage = _units("render", "chunks", works, job, pools, ui, stop, kind="spatial")
    # The workers are done: on a cluster their machines may go while the film is joined here.
    pools.close()
    finished = None
    if not outcome.parked:
        finished = finish(config, inputs, job, works, records, synced.frame_map, ui, stop)
    report = _report(config, inputs, plan, synced, outcome, stage, finished)
    job.store.replace("report.json", (json.dumps(report.to_json(), indent=1) + "\n").encode())
    job.store.replace("report.txt", format_report(report.to_json()).encode())
    return report


def sync(config: JobConfig, ui: Ui, stop: StopRequest) -> Synced:
    """Only the frame map; the job directory is left to the caller. Raises as ``render`` does."""
    check_out_path(config, out_may_exist=False)
    inputs = look_at_sources(config)
    with closing(Pools(config.run)) as pools:
        given_map = _prepare(config, inputs, pools)
        with open_job(config, inputs) as job:
            plan = plan_job(job, config, inputs, pools.num_workers())
            return _sync(config, inputs, plan, job, pools, ui, stop, given_map)


def plan_job(job: JobDir, config: JobConfig, inputs: Inputs, num_workers: int) -> Plan:
    """The plan of a job, cut as it was when it was first planned."""
    bounds = bounds_for(job, inputs, config, num_workers)
    expected = expected_clip_frames(inputs.clip.index, inputs.ref.index, _offset(config))
    return make_plan(inputs.clip.index, inputs.ref.index, bounds, expected, config.sync.tr)


def _prepare(config: JobConfig, inputs: Inputs, pools: Pools) -> FrameMap | None:
    """The last checks before anything is written; returns the user's own frame map, if there is one."""
    check_job_dir(config, inputs)
    check_disk(config, estimate(inputs, config, pools.num_workers()))
    given_map = None
    if config.sync.mode == "map":
        given_map = load_frame_map(config, len(inputs.ref.index), len(inputs.clip.index))
    if not config.job_dir.exists():
        pools.check()
    return given_map


def _sync(
    config: JobConfig,
    inputs: Inputs,
    plan: Plan,
    job: JobDir,
    pools: Pools,
    ui: Ui,
    stop: StopRequest,
    given_map: FrameMap | None,
) -> Synced:
    num_ref, num_clip = len(inputs.ref.index), len(inputs.clip.index)
    facts: dict[str, float | int | str] = {}
    stages: tuple[StageReport, ...] = ()
    if config.sync.mode == "auto":
        frame_map, facts, stages = _solved_map(config, inputs, plan, job, pools, ui, stop)
    elif given_map is not None:
        frame_map = given_map
    elif config.sync.mode == "offset":
        expected = expected_clip_frames(inputs.clip.index, inputs.ref.index)
        frame_map = FrameMap.constant_offset(num_ref, expected, config.sync.offset, num_clip)
    else:
        frame_map = FrameMap.identity(num_ref, num_clip)
    job.store.replace("map.csv", frame_map.to_csv().encode())
    return Synced(frame_map, facts, film_geometry(job, facts), stages)


def film_geometry(job: JobDir, facts: Mapping[str, float | int | str]) -> tuple[float, ...]:
    """The misalignment that this solve found, or an earlier one of this job: an edited map then leaves other chunks alone."""
    if "film_geometry" in facts:
        job.store.replace("film-geometry.txt", f"{facts['film_geometry']}\n".encode())
    found = (job.store.read("film-geometry.txt") or b"").decode().split()
    return tuple(float(number) for number in found) if found else SAME_PICTURE


def _solved_map(
    config: JobConfig, inputs: Inputs, plan: Plan, job: JobDir, pools: Pools, ui: Ui, stop: StopRequest
) -> tuple[FrameMap, dict[str, float | int | str], tuple[StageReport, ...]]:
    job_dir = str(job.path.absolute())
    works = scan_works(plan, inputs, job_dir)
    scans, outcome, scan_stage = _units("scan", "scans", works, job, pools, ui, stop, kind="temporal")
    _nothing_parked("scan", outcome)
    solve = solve_work(plan, inputs, config, scans, job_dir)
    solved, outcome, solve_stage = _units("solve", "maps", [solve], job, pools, ui, stop, kind="temporal")
    _nothing_parked("solve", outcome)
    record = solved[solve.name]
    score, needed = float(record.facts["score"]), float(record.facts["needed_score"])
    if score < needed and not config.sync.force:
        discard(job)
        raise NoMatchError(score, needed)
    text = (job.store.read(record.blob) or b"").decode()
    frame_map = FrameMap.from_csv(text, len(inputs.ref.index), len(inputs.clip.index))
    return frame_map, dict(record.facts), (scan_stage, solve_stage)


def _units(
    stage: str,
    noun: str,
    works: Sequence[Work],
    job: JobDir,
    pools: Pools,
    ui: Ui,
    stop: StopRequest,
    kind: str,
) -> tuple[dict[str, Record], StageOutcome, StageReport]:
    """Do the units of a stage that are not done yet; says what is reused and why the rest is not."""
    started = time.monotonic()
    found = load_records(job.store)
    reuse = sort_units(works, found)
    if reuse.done or reuse.num_stale or reuse.num_lost:
        ui.say(f"{stage}: {reuse.describe(noun)}")
    if found.num_unreadable:
        ui.say(f"{stage}: {found.num_unreadable} unreadable records were put aside (retired/)")
    outcome = StageOutcome({}, {}, 0)
    if reuse.todo:
        total = sum(work.num_frames for work in works)
        to_do = sum(work.num_frames for work in reuse.todo)
        with pools.pool(kind, len(reuse.todo)) as pool, ui.stage(stage, total, total - to_do) as view:
            outcome = run_stage(stage, reuse.todo, pool, job.store, view, stop)
    made = sum(record.num_frames for record in outcome.records.values())
    report = StageReport(stage, made, round(time.monotonic() - started, 3), len(works), len(reuse.done), outcome.num_retries)
    return {**reuse.done, **outcome.records}, outcome, report


def _nothing_parked(stage: str, outcome: StageOutcome) -> None:
    for name, failure in outcome.parked.items():
        raise StageFailed(stage, name, failure.message)


def _report(
    config: JobConfig,
    inputs: Inputs,
    plan: Plan,
    synced: Synced,
    outcome: StageOutcome,
    stage: StageReport,
    finished: Finished | None,
) -> Report:
    parked = {_chunk_text(plan, inputs, name): failure.message for name, failure in outcome.parked.items()}
    return Report(
        out=config.out,
        clip=config.clip,
        ref=config.ref,
        complete=finished is not None,
        chunks=len(plan.chunks),
        frames=len(inputs.ref.index),
        stages=(*synced.stages, stage, *(finished.stages if finished else ())),
        matches=summarise_matches(synced.frame_map, inputs.ref.index),
        sync=synced.facts,
        parked=parked,
        unmatched_show=config.align.unmatched,
        audio=config.output.audio,
        notices=inputs.notices,
    )


def _chunk_text(plan: Plan, inputs: Inputs, name: str) -> str:
    frames = plan.chunks[int(name.rpartition("-")[2])].ref_frames
    return f"{name} (ref frames {frames})"


def _offset(config: JobConfig) -> int:
    return config.sync.offset if config.sync.mode == "offset" else 0

"""The walk: probe -> plan -> sync -> align + encode -> stitch -> verify -> report, each step resumable."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager

from orchestrator.alignment import summarise_alignment
from orchestrator.config import JobConfig
from orchestrator.damagereport import summarise_damage
from orchestrator.decodereport import summarise_decoding
from orchestrator.encoding import build_notice, settle_encoder
from orchestrator.estimate import estimate
from orchestrator.finish import Finished, already_finished, finish, out_is_ours
from orchestrator.inputs import Inputs
from orchestrator.jobdir import bounds_for, check_job_dir, discard, is_begun, open_job
from orchestrator.jobrun import JobRun, UnitsDone, do_units
from orchestrator.ledger import Ledger
from orchestrator.mapview import ONLY_WRITTEN, MapView, check_view, plot_map, write_map
from orchestrator.outcheck import check_disk, check_out_path
from orchestrator.plan import Plan
from orchestrator.pools import Pools
from orchestrator.preflight import load_frame_map, look_at_inputs, look_at_sources
from orchestrator.progress import Ui
from orchestrator.report import Report, format_report, summarise_matches
from orchestrator.resume import load_records, sort_units
from orchestrator.sighting import sight_of
from orchestrator.snapshot import mark_published
from orchestrator.soundtrack import Soundtrack, choose_soundtrack
from orchestrator.stopping import StopRequest
from orchestrator.syncing import Synced, sync_films
from orchestrator.works import plan_job, render_works
from tasks.work import Record, RenderWork
from vsalign.framemap import FrameMap


def render(config: JobConfig, ui: Ui, stop: StopRequest, resuming: bool = False) -> Report:
    """Do the whole job, or what is left of it; chunks that fail are in the report.

    Raises InputError, InterruptedRun, PoolError and StageFailed.
    """
    config = settle_encoder(config)
    inputs = look_at_inputs(config, out_may_exist=resuming and out_is_ours(config))
    with _opened(config, inputs, ui, stop) as (run, given_map):
        for line in inputs.notices:
            ui.say(f"notice: {line}")
        synced = sync_films(run, given_map)
        works = render_works(run.plan, inputs, config, synced.frame_map, run.job_dir, synced.film_geometry)
        sound = choose_soundtrack(config, inputs, synced.frame_map)
        finished = already_finished(run, works, sound)
        rendered = do_units(run, "render", "chunks", works if finished is None else [], kind="spatial")
        if finished is None and not rendered.outcome.parked:
            rendered, finished = finish(run, works, rendered, sound)
        report = _report(run, synced, rendered, finished, _records(run, works, rendered), sound)
        run.job.store.replace("report.json", (json.dumps(report.to_json(), indent=1) + "\n").encode())
        run.job.store.replace("report.txt", format_report(report.to_json()).encode())
        if finished is not None:
            mark_published(run.job.store, config.out)
        return report


def sync(config: JobConfig, ui: Ui, stop: StopRequest, view: MapView = ONLY_WRITTEN) -> Synced:
    """Only the frame map, written to OUT and drawn if ``view`` asks for it; a job directory that nobody asked for goes again.

    Raises as ``render`` does.
    """
    check_out_path(config, out_may_exist=False)
    check_view(config, view)
    with _opened(config, look_at_sources(config), ui, stop, publishes=False) as (run, given_map):
        synced = sync_films(run, given_map)
        write_map(config, synced.frame_map)
        plot_map(config, run.inputs, synced.frame_map, synced.edits, view)
        if not config.run.job:
            discard(run.job)
        return synced


@contextmanager
def _opened(
    config: JobConfig, inputs: Inputs, ui: Ui, stop: StopRequest, publishes: bool = True
) -> Iterator[tuple[JobRun, FrameMap | None]]:
    """The run with its job directory open, after the last checks that write nothing; and the user's own map, if any."""
    with closing(Pools(config.run)) as pools:
        for line in check_job_dir(config, inputs):
            ui.say(line)
        check_disk(config, estimate(inputs, config, pools.num_workers()))
        given_map = None
        if config.sync.mode == "map":
            given_map = load_frame_map(config, len(inputs.ref.index), len(inputs.clip.index))
        if not is_begun(config):
            pools.check()
        with open_job(config, inputs, stop, ui.say) as job:
            bounds = bounds_for(job, inputs, config, pools.num_workers())
            plan, _ = plan_job(config, inputs, bounds)
            sight = sight_of(config, inputs, job.store, publishes)
            yield JobRun(config, inputs, job, plan, pools, ui, stop, Ledger(), sight), given_map


def _report(
    run: JobRun,
    synced: Synced,
    rendered: UnitsDone,
    finished: Finished | None,
    records: Sequence[Record],
    sound: Soundtrack,
) -> Report:
    """``records``: those of all chunks that are there, done now or before."""
    parked = {_chunk_text(run.plan, name): failure.message for name, failure in rendered.outcome.parked.items()}
    return Report(
        out=run.config.out,
        clip=run.config.clip,
        ref=run.config.ref,
        complete=finished is not None,
        chunks=len(run.plan.chunks),
        frames=len(run.inputs.ref.index),
        stages=(*synced.stages, rendered.report, *(finished.stages if finished else ())),
        matches=summarise_matches(synced.frame_map, run.inputs.ref.index),
        sync=dict(synced.facts),
        parked=parked,
        unmatched_show=run.config.align.unmatched,
        audio=run.inputs.choice.sound_from,
        sound=sound.describe(),
        streams=(*run.inputs.choice.lines(), *([f"left out: {finished.left_out}"] if finished and finished.left_out else [])),
        notices=(
            *run.inputs.notices,
            *filter(None, [build_notice({record.work: record for record in records}, run.config.encode.settings().codec)]),
        ),
        alignment=summarise_alignment(records, run.config.align),
        edits=synced.edits,
        run=run.ledger.facts(),
        decoding=summarise_decoding(records, run.inputs, run.config.read_settings().hwaccel == "auto"),
        damage=summarise_damage([*synced.records, *records], run.inputs),
    )


def _records(run: JobRun, works: Sequence[RenderWork], rendered: UnitsDone) -> tuple[Record, ...]:
    """A job that is finished already does no units, but their records, if they were not cleaned away, are there."""
    return tuple((rendered.records or sort_units(works, load_records(run.job.store)).done).values())


def _chunk_text(plan: Plan, name: str) -> str:
    frames = plan.chunks[int(name.rpartition("-")[2])].ref_frames
    return f"{name} (ref frames {frames})"

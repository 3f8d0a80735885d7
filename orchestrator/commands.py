"""What each command does between its validated settings and its exit status; prints results on stdout."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console

from orchestrator.config import JobConfig, job_config, merge
from orchestrator.encoding import settle_encoder
from orchestrator.estimate import estimate
from orchestrator.jobdir import saved_config
from orchestrator.mapview import MapView, describe_map
from orchestrator.plan import choose_bounds
from orchestrator.planview import plan_json, plan_table
from orchestrator.pools import Pools
from orchestrator.preflight import look_at_sources
from orchestrator.progress import Ui, stdout_line
from orchestrator.report import format_report, sync_line
from orchestrator.status import JobLook
from orchestrator.statusview import status_text
from orchestrator.statuswatch import watch_status
from orchestrator.stopping import stop_on_signals
from orchestrator.verify import check_output_file
from orchestrator.walk import render as render_job
from orchestrator.walk import sync as sync_films
from orchestrator.works import plan_job, render_works
from tasks.metrics import BY_SIGNATURE
from tasks.probe import parse_source
from tasks.remote import size_if_there
from tasks.store import open_store
from vsalign.editkinds import NO_EDITS, Edit
from vsalign.errors import InputError
from vsalign.framemap import FrameMap

#: Films smaller than this are scanned quicker in one process than Ray takes to start.
SHORT_FILM_BYTES = 200_000_000
#: The same where their pictures are compared as well.
SHORT_COMPARED_BYTES = 20_000_000


def render(config: JobConfig, resuming: bool = False) -> int:
    """Render and print the report; 1 when chunks were given up."""
    with stop_on_signals() as stop:
        report = render_job(config, Ui(config.run.quiet), stop, resuming)
    if not config.run.quiet or not report.complete:
        stdout_line(format_report(report.to_json()).rstrip())
    return 0 if report.complete else 1


def resume(job_dir: str, where: dict[str, Any]) -> int:
    """Go on with a job as it was submitted, ``where`` (run settings) it is asked for now."""
    saved = saved_config(job_dir).model_dump(mode="json")
    return render(job_config(merge(saved, {"run": where}), "vsalign"), resuming=True)


def plan(config: JobConfig, as_json: bool) -> int:
    """Print what would be done; nothing is written."""
    config = settle_encoder(config)
    inputs = look_at_sources(config)
    with closing(Pools(config.run)) as pools:
        workers = pools.num_workers()
    clip, ref = inputs.clip.index, inputs.ref.index
    bounds = choose_bounds(clip, ref, config.run.chunk_frames, workers)
    made, expected = plan_job(config, inputs, bounds)
    need = estimate(inputs, config, workers, len(made.chunks))
    if as_json:
        expected_map = FrameMap.of_clip_frames(expected, len(clip))
        fingerprints = [work.fingerprint for work in render_works(made, inputs, config, expected_map, config.job_location)]
        print(json.dumps(plan_json(made, inputs, need, workers, fingerprints), indent=1))
    else:
        width = None if sys.stdout.isatty() else 110
        Console(highlight=False, width=width).print(*plan_table(made, inputs, need, workers), sep="\n")
    return 0


def sync(config: JobConfig, choose_pool: bool, view: MapView) -> int:
    """Write the frame map, or read the user's, and say what was found."""
    if config.sync.mode == "map":
        frame_map, edits = describe_map(config, view)
        return _tell_map(config, frame_map, edits, "", view)
    if choose_pool and config.run.address is None:
        config = config.model_copy(update={"run": config.run.model_copy(update={"pool": _pool_for(config)})})
    with stop_on_signals() as stop:
        synced = sync_films(config, Ui(config.run.quiet), stop, view)
    found = f"; {sync_line(synced.facts)}" if synced.facts else ""
    return _tell_map(config, synced.frame_map, synced.edits, found, view)


def _tell_map(config: JobConfig, frame_map: FrameMap, edits: Sequence[Edit], found: str, view: MapView) -> int:
    if not config.run.quiet:
        stdout_line(f"{config.out}: {int(frame_map.matched.sum())} of {len(frame_map)} ref frames matched{found}")
    if view.edits:
        stdout_line("\n".join(edit.words() for edit in edits) or NO_EDITS)
    return 0


def status(job_dir: str, as_json: bool, watch: bool) -> int:
    """Print how far a job is; or go on until it is over: 0 when it is published, 1 when somebody has to resume it."""
    if watch:
        return watch_status(JobLook(job_dir, patient=True), as_json, Console(highlight=False, soft_wrap=True))
    found = JobLook(job_dir).look()
    print(json.dumps(found, indent=1) if as_json else status_text(found))
    return 0


def report(job_dir: str, as_json: bool) -> int:
    """Print the last report of a job."""
    saved_config(job_dir)
    data = open_store(job_dir).read("report.json")
    if data is None:
        raise InputError(f"{job_dir} has no report yet; vsalign status shows how far it is")
    values = json.loads(data)
    print(json.dumps(values, indent=1) if as_json else format_report(values).rstrip())
    return 0


def verify(out: str, job_dir: str, full: bool, as_json: bool) -> int:
    """Print what is wrong with OUT, if anything, and what is as planned; 1 when something is wrong. ``job_dir``: "" for OUT's
    own."""
    found = check_output_file(out, job_dir or f"{out}.vsalign", full)
    if as_json:
        print(json.dumps(asdict(found), indent=1))
        return 1 if found.problems else 0
    for problem in found.problems:
        print(f"{out}: {problem}", file=sys.stderr)
    if found.as_planned:
        print(f"{out}: as planned: {', '.join(found.as_planned)}")
    for clause in found.left_out:
        print(f"{out}: not checked: {clause}")
    return 1 if found.problems else 0


def doctor() -> int:
    """Print what this machine can do."""
    from orchestrator.doctor import findings

    for name, value in findings():
        print(f"{name:12} {value}")
    return 0


def demo(folder: Path, pool: str) -> int:
    """Run the main job on films made here."""
    from orchestrator.demo import run_demo

    return run_demo(folder, pool)


def _pool_for(config: JobConfig) -> str:
    total = sum(size_if_there(parse_source(given).path) for given in (config.clip, config.ref))
    most = SHORT_FILM_BYTES if config.sync.precision == BY_SIGNATURE else SHORT_COMPARED_BYTES
    return "local" if total < most else "ray"

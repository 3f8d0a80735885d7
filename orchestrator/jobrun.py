"""One run of a job: what every stage needs, and how a stage's units get done."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from orchestrator.config import JobConfig
from orchestrator.inputs import Inputs
from orchestrator.jobdir import JobDir
from orchestrator.plan import Plan
from orchestrator.pools import Pools
from orchestrator.progress import Ui
from orchestrator.report import StageReport
from orchestrator.resume import load_records, sort_units
from orchestrator.stopping import StopRequest
from orchestrator.supervise import StageOutcome, run_stage
from tasks.work import Record, Work


@dataclass(frozen=True, slots=True)
class JobRun:
    """Settings, probed sources, the opened job directory, the plan, and the run's hands and ears."""

    config: JobConfig
    inputs: Inputs
    job: JobDir
    plan: Plan
    pools: Pools
    ui: Ui
    stop: StopRequest

    @property
    def job_dir(self) -> str:
        return str(self.job.path.absolute())


@dataclass(frozen=True, slots=True)
class UnitsDone:
    """Records of a stage by unit name, reused ones included; what this run did of it, and the numbers for the report."""

    records: dict[str, Record]
    outcome: StageOutcome
    report: StageReport


def do_units(run: JobRun, stage: str, noun: str, works: Sequence[Work], kind: str) -> UnitsDone:
    """Do the units of a stage that are not done yet, on workers of ``kind``; says what is reused and why the rest is not."""
    started = time.monotonic()
    found = load_records(run.job.store)
    reuse = sort_units(works, found)
    if reuse.done or reuse.num_stale or reuse.num_lost:
        run.ui.say(f"{stage}: {reuse.describe(noun)}")
    if found.num_unreadable:
        run.ui.say(f"{stage}: {found.num_unreadable} unreadable records were put aside (retired/)")
    outcome = StageOutcome({}, {}, 0)
    if reuse.todo:
        total = sum(work.num_frames for work in works)
        to_do = sum(work.num_frames for work in reuse.todo)
        with run.pools.pool(kind, len(reuse.todo)) as pool, run.ui.stage(stage, total, total - to_do) as view:
            outcome = run_stage(stage, reuse.todo, pool, run.job.store, view, run.stop)
    made = sum(record.num_frames for record in outcome.records.values())
    seconds = round(time.monotonic() - started, 3)
    report = StageReport(stage, made, seconds, len(works), len(reuse.done), outcome.num_retries)
    return UnitsDone({**reuse.done, **outcome.records}, outcome, report)

"""One run of a job: what every stage needs, and how a stage's units get done."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from orchestrator.config import JobConfig
from orchestrator.inputs import Inputs
from orchestrator.jobdir import JobDir
from orchestrator.ledger import Ledger
from orchestrator.listeners import stage_listeners
from orchestrator.plan import Plan
from orchestrator.pools import Pools
from orchestrator.progress import Ui
from orchestrator.report import StageReport
from orchestrator.resume import Reuse, find_results
from orchestrator.stopping import StopRequest
from orchestrator.supervise import StageOutcome, run_stage
from orchestrator.watchdog import Watchdog
from tasks.sight import Sight
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
    ledger: Ledger
    sight: Sight

    @property
    def job_dir(self) -> str:
        return self.job.location


@dataclass(frozen=True, slots=True)
class UnitsDone:
    """Records of a stage by unit name, reused ones included; what this run did of it, and the numbers for the report."""

    records: dict[str, Record]
    outcome: StageOutcome
    report: StageReport


def do_units(run: JobRun, stage: str, noun: str, works: Sequence[Work], kind: str) -> UnitsDone:
    """Do the units of a stage that are not done yet, on workers of ``kind``; says what is reused and why the rest is not."""
    started = time.monotonic()
    reuse = find_results(run.job.store, works, lambda line: run.ui.say(f"{stage}: {line}"))
    if reuse.has_news:
        run.ui.say(f"{stage}: {reuse.describe(noun)}")
    outcome = _done(run, stage, works, reuse, kind) if reuse.todo else StageOutcome({}, {})
    made = sum(record.num_frames for record in outcome.records.values())
    seconds = round(time.monotonic() - started, 3)
    report = StageReport(stage, made, seconds, len(works), len(reuse.done), outcome.num_retries)
    return UnitsDone({**reuse.done, **outcome.records}, outcome, report)


def _done(run: JobRun, stage: str, works: Sequence[Work], reuse: Reuse, kind: str) -> StageOutcome:
    total = sum(work.num_frames for work in works)
    to_do = sum(work.num_frames for work in reuse.todo)
    store, watchdog = run.job.store, Watchdog(run.config.run.stall_seconds)
    with (
        run.pools.pool(kind, run.sight, run.ui.say) as pool,
        run.ui.stage(stage, total, total - to_do) as view,
        stage_listeners(store, run.ledger, stage, works, reuse.done, view, run.ui.say) as listener,
    ):
        return run_stage(stage, reuse.todo, pool, store, listener, run.stop, watchdog=watchdog)

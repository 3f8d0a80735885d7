"""A large job through the real supervisor, board and schedule, over a simulated pool, on a clock that no one waits for.

    python benchmarks/scale.py [--chunks 10000] [--slots 1000] [--losses-per-hour 0.5] [--crashing 0.01] [--seed 1]

Chunks of 10 to 60 s of film, on machines of 8 GPU slots of three speeds (2, 4 and 8 frames/s, each machine up to 10 % off).
Three rows: without faults; with crashing chunks (they kill their worker at some moment of every attempt); with those and spot
machines that go at the given rate, announced 30 s before, another one coming two minutes later.

"ideal": when all frames of the chunks that can be done would be done if every slot worked every second that its machine was
there, with nothing ever done twice. "CPU": of this process, the simulation's own included, per answer heard. "memory":
resident, when a quarter, a half, three quarters and all of the answers are in. "wasted": slot seconds of attempts that came to
nothing; "idle": of slots that stood free. Exit status 1 where a bar is missed: 5 % over the ideal without faults, 1 ms of CPU,
memory that grows by less than 40 MB from the first quarter to the end.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import sys
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from orchestrator.nodes import Census, Slot
from orchestrator.state import AttemptFailed
from orchestrator.stopping import StopRequest
from orchestrator.supervise import StageOutcome, run_stage
from tasks.work import Attempt, Record, ScanWork, Work
from tests.factories import record, work
from tests.simstore import SimStore
from tests.simulation import WELL, Fate, SimNode, SimPool, World
from vsalign.frames import FrameRange

SPEEDS = {"slow": 2.0, "mid": 4.0, "fast": 8.0}
SLOTS_PER_NODE = 8
SPREAD = 0.1
NOTICE_S, NEW_NODE_S = 30.0, 120.0
MOST_OVER_IDEAL, MOST_CPU_MS, MOST_GROWTH_MB = 0.05, 1.0, 40.0


@dataclass(frozen=True, slots=True)
class Case:
    name: str
    chunks: int
    slots: int
    crashing: float
    losses_per_hour: float
    seed: int


@dataclass(slots=True)
class Seen:
    """A listener that counts."""

    total: int
    answers: int = 0
    shunned: int = 0
    memory_mb: list[float] = field(default_factory=list)

    def unit_started(self, unit: Work, attempt: Attempt, slot: Slot) -> None:
        pass

    def unit_done(self, unit: Work, made: Record) -> None:
        self._answer()

    def unit_failed(self, unit: Work, failure: AttemptFailed, parked: bool) -> None:
        self._answer()

    def tick(self, frames_running: int, census: Census) -> None:
        self.shunned = len(census.blocked)

    def _answer(self) -> None:
        self.answers += 1
        if self.answers * 4 >= self.total * (len(self.memory_mb) + 1) and len(self.memory_mb) < 3:
            self.memory_mb.append(resident_mb())


class ClusterPool(SimPool):
    """A SimPool that knows what its workers did in vain."""

    wasted_s = 0.0

    def _give_up(self, worker, cause, why) -> None:  # type: ignore[no-untyped-def]
        self.wasted_s += self.world.now - worker.since
        super()._give_up(worker, cause, why)


def resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def chunks_of(case: Case, draw: random.Random) -> list[ScanWork]:
    made = []
    for at in range(case.chunks):
        num = draw.randint(240, 1440)
        inputs = {f"setting {i}": f"value {i}" for i in range(30)} | {"at": str(at)}
        made.append(
            ScanWork(
                name=f"render-{at:05}", job_dir="job", inputs=inputs, num_frames=num, role="clip", frames=FrameRange(0, num)
            )
        )
    return made


def nodes_of(case: Case, draw: random.Random, horizon_s: float) -> list[SimNode]:
    """Each machine and those that follow it once it has gone, up to ``horizon_s``."""
    nodes = []
    for at in range(case.slots // SLOTS_PER_NODE):
        speed_class, joins = list(SPEEDS)[at % len(SPEEDS)], 0.0
        for follower in count():
            speed = SPEEDS[speed_class] * (1 + draw.uniform(-SPREAD, SPREAD))
            stays = draw.expovariate(case.losses_per_hour / 3600) + NOTICE_S if case.losses_per_hour else None
            nodes.append(SimNode(f"n{at}-{follower}", SLOTS_PER_NODE, speed_class, speed, joins, stays, NOTICE_S))
            if stays is None or joins + stays > horizon_s:
                break
            joins += stays + NEW_NODE_S
    return nodes


def ideal_s(frames: float, nodes: Sequence[SimNode]) -> float:
    """When ``frames`` are done by machines that never stand still."""
    steps = []
    for node in nodes:
        steps.append((node.joins_s, node.speed * node.num_slots))
        if node.goes_s is not None:
            steps.append((node.joins_s + node.goes_s, -node.speed * node.num_slots))
    now = rate = 0.0
    for at, change in sorted(steps):
        if rate and frames <= rate * (at - now):
            break
        frames -= rate * (at - now)
        now, rate = at, rate + change
    return now + frames / rate


def play(case: Case) -> bool:
    draw, world = random.Random(case.seed), World()
    works = chunks_of(case, draw)
    crashing = {unit.name for unit in draw.sample(works, round(case.crashing * len(works)))}
    healthy = sum(unit.num_frames for unit in works if unit.name not in crashing)
    mean_speed = sum(SPEEDS.values()) / len(SPEEDS)
    nodes = nodes_of(case, draw, 4 * healthy / case.slots / mean_speed)
    proof = record(of=work("render"))

    def do(unit: Work, attempt: Attempt, seconds: float) -> Record:
        # As it would come out of another process: with a copy of the inputs.
        inputs = dict(unit.inputs)
        return replace(
            proof, work=unit.name, fingerprint=unit.fingerprint, inputs=inputs, num_frames=unit.num_frames,
            attempt=attempt.number, seconds=seconds,
        )  # fmt: skip

    def fate(unit: Work, attempt: Attempt, node: str) -> Fate:
        return Fate("dies", draw.random()) if unit.name in crashing else WELL

    pool = ClusterPool(world, nodes, do, fate, start_s=5.0)
    pool.submitted = deque(maxlen=0)  # type: ignore[assignment]
    seen = Seen(len(works))
    began = time.process_time()
    outcome = run_stage("render", works, pool, SimStore(), seen, StopRequest(), clock=world)
    cpu_ms = (time.process_time() - began) / seen.answers * 1e3
    seen.memory_mb.append(resident_mb())
    return tell(case, world.now, outcome, seen, pool, nodes, ideal_s(healthy, nodes), cpu_ms)


def tell(
    case: Case,
    makespan: float,
    outcome: StageOutcome,
    seen: Seen,
    pool: ClusterPool,
    nodes: Sequence[SimNode],
    ideal: float,
    cpu_ms: float,
) -> bool:
    """One row of the table; False when a bar is missed."""
    over = makespan / ideal - 1
    here = sum(
        node.num_slots * max(min(makespan, node.joins_s + (node.goes_s or makespan)) - node.joins_s, 0.0) for node in nodes
    )
    useful = sum(made.seconds for made in outcome.records.values())
    growth = seen.memory_mb[-1] - seen.memory_mb[0]
    failures = ", ".join(f"{num} {cause}" for cause, num in sorted(outcome.failures.items())) or "none"
    memory = " / ".join(f"{mb:.0f}" for mb in seen.memory_mb)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    print(
        f"| {case.name} | {makespan:.0f} | {ideal:.0f} | {over:+.1%} | {cpu_ms:.2f} | {memory} ({peak:.0f}) | "
        f"{pool.wasted_s:.0f} ({pool.wasted_s / here:.1%}) | {(here - useful - pool.wasted_s) / here:.1%} | "
        f"{failures} | {len(outcome.parked)} | {seen.shunned} |",
        flush=True,
    )
    is_calm = not case.crashing and not case.losses_per_hour
    lost = (
        case.chunks - len(outcome.records) - len(outcome.parked) + (len(outcome.parked) != round(case.crashing * case.chunks))
    )
    return lost == 0 and cpu_ms < MOST_CPU_MS and growth < MOST_GROWTH_MB and (over < MOST_OVER_IDEAL or not is_calm)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--chunks", type=int, default=10_000)
    parser.add_argument("--slots", type=int, default=1000)
    parser.add_argument("--losses-per-hour", type=float, default=0.5, help="of each machine, in the last row")
    parser.add_argument(
        "--crashing", type=float, default=0.01, help="share of chunks that always crash, in all but the first row"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--row", type=int, choices=[1, 2, 3], help="this one alone")
    options = parser.parse_args()
    size = options.chunks, options.slots
    cases = [
        Case("calm", *size, 0.0, 0.0, options.seed),
        Case(f"{options.crashing:.0%} crash", *size, options.crashing, 0.0, options.seed),
        Case(f"and spot losses, {options.losses_per_hour:g}/h", *size, options.crashing, options.losses_per_hour, options.seed),
    ]
    print(
        "| | makespan, s | ideal, s | over | CPU, ms | memory, MB (peak) | wasted slot s | idle | failures | parked | shunned |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    kept = [play(case) for case in cases if options.row is None or case is cases[options.row - 1]]
    return 0 if all(kept) else 1


if __name__ == "__main__":
    sys.exit(main())

"""Random kill schedules: the real supervisor, board, schedule, commit and resume over a simulated pool and store.

Each seed is one job: units, some of them poisoned, on machines that come and go; workers that raise, die, hang, run out of
memory, answer never, late or twice; a store whose calls fail before or after their effect, whose listings are stale, which
fills up; records cut short, blobs lost or changed between runs; supervisors that die and are started again, until one ends.
Then: nothing is lost, nothing is doubled, only what is poisoned is parked. ``VSALIGN_KILL_SCHEDULES`` sets how many seeds
(500), ``VSALIGN_FIRST_SCHEDULE`` the first.
"""

from __future__ import annotations

import os
import random
import re
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from orchestrator.errors import InterruptedRun, PoolError, StageFailed
from orchestrator.nodes import Census, Slot
from orchestrator.resume import find_results
from orchestrator.state import AttemptFailed, Board, Budgets, Cause, ItemState
from orchestrator.stopping import StopRequest
from orchestrator.supervise import StageOutcome, run_stage
from orchestrator.watchdog import Watchdog
from tasks.commit import find_record
from tasks.errors import StorageError
from tasks.work import Attempt, Record, ScanWork, Work
from tests.simstore import Committer, Died, SimStore, result_of
from tests.simulation import WELL, Fate, SimNode, SimPool, World
from vsalign.frames import FrameRange

NUM_SCHEDULES = int(os.environ.get("VSALIGN_KILL_SCHEDULES", "500"))
FIRST_SCHEDULE = int(os.environ.get("VSALIGN_FIRST_SCHEDULE", "0"))
NUM_GROUPS = 20
#: Runs in which things go wrong, before calm ones.
CHAOTIC_RUNS = 4
MOST_RUNS = CHAOTIC_RUNS + 2
#: Virtual seconds in which any run must end.
MOST_SECONDS = 3000.0
PATIENCE_S = 20.0

#: What makes an innocent unit fail, and the cause it is charged to.
FAULTS: dict[str, tuple[Cause | None, Callable[[random.Random], Fate]]] = {
    "raises": (Cause.CODE, lambda r: Fate("raises", r.random(), again_s=r.choice([None, 1.0, 4.0]))),
    "no memory": (Cause.MEMORY, lambda r: Fate("raises", r.random(), MemoryError())),
    "dies": (Cause.CRASH, lambda r: Fate("dies", r.random(), again_s=r.choice([None, 2.0]))),
    "hangs": (Cause.STALL, lambda r: Fate("hangs", r.random(), survives_s=r.choice([None, 5.0]))),
    "silent": (Cause.STALL, lambda r: Fate("silent")),
    "lost": (None, lambda r: Fate("lost", again_s=r.choice([None, 1.0]))),
    "cut off": (
        None,
        lambda r: Fate("cut off", r.random(), survives_s=r.choice([None, 0.3, 3.0]), again_s=r.choice([None, 2.0])),
    ),
    "twice": (None, lambda r: Fate(again_s=r.random() * 3)),
    "survives": (None, lambda r: Fate(survives_s=r.random() * 10)),
}


class Schedule:
    """One seed: the job, what goes wrong in it, and what must hold."""

    def __init__(self, seed: int, folder: Path) -> None:
        self.random = random.Random(seed)
        self.world = World()
        self.seed, self.num_calls = seed, Counter[tuple[str, str]]()
        self.store = SimStore(self._on_call, folder)
        self.commit = Committer(self.store, folder)
        self.works = [self._work(at) for at in range(self.random.randint(1, 16))]
        self.poison = {work.name: self._poison() for work in self.works if self.random.random() < 0.12}
        self.calm = False
        #: The unit that a worker commits just now, and whether its store may kill it.
        self.committing, self.may_die = "", False
        self.running: set[str] = set()
        self.changed: set[str] = set()
        #: Blobs that nobody could clear away, at most.
        self.litter = 0
        #: The supervisor has just asked the store for something, in vain.
        self.went_unanswered = False
        self.num_runs = 0

    def _work(self, at: int) -> ScanWork:
        num = self.random.randint(5, 60)
        inputs = {"abi": "1", "at": str(at)}
        return ScanWork(
            name=f"u{at:02}", job_dir="memory", inputs=inputs, num_frames=num, role="clip", frames=FrameRange(0, num)
        )

    def _poison(self) -> Fate:
        return self.random.choice([Fate("raises", 0.5), Fate("dies", 0.5), Fate("hangs"), Fate("raises", 0.1, MemoryError())])

    # --- what goes wrong

    def begin_run(self) -> SimPool:
        self.num_runs += 1
        self.calm = self.num_runs > CHAOTIC_RUNS
        rare = self.random.choice([0.0, 0.01, 0.05])
        self.store_fails, self.worker_dies = (0.0, 0.0) if self.calm else (rare, self.random.choice([0.0, 0.02, 0.1]))
        self.trouble = 0.0 if self.calm else self.random.choice([0.0, 0.2, 0.5])
        #: Failures charged to units by the faults we make, per cause: innocent units stay within their budgets.
        self.charged: Counter[tuple[str, Cause]] = Counter()
        self.known_done: set[str] = set()
        nodes = self._nodes()
        pool = SimPool(self.world, nodes, self._do, self._fate)
        if not self.calm:
            if self.random.random() < 0.8:
                seconds = sum(work.num_frames for work in self.works) / sum(node.speed * node.num_slots for node in nodes) + 2
                pool.supervisor_dies_s = self.world.now + self.random.random() * 3 * seconds
            if self.random.random() < 0.1:
                self.world.later(self.random.random() * 20, lambda: setattr(self.store, "is_full", True))
        return pool

    def _nodes(self) -> list[SimNode]:
        draw = self.random
        nodes = [self._node(f"r{self.num_runs}n{at}") for at in range(draw.randint(1, 3))]
        for at in range(0 if self.calm else draw.randint(0, 4)):
            joins, stays = draw.random() * 30, 1 + draw.random() * 20
            notice = draw.choice([0.0, 0.0, 0.5, 3.0])
            nodes.append(self._node(f"r{self.num_runs}s{at}", joins_s=joins, goes_s=max(stays, notice), notice_s=notice))
        return nodes

    def _node(self, name: str, **times: float) -> SimNode:
        speed_class, speed = self.random.choice([("slow", 5.0), ("mid", 10.0), ("fast", 20.0)])
        return SimNode(name, self.random.randint(1, 3), speed_class, speed, **times)

    def _fate(self, work: Work, attempt: Attempt, node: str) -> Fate:
        if work.name in self.poison:
            return self.poison[work.name]
        if self.random.random() >= self.trouble:
            return WELL
        cause, make = FAULTS[self.random.choice(list(FAULTS))]
        return make(self.random) if cause is None or self._may_charge(work, cause) else WELL

    def _may_charge(self, work: Work, cause: Cause) -> bool:
        self.charged[work.name, cause] += 1
        return self.charged[work.name, cause] < Budgets().of(cause)

    def _do(self, work: Work, attempt: Attempt, seconds: float) -> Record:
        """In a worker: the store's calls may kill it, as far as its unit can bear another crash."""
        outer = self.committing, self.may_die
        self.committing, self.may_die = work.name, self._may_charge(work, Cause.CRASH)
        try:
            return self.commit(work, attempt, seconds)
        except (Died, StorageError):
            self.litter += 1
            raise
        finally:
            self.committing, self.may_die = outer

    def _on_call(self, method: str, name: str) -> str:
        # Drawn by name and not in turn: records are read by several threads.
        key = method, re.sub(r"-[0-9a-f]{6}\.npy$", "", name)
        self.num_calls[key] += 1
        draw = random.Random(f"{self.seed} {self.num_runs} {key} {self.num_calls[key]}")
        others = self.world.unseen.get(self.committing)
        if others and draw.random() < 0.5:
            others[0]()  # an attempt given up long ago commits between two calls of this one
        when = draw.choice([" before", " after"])
        if self.may_die and draw.random() < self.worker_dies:
            return "dies" + when
        fails = draw.random() < self.store_fails
        self.litter += fails and method in ("retire", "remove")
        self.went_unanswered |= fails and not self.committing
        return "fails" + when if fails else ""

    def between_runs(self, pool: SimPool) -> None:
        """The supervisor has ended, somehow; what it leaves goes on for a while, and storage suffers."""
        pool.abandon()
        until = self.world.now + self.random.random() * 10
        while self.world.step(until):
            pass
        self.store.is_full = False
        done = sorted(name for name in self.store.files if name.startswith("done/"))
        blobs = sorted(name for name in self.store.files if name.startswith("scan/"))
        self.store.ghosts = {f"done/{work.name}-0123456789abcdef.json" for work in self.works if self.random.random() < 0.1}
        if done and self.random.random() < 0.3:
            self.litter += 1
            self.store.files[self.random.choice(done)] = self.random.choice([b"", b'{"schema": 1, "wor'])
        if blobs and self.random.random() < 0.3:
            del self.store.files[self.random.choice(blobs)]
        blobs = [name for name in blobs if name in self.store.files]
        if blobs and self.random.random() < 0.3:
            self.litter += 1
            changed = self.random.choice(blobs)
            self.store.files[changed] = b"?" + self.store.files[changed][1:]
            self.changed.add(changed.split("-")[0].removeprefix("scan/"))
        # A record that a stale listing hides is believed by the worker that meets it; a changed file is found by the stitch.
        self.store.unseen = {
            name for name in done if self.random.random() < 0.1 and name.split("-")[0].removeprefix("done/") not in self.changed
        }

    # --- listening

    def unit_started(self, work: Work, attempt: Attempt, slot: Slot) -> None:
        assert work.name not in self.running, f"{work.name} runs twice in one run"
        self.running.add(work.name)

    def unit_done(self, work: Work, record: Record) -> None:
        self.running.remove(work.name)

    def unit_failed(self, work: Work, failure: AttemptFailed, parked: bool) -> None:
        self.running.remove(work.name)
        assert self.went_unanswered or not self._is_recorded(work), f"{work.name} is to be done again, and its record is there"

    def tick(self, frames_running: int, census: Census) -> None:
        self.went_unanswered = False
        assert self.world.now < self.run_began + MOST_SECONDS, "it does not end"

    # --- a job from its first run to its last

    def play(self) -> StageOutcome:
        while True:
            pool = self.begin_run()
            self.running, self.run_began = set(), self.world.now
            try:
                outcome = self._run(pool)
                if outcome is not None:
                    return outcome
            except (Died, StorageError, StageFailed, InterruptedRun, PoolError) as error:
                assert self.num_runs < MOST_RUNS, f"a calm run ended in {error!r}"
            self.between_runs(pool)

    def _run(self, pool: SimPool) -> StageOutcome | None:
        """One run, as a command does it: sort what is there, do the rest."""
        reuse = find_results(self.store, self.works, lambda line: None)
        for name, record in reuse.done.items():
            self._check_valid(name, record)
        stop = StopRequest(count=self.random.choice([0] * 9 + [1]) if not self.calm else 0)
        watchdog = Watchdog(PATIENCE_S)
        outcome = run_stage("scan", reuse.todo, pool, self.store, self, stop, watchdog=watchdog, clock=self.world)
        assert set(outcome.records) | set(outcome.parked) == {work.name for work in reuse.todo}, "lost"
        assert set(outcome.parked) <= set(self.poison), f"innocent, but parked: {outcome.parked}"
        assert not self.running
        for name, record in outcome.records.items():
            self._check_valid(name, record)
            assert self._is_recorded(record), f"{name}: the store has another record"
        return outcome if len(reuse.done) + len(outcome.records) + len(outcome.parked) == len(self.works) else None

    def _check_valid(self, name: str, record: Record) -> None:
        work = next(work for work in self.works if work.name == name)
        assert name not in self.poison
        assert record.fingerprint == work.fingerprint and self.store.files.get(record.blob) == result_of(work), (
            f"{name}: not its bytes"
        )

    def _is_recorded(self, what: Work | Record) -> bool:
        """Past all faults: the store has a valid record of the unit; it is this one."""
        name = f"done/{what.name if isinstance(what, Work) else what.work}-{what.fingerprint[:16]}.json"
        with suppress(ValueError):
            found = Record.from_json(self.store.files.get(name, b""))
            same = found == what if isinstance(what, Record) else found.fingerprint == what.fingerprint
            return same and len(self.store.files.get(found.blob, b"")) == found.size_bytes
        return False

    def check_the_end(self) -> None:
        """What is left once everything that still ran has ended."""
        self.calm, self.store_fails, self.worker_dies = True, 0.0, 0.0
        self.world.settle()
        self.store.unseen, self.store.ghosts = set(), set()
        for work in self.works:
            named = [name for name in self.store.files if name.startswith(f"done/{work.name}-")]
            if work.name in self.poison:
                assert not named, f"{work.name} is poisoned and has a record"
                continue
            assert named == [work.record_name], f"{work.name} has {len(named)} records"
            record = find_record(self.store, work)
            assert record is not None, f"{work.name} is lost"
            self._check_valid(work.name, record)
        blobs = [name for name in self.store.files if name.startswith("scan/")]
        assert len(blobs) <= len(self.works) - len(self.poison) + self.litter, "made twice, and both kept"
        reuse = find_results(self.store, self.works, lambda line: None)
        assert {work.name for work in reuse.todo} == set(self.poison)


def play(seed: int, folder: Path) -> Schedule:
    schedule = Schedule(seed, folder)
    outcome = schedule.play()
    assert set(outcome.parked) == set(schedule.poison), "poisoned, but not parked"
    schedule.check_the_end()
    return schedule


@pytest.fixture(autouse=True)
def _board_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    handle, start = Board.handle, Board.start

    def checked_handle(self: Board, *args: object) -> ItemState | None:
        state = handle(self, *args)  # type: ignore[arg-type]
        self.check()
        return state

    def checked_start(self: Board, name: str) -> Attempt:
        attempt = start(self, name)
        self.check()
        return attempt

    monkeypatch.setattr(Board, "handle", checked_handle)
    monkeypatch.setattr(Board, "start", checked_start)


@pytest.mark.parametrize("group", range(NUM_GROUPS))
def test_nothing_is_lost_and_nothing_doubled_whatever_dies(group: int, tmp_path: Path):
    for seed in range(FIRST_SCHEDULE + group, FIRST_SCHEDULE + NUM_SCHEDULES, NUM_GROUPS):
        try:
            play(seed, tmp_path)
        except Exception as error:
            raise AssertionError(f"seed {seed}: {type(error).__name__}: {error}") from error


def test_a_seed_is_one_story(tmp_path: Path):
    first, second = (play(7, tmp_path) for _ in range(2))
    assert (first.world.now, first.num_runs, first.commit.num_made) == (
        second.world.now,
        second.num_runs,
        second.commit.num_made,
    )

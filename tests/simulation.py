"""A cluster in memory, on a clock that no one waits for: what the supervisor meets, made to order.

``SimPool`` is a WorkerPool whose attempts go as ``Fate`` says.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

from orchestrator.errors import PoolError
from orchestrator.nodes import Census, NodeView, Slot
from orchestrator.state import AttemptFailed, AttemptSucceeded, Cause, Event, cause_of
from tasks.work import Attempt, Record, Work
from tests.simstore import Died


@dataclass(slots=True)
class World:
    """The clock, and what will happen."""

    now: float = 0.0
    _plan: list[tuple[float, int, Callable[[], None]]] = field(default_factory=list)
    _count: int = 0
    #: What goes on unseen, by unit: each may be brought forward by calling it.
    unseen: dict[str, list[Callable[[], None]]] = field(default_factory=dict)

    def __call__(self) -> float:
        return self.now

    def later(self, seconds: float, what: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._plan, (self.now + seconds, self._count, what))

    def step(self, until: float) -> bool:
        """Do what is next, if it comes before ``until``."""
        if not self._plan or self._plan[0][0] > until:
            return False
        self.now, _, what = heapq.heappop(self._plan)
        what()
        return True

    def settle(self) -> None:
        """Let everything happen that is still to come."""
        while self.step(float("inf")):
            pass


Do = Callable[[Work, Attempt, float], Record]


BOOM = ValueError("boom")


@dataclass(frozen=True, slots=True)
class Fate:
    """How an attempt goes, once ``at`` of its time is over.

    what: "well"; "raises" ``error``; "dies" (a crash); "hangs"; "lost": done, but the answer never came (a failure of the
    infrastructure is heard); "silent": done, nothing is heard; "cut off": the infrastructure fails, the worker may go on.
    ``survives_s``: an attempt that is given up (cut off, stopped, its node lost, its supervisor dead) goes on unseen and is
    done so much later, its answer then heard too late. ``again_s``: the answer is heard once more so much later.
    """

    what: str = "well"
    at: float = 1.0
    error: Exception = BOOM
    survives_s: float | None = None
    again_s: float | None = None


WELL = Fate()
Fates = Callable[[Work, Attempt, str], Fate]


@dataclass(frozen=True, slots=True)
class SimNode:
    """``speed``: frames per second of each worker. ``goes_s``: when the machine goes, announced ``notice_s`` before."""

    id: str
    num_slots: int = 1
    speed_class: str = "cpu"
    speed: float = 10.0
    joins_s: float = 0.0
    goes_s: float | None = None
    notice_s: float = 0.0


@dataclass(slots=True, eq=False)
class _Worker:
    id: int
    node: SimNode
    work: Work | None = None
    attempt: Attempt = field(default_factory=Attempt)
    fate: Fate = WELL
    since: float = 0.0
    most_frames: int = 0
    frames: int = 0

    def frames_at(self, now: float) -> int:
        return min(int((now - self.since) * self.node.speed), self.most_frames)

    @property
    def seconds(self) -> float:
        return self.work.num_frames / self.node.speed if self.work else 0.0


class SimPool:
    """A WorkerPool over ``nodes``; a worker whose attempt failed is replaced by a fresh one after ``start_s``."""

    def __init__(
        self, world: World, nodes: Iterable[SimNode], do: Do, fates: Fates | None = None, start_s: float = 0.5
    ) -> None:
        self.world, self._do, self._fates, self._start_s = world, do, fates or (lambda *_: WELL), start_s
        self.nodes: dict[str, SimNode] = {}
        self.announced: dict[str, float] = {}
        self._idle: dict[int, _Worker] = {}
        self._running: dict[str, _Worker] = {}
        self._heard: list[Event] = []
        self._starting, self._next_id, self._expected, self._next_progress = 0, 0, 0, 0.0
        self.shunned: list[str] = []
        self.submitted: list[tuple[str, int, str]] = []
        self.stopped: list[tuple[str, Cause]] = []
        self.closed: bool | None = None
        self._views: tuple[NodeView, ...] | None = None
        #: Raised out of ``wait`` at this time: the supervisor's own end.
        self.supervisor_dies_s = float("inf")
        for node in nodes:
            self.add(node)

    def add(self, node: SimNode) -> None:
        self._expected += 1
        self.world.later(node.joins_s, lambda: self._join(node))

    # --- WorkerPool

    def slots(self) -> list[Slot]:
        left = {name: max(at - self.world.now, 0.0) for name, at in self.announced.items()}
        return [Slot(w.id, w.node.id, w.node.speed_class, left.get(w.node.id)) for w in self._idle.values()]

    def submit(self, slot: Slot, work: Work, attempt: Attempt) -> None:
        assert work.name not in self._running, f"{work.name} runs already"
        worker = self._idle.pop(slot.id)
        worker.work, worker.attempt, worker.since, worker.frames = work, attempt, self.world.now, 0
        worker.fate = self._fates(work, attempt, slot.node)
        worker.most_frames = int(work.num_frames * worker.fate.at) if worker.fate.what != "hangs" else 0
        self._running[work.name] = worker
        self.submitted.append((work.name, attempt.number, slot.node))
        if worker.fate.what != "hangs":
            self.world.later(worker.seconds * worker.fate.at, lambda: self._end(worker, work, attempt))

    def wait(self, timeout_s: float) -> list[Event]:
        until = min(self.world.now + timeout_s, self.supervisor_dies_s)
        while not self._heard and self.world.step(until):
            pass
        if not self._heard:
            self.world.now = max(self.world.now, until)
            if self.world.now >= self.supervisor_dies_s:
                raise Died
            if not (self._idle or self._running or self._starting or self._expected):
                raise PoolError("no worker is left")
        events, self._heard = self._heard, []
        return events

    def progress(self) -> Mapping[str, int]:
        now = self.world.now
        if now >= self._next_progress:  # asked for once a second, as a real pool does
            self._next_progress = now + 1.0
            for worker in self._running.values():
                worker.frames = worker.frames_at(now)
        return {name: worker.frames for name, worker in self._running.items()}

    def want(self, num_units: int) -> None:
        pass

    def stop(self, item: str, cause: Cause, why: str) -> None:
        self.stopped.append((item, cause))
        if item in self._running:
            self._give_up(self._running[item], cause, why)

    def shun(self, node: str) -> None:
        self.shunned.append(node)
        self._idle = {id_: worker for id_, worker in self._idle.items() if worker.node.id != node}

    def census(self) -> Census:
        if self._views is None or self.announced:
            left = {name: max(at - self.world.now, 0.0) for name, at in self.announced.items()}
            self._views = tuple(
                NodeView(n.id, n.id, n.num_slots, n.num_slots, 0, 0, n.speed_class, left.get(n.id)) for n in self.nodes.values()
            )
        num = len(self._running), len(self._idle), self._starting
        usable = sum(view.id not in self.shunned for view in self._views)
        return Census(self._views, *num, wanted=sum(num), blocked=tuple(self.shunned), usable=usable)

    def close(self, kill: bool = False) -> None:
        self.closed = kill

    # --- what happens

    def abandon(self) -> None:
        """The supervisor is dead: its workers end, but those that survive."""
        for worker in list(self._running.values()):
            self._survive(worker)
        self._running, self._idle, self._heard = {}, {}, []

    def _join(self, node: SimNode) -> None:
        self.nodes[node.id], self._views = node, None
        self._expected -= 1
        for _ in range(node.num_slots):
            self._start(node)
        if node.goes_s is not None:
            self.world.later(node.goes_s - node.notice_s, lambda: self._announce(node))
            self.world.later(node.goes_s, lambda: self._lose(node))

    def _start(self, node: SimNode) -> None:
        if node.id in self.nodes and node.id not in self.shunned:
            self._next_id += 1
            self._idle[self._next_id] = _Worker(self._next_id, node)

    def _announce(self, node: SimNode) -> None:
        if node.notice_s:
            self.announced[node.id] = self.world.now + node.notice_s

    def _lose(self, node: SimNode) -> None:
        cause = Cause.PREEMPTED if self.announced.pop(node.id, None) is not None else Cause.INFRA
        del self.nodes[node.id]
        self._views = None
        self._idle = {id_: worker for id_, worker in self._idle.items() if worker.node.id != node.id}
        for worker in [worker for worker in self._running.values() if worker.node.id == node.id]:
            self._give_up(worker, cause, "node gone")

    def _end(self, worker: _Worker, work: Work, attempt: Attempt) -> None:
        if self._running.get(work.name) is not worker or worker.attempt != attempt:
            return
        what, fate = worker.fate.what, worker.fate
        if what == "dies":
            self._give_up(worker, Cause.CRASH, "killed")
        elif what == "cut off":
            self._give_up(worker, Cause.INFRA, "unavailable")
        elif what == "raises":
            self._give_up(worker, cause_of(fate.error), str(fate.error))
        else:
            self._do_it(worker, work, attempt)

    def _do_it(self, worker: _Worker, work: Work, attempt: Attempt) -> None:
        try:
            record = self._do(work, attempt, worker.seconds)
        except Died:
            self._give_up(worker, Cause.CRASH, "killed while committing")
        except Exception as error:
            self._give_up(worker, cause_of(error), str(error))
        else:
            if worker.fate.what == "lost":
                self._give_up(worker, Cause.INFRA, "answer lost")
            elif worker.fate.what == "well":
                del self._running[work.name]
                self._idle[worker.id] = worker
                self._answer(AttemptSucceeded(work.name, attempt.number, record), worker.fate)

    def _give_up(self, worker: _Worker, cause: Cause, why: str) -> None:
        work, attempt, fate = worker.work, worker.attempt, worker.fate
        assert work is not None
        self._survive(worker)
        frames = worker.frames_at(self.world.now)
        del self._running[work.name]
        self._answer(AttemptFailed(work.name, attempt.number, cause, why, worker.node.id, frames), fate)
        self._starting += 1
        self.world.later(self._start_s, lambda: self._restart(worker.node))

    def _restart(self, node: SimNode) -> None:
        self._starting -= 1
        self._start(node)

    def _survive(self, worker: _Worker) -> None:
        work, attempt, seconds, fate = worker.work, worker.attempt, worker.seconds, worker.fate
        if fate.survives_s is None or work is None:
            return

        def end_unseen() -> None:
            if end_unseen not in self.world.unseen[work.name]:
                return
            self.world.unseen[work.name].remove(end_unseen)
            try:
                record = self._do(work, attempt, seconds)
            except (Died, Exception):
                return
            self._answer(AttemptSucceeded(work.name, attempt.number, record), WELL)

        self.world.unseen.setdefault(work.name, []).append(end_unseen)
        self.world.later(fate.survives_s, end_unseen)

    def _answer(self, event: Event, fate: Fate) -> None:
        self._heard.append(event)
        if fate.again_s is not None:
            self.world.later(fate.again_s, lambda: self._heard.append(replace(event)))

"""The Ray side of the pool: plain actors of one kind on the nodes that are there, their deaths told apart.

Actors never restart by themselves (``max_restarts=0``): a retry that Ray does on its own runs before we hear of the failure and
can't be charged to a budget. Each is placed on a node of our choice, for Ray leaves what fits nowhere pending without a word.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import ray
from ray import exceptions as ray_errors

from orchestrator.autoscale import ask_in_time, unmet_demand
from orchestrator.deaths import Deaths, told, told_cause
from orchestrator.errors import PoolError
from orchestrator.nodes import Census, NodeView, PoolLimits, Slot, WorkerShape, describe_nodes, nodes_to_start_on
from orchestrator.nodewatch import LOOK_EVERY_S, NodeWatch
from orchestrator.raycluster import first_line
from orchestrator.state import BLAMES_WORK_OR_NODE, AttemptFailed, AttemptSucceeded, Cause, Event
from orchestrator.worker import Worker, let_go, start_worker
from tasks.sight import Sight
from tasks.work import Attempt, Work

#: Workers that die while starting, one after the other on a node, before the node is left alone.
MAX_FAILED_STARTS = 3
#: So long after a worker's death its node may still turn out to be dead as well.
NODE_DEATH_GRACE_S = 3 * LOOK_EVERY_S
#: A head that does not answer for so long is gone; Ray itself would end this process, without a word, after 60 s.
MOST_SILENCE_S = 45.0
PROGRESS_EVERY_S = 1.0
#: Others may ask the autoscaler too, and each request overrides the last.
ASK_EVERY_S = 30.0
ASK_TIMEOUT_S = 5.0
#: An idle worker on a machine that is about to go is kept for so long, should a unit fit.
IDLE_ON_GOING_S = 3.0


class RayPool:
    """Actors of one shape on every node with room for them, as many as there are units for; nodes come and go."""

    def __init__(
        self,
        shape: WorkerShape,
        limits: PoolLimits,
        watch: NodeWatch,
        sight: Sight | None = None,
        say: Callable[[str], None] = lambda line: None,
    ) -> None:
        """Workers that do not see all of ``sight`` get nothing to do, and their node is used no more, which ``say`` tells."""
        self._shape, self._limits, self._watch, self._sight, self._say = shape, limits, watch, sight, say
        self._starting: dict[Any, Worker] = {}
        self._idle: dict[int, Worker] = {}
        self._running: dict[Any, Worker] = {}
        self._deaths = Deaths(NODE_DEATH_GRACE_S)
        self._events: list[Event] = []
        self._failed_starts: Counter[str] = Counter()
        self._start_failure = ""
        self._shunned: set[str] = set()
        #: Nodes where the last unit failed: others are tried first.
        self._soured: set[str] = set()
        self._num_units, self._next_id, self._asked = 0, 0, 0
        self._next_look = self._next_progress = self._next_ask = 0.0
        self._last_life = time.monotonic()

    # --- what the supervisor asks

    def slots(self) -> list[Slot]:
        nodes = self._nodes()
        return [worker.slot(nodes[worker.node].seconds_left) for worker in self._idle.values() if worker.node in nodes]

    def submit(self, slot: Slot, work: Work, attempt: Attempt) -> None:
        worker = self._idle.pop(slot.id)
        worker.work, worker.attempt, worker.frames_done, worker.frames = work, attempt.number, 0, None
        self._running[worker.handle.run.remote(work, attempt)] = worker

    def wait(self, timeout_s: float) -> list[Event]:
        self._look_around()
        pending = [*self._starting, *self._running]
        if self._events:
            timeout_s = 0
        if not pending:
            time.sleep(timeout_s)
        ready, _ = ray.wait(pending, num_returns=1, timeout=timeout_s) if pending else ([], [])
        if ready and len(pending) > 1:
            ready, _ = ray.wait(pending, num_returns=len(pending), timeout=0)
        for reference in ready:
            if reference in self._starting:
                self._started(reference)
            elif reference in self._running:
                self._finished(reference)
        self._events += self._deaths.judged(self._watch.nodes(), time.monotonic())
        self._check_life()
        events, self._events = self._events, []
        return events

    def progress(self) -> Mapping[str, int]:
        if time.monotonic() >= self._next_progress:
            self._next_progress = time.monotonic() + PROGRESS_EVERY_S
            for worker in self._running.values():
                worker.ask_progress()
        return {worker.work.name: worker.frames_done for worker in self._running.values() if worker.work is not None}

    def want(self, num_units: int) -> None:
        if num_units != self._num_units:
            self._num_units = num_units
            self._next_look = min(self._next_look, time.monotonic() + PROGRESS_EVERY_S)

    def stop(self, item: str, cause: Cause, why: str) -> None:
        for reference, worker in list(self._running.items()):
            if worker.work is not None and worker.work.name == item:
                del self._running[reference]
                self._events.append(AttemptFailed(item, worker.attempt, cause, why, worker.node, worker.frames_done))
                worker.kill()

    def shun(self, node: str) -> None:
        self._shunned.add(node)
        self._drop_unusable(self._nodes())

    def census(self) -> Census:
        blocked, nodes = self._blocked(), self._watch.nodes()
        return Census(
            nodes=nodes,
            busy=len(self._running),
            idle=len(self._idle),
            starting=len(self._starting),
            wanted=self._wanted(),
            blocked=tuple(sorted(blocked)),
            usable=sum(self._has_room(node) for node in nodes if node.id not in blocked),
        )

    def close(self, kill: bool = False) -> None:
        if self._asked:
            self._ask(0)
        answers = self._watch.silent_s < ASK_TIMEOUT_S
        let_go(self._idle.values(), politely=answers and not kill)
        for worker in [*self._starting.values(), *self._running.values()]:
            worker.kill()
        self._starting, self._idle, self._running = {}, {}, {}

    # --- nodes and workers that come and go

    def _nodes(self) -> dict[str, NodeView]:
        """Living nodes that are used, by id."""
        blocked = self._blocked()
        return {node.id: node for node in self._watch.nodes() if node.id not in blocked}

    def _has_room(self, node: NodeView) -> bool:
        return self._shape.fits(node.cpus, node.gpus) > 0

    def _blocked(self) -> set[str]:
        return self._shunned | {node for node, failed in self._failed_starts.items() if failed >= MAX_FAILED_STARTS}

    def _wanted(self) -> int:
        wanted = len(self._running) + self._num_units
        return min(wanted, self._limits.most_workers) if self._limits.most_workers is not None else wanted

    def _look_around(self) -> None:
        """Fit the workers to the nodes that are there and to what is left to do."""
        now = time.monotonic()
        if now < self._next_look:
            return
        self._next_look = now + LOOK_EVERY_S
        if self._watch.silent_s > MOST_SILENCE_S:
            raise PoolError(f"the cluster's head has not answered for {self._watch.silent_s:.0f} s; what is done is kept")
        nodes = self._nodes()
        self._drop_late_starts()
        self._drop_unusable(nodes)
        # Idle workers beyond the units that wait: the machine under them may be of use elsewhere, or go.
        staying = self._idle_staying(nodes)
        self._drop(staying[: max(len(staying) + len(self._running) - self._wanted(), 0)])
        self._start_missing(nodes, now)
        if self._watch.can_grow and (self._wanted() != self._asked or now >= self._next_ask):
            self._ask(self._wanted())

    def _idle_staying(self, nodes: Mapping[str, NodeView]) -> list[Worker]:
        return [worker for worker in self._idle.values() if nodes[worker.node].seconds_left is None]

    def _drop_unusable(self, nodes: Mapping[str, NodeView]) -> None:
        """Idle workers whose node is gone, is not used any more, or is about to go and gives them nothing to do."""
        now = time.monotonic()

        def is_of_use(worker: Worker) -> bool:
            node = nodes.get(worker.node)
            return node is not None and (node.seconds_left is None or now - worker.since < IDLE_ON_GOING_S)

        self._drop([worker for worker in self._idle.values() if not is_of_use(worker)])

    def _drop(self, workers: list[Worker]) -> None:
        for worker in workers:
            del self._idle[worker.id]
        let_go(workers)

    def _start_missing(self, nodes: Mapping[str, NodeView], now: float) -> None:
        ours = [*self._starting.values(), *self._idle_staying(nodes), *self._running.values()]
        heard = self._watch.heard
        unseen = Counter(worker.node for worker in self._starting.values() if worker.since > heard)
        counts = Counter(worker.node for worker in ours)
        for node in nodes_to_start_on(self._shape, tuple(nodes.values()), counts, self._wanted(), unseen, self._soured):
            self._next_id += 1
            reference, worker = start_worker(self._next_id, self._shape, node, now, self._sight)
            self._starting[reference] = worker

    def _ask(self, num_workers: int) -> None:
        """Ask the autoscaler for room for so many workers, beside that of nodes that are not used any more."""
        blocked = self._blocked()
        lost = sum(self._shape.fits(n.cpus, n.gpus) for n in self._watch.nodes() if n.id in blocked) if num_workers else 0
        ask_in_time([{"CPU": self._shape.num_cpus, "GPU": self._shape.num_gpus}] * (num_workers + lost), ASK_TIMEOUT_S)
        self._asked, self._next_ask = num_workers, time.monotonic() + ASK_EVERY_S

    def _started(self, reference: Any) -> None:
        worker = self._starting.pop(reference)
        try:
            worker.node, worker.speed_class, lacks = ray.get(reference)
        except ray_errors.RayError as error:
            # A node that is gone is nobody's fault; one that lives and starts nothing is left alone after a few tries.
            self._not_started(worker, first_line(error), int(worker.node in self._nodes()))
            return
        if lacks:
            self._not_started(worker, lacks, MAX_FAILED_STARTS)
            return
        self._failed_starts.pop(worker.node, None)
        self._rest(worker)

    def _not_started(self, worker: Worker, why: str, weight: int) -> None:
        worker.kill()
        before = self._failed_starts[worker.node]
        self._failed_starts[worker.node] += weight
        self._start_failure = why
        if before < MAX_FAILED_STARTS <= self._failed_starts[worker.node]:
            self._say(f"a node is not used: {why}")

    def _rest(self, worker: Worker) -> None:
        """The worker has nothing to do; on a node that is not used any more it never will."""
        worker.work, worker.since = None, time.monotonic()
        if worker.node in self._blocked():
            let_go([worker])
            return
        self._idle[worker.id] = worker

    def _drop_late_starts(self) -> None:
        """What Ray can't place, since others have booked the room, is no fault of the node."""
        for reference, worker in list(self._starting.items()):
            if time.monotonic() - worker.since > self._limits.start_timeout_s:
                del self._starting[reference]
                worker.kill()
                self._start_failure = f"it did not start within {self._limits.start_timeout_s:.0f} s"

    # --- how a unit ended

    def _finished(self, reference: Any) -> None:
        worker = self._running.pop(reference)
        assert worker.work is not None
        name = worker.work.name
        try:
            record = ray.get(reference)
        except ray_errors.RayError as error:
            # After an exception its state may be what failed (a lost mount, a dead CUDA context): no unit may follow there.
            worker.kill()
            self._failed(worker, name, error)
            return
        self._soured.discard(worker.node)
        self._events.append(AttemptSucceeded(name, worker.attempt, record))
        self._rest(worker)

    def _failed(self, worker: Worker, name: str, error: ray_errors.RayError) -> None:
        cause = told_cause(error)
        failed = AttemptFailed(name, worker.attempt, cause or Cause.CRASH, told(error), worker.node, worker.frames_done)
        if failed.cause in BLAMES_WORK_OR_NODE:
            self._soured.add(worker.node)
        if cause is None and [node.id for node in self._watch.nodes()] != [worker.node]:
            self._deaths.add(failed, time.monotonic())
        else:
            self._events.append(failed)

    def _check_life(self) -> None:
        """Ray leaves what it can't place pending for ever, without a word; we do not."""
        if self.slots() or self._running or not self._wanted():
            self._last_life = time.monotonic()
            return
        waited, nodes = time.monotonic() - self._last_life, self._watch.nodes()
        limits, blocked = self._limits, self._blocked()
        fitting = {node.id for node in nodes if self._has_room(node)}
        hopeless = bool(fitting) and fitting <= blocked and not self._starting and not self._watch.can_grow
        most = limits.grow_timeout_s if self._watch.can_grow else limits.start_timeout_s
        if not hopeless and waited <= most + (limits.start_timeout_s if self._starting else 0):
            return
        missing = f"; the autoscaler says: {unmet}" if (unmet := unmet_demand()) else ""
        last = f"; the last one failed: {self._start_failure}" if self._start_failure else ""
        what = f"no {self._shape.kind} worker ({self._shape}) could be had in {waited:.0f} s"
        raise PoolError(f"{what}{last}{missing}; {describe_nodes(nodes)}")

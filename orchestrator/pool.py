"""The Ray side of the pool: plain actors of one kind on the nodes that are there, their deaths told apart.

Actors never restart by themselves (``max_restarts=0``): a retry that Ray does on its own runs before we hear of the failure and
can't be charged to a budget. Each is placed on a node of our choice, for Ray leaves what fits nowhere pending without a word.
"""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import ray
from ray import exceptions as ray_errors
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from orchestrator.autoscale import ask_for, unmet_demand
from orchestrator.deaths import Deaths, told, told_cause
from orchestrator.errors import PoolError
from orchestrator.nodes import Census, Slot, WorkerShape, describe_nodes, nodes_to_start_on
from orchestrator.nodewatch import LOOK_EVERY_S, NodeWatch
from orchestrator.raycluster import first_line
from orchestrator.state import AttemptFailed, AttemptSucceeded, Cause, Event
from tasks.actors import actor_class
from tasks.work import Attempt, Work

#: Workers that die while starting, one after the other on a node, before the node is left alone.
MAX_FAILED_STARTS = 3
#: So long after a worker's death its node may still turn out to be dead as well.
NODE_DEATH_GRACE_S = 3 * LOOK_EVERY_S
#: A head that does not answer for so long is gone; Ray itself would end this process, without a word, after 60 s.
MOST_SILENCE_S = 45.0
PROGRESS_EVERY_S = 1.0


@dataclass(frozen=True, slots=True)
class PoolLimits:
    """``most_workers``: None for as many as the cluster has room for. ``grow_timeout_s`` is waited for nodes that an autoscaler
    adds, ``start_timeout_s`` for a worker on a node that is there."""

    most_workers: int | None = None
    start_timeout_s: float = 120.0
    grow_timeout_s: float = 900.0


@dataclass(slots=True)
class _Actor:
    id: int
    handle: Any
    node: str
    since: float
    speed_class: str = ""
    work: Work | None = None
    attempt: int = 0
    frames: Any = None
    """Reference to an answer of ``frames_done`` that is under way."""
    frames_done: int = 0


class RayPool:
    """Actors of one shape on every node with room for them, as many as there are units for; nodes come and go."""

    def __init__(self, shape: WorkerShape, limits: PoolLimits, watch: NodeWatch) -> None:
        self._shape, self._limits, self._watch = shape, limits, watch
        self._starting: dict[Any, _Actor] = {}
        self._idle: dict[int, _Actor] = {}
        self._running: dict[Any, _Actor] = {}
        self._deaths = Deaths(NODE_DEATH_GRACE_S)
        self._events: list[Event] = []
        self._failed_starts: Counter[str] = Counter()
        self._start_failure = ""
        self._shunned: set[str] = set()
        self._num_units, self._next_id, self._asked = 0, 0, 0
        self._next_look = self._next_progress = 0.0
        self._last_life = time.monotonic()

    # --- what the supervisor asks

    def slots(self) -> list[Slot]:
        left = {node.id: node.seconds_left for node in self._watch.nodes()}
        return [Slot(a.id, a.node, a.speed_class, left[a.node]) for a in self._idle.values() if a.node in left]

    def submit(self, slot: Slot, work: Work, attempt: Attempt) -> None:
        actor = self._idle.pop(slot.id)
        actor.work, actor.attempt, actor.frames_done, actor.frames = work, attempt.number, 0, None
        self._running[actor.handle.run.remote(work, attempt)] = actor

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
            for actor in self._running.values():
                _ask_progress(actor)
        return {actor.work.name: actor.frames_done for actor in self._running.values() if actor.work is not None}

    def want(self, num_units: int) -> None:
        if num_units != self._num_units:
            self._num_units = num_units
            self._next_look = min(self._next_look, time.monotonic() + PROGRESS_EVERY_S)

    def stop(self, item: str, cause: Cause, why: str) -> None:
        for reference, actor in list(self._running.items()):
            if actor.work is not None and actor.work.name == item:
                del self._running[reference]
                self._events.append(AttemptFailed(item, actor.attempt, cause, why, actor.node, actor.frames_done))
                _kill(actor)

    def shun(self, node: str) -> None:
        self._shunned.add(node)
        for actor in [actor for actor in self._idle.values() if actor.node == node]:
            self._let_go(actor)

    def census(self) -> Census:
        starting = len(self._starting)
        return Census(
            self._watch.nodes(), len(self._running), len(self._idle), starting, self._wanted(), tuple(sorted(self._shunned))
        )

    def close(self, kill: bool = False) -> None:
        if self._asked:
            ask_for([])
            self._asked = 0
        actors = [*self._starting.values(), *self._idle.values(), *self._running.values()]
        if self._shape.num_gpus and not kill and self._idle:
            ray.wait([a.handle.close.remote() for a in self._idle.values()], num_returns=len(self._idle), timeout=10)
        for actor in actors:
            _kill(actor)
        self._starting, self._idle, self._running = {}, {}, {}

    # --- nodes and workers that come and go

    def _wanted(self) -> int:
        wanted = len(self._running) + self._num_units
        return min(wanted, self._limits.most_workers) if self._limits.most_workers is not None else wanted

    def _look_around(self) -> None:
        """Fit the workers to the nodes that are there and to what is left to do."""
        if time.monotonic() < self._next_look:
            return
        self._next_look = time.monotonic() + LOOK_EVERY_S
        if self._watch.silent_s > MOST_SILENCE_S:
            raise PoolError(f"the cluster's head has not answered for {self._watch.silent_s:.0f} s; what is done is kept")
        self._drop_late_starts()
        # Idle workers beyond the units that wait: the machine under them may be of use elsewhere, or go.
        for actor in list(self._idle.values())[: max(len(self._idle) + len(self._running) - self._wanted(), 0)]:
            self._let_go(actor)
        ours = Counter(actor.node for actor in self._actors())
        for node in nodes_to_start_on(self._shape, self._watch.nodes(), ours, self._wanted(), self._blocked()):
            self._start(node)
        self._ask_autoscaler()

    def _actors(self) -> list[_Actor]:
        return [*self._starting.values(), *self._idle.values(), *self._running.values()]

    def _blocked(self) -> set[str]:
        return self._shunned | {node for node, failed in self._failed_starts.items() if failed >= MAX_FAILED_STARTS}

    def _ask_autoscaler(self) -> None:
        wanted = self._wanted() if self._watch.can_grow else 0
        if wanted != self._asked and ask_for([{"CPU": self._shape.num_cpus, "GPU": self._shape.num_gpus}] * wanted):
            self._asked = wanted

    def _start(self, node: str) -> None:
        environment = {"OMP_NUM_THREADS": str(self._shape.torch_threads)}
        if not self._shape.num_gpus:
            # Ray leaves all GPUs visible to an actor that booked none.
            environment["CUDA_VISIBLE_DEVICES"] = ""
        options: dict[str, Any] = {
            "num_cpus": self._shape.num_cpus,
            "num_gpus": self._shape.num_gpus,
            "scheduling_strategy": NodeAffinitySchedulingStrategy(node_id=node, soft=False),
            "runtime_env": {"env_vars": environment},
        }
        handle = actor_class(self._shape.kind).options(**options).remote(self._shape.torch_threads, self._shape.num_gpus > 0)
        self._next_id += 1
        self._starting[handle.ready.remote()] = _Actor(self._next_id, handle, node, time.monotonic())

    def _started(self, reference: Any) -> None:
        actor = self._starting.pop(reference)
        try:
            actor.node, actor.speed_class = ray.get(reference)
        except ray_errors.RayError as error:
            self._start_failed(actor, first_line(error))
            return
        self._failed_starts.pop(actor.node, None)
        self._last_life = time.monotonic()
        self._idle[actor.id] = actor

    def _drop_late_starts(self) -> None:
        for reference, actor in list(self._starting.items()):
            if time.monotonic() - actor.since > self._limits.start_timeout_s:
                del self._starting[reference]
                self._start_failed(actor, f"it did not start within {self._limits.start_timeout_s:.0f} s")

    def _start_failed(self, actor: _Actor, why: str) -> None:
        """A node that is gone is nobody's fault; one that lives and starts nothing is left alone after a few tries."""
        _kill(actor)
        self._start_failure = why
        if self._is_alive(actor.node):
            self._failed_starts[actor.node] += 1

    def _let_go(self, actor: _Actor) -> None:
        del self._idle[actor.id]
        if self._shape.num_gpus:
            with contextlib.suppress(ray_errors.RayError):
                ray.wait([actor.handle.close.remote()], timeout=PROGRESS_EVERY_S)
        _kill(actor)

    def _is_alive(self, node: str) -> bool:
        return any(view.id == node for view in self._watch.nodes())

    # --- how a unit ended

    def _finished(self, reference: Any) -> None:
        actor = self._running.pop(reference)
        assert actor.work is not None
        name, self._last_life = actor.work.name, time.monotonic()
        try:
            record = ray.get(reference)
        except ray_errors.RayError as error:
            # After an exception its state may be what failed (a lost mount, a dead CUDA context): no unit may follow there.
            _kill(actor)
            self._failed(actor, name, error)
            return
        actor.work = None
        self._idle[actor.id] = actor
        self._events.append(AttemptSucceeded(name, actor.attempt, record))

    def _failed(self, actor: _Actor, name: str, error: ray_errors.RayError) -> None:
        cause = told_cause(error)
        failed = AttemptFailed(name, actor.attempt, cause or Cause.CRASH, told(error), actor.node, actor.frames_done)
        if cause is None and len(self._watch.nodes()) > 1:
            self._deaths.add(failed, time.monotonic())
        else:
            self._events.append(failed)

    def _check_life(self) -> None:
        """Ray leaves what it can't place pending for ever, without a word; we do not."""
        if self._idle or self._running or not self._wanted():
            self._last_life = time.monotonic()
            return
        waited = time.monotonic() - self._last_life
        nodes = self._watch.nodes()
        hopeless = bool(nodes) and not self._starting and {node.id for node in nodes} <= self._blocked()
        most = self._limits.grow_timeout_s if self._watch.can_grow else self._limits.start_timeout_s
        if not hopeless and waited <= most + (self._limits.start_timeout_s if self._starting else 0):
            return
        missing = f"; the autoscaler says: {unmet}" if (unmet := unmet_demand()) else ""
        last = f"; the last one failed: {self._start_failure}" if self._start_failure else ""
        what = f"no {self._shape.kind} worker ({self._shape}) could be had in {waited:.0f} s"
        raise PoolError(f"{what}{last}{missing}; {describe_nodes(nodes)}")


def _ask_progress(actor: _Actor) -> None:
    if actor.frames is None:
        actor.frames = actor.handle.frames_done.remote()
    elif ray.wait([actor.frames], timeout=0)[0]:
        # Of a death the run's own reference tells.
        with contextlib.suppress(ray_errors.RayError):
            actor.frames_done = ray.get(actor.frames)
        actor.frames = None


def _kill(actor: _Actor) -> None:
    """Ray raises where the actor is not there yet, or no more."""
    with contextlib.suppress(ray_errors.RayError):
        ray.kill(actor.handle)

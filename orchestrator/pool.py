"""The Ray side of the pool: a cluster joined or started, plain actors of one kind, their deaths told apart.

Actors never restart by themselves (``max_restarts=0``): a retry that Ray does on its own runs before we hear of the failure and
can't be charged to a budget. Frames never cross Ray, so the object store is kept small.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import ray
from ray import exceptions as ray_errors

from orchestrator.errors import PoolError
from orchestrator.state import AttemptFailed, AttemptSucceeded, Cause, Event
from tasks.actors import actor_class
from tasks.work import Work
from vsalign.errors import InputError

OBJECT_STORE_BYTES = 100 * 1024 * 1024
MAX_FAILED_STARTS = 3
NODE_DEATH_GRACE_S = 5.0
CONNECT_TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True)
class WorkerShape:
    """What one worker asks of a node, and the torch threads that it pins."""

    kind: str
    num_cpus: float = 1
    num_gpus: float = 0
    torch_threads: int = 1

    def __str__(self) -> str:
        return f"{self.num_cpus:g} CPU" + (f" and {self.num_gpus:g} GPU" if self.num_gpus else "")


@contextmanager
def ray_cluster(address: str | None, num_cpus: int | None = None) -> Iterator[None]:
    """Join the cluster at ``address``, or run a Ray of our own on this machine until the block is left.

    Raises InputError when nothing answers at ``address``.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
    quiet: dict[str, Any] = {"logging_level": "ERROR", "log_to_driver": False}
    # ray.init puts a SIGTERM handler of its own in place, which exits instead of draining.
    on_sigterm = signal.getsignal(signal.SIGTERM)
    if address is None:
        ray.init(address="local", num_cpus=num_cpus, include_dashboard=False, object_store_memory=OBJECT_STORE_BYTES, **quiet)
    else:
        _check_address(address)
        try:
            ray.init(address=address, **quiet)
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise InputError(f"--address {address}: no Ray cluster answers there ({_first_line(error)})") from None
    signal.signal(signal.SIGTERM, on_sigterm)
    try:
        yield
    finally:
        ray.shutdown()


def _check_address(address: str) -> None:
    """Ray itself tries a silent address for minutes; a refused or unanswered connection is known in seconds."""
    if address == "auto":
        return
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdigit() or "/" in address:
        raise InputError(f"--address {address}: accepted: auto, or HOST:PORT of the cluster's head, from a node of the cluster")
    try:
        socket.create_connection((host, int(port)), timeout=CONNECT_TIMEOUT_S).close()
    except OSError as error:
        raise InputError(f"--address {address}: no Ray cluster answers there ({error})") from None


def cluster_slots(shape: WorkerShape) -> int:
    """How many workers of ``shape`` fit on the living nodes. Raises InputError when not even one does."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    slots = sum(_fits(shape, node) for node in nodes)
    if slots:
        return slots
    offered = ", ".join(f"{node.get('CPU', 0):g} CPU and {node.get('GPU', 0):g} GPU" for node in nodes) or "no living node"
    raise InputError(f"a {shape.kind} worker wants {shape} on one node; the cluster has: {offered}")


def cluster_has_gpus() -> bool:
    """Any living node offers a GPU."""
    return any(node["Alive"] and node["Resources"].get("GPU", 0) >= 1 for node in ray.nodes())


def _fits(shape: WorkerShape, node: dict[str, float]) -> int:
    by_cpu = node.get("CPU", 0) // shape.num_cpus if shape.num_cpus else float("inf")
    by_gpu = node.get("GPU", 0) // shape.num_gpus if shape.num_gpus else float("inf")
    return int(min(by_cpu, by_gpu))


@dataclass(slots=True)
class _Actor:
    handle: Any
    node_id: str = ""
    work: Work | None = None
    attempt: int = 0
    frames: Any = None
    """Reference to an answer of ``frames_done`` that is under way."""
    frames_done: int = 0


class RayPool:
    """``num_workers`` actors of one shape, spread over the nodes; a dead one is replaced."""

    def __init__(self, shape: WorkerShape, num_workers: int, start_timeout_s: float = 120.0) -> None:
        self._shape, self._start_timeout_s = shape, start_timeout_s
        self._starting: dict[Any, _Actor] = {}
        self._idle: list[_Actor] = []
        self._running: dict[Any, _Actor] = {}
        self._failed_starts = 0
        self._last_life = time.monotonic()
        for _ in range(num_workers):
            self._start()

    def free(self) -> int:
        return len(self._idle)

    def submit(self, work: Work, attempt: int) -> None:
        actor = self._idle.pop()
        actor.work, actor.attempt, actor.frames_done, actor.frames = work, attempt, 0, None
        self._running[actor.handle.run.remote(work, attempt)] = actor

    def wait(self, timeout_s: float) -> list[Event]:
        pending = [*self._starting, *self._running]
        ready, _ = ray.wait(pending, num_returns=1, timeout=timeout_s) if pending else ([], [])
        if ready and len(pending) > 1:
            ready, _ = ray.wait(pending, num_returns=len(pending), timeout=0)
        events = []
        for reference in ready:
            if reference in self._starting:
                self._started(reference)
            else:
                events.append(self._finished(reference))
        self._check_life()
        return events

    def frames_done(self) -> int:
        for actor in self._running.values():
            if actor.frames is None:
                actor.frames = actor.handle.frames_done.remote()
            elif ray.wait([actor.frames], timeout=0)[0]:
                # Of a death the run's own reference tells.
                with contextlib.suppress(ray_errors.RayError):
                    actor.frames_done = ray.get(actor.frames)
                actor.frames = None
        return sum(actor.frames_done for actor in self._running.values())

    def close(self, kill: bool = False) -> None:
        for actor in [*self._starting.values(), *self._idle, *self._running.values()]:
            ray.kill(actor.handle)
        self._starting, self._idle, self._running = {}, [], {}

    def _start(self) -> None:
        environment = {"OMP_NUM_THREADS": str(self._shape.torch_threads)}
        if not self._shape.num_gpus:
            # Ray leaves all GPUs visible to an actor that booked none.
            environment["CUDA_VISIBLE_DEVICES"] = ""
        options: dict[str, Any] = {
            "num_cpus": self._shape.num_cpus,
            "num_gpus": self._shape.num_gpus,
            "scheduling_strategy": "SPREAD",
            "runtime_env": {"env_vars": environment},
        }
        handle = actor_class(self._shape.kind).options(**options).remote(self._shape.torch_threads)
        self._starting[handle.ready.remote()] = _Actor(handle)

    def _started(self, reference: Any) -> None:
        actor = self._starting.pop(reference)
        try:
            actor.node_id, _ = ray.get(reference)
        except ray_errors.RayError as error:
            self._failed_starts += 1
            if self._failed_starts > MAX_FAILED_STARTS:
                raise PoolError(f"{self._shape.kind} workers do not start: {_first_line(error)}") from error
            self._start()
            return
        self._failed_starts, self._last_life = 0, time.monotonic()
        self._idle.append(actor)

    def _finished(self, reference: Any) -> Event:
        actor = self._running.pop(reference)
        assert actor.work is not None
        name, attempt = actor.work.name, actor.attempt
        actor.work, self._last_life = None, time.monotonic()
        try:
            record = ray.get(reference)
        except ray_errors.RayTaskError as error:
            # Its state may be what failed (a lost mount, a dead CUDA context): it must not swallow the next units.
            self._replace(actor)
            return AttemptFailed(name, attempt, Cause.CODE, f"{type(error.cause).__name__}: {error.cause}")
        except ray_errors.RayError as error:
            cause = self._cause_of_death(actor, error)
            self._replace(actor)
            return AttemptFailed(name, attempt, cause, f"{type(error).__name__}: {_first_line(error)}")
        self._idle.append(actor)
        return AttemptSucceeded(name, attempt, record)

    def _replace(self, actor: _Actor) -> None:
        ray.kill(actor.handle)
        self._start()

    def _cause_of_death(self, actor: _Actor, error: Exception) -> Cause:
        """A process that dies on a living node crashed; with its node gone, or unreachable, nobody is to blame."""
        if getattr(error, "preempted", False) or isinstance(error, ray_errors.ActorUnavailableError):
            return Cause.INFRA
        deadline = time.monotonic() + (NODE_DEATH_GRACE_S if len(ray.nodes()) > 1 else 0)
        while True:
            if not any(node["NodeID"] == actor.node_id and node["Alive"] for node in ray.nodes()):
                return Cause.INFRA
            if time.monotonic() >= deadline:
                return Cause.CRASH
            time.sleep(0.5)

    def _check_life(self) -> None:
        """Ray leaves what it can't place pending for ever, without a word; we do not."""
        if self._idle or self._running:
            return
        waited = time.monotonic() - self._last_life
        if waited > self._start_timeout_s:
            raise PoolError(
                f"no {self._shape.kind} worker ({self._shape}) started within {waited:.0f} s; "
                f"free now: {ray.available_resources()}"
            )


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]

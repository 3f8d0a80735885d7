"""Which pool a job runs on; Ray is started when the first unit needs it, and not for a job with nothing left to do."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from typing import TYPE_CHECKING

from orchestrator.local_pool import LocalPool
from orchestrator.nodes import PoolLimits, WorkerShape, describe_nodes
from orchestrator.sections import RunConfig
from orchestrator.supervise import WorkerPool
from tasks.device import resolve_device
from tasks.sight import Sight
from vsalign.errors import InputError

if TYPE_CHECKING:
    from orchestrator.nodewatch import NodeWatch

#: Threads that torch sums with on a CPU worker: one, so that results do not depend on the machine.
TORCH_THREADS = 1
#: For planning on a cluster whose nodes are still to be added.
WORKERS_TO_COME = 8
#: An autoscaler is known by its first look around, some seconds after the head's start.
AUTOSCALER_LOOKS_IN_S = 10.0


class Pools:
    """Makes pools of temporal and spatial workers for one run."""

    def __init__(self, run: RunConfig) -> None:
        self._run = run
        self._stack = ExitStack()
        self._watch: NodeWatch | None = None
        self._saw_gpus = False
        if run.pool == "ray" and run.address is None and run.cores_per_worker > _cores():
            raise InputError(f"--cores-per-worker {run.cores_per_worker}: this machine has {_cores()} cores")
        if run.pool == "local" and run.device == "cuda":
            _check_device(run.device)

    def check(self) -> None:
        """Workers of both kinds can be had, or nodes for them may come. Starts Ray; raises InputError when they can't."""
        if self._run.pool == "ray":
            deadline = time.monotonic() + (AUTOSCALER_LOOKS_IN_S if self._run.address else 0)
            for kind in ("temporal", "spatial"):
                while (missing := self._missing(kind)) and time.monotonic() < deadline:
                    time.sleep(0.5)
                if missing:
                    raise InputError(missing)

    def num_workers(self) -> int:
        """Workers that render at once, for planning; does not start Ray on this machine."""
        if self._run.pool == "local":
            return 1
        if self._run.address is None and self._watch is None:
            return self._run.workers or max(_cores() // self._run.cores_per_worker, 1)
        return self._run.workers or self._room("spatial") or WORKERS_TO_COME

    @contextmanager
    def pool(self, kind: str, sight: Sight, say: Callable[[str], None]) -> Iterator[WorkerPool]:
        """A pool of "temporal", "spatial" or "joining" workers; what joins does it here, unless there is a cluster for it.

        Nodes that do not see all of ``sight`` are not used, as ``say`` tells.
        """
        if self._run.pool == "local":
            pool: WorkerPool = LocalPool(TORCH_THREADS)
        elif kind == "joining" and self._run.address is None:
            pool = LocalPool(torch_threads=0)
        else:
            from orchestrator.pool import RayPool

            limits = PoolLimits(self._run.workers)
            if self._run.start_timeout is not None:
                limits = PoolLimits(self._run.workers, self._run.start_timeout, self._run.start_timeout)
            pool = RayPool(self._shape(kind), limits, self._nodes(), sight, say)
        with closing(pool):
            yield pool

    def close(self) -> None:
        """Leave the cluster, or end the Ray of our own."""
        self._stack.close()
        self._watch = None

    def _room(self, kind: str) -> int:
        """How many workers the nodes that are there can hold."""
        shape = self._shape(kind)
        return sum(shape.fits(node.cpus, node.gpus) for node in self._nodes().nodes())

    def _missing(self, kind: str) -> str:
        """What the cluster lacks for this kind of worker, "" for nothing, or while an autoscaler may add it."""
        room, shape, watch = self._room(kind), self._shape(kind), self._nodes()
        if watch.can_grow:
            return ""
        if not room:
            return f"a {kind} worker wants {shape} on one node; {describe_nodes(watch.nodes())}"
        wanted = self._run.workers
        return f"--workers {wanted}: the cluster has room for {room} of {shape} each" if wanted and wanted > room else ""

    def _shape(self, kind: str) -> WorkerShape:
        gpus = 0.0
        # Once GPUs were there they may come again: what is rendered half on them is not ended on CPUs.
        self._saw_gpus |= self._run.device == "cuda" or any(node.gpus > 0 for node in self._nodes().nodes())
        if kind == "spatial" and self._run.device != "cpu" and self._saw_gpus:
            gpus = self._run.gpu_fraction
        return WorkerShape(kind, num_cpus=self._run.cores_per_worker, num_gpus=gpus, torch_threads=TORCH_THREADS)

    def _nodes(self) -> NodeWatch:
        """The connected cluster's nodes; the first call connects."""
        if self._watch is None:
            from orchestrator.nodewatch import NodeWatch
            from orchestrator.raycluster import ray_cluster

            self._stack.enter_context(ray_cluster(self._run.address, _cores()))
            self._watch = self._stack.enter_context(closing(NodeWatch()))
        return self._watch


def _check_device(wanted: str) -> None:
    try:
        resolve_device(wanted)
    except RuntimeError as error:
        raise InputError(f"--device {wanted}: {error}") from None


def _cores() -> int:
    return len(os.sched_getaffinity(0))

"""Which pool a job runs on; Ray is started when the first unit needs it, and not for a job with nothing left to do."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from orchestrator.config import RunConfig
from orchestrator.local_pool import LocalPool
from orchestrator.supervise import WorkerPool
from tasks.device import resolve_device
from vsalign.errors import InputError

if TYPE_CHECKING:
    from orchestrator.pool import WorkerShape

#: Threads that torch sums with on a CPU worker: one, so that results do not depend on the machine.
TORCH_THREADS = 1


class Pools:
    """Makes pools of temporal and spatial workers for one run."""

    def __init__(self, run: RunConfig) -> None:
        self._run = run
        self._stack = ExitStack()
        self._ray_is_up = False
        if run.pool == "ray" and run.address is None and run.cores_per_worker > _cores():
            raise InputError(f"--cores-per-worker {run.cores_per_worker}: this machine has {_cores()} cores")
        if run.pool == "local" and run.device == "cuda":
            _check_device(run.device)

    def check(self) -> None:
        """Workers of both kinds can be had. Starts Ray; raises InputError when they can't."""
        if self._run.pool == "ray":
            for kind in ("temporal", "spatial"):
                self._num_ray_workers(kind)

    def num_workers(self) -> int:
        """Workers that render at once, for planning; does not start Ray on this machine."""
        if self._run.pool == "local":
            return 1
        if self._run.address is None and not self._ray_is_up:
            return self._run.workers or max(_cores() // self._run.cores_per_worker, 1)
        return self._num_ray_workers("spatial")

    @contextmanager
    def pool(self, kind: str, num_units: int) -> Iterator[WorkerPool]:
        """A pool of "temporal" or "spatial" workers, no more of them than there are units."""
        if self._run.pool == "local":
            pool: WorkerPool = LocalPool(TORCH_THREADS)
        else:
            from orchestrator.pool import RayPool

            workers = min(self._num_ray_workers(kind), num_units)
            pool = RayPool(self._shape(kind), workers)
        try:
            yield pool
        finally:
            pool.close()

    def close(self) -> None:
        """Leave the cluster, or end the Ray of our own."""
        self._stack.close()
        self._ray_is_up = False

    def _num_ray_workers(self, kind: str) -> int:
        from orchestrator.pool import cluster_slots

        self._start_ray()
        slots = cluster_slots(self._shape(kind))
        if self._run.workers is not None and self._run.workers > slots:
            raise InputError(f"--workers {self._run.workers}: the cluster has room for {slots} of {self._shape(kind)} each")
        return self._run.workers or slots

    def _shape(self, kind: str) -> WorkerShape:
        from orchestrator.pool import WorkerShape, cluster_has_gpus

        gpus = 0.0
        if kind == "spatial" and self._run.device != "cpu" and (self._run.device == "cuda" or cluster_has_gpus()):
            gpus = 1.0
        return WorkerShape(kind, num_cpus=self._run.cores_per_worker, num_gpus=gpus, torch_threads=TORCH_THREADS)

    def _start_ray(self) -> None:
        if self._ray_is_up:
            return
        from orchestrator.pool import ray_cluster

        self._stack.enter_context(ray_cluster(self._run.address, _cores()))
        self._ray_is_up = True


def _check_device(wanted: str) -> None:
    try:
        resolve_device(wanted)
    except RuntimeError as error:
        raise InputError(f"--device {wanted}: {error}") from None


def _cores() -> int:
    return len(os.sched_getaffinity(0))

"""Thin Ray shells around ``perform``: one process each, one unit at a time, nothing but small records in and out."""

from __future__ import annotations

import os
from typing import Any

import ray

from tasks.device import device_name
from tasks.run import perform
from tasks.sight import Sight, see
from tasks.work import Attempt, Record, Work


class _Worker:
    """Runs one unit at a time; ``frames_done`` answers beside it, from a concurrency group of its own."""

    def __init__(self, torch_threads: int, uses_gpu: bool) -> None:
        os.environ["OMP_NUM_THREADS"] = str(torch_threads)
        self._torch_threads, self._uses_gpu = torch_threads, uses_gpu
        self._frames_done = 0

    def ready(self, sight: Sight | None) -> tuple[str, str, str]:
        """Once the process is up: node id, the name of what it computes on, and in one line what it can't see of the job."""
        return ray.get_runtime_context().get_node_id(), device_name(self._uses_gpu), see(sight) if sight else ""

    def run(self, work: Work, attempt: Attempt) -> Record:
        self._frames_done = 0
        return perform(work, attempt, self._count)

    @ray.method(concurrency_group="status")
    def frames_done(self) -> int:
        """Frames finished of the unit that is running."""
        return self._frames_done

    def close(self) -> None:
        """Let the GPU go before the process is killed; one that dies with memory booked there may leave it booked."""
        if self._uses_gpu:
            import torch

            torch.cuda.synchronize()
            torch.cuda.empty_cache()

    def _count(self) -> None:
        self._frames_done += 1


class TemporalWorker(_Worker):
    """Scans sources, solves the frame map and joins segments; never needs a GPU."""


class SpatialWorker(_Worker):
    """Decodes, warps and encodes chunks; torch runs on a pinned number of threads, so that its sums repeat."""

    def __init__(self, torch_threads: int, uses_gpu: bool) -> None:
        super().__init__(torch_threads, uses_gpu)
        import torch

        torch.set_num_threads(torch_threads)


def actor_class(kind: str) -> Any:
    """The Ray actor class of a worker kind, "temporal", "joining" or "spatial"."""
    workers = {"temporal": TemporalWorker, "joining": TemporalWorker, "spatial": SpatialWorker}
    return ray.remote(concurrency_groups={"status": 1}, max_restarts=0, max_task_retries=0)(workers[kind])

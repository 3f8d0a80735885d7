"""Thin Ray shells around ``perform``: one process each, one unit at a time, nothing but small records in and out."""

from __future__ import annotations

import os
from typing import Any

import ray

from tasks.run import perform
from tasks.work import Record, Work


class _Worker:
    """Runs one unit at a time; ``frames_done`` answers beside it, from a concurrency group of its own."""

    def __init__(self, torch_threads: int) -> None:
        os.environ["OMP_NUM_THREADS"] = str(torch_threads)
        self._torch_threads = torch_threads
        self._frames_done = 0

    def ready(self) -> tuple[str, int]:
        """Node id and process id, once the process is up."""
        return ray.get_runtime_context().get_node_id(), os.getpid()

    def run(self, work: Work, attempt: int) -> Record:
        self._frames_done = 0
        return perform(work, attempt, self._count)

    @ray.method(concurrency_group="status")
    def frames_done(self) -> int:
        """Frames finished of the unit that is running."""
        return self._frames_done

    def _count(self) -> None:
        self._frames_done += 1


class TemporalWorker(_Worker):
    """Scans sources and solves the frame map; never needs a GPU."""


class SpatialWorker(_Worker):
    """Decodes, warps and encodes chunks; torch runs on a pinned number of threads, so that its sums repeat."""

    def __init__(self, torch_threads: int) -> None:
        super().__init__(torch_threads)
        import torch

        torch.set_num_threads(torch_threads)


def actor_class(kind: str) -> Any:
    """The Ray actor class of a worker kind, "temporal" or "spatial"."""
    workers = {"temporal": TemporalWorker, "spatial": SpatialWorker}
    return ray.remote(concurrency_groups={"status": 1}, max_restarts=0, max_task_retries=0)(workers[kind])

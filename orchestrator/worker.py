"""One Ray actor as the pool holds it: started on a node, asked how far it is, let go."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import ray
from ray import exceptions as ray_errors
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from orchestrator.nodes import Slot, WorkerShape
from tasks.actors import actor_class
from tasks.sight import Sight
from tasks.work import Work

#: How long a worker may take to let its GPU go before it is killed.
CLOSE_TIMEOUT_S = 5.0


@dataclass(slots=True, eq=False)
class Worker:
    """``since``: when it was started, or last became idle. ``frames``: a question for its progress that is under way."""

    id: int
    handle: Any
    node: str
    since: float
    uses_gpu: bool
    speed_class: str = ""
    work: Work | None = None
    attempt: int = 0
    frames: Any = None
    frames_done: int = 0

    def slot(self, seconds_left: float | None) -> Slot:
        """How the schedule sees it while it is idle."""
        return Slot(self.id, self.node, self.speed_class, seconds_left, self.speed_class if self.uses_gpu else "")

    def ask_progress(self) -> None:
        """Ask how many frames are done, or take the answer that has come."""
        if self.frames is None:
            self.frames = self.handle.frames_done.remote()
        elif ray.wait([self.frames], timeout=0)[0]:
            # Of a death the run's own reference tells.
            with contextlib.suppress(ray_errors.RayError):
                self.frames_done = ray.get(self.frames)
            self.frames = None

    def kill(self) -> None:
        """End its process. Ray raises where the actor is not there yet, or no more."""
        with contextlib.suppress(ray_errors.RayError):
            ray.kill(self.handle)


def start_worker(number: int, shape: WorkerShape, node: str, now: float, sight: Sight | None) -> tuple[Any, Worker]:
    """A worker of ``shape`` on ``node`` and the reference of its first answer: (node id, device name, what it lacks of
    ``sight``)."""
    environment = {"OMP_NUM_THREADS": str(shape.torch_threads)}
    if not shape.num_gpus:
        # Ray leaves all GPUs visible to an actor that booked none.
        environment["CUDA_VISIBLE_DEVICES"] = ""
    options: dict[str, Any] = {
        "num_cpus": shape.num_cpus,
        "num_gpus": shape.num_gpus,
        "scheduling_strategy": NodeAffinitySchedulingStrategy(node_id=node, soft=False),
        "runtime_env": {"env_vars": environment},
    }
    uses_gpu = shape.num_gpus > 0
    handle = actor_class(shape.kind).options(**options).remote(shape.torch_threads, uses_gpu)
    return handle.ready.remote(sight), Worker(number, handle, node, now, uses_gpu)


def let_go(workers: Iterable[Worker], politely: bool = True) -> None:
    """End idle workers; ``politely``, those with a GPU give it back first."""
    leaving = list(workers)
    closing = [worker.handle.close.remote() for worker in leaving if worker.uses_gpu and politely]
    if closing:
        with contextlib.suppress(ray_errors.RayError):
            ray.wait(closing, num_returns=len(closing), timeout=CLOSE_TIMEOUT_S)
    for worker in leaving:
        worker.kill()

"""A Ray actor that behaves as its work says, in place of the real ones: for tests of the pool alone."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

import ray

from tasks.work import Attempt, Record, Work
from tests.factories import record, work


def scripted(name: str, do: str, **more: str) -> Work:
    """A unit that does ``do``: "sleep S", "raise", "crash", "freeze" (the whole process), "frames N" (one every 0.1 s)."""
    return work(name, do=do, **more)


class ScriptedWorker:
    def __init__(self, torch_threads: int, uses_gpu: bool) -> None:
        self._frames = 0
        if os.path.exists(os.environ.get("SCRIPTED_STARTS_FAIL", "/nonexistent")):
            raise RuntimeError("this node has no driver")

    def ready(self, lacks: str | None) -> tuple[str, str, str]:
        node = ray.get_runtime_context().get_node_id()
        return node, "test device", f"{node} lacks something" if lacks == node else ""

    def run(self, unit: Work, attempt: Attempt) -> Record:
        self._frames = 0
        what, _, how = unit.inputs["do"].partition(" ")
        if what == "sleep":
            time.sleep(float(how))
        elif what == "frames":
            for _ in range(int(how)):
                time.sleep(0.1)
                self._frames += 1
        elif what == "raise":
            raise ValueError("scripted fault")
        elif what == "crash":
            os.kill(os.getpid(), signal.SIGKILL)
        elif what == "freeze":
            os.kill(os.getpid(), signal.SIGSTOP)
        return record(of=unit, attempt=attempt.number, host=str(os.getpid()))

    @ray.method(concurrency_group="status")
    def frames_done(self) -> int:
        return self._frames

    def close(self) -> None:
        pass


def scripted_actor(kind: str) -> Any:
    return ray.remote(concurrency_groups={"status": 1}, max_restarts=0, max_task_retries=0)(ScriptedWorker)

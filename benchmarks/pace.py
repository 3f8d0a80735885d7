"""How fast something runs: on the wall, in CPU time, and how busy the rest of the machine was meanwhile."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Pace:
    """Frames per second of the wall's clock, CPU milliseconds a frame; ``others``: cores that other processes kept busy."""

    fps: float
    cpu_ms: float
    others: float = 0.0

    def __str__(self) -> str:
        return f"{self.fps:.0f} ({self.cpu_ms:.2f})"

    def then(self, other: Pace) -> Pace:
        """The pace of one behind the other."""
        fps = 1 / (1 / self.fps + 1 / other.fps)
        return Pace(fps, self.cpu_ms + other.cpu_ms, max(self.others, other.others))

    def to_json(self) -> dict[str, float]:
        return asdict(self)


def best(paces: Sequence[Pace]) -> Pace:
    """The most frames/s and the least CPU time of several rounds."""
    return Pace(max(p.fps for p in paces), min(p.cpu_ms for p in paces), min(p.others for p in paces))


class Clock:
    """Seconds of the wall and of this process's CPU time, of the last ``with clock.running()``."""

    wall = cpu = others = 0.0

    @contextmanager
    def running(self) -> Iterator[None]:
        wall, cpu, busy = time.perf_counter(), time.process_time(), _busy_seconds()
        yield
        self.wall, self.cpu = time.perf_counter() - wall, time.process_time() - cpu
        self.others = max(0.0, (_busy_seconds() - busy - self.cpu) / self.wall)

    def pace(self, num_frames: int) -> Pace:
        return Pace(num_frames / self.wall, 1000 * self.cpu / num_frames, self.others)


def _busy_seconds() -> float:
    """CPU seconds that the whole machine has worked; 0 where the system does not tell."""
    try:
        fields = [int(field) for field in Path("/proc/stat").read_text().splitlines()[0].split()[1:]]
    except OSError:
        return 0.0
    return (sum(fields[:3]) + sum(fields[5:8])) / os.sysconf("SC_CLK_TCK")

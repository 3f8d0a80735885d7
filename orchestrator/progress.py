"""What the user sees while a job runs: a live line per stage on a terminal, plain lines elsewhere, nothing when quiet.

Progress goes to stderr, so that stdout stays for results.
"""

from __future__ import annotations

import io
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TextIO, cast

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, SpinnerColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from orchestrator.nodes import Census, Slot
from orchestrator.state import AttemptFailed
from orchestrator.statusview import clock
from tasks.work import Attempt, Record, Work

PLAIN_INTERVAL_S = 10.0


class Ui:
    """Opens a view per stage and prints lines between them."""

    def __init__(self, quiet: bool = False, console: Console | None = None) -> None:
        self._quiet = quiet
        self._console = console or Console(file=cast(TextIO, Patient(sys.stderr)), highlight=False, soft_wrap=True)

    def say(self, line: str) -> None:
        if not self._quiet:
            self._console.print(line, markup=False)

    @contextmanager
    def stage(self, name: str, total_frames: int, done_frames: int = 0) -> Iterator[StageView]:
        """A view of a stage over ``total_frames`` frames, of which ``done_frames`` are reused from an earlier run."""
        if self._quiet:
            yield StageView(name, total_frames, done_frames)
        elif self._console.is_terminal:
            with _live(self._console) as progress:
                yield _LiveView(progress, name, total_frames, done_frames)
        else:
            view = _PlainView(self._console, name, total_frames, done_frames)
            yield view
            view.close()


class StageView:
    """A StageListener that counts frames and failures of a stage; shows nothing."""

    def __init__(self, name: str, total_frames: int, done_frames: int) -> None:
        self.name, self.total_frames, self.reused_frames = name, total_frames, done_frames
        self.finished_frames, self.running_frames, self.failures = done_frames, 0, 0
        self.started = time.monotonic()

    def unit_started(self, work: Work, attempt: Attempt, slot: Slot) -> None:
        """A start is not worth a line."""

    def unit_done(self, work: Work, record: Record) -> None:
        self.finished_frames += work.num_frames
        self.refresh()

    def unit_failed(self, work: Work, failure: AttemptFailed, parked: bool) -> None:
        self.failures += 1
        self.say(f"{work.name}: attempt {failure.attempt} failed ({failure.message}){'; given up' if parked else ''}")
        self.refresh()

    def tick(self, frames_running: int, census: Census) -> None:
        self.running(frames_running)

    def running(self, frames: int) -> None:
        """Frames done of what is under way; for work that is no unit too."""
        self.running_frames = frames
        self.refresh()

    @property
    def frames(self) -> int:
        return min(self.finished_frames + self.running_frames, self.total_frames)

    @property
    def frames_per_second(self) -> float:
        return (self.frames - self.reused_frames) / max(time.monotonic() - self.started, 1e-3)

    def say(self, line: str) -> None:
        """Show a line that must be read."""

    def refresh(self) -> None:
        """Show the present state."""


class _PlainView(StageView):
    """A line now and then, and one at the end."""

    def __init__(self, console: Console, name: str, total_frames: int, done_frames: int) -> None:
        super().__init__(name, total_frames, done_frames)
        self._console, self._last = console, self.started

    def say(self, line: str) -> None:
        self._console.print(f"{self.name}: {line}", markup=False)

    def refresh(self) -> None:
        if time.monotonic() - self._last >= PLAIN_INTERVAL_S:
            self._print()

    def close(self) -> None:
        self._print()

    def _print(self) -> None:
        self._last = time.monotonic()
        left = (self.total_frames - self.frames) / max(self.frames_per_second, 1e-6)
        share = 100 * self.frames // max(self.total_frames, 1)
        eta = f", ETA {clock(left)}" if self.frames_per_second > 0 and self.frames < self.total_frames else ""
        failed = f", {self.failures} failed attempts" if self.failures else ""
        rate = f"{self.frames_per_second:.1f} frames/s"
        self._console.print(
            f"{self.name}: {self.frames}/{self.total_frames} frames ({share} %), {rate}{eta}{failed}", markup=False
        )


class _LiveView(StageView):
    """One bar that moves."""

    def __init__(self, progress: Progress, name: str, total_frames: int, done_frames: int) -> None:
        super().__init__(name, total_frames, done_frames)
        self._progress = progress
        self._task = progress.add_task(name, total=total_frames, completed=done_frames, rate=0.0, failures=0)

    def say(self, line: str) -> None:
        self._progress.console.print(f"{self.name}: {line}", markup=False)

    def refresh(self) -> None:
        self._progress.update(self._task, completed=self.frames, rate=self.frames_per_second, failures=self.failures)


class _RateColumn(ProgressColumn):
    def render(self, task: Task) -> Text:
        failures = task.fields["failures"]
        text = Text(f"{task.fields['rate']:.1f} frames/s")
        return text.append(f"  {failures} failed", style="red") if failures else text


def _live(console: Console) -> Progress:
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description:8}"),
        BarColumn(),
        TextColumn("{task.completed:.0f}/{task.total:.0f}"),
    )
    return Progress(*columns, _RateColumn(), TimeRemainingColumn(), console=console)


class Patient(io.TextIOBase):
    """A text stream whose reader may go (a closed pipe, a terminal that was shut, a full disk): what can't be shown is dropped.
    Rich itself ends the program then. ``stream``: None where the program was started without."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream or os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._stream.encoding

    def isatty(self) -> bool:
        return self._stream.isatty()

    def fileno(self) -> int:
        return self._stream.fileno()

    def write(self, text: str) -> int:
        with suppress(OSError, ValueError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError, ValueError):
            self._stream.flush()


def stdout_line(line: str) -> None:
    """A result for whoever reads it; that nobody does is no failure of a job that is done."""
    print(line, file=Patient(sys.stdout), flush=True)


def stderr_line(line: str) -> None:
    """One line for the user, whatever the verbosity: errors."""
    print(line, file=Patient(sys.stderr), flush=True)

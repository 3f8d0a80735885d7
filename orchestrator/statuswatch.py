"""``vsalign status --watch``: look again and again until the job is published or nobody works at it any more."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.text import Text

from orchestrator.status import JobLook
from orchestrator.statusview import changed, status_line, status_text
from tasks.errors import StorageError

LOOK_EVERY_S = 2.0
#: Where the output is no terminal: a line so often, and one whenever stage, state or parked units change.
LINE_EVERY_S = 60.0
#: A store that does not answer for so long ends the watch.
PATIENCE_S = 120.0

Status = dict[str, Any]


def watch_status(look: JobLook, as_json: bool, console: Console, sleep: Callable[[float], None] = time.sleep) -> int:
    """Show the job until it is over: 0 when it is published, 1 when somebody has to resume it. Raises StorageError."""
    with _screen(as_json, console) as show:
        status = _look(look, sleep)
        while status["state"] == "working":
            show(status)
            sleep(LOOK_EVERY_S)
            status = _look(look, sleep)
        status = _look(look, sleep, full=True)
        show(status)
    if not as_json and not console.is_terminal:
        console.print(status_text(status), markup=False)
    return 0 if status["state"] == "published" else 1


def _look(look: JobLook, sleep: Callable[[float], None], full: bool = False) -> Status:
    """One look, tried again while the store is out of reach."""
    until = time.monotonic() + PATIENCE_S
    while True:
        try:
            return look.look(full)
        except StorageError as error:
            if error.what != "unreachable" or time.monotonic() > until:
                raise
            sleep(LOOK_EVERY_S)


@contextmanager
def _screen(as_json: bool, console: Console) -> Iterator[Callable[[Status], None]]:
    """What is called with every status: a picture that is redrawn, a JSON line per change, or a plain line now and then."""
    if as_json:
        yield _JsonLines(console).show
    elif console.is_terminal:
        with Live(console=console, auto_refresh=False) as live:
            yield lambda status: live.update(Text(status_text(status)), refresh=True)
    else:
        yield _PlainLines(console).show


class _JsonLines:
    def __init__(self, console: Console) -> None:
        self._console = console
        self._before: Status | None = None

    def show(self, status: Status) -> None:
        if changed(self._before, status):
            print(json.dumps(status), file=self._console.file, flush=True)
        self._before = status


class _PlainLines:
    def __init__(self, console: Console) -> None:
        self._console = console
        self._told: tuple[Any, ...] = ()
        self._at = 0.0

    def show(self, status: Status) -> None:
        news = (status["stage"], status["state"], len(status["parked"]))
        if status["state"] == "working" and (news != self._told or time.monotonic() >= self._at):
            self._console.print(status_line(status), markup=False)
            self._told, self._at = news, time.monotonic() + LINE_EVERY_S

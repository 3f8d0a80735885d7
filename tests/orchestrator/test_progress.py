"""What is shown while a job runs, where the output is no terminal, and nothing when quiet."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from orchestrator import progress
from orchestrator.nodes import Census, Slot
from orchestrator.progress import Ui
from orchestrator.state import AttemptFailed, Cause
from tasks.work import Attempt
from tests.factories import record, work


@pytest.fixture
def screen() -> io.StringIO:
    return io.StringIO()


def ui_on(screen: io.StringIO, quiet: bool = False, terminal: bool = False) -> Ui:
    return Ui(quiet, Console(file=screen, force_terminal=terminal, width=120, highlight=False))


def test_a_stage_ends_with_a_line_of_frames_and_rate(screen: io.StringIO):
    with ui_on(screen).stage("render", 20, 10) as view:
        view.unit_done(work(), record())
    assert "render: 20/20 frames (100 %)" in screen.getvalue() and "frames/s" in screen.getvalue()


def test_plain_lines_come_now_and_then_with_an_eta(screen: io.StringIO, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(progress, "PLAIN_INTERVAL_S", 0.0)
    with ui_on(screen).stage("render", 100) as view:
        view.running(25)
    first = screen.getvalue().splitlines()[0]
    assert "25/100 frames (25 %)" in first and "ETA" in first and "\x1b" not in screen.getvalue()


def test_a_failed_attempt_is_told_at_once_and_counted(screen: io.StringIO):
    with ui_on(screen).stage("render", 20) as view:
        view.unit_failed(work("render-00001"), AttemptFailed("render-00001", 2, Cause.CODE, "ValueError: x"), parked=True)
    assert "render-00001: attempt 2 failed (ValueError: x); given up" in screen.getvalue()
    assert "1 failed attempts" in screen.getvalue()


def test_a_terminal_gets_one_live_line_per_stage(screen: io.StringIO):
    with ui_on(screen, terminal=True).stage("render", 20) as view:
        view.unit_done(work(), record())
    assert "render" in screen.getvalue() and "10/20" in screen.getvalue()


def test_quiet_shows_nothing(screen: io.StringIO):
    ui = ui_on(screen, quiet=True)
    ui.say("hello")
    with ui.stage("render", 20) as view:
        view.running(5)
        view.unit_failed(work(), AttemptFailed("a", 1, Cause.CODE, "boom"), parked=False)
    assert screen.getvalue() == ""


def test_a_stage_shows_what_the_supervisor_tells_of_it(screen: io.StringIO):
    with ui_on(screen).stage("render", 20) as view:
        view.unit_started(work(), Attempt(), Slot(0, "node", "cpu"))
        view.tick(12, Census())
    assert "12/20" in screen.getvalue()


def test_frames_of_running_units_never_count_beyond_the_stage(screen: io.StringIO):
    with ui_on(screen).stage("render", 20, 10) as view:
        view.unit_done(work(), record())
        view.running(7)
    assert "20/20" in screen.getvalue()


#: A stage of forty lines, long enough that the reader has gone before its end; what the command prints; how it ends.
RUN = """
import sys, time
from orchestrator import progress
from orchestrator.listeners import Listeners
from tests.factories import work
progress.PLAIN_INTERVAL_S = 0.0
ui = progress.Ui()
with ui.stage("render", 400) as view:
    for n in range(40):
        Listeners({"the display": view}, ui.say).tick(n, None)
        ui.say("a line")
        time.sleep(0.01)
progress.stdout_line("the report")
progress.stderr_line("an error")
open(sys.argv[1], "w").write("to the end")
sys.exit(3)
"""


@pytest.mark.parametrize(
    "tail", ["2>&1 | head -1", "2>&1 >/dev/null | head -1", "| head -c0", "2>&-", "2>/dev/full >/dev/full"]
)
def test_a_run_whose_reader_has_gone_goes_on_to_its_own_end(tmp_path: Path, tail: str):
    root = Path(__file__).parent.parent.parent
    line = f"{sys.executable} -c '{RUN}' {tmp_path}/end {tail}; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", line], cwd=root, capture_output=True, text=True, timeout=60)
    assert done.returncode == 3, done.stderr
    assert (tmp_path / "end").read_text() == "to the end" and "Traceback" not in done.stderr

"""What counts as standing still, and what as being slow."""

from __future__ import annotations

from orchestrator.watchdog import Watchdog
from tasks.messages import SyncSettings
from tasks.work import SolveWork
from tests.factories import work

SCAN = work("scan")
SOLVE = SolveWork(name="solve", job_dir="job", inputs={}, num_frames=10, clip_blobs=(), ref_blobs=(), settings=SyncSettings())


def test_a_unit_that_moves_is_never_stalled():
    dog = Watchdog(patience_s=10)
    assert [dog.stalled(SCAN, second // 5, 0, second) for second in range(0, 1000, 5)] == [None] * 200


def test_a_unit_that_never_begins_is_stalled_after_its_patience():
    dog = Watchdog(patience_s=10)
    assert dog.stalled(SCAN, 0, 100, 110) is None
    assert dog.stalled(SCAN, 0, 100, 111) == 11


def test_a_unit_that_stops_is_stalled_so_long_after_its_last_frame():
    dog = Watchdog(patience_s=10)
    assert dog.stalled(SCAN, 100, 0, 50) is None
    assert dog.stalled(SCAN, 100, 0, 60) is None
    assert dog.stalled(SCAN, 100, 0, 61) == 11


def test_a_slow_unit_may_rest_for_ten_of_its_frames():
    """4 frames took 40 s: 100 s of rest."""
    dog = Watchdog(patience_s=10)
    dog.stalled(SCAN, 4, 0, 40)
    assert dog.stalled(SCAN, 4, 0, 140) is None
    assert dog.stalled(SCAN, 4, 0, 141) == 101


def test_work_that_counts_no_frames_has_a_patience_of_its_own():
    dog = Watchdog(patience_s=10, blind_patience_s=50)
    assert dog.stalled(SOLVE, 0, 0, 50) is None
    assert dog.stalled(SOLVE, 0, 0, 51) == 51


def test_an_attempt_that_begins_anew_has_all_its_patience():
    dog = Watchdog(patience_s=10)
    dog.stalled(SCAN, 100, 0, 50)
    dog.forget("scan")
    assert dog.stalled(SCAN, 0, 100, 109) is None
    assert dog.stalled(SCAN, 0, 100, 111) == 11


def test_a_later_attempt_is_not_taken_for_the_one_before():
    dog = Watchdog(patience_s=10)
    dog.stalled(SCAN, 100, 0, 50)
    assert dog.stalled(SCAN, 100, 100, 105) is None
    assert dog.stalled(SCAN, 100, 100, 116) == 11

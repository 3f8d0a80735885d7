"""Sliding windows: who is in them, what they wait for, what they hold."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.window import Windows


def counted(frames: list[int], taken: list[int]) -> Iterator[int]:
    for frame in frames:
        taken.append(frame)
        yield frame


@given(st.sets(st.integers(0, 60), min_size=1), st.integers(0, 9), st.data())
def test_a_window_holds_the_frames_within_the_radius_whatever_was_asked_before(frames, radius, data):
    rows = sorted(frames)
    asked = sorted(data.draw(st.sets(st.sampled_from(rows), min_size=1)))
    windows = Windows(rows, iter(rows), radius)
    for frame in asked:
        window, at = windows.around(frame)
        assert window == [row for row in rows if abs(row - frame) <= radius] and window[at] == frame


def test_nothing_is_taken_before_a_window_needs_it():
    taken: list[int] = []
    windows = Windows(range(50), counted(list(range(50)), taken), 3)
    assert taken == []
    windows.around(10)
    assert taken[-1] == 13
    windows.around(48)
    assert taken[-1] == 49


def test_a_missing_last_frame_is_not_waited_for():
    taken: list[int] = []
    windows = Windows([0, 1, 2, 9, 10], counted([0, 1, 2, 9, 10], taken), 3)
    assert windows.around(1) == ([0, 1, 2], 1) and taken == [0, 1, 2]


def test_what_has_passed_is_let_go_and_cannot_be_asked_for_again():
    windows = Windows(range(50), iter(range(50)), 2)
    windows.around(20)
    assert list(windows._held) == [18, 19, 20, 21, 22]
    with pytest.raises(ValueError, match="frame 5: the window around it has passed"):
        windows.around(5)


def test_a_frame_without_item_has_no_window():
    with pytest.raises(ValueError, match="frame 3 has no item"):
        Windows([1, 5], iter([1, 5]), 4).around(3)

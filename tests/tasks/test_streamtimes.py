"""Events and chapters of a film that was cut otherwise, on ref's time; packets of a file in order of time."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest

from tasks.eventcopy import clears_screen
from tasks.soundplan import SoundPiece, SoundPlan
from tasks.streamtimes import by_time, forward_runs, moved_chapter, moved_event, spans_on_ref
from tests.extras import PGS

#: Ref lacks the clip's seconds 10 to 20, has 5 of its own from 30 to 35, and runs the rest at another speed.
CUT = SoundPlan((SoundPiece(0, 10, 0, 1.0), SoundPiece(10, 30, 20, 1.0), SoundPiece(35, 45, 40, 1.25)), 0, 45)
#: Ref tells the clip's second half first.
SWAPPED = SoundPlan((SoundPiece(0, 10, 10, 1.0), SoundPiece(10, 20, 0, 1.0)), 0, 20)


@pytest.mark.parametrize(
    ("clip", "ref"),
    [
        ((2, 4), (2, 4)),
        ((8, 12), (8, 10)),
        ((11, 19), None),
        ((18, 23), (10, 13)),
        ((38, 39), (28, 29)),
        ((39, 40.5), (29, 30)),
        ((39.5, 42.5), (35, 37)),
        ((42.5, 45), (37, 39)),
        ((60, 70), None),
        ((-3, 1), (0, 1)),
    ],
)
def test_an_event_keeps_the_longest_part_that_ref_has(clip: tuple[float, float], ref: tuple[float, float] | None):
    assert moved_event(CUT, *clip) == (pytest.approx(ref) if ref else None)


def test_pieces_that_touch_do_not_divide_an_event():
    steady = SoundPlan((SoundPiece(0, 10, 5, 1.0), SoundPiece(10, 20, 15, 1.0)), 0, 20)
    assert moved_event(steady, 14, 16) == (9, 11)


def test_an_instant_is_in_a_piece_or_not():
    assert moved_event(CUT, 9, 9) == (9, 9) and moved_event(CUT, 10, 10) is None and moved_event(CUT, 20, 20) == (10, 10)


def test_what_ref_has_twice_is_in_both_places():
    twice = SoundPlan((SoundPiece(0, 5, 0, 1.0), SoundPiece(5, 10, 0, 1.0)), 0, 10)
    assert spans_on_ref(twice, 1, 1) == [(1, 1), (6, 6)]


def test_a_chapter_begins_at_its_first_frame_or_where_ref_comes_in():
    assert moved_chapter(CUT, 5, 15) == 5
    assert moved_chapter(CUT, 12, 25) == 10
    assert moved_chapter(CUT, 12, 18) is None
    assert moved_chapter(CUT, 42.5, 42.5) == 37


def test_a_file_is_read_again_only_where_ref_goes_back_in_it():
    assert forward_runs(CUT) == [CUT.pieces]
    assert forward_runs(SWAPPED) == [SWAPPED.pieces[:1], SWAPPED.pieces[1:]]


def test_packets_come_in_order_and_all_of_them():
    dice = random.Random(1)
    given = [(n / 10 + dice.uniform(0, 2.5), 10, n) for n in range(500)]
    out = list(by_time(given))
    assert sorted(n for _, n in out) == list(range(500))
    assert all(a <= b for (a, _), (b, _) in pairwise(out))


def test_no_more_is_held_back_than_the_window_and_the_bytes_allow():
    taken = []

    def packets(size: int):
        for n in range(1000):
            taken.append(n)
            yield n / 10, size, n

    assert max(len(taken) - n for _, n in by_time(packets(10))) <= 32
    taken.clear()
    assert max(len(taken) - n for _, n in by_time(packets(8 << 20))) <= 6


def test_what_clears_the_screen_is_known():
    assert [clears_screen("hdmv_pgs_subtitle", data[:16]) for _, data in PGS] == [False, True] * 3
    assert clears_screen("dvb_subtitle", b"\x0f\x10\x00\x01\x00\x02\x1e\x00") and not clears_screen(
        "dvb_subtitle", b"\x0f\x10\x00\x01\x00\x08"
    )
    assert not clears_screen("dvd_subtitle", b"")

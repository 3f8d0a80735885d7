"""Properties of plans: chunks tile the film, halos cover the radius, and a feature plans quickly enough to be interactive."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.plan import choose_bounds, expected_clip_frames, make_plan, packets_of, ranges_of
from tests.factories import frame_index
from vsalign.frames import FrameRange

sizes = st.integers(1, 3000)


@settings(max_examples=60, deadline=None)
@given(sizes, sizes, st.one_of(st.none(), st.integers(1, 700)), st.integers(1, 16), st.integers(1, 300), st.integers(0, 40))
def test_chunks_and_scans_tile_their_films_exactly_without_empty_ones(num_clip, num_ref, chunk_frames, workers, keys, tr):
    clip, ref = frame_index(num_clip), frame_index(num_ref, keys)
    bounds = choose_bounds(clip, ref, chunk_frames, workers)
    plan = make_plan(clip, ref, bounds, expected_clip_frames(clip, ref), tr)
    for tiles, count in (
        ([chunk.ref_frames for chunk in plan.chunks], num_ref),
        ([scan.frames for scan in plan.scans if scan.role == "clip"], num_clip),
        ([scan.frames for scan in plan.scans if scan.role == "ref"], num_ref),
    ):
        assert [frame for tile in tiles for frame in tile] == list(range(count))
        assert all(len(tile) for tile in tiles)


def test_an_asked_for_chunk_length_is_kept_exactly():
    bounds = choose_bounds(frame_index(100), frame_index(130), 60, 2)
    assert bounds.chunks == (0, 60, 120, 130)


def test_default_bounds_move_to_key_frames_nearby():
    ref = frame_index(2400, keys=250)
    bounds = choose_bounds(ref, ref, None, 2)
    assert all(bound % 250 == 0 for bound in bounds.chunks[1:-1])


def test_a_chunk_reads_its_expected_clip_frames_with_the_radius_on_both_sides():
    index = frame_index(300)
    plan = make_plan(index, index, choose_bounds(index, index, 100, 1), expected_clip_frames(index, index), 7)
    assert [chunk.clip_frames for chunk in plan.chunks] == [FrameRange(0, 107), FrameRange(93, 207), FrameRange(193, 300)]


def test_the_smoothing_radius_widens_what_a_chunk_reads_in_ref_frames():
    clip, ref = frame_index(600, rate=Fraction(48)), frame_index(300)
    bounds = choose_bounds(clip, ref, 100, 1)
    plan = make_plan(clip, ref, bounds, expected_clip_frames(clip, ref), 7, smooth_time=5)
    assert [chunk.ref_frames for chunk in plan.chunks] == [FrameRange(0, 100), FrameRange(100, 200), FrameRange(200, 300)]
    assert [chunk.observed for chunk in plan.chunks] == [FrameRange(0, 105), FrameRange(95, 205), FrameRange(195, 300)]
    assert plan.chunks[1].clip_frames == FrameRange(2 * 95 - 7, 2 * 204 + 1 + 7)


def test_expected_frames_follow_the_rate_ratio_and_the_offset():
    clip, ref = frame_index(250, rate=Fraction(25)), frame_index(240, rate=Fraction(24))
    expected = expected_clip_frames(clip, ref)
    assert expected[0] == 0 and expected[24] == 25 and expected[239] == 249
    assert np.array_equal(expected_clip_frames(clip, ref, -3), expected - 3)


def test_films_of_equal_rate_map_one_to_one_even_when_ticks_are_rounded():
    rate = Fraction(24000, 1001)
    clip, ref = frame_index(500, rate=rate), frame_index(500, rate=rate, first_pts=7007)
    assert np.array_equal(expected_clip_frames(clip, ref), np.arange(500))


def test_ref_frames_beyond_the_clip_are_expected_beyond_its_end():
    expected = expected_clip_frames(frame_index(100), frame_index(110))
    assert np.array_equal(expected, np.arange(110))


def test_packets_start_at_the_key_frame_before_and_count_bytes_from_there():
    index = frame_index(100, keys=10)
    packets, size = packets_of(index, FrameRange(25, 31))
    assert packets == FrameRange(20, 31) and size == 11 * 1000


def test_packets_are_counted_in_decode_order():
    index = frame_index(10, keys=10)
    index.packet[:] = [0, 3, 2, 1, 6, 5, 4, 9, 8, 7]
    assert packets_of(index, FrameRange(1, 3))[0] == FrameRange(0, 4)


def test_neighbouring_bounds_make_ranges():
    assert ranges_of((0, 3, 5)) == [FrameRange(0, 3), FrameRange(3, 5)]

"""Sync of films at different rates: drops, doubles, telecine, PAL, variable frame rate."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from tests.vsalign.movies import Doubles, film, frames, seconds, signed, solved, worn
from vsalign.signature import Signatures, sign
from vsalign.sync import solve

Ints = npt.NDArray[np.int64]
COUNT = 144


@pytest.fixture(scope="module")
def print_() -> Signatures:
    """Another print of the film ``signed(COUNT)``."""
    return sign(worn(film(COUNT)))


def rounded(times: Doubles) -> Doubles:
    """As a container keeps them that counts milliseconds."""
    return np.asarray(np.rint(times * 1000) / 1000)


def pulled_down(pattern: str, count: int = COUNT, phase: int = 0) -> Ints:
    """Source frame of every frame after a pull-down, each digit saying how often a source frame is shown."""
    return np.repeat(np.arange(count), [int(pattern[(n + phase) % len(pattern)]) for n in range(count)])


def test_drops_and_doubles_are_followed_exactly(print_: Signatures) -> None:
    index = np.array(sorted([*(set(range(COUNT)) - {17, 58, 93, 135}), 30, 31, 110, 111]))
    shown = solved(print_[index], signed(COUNT)).frame_map
    present = np.isin(np.arange(COUNT), index)
    assert np.array_equal(index[shown.clip_frame[present]], np.flatnonzero(present))
    # A dropped frame has no counterpart, or one beside it that hardly differs.
    dropped = np.flatnonzero(~present & shown.matched)
    assert len(dropped) < 4
    assert np.abs(index[shown.clip_frame[dropped]] - dropped).max(initial=1) == 1


@pytest.mark.parametrize(
    ("pattern", "rate", "whole_milliseconds"),
    [("1112", 30.0, True), ("1211", 30.0, False), ("23", 60.0, True), ("1" * 23 + "2", 25.0, False)],
)
def test_a_clip_after_a_pull_down_is_followed(pattern: str, rate: float, whole_milliseconds: bool, print_: Signatures) -> None:
    index = pulled_down(pattern)
    times = [rounded(t) if whole_milliseconds else t for t in (seconds(len(index), rate), seconds(COUNT))]
    found = solve(print_[index], signed(COUNT), *times).frame_map.clip_frame
    assert np.array_equal(index[found], np.arange(COUNT))


def test_a_ref_after_a_pull_down_shows_each_clip_frame_as_often(print_: Signatures) -> None:
    index = pulled_down("23", 80, phase=1)
    assert frames(solved(print_[:80], signed(COUNT)[index], 24.0, 60.0)) == index.tolist()


@pytest.mark.parametrize(("kind", "from_", "to"), [("missing", 60, 120), ("new", 60, 60), ("replaced", 60, 120)])
def test_edits_are_found_in_a_clip_after_a_pull_down(kind: str, from_: int, to: int, print_: Signatures) -> None:
    """The edit came before the pull-down, so that its pattern goes on across it."""
    foreign = sign(film(70, seed=5))
    between = {"missing": foreign[:0], "new": foreign, "replaced": foreign[: to - from_]}[kind]
    edited = np.concatenate([print_[:from_], between, print_[to:]])
    source_frame = np.concatenate([np.arange(from_), np.full(len(between), -1), np.arange(to, COUNT)])
    index = pulled_down("1112", len(edited))
    found = np.array(frames(solved(edited[index], signed(COUNT), 30.0)))
    wanted = np.where((np.arange(COUNT) >= from_) & (np.arange(COUNT) < to), -1, np.arange(COUNT))
    assert np.array_equal(np.where(found >= 0, source_frame[index[found]], -1), wanted)


def test_an_interlaced_blend_frame_of_a_pull_down_does_not_disturb_its_neighbours(print_: Signatures) -> None:
    """Every fifth frame of the clip is two frames mixed, as deinterlaced telecine shows them."""
    source = film(COUNT)
    index = pulled_down("1112")
    thumbs = source[index].copy()
    mixed = np.flatnonzero(np.diff(index, prepend=-1) == 0)
    mixed = mixed[index[mixed] + 1 < COUNT]
    thumbs[mixed] = ((thumbs[mixed].astype(np.uint16) + source[index[mixed] + 1]) // 2).astype(np.uint8)
    found = np.array(frames(solved(sign(worn(thumbs)), signed(COUNT), 30.0)))
    # A frame halfway between two is as good as either, now and then.
    assert np.isin(found, mixed).sum() <= 2
    clear = ~np.isin(found, mixed)
    assert np.array_equal(index[found][clear], np.arange(COUNT)[clear])


@pytest.mark.parametrize(("clip_rate", "ref_rate"), [(25.0, 24.0), (24.0, 25.0)])
def test_pal_speed_up_and_its_reverse_are_recognised(clip_rate: float, ref_rate: float) -> None:
    count = 240
    result = solved(sign(worn(film(count))), signed(count), clip_rate, ref_rate)
    assert frames(result) == list(range(count))
    assert result.found.rate == pytest.approx(ref_rate / clip_rate)


def test_ntsc_and_film_rate_are_one_rate(print_: Signatures) -> None:
    result = solved(print_, signed(COUNT), 24.0, 24000 / 1001)
    assert frames(result) == list(range(COUNT))


def test_frame_times_not_numbers_decide_the_pace() -> None:
    """The clip's second half runs at 12 frames per second: half of ref's moments have no frame of their own there."""
    source = signed(COUNT)
    index = np.concatenate([np.arange(80), np.arange(80, COUNT, 2)])
    result = solve(source[index], source, index / 24.0, seconds(COUNT))
    found = np.array(frames(result))
    assert np.array_equal(found[:80], np.arange(80))
    assert np.array_equal(index[found[80::2]], np.arange(80, COUNT, 2))
    assert result.found.rate == 1.0


def test_films_need_not_begin_at_zero() -> None:
    source = signed(120)
    result = solve(source[10:], source, seconds(110) + 3600.0, seconds(120) - 5.0)
    assert frames(result) == [-1] * 10 + list(range(110))
    assert result.found.offset_seconds == pytest.approx(3605.0 - 10 / 24)


def test_a_pause_in_the_times_of_both_films_is_no_edit() -> None:
    times = seconds(60) + 5.0 * (np.arange(60) >= 30)
    source = signed(60, shot=15)
    assert frames(solve(source, source, times, times, 8)) == list(range(60))


def test_a_pause_longer_than_its_film_does_no_harm() -> None:
    source = signed(60, shot=15)
    times = seconds(9) + 3600.0 * (np.arange(9) >= 5)
    result = solve(source[:22], source[:9], seconds(22), times)
    assert len(result.frame_map) == 9 and 0 <= result.score <= 1

"""The picture of a frame map: what its columns keep, that nothing is written over anything else, and the odd films."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.plot import COLOURS, MOST_LISTED, draw, write_plot
from orchestrator.plotdata import columns_of, label_rows, limits, offsets, tick_step
from vsalign import editkinds
from vsalign.editkinds import Edit
from vsalign.edits import find_edits
from vsalign.framemap import FrameMap


def film(num_ref: int, cut: int = 0, rate: float = 24.0) -> tuple[FrameMap, tuple[Edit, ...], np.ndarray, np.ndarray]:
    """A map whose clip lacks 10 ref frames, ``cut`` times; its edits; times of clip and ref."""
    clip_frame, clip = np.full(num_ref, -1), 0
    bounds = np.linspace(0, num_ref, cut + 2).astype(int)
    for start, stop in pairwise(bounds.tolist()):
        length = stop - start - (10 if start else 0)
        clip_frame[stop - length : stop] = np.arange(clip, clip + length)
        clip += length
    frame_map = FrameMap.of_clip_frames(clip_frame, clip)
    times = np.arange(clip) / rate, np.arange(num_ref) / 24.0
    return frame_map, find_edits(frame_map, *times), *times


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 3000), st.integers(1, 200), st.integers(0, 100))
def test_columns_keep_every_extreme(count: int, most: int, seed: int):
    random = np.random.default_rng(seed)
    values = random.normal(size=count)
    values[random.random(count) < 0.2] = np.nan
    column = columns_of(np.arange(count) / 24, values, most)
    assert len(column.seconds) <= most and np.all(np.diff(column.seconds) > 0)
    if np.isfinite(values).any():
        assert np.nanmin(column.low) == np.nanmin(values) and np.nanmax(column.high) == np.nanmax(values)
    else:
        assert np.isnan(column.middle).all()


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(0, 1), max_size=60), st.integers(1, 5))
def test_labels_never_cover_each_other(centres: list[float], most: int):
    widths = [0.02] * len(centres)
    rows = label_rows(centres, widths, most)
    for row in range(most):
        shown = sorted(centre for centre, at in zip(centres, rows, strict=True) if at == row)
        assert all(b - a >= 0.02 - 1e-9 for a, b in pairwise(shown))
    if len(centres) <= most:
        assert -1 not in rows


@pytest.mark.parametrize("length", [0.04, 1.0, 10.0, 1200.0, 7200.0, 40_000.0])
def test_a_time_axis_has_a_handful_of_marks(length: float):
    assert 0 <= length / tick_step(length) <= 12


def test_a_wild_match_that_nobody_believes_does_not_flatten_the_curve():
    frame_map, _, clip, ref = film(1000)
    clip_frame, sure = frame_map.clip_frame.copy(), frame_map.confidence.copy()
    clip_frame[500], sure[500] = 0, 0.01
    values = offsets(FrameMap(clip_frame, frame_map.cost, sure, frame_map.source), clip, ref, 1.0)
    low, high = limits(values, sure, 1 / 24)
    assert -0.5 < low < 0 < high < 0.5


def test_offsets_are_in_time_and_follow_the_clips_own_speed():
    frame_map, edits, clip, ref = film(2400, rate=25.0)
    assert edits[0].words() == "clip runs 4.17 % faster"
    assert np.allclose(offsets(frame_map, clip + 7, ref + 3, 24 / 25), 0, atol=1e-9)


@pytest.mark.parametrize("suffix", [".png", ".svg", ".PNG"])
def test_a_picture_is_written_whole_and_the_same_each_time(tmp_path: Path, suffix: str):
    path = tmp_path / f"map{suffix}"
    write_plot(path, *film(2400, cut=3), "$a_{b$ on 映画.mkv")
    first = path.read_bytes()
    path.write_bytes(b"old")
    write_plot(path, *film(2400, cut=3), "$a_{b$ on 映画.mkv")
    assert path.read_bytes() == first and list(tmp_path.iterdir()) == [path]
    if suffix != ".svg":
        assert cv2.imread(str(path)).shape[1] == 1500


@pytest.mark.parametrize("num_ref", [0, 1, 2, 240])
@pytest.mark.parametrize("matched", [True, False])
def test_the_smallest_films_and_those_without_a_match_are_drawn(tmp_path: Path, num_ref: int, matched: bool):
    frame_map, _, clip, ref = film(num_ref)
    if not matched:
        frame_map = FrameMap.of_clip_frames(np.full(num_ref, -1), len(clip))
    write_plot(tmp_path / "map.png", frame_map, find_edits(frame_map, clip, ref), clip, ref, "film")
    assert (tmp_path / "map.png").stat().st_size > 1000


def test_every_kind_of_edit_has_a_colour():
    kinds = {kind.kind for kind in vars(editkinds).values() if isinstance(kind, type) and issubclass(kind, Edit)} - {""}
    assert kinds == set(COLOURS)


def test_a_feature_with_many_edits_is_listed_up_to_a_limit_and_all_are_marked():
    frame_map, edits, clip, ref = film(172_800, cut=MOST_LISTED + 20)
    figure = draw(frame_map, edits, clip, ref, "film")
    told = [text.get_text() for text in figure.texts]
    assert f"and {len(edits) - MOST_LISTED} more (--edits lists them all)" in told
    assert sum(text.endswith("))") or text.endswith("…") for text in told) == MOST_LISTED
    drawn = sum(len(collection.get_paths()) for axes in figure.axes for collection in axes.collections)
    assert drawn < 5000
    offset = figure.axes[1]
    marks = [line for line in offset.lines if len(line.get_xdata()) == 2]
    assert len(marks) == len(edits)

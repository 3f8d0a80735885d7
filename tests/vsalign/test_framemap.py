"""Frame maps: what unmatched frames show, and a CSV that survives the round trip and tells a user what is wrong with it."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vsalign.errors import InputError
from vsalign.framemap import FrameMap, Source
from vsalign.frames import FrameRange


def of(*clip_frames: int) -> FrameMap:
    return FrameMap.of_clip_frames(np.array(clip_frames, np.int64), 1000)


def test_identity_follows_the_ref_while_the_clip_lasts() -> None:
    found = FrameMap.identity(5, 3)
    assert found.clip_frame.tolist() == [0, 1, 2, -1, -1]
    assert found.source.tolist() == [Source.MATCH] * 3 + [Source.UNMATCHED] * 2


def test_constant_offset_leaves_the_clip_at_both_ends() -> None:
    expected = np.array([0, 1, 2, 4], np.int64)
    assert FrameMap.constant_offset(4, expected, -2, 100).clip_frame.tolist() == [-1, -1, 0, 2]
    assert FrameMap.constant_offset(4, expected, 2, 5).clip_frame.tolist() == [2, 3, 4, -1]


def test_expected_frames_of_another_length_are_refused() -> None:
    with pytest.raises(ValueError, match="3"):
        FrameMap.constant_offset(4, np.arange(3), 0, 9)


def test_unmatched_frames_show_the_nearest_match_and_ties_the_earlier_one() -> None:
    assert of(-1, 7, -1, -1, -1, 20, -1).shown_frames().tolist() == [7, 7, 7, 7, 20, 20, 20]


def test_nothing_is_shown_when_nothing_matches() -> None:
    assert of(-1, -1).shown_frames().tolist() == [-1, -1]
    assert of().shown_frames().tolist() == []


def test_a_slice_is_the_rows_of_its_ref_frames() -> None:
    assert of(5, 6, -1, 8).slice(FrameRange(1, 3)).clip_frame.tolist() == [6, -1]
    assert len(of(5, 6).slice(FrameRange(1, 9))) == 1


@pytest.mark.parametrize(
    "broken", [{"clip_frame": [-2]}, {"cost": [-0.5]}, {"cost": [np.nan]}, {"confidence": [1.5]}, {"source": [9]}]
)
def test_values_outside_of_their_range_are_refused(broken: dict[str, list[float]]) -> None:
    good = {"clip_frame": [1], "cost": [0.5], "confidence": [0.5], "source": [0]}
    with pytest.raises(ValueError, match="FrameMap"):
        FrameMap(**{name: np.array(values) for name, values in {**good, **broken}.items()})


float32s = st.floats(0, 1, width=32)
rows_of_maps = st.lists(st.tuples(st.integers(-1, 999), float32s, float32s, st.booleans()), max_size=30)


@given(rows_of_maps)
@settings(max_examples=60, deadline=None)
def test_csv_reads_back_equal(rows: list[tuple[int, float, float, bool]]) -> None:
    frames = np.array([r[0] for r in rows], np.int64)
    source = [
        (Source.EDITED if r[3] else Source.MATCH) if r[0] >= 0 else (Source.FALLBACK if r[3] else Source.UNMATCHED)
        for r in rows
    ]
    written = FrameMap(frames, np.array([r[1] for r in rows]), np.array([r[2] for r in rows]), np.array(source, np.uint8))
    assert FrameMap.from_csv(written.to_csv(), len(rows), 1000) == written


def test_csv_has_the_promised_columns_and_writes_a_file(tmp_path: Path) -> None:
    text = FrameMap(np.array([3, -1]), np.array([0.1, 1.0]), np.array([0.9, 0]), np.array([0, 3])).to_csv(tmp_path / "map.csv")
    assert text == "ref_frame,clip_frame,cost,confidence,source\n0,3,0.1,0.9,match\n1,,1.0,0.0,unmatched\n"
    assert (tmp_path / "map.csv").read_text() == text


def test_two_columns_are_enough_and_count_as_edited() -> None:
    found = FrameMap.from_csv("ref_frame,clip_frame\n1,\n0,5\n2,-1\n", 3, 9)
    assert found.clip_frame.tolist() == [5, -1, -1]
    assert found.source.tolist() == [Source.EDITED, Source.UNMATCHED, Source.UNMATCHED]
    assert found.confidence.tolist() == [1, 0, 0]


def test_a_clip_frame_put_in_by_hand_is_no_longer_unmatched() -> None:
    text = "ref_frame,clip_frame,cost,confidence,source\n0,4,1,0,unmatched\n1,,0.1,0.9,match\n"
    assert FrameMap.from_csv(text, 2, 9).source.tolist() == [Source.EDITED, Source.UNMATCHED]


@pytest.mark.parametrize(
    ("text", "needles"),
    [
        ("", ["line 1", "ref_frame", "missing"]),
        ("ref_frame,source\n0,match\n", ["line 1", "clip_frame", "missing"]),
        ("ref_frame,clip_frame\n0,0\n", ["ref_frame 1", "no row"]),
        ("ref_frame,clip_frame\n0,0\n0,1\n", ["line 3", "ref_frame 0", "line 2"]),
        ("ref_frame,clip_frame\n0,0\n1,x\n", ["line 3", "clip_frame", "'x'", "0 to 8"]),
        ("ref_frame,clip_frame\n0,0\n1,9\n", ["line 3", "clip_frame", "'9'", "0 to 8"]),
        ("ref_frame,clip_frame\n0,0\n1,-3\n", ["line 3", "'-3'"]),
        ("ref_frame,clip_frame\n0,0\n1,1\n2,2\n", ["line 4", "ref_frame", "'2'", "0 to 1"]),
        ("ref_frame,clip_frame\n0,0\n,1\n", ["line 3", "ref_frame", "''"]),
        ("ref_frame,clip_frame\n0\n1,1\n", ["line 2", "1 cells"]),
        ("ref_frame,clip_frame,cost\n0,0,nan\n1,1,0\n", ["line 2", "cost", "'nan'"]),
        ("ref_frame,clip_frame,confidence\n0,0,2\n1,1,0\n", ["line 2", "confidence", "'2'", "to 1"]),
        ("ref_frame,clip_frame,source\n0,0,guess\n1,1,\n", ["line 2", "source", "'guess'", "match"]),
    ],
)
def test_what_is_wrong_with_a_csv_is_said_in_one_line(text: str, needles: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        FrameMap.from_csv(text, 2, 9)
    message = str(caught.value)
    assert "\n" not in message
    assert all(needle in message for needle in needles), message


def test_a_feature_writes_and_reads_within_seconds() -> None:
    frames = np.arange(172_800)
    rng = np.random.default_rng(0)
    film = FrameMap(frames, rng.random(len(frames)), rng.random(len(frames)), np.zeros(len(frames)))
    start = time.process_time()
    assert FrameMap.from_csv(film.to_csv(), len(frames), len(frames)) == film
    assert time.process_time() - start < 6


def test_importing_it_loads_nothing_heavy() -> None:
    code = "import sys, vsalign.framemap; print([m for m in ('torch', 'cv2', 'numba') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

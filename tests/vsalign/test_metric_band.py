"""``rematch``: pictures in, frame map out, outside of VapourSynth; and the plugins' metric on pictures."""

import weakref
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import vapoursynth as vs

from tests.films import film
from tests.vsalign.vsnodes import core, noise_node
from vsalign import pluginmetric
from vsalign.framemap import Source
from vsalign.metric import Doubles
from vsalign.metricband import compared_rows, least_map, path_map, rematch
from vsalign.picture import ColourTags, Picture, SampleFormat
from vsalign.planestats import PlaneStats
from vsalign.pluginmetric import PluginMetric, find_filter, rgb

GRAY = SampleFormat("gray", "gray", 8, 1)


def pictures(frames: Any) -> list[Picture]:
    return [Picture((np.ascontiguousarray(f),), GRAY, ColourTags(range=2)) for f in frames]


def grainy(frames: Any) -> Any:
    grain = np.random.default_rng(5).normal(0, 4, frames.shape)
    return np.clip(frames + grain, 0, 255).astype(np.uint8)


class Reader:
    """Gives pictures by number, as ``tasks.decode.FrameReader`` does, and counts."""

    def __init__(self, frames: Sequence[Picture]) -> None:
        self._frames = frames
        self.given: Counter[int] = Counter()

    def __call__(self, wanted: Iterable[int]) -> Iterator[tuple[int, Picture]]:
        for frame in wanted:
            self.given[frame] += 1
            yield frame, self._frames[frame]


class Means:
    """A dear metric that can prove nothing: the difference of the mean, counted."""

    def __init__(self) -> None:
        self.described, self.compared = 0, 0

    def features(self, picture: Picture) -> Any:
        self.described += 1
        return picture.planes[0].astype(np.float32)

    def costs(self, pairs: Sequence[tuple[Any, Any]]) -> Doubles:
        self.compared += len(pairs)
        return np.array([np.abs(a - b).mean() for a, b in pairs])


@pytest.mark.parametrize("select", ["argmin", "path"])
def test_every_ref_frame_gets_its_clip_frame_and_each_is_read_once(select: Any) -> None:
    frames = film(90)
    clip = Reader(pictures(grainy(frames)))
    shift = np.where(np.arange(60) < 30, 5, 9)
    truth = np.arange(60) + shift
    found = rematch(pictures(frames[truth]), clip, np.arange(60) + 3, 90, 8, PlaneStats(), select)
    assert np.array_equal(found.clip_frame, truth)
    assert set(found.source) == {Source.MATCH}
    assert (found.confidence > 0.05).all()
    assert max(clip.given.values()) == 1


def test_a_path_is_not_led_astray_by_single_frames_that_look_like_others() -> None:
    frames = film(80, shot=80)
    ref = frames[5:75].copy()
    random = np.random.default_rng(0)
    for n in range(8, 60, 7):
        ref[n] = np.clip(frames[n + 5 + 6].astype(int) + random.normal(0, 6, ref[n].shape), 0, 255)  # shows 6 frames later
    alone, path = (
        rematch(pictures(ref), Reader(pictures(frames)), np.arange(70) + 5, 80, 10, PlaneStats(), select)
        for select in ("argmin", "path")
    )
    assert np.flatnonzero(alone.clip_frame != np.arange(70) + 5).tolist() == list(range(8, 60, 7))
    assert np.array_equal(path.clip_frame, np.arange(70) + 5)


def test_rows_without_an_expected_frame_stay_unmatched() -> None:
    frames = film(60)
    expected = np.arange(40)
    expected[10:15] = -1
    for select in ("argmin", "path"):
        found = rematch(pictures(frames[:40]), Reader(pictures(frames)), expected, 60, 4, PlaneStats(), select)  # type: ignore[arg-type]
        assert np.array_equal(found.clip_frame, expected)
        assert found.source[12] == Source.UNMATCHED


def test_a_dear_metric_sees_few_candidates_and_chooses_the_same() -> None:
    frames = film(80)
    clip = pictures(grainy(frames))
    found = {}
    for prune in (False, True):
        metric = Means()
        found[prune] = rematch(pictures(frames[10:70]), Reader(clip), np.arange(60), 80, 20, metric, prune=prune)
        if prune:
            assert metric.compared < 60 * 18
    assert np.array_equal(found[True].clip_frame, found[False].clip_frame)
    assert np.array_equal(found[True].cost, found[False].cost)


def test_expected_frames_may_jump_back_and_the_clip_may_be_shorter_than_the_window() -> None:
    frames = film(12, shot=12)
    order = np.array([0, 1, 2, 9, 10, 11, 3, 4, 5])
    for select in ("argmin", "path"):
        found = rematch(pictures(frames[order]), Reader(pictures(frames)), order, 12, 40, PlaneStats(), select)  # type: ignore[arg-type]
        assert np.array_equal(found.clip_frame, order)


def test_a_path_stays_within_the_clip_where_the_ref_goes_on() -> None:
    frames = film(40, shot=40)
    torn = frames[[34, 39] * 12 + [34]]  # where a path through the clip is dear
    expected = np.minimum(np.arange(50) + 15, 39)
    found = rematch(pictures([*frames[15:], *torn]), Reader(pictures(frames)), expected, 40, 6, PlaneStats(), "path")
    assert np.array_equal(found.clip_frame[:25], expected[:25])
    assert found.clip_frame.min() >= 0
    assert found.clip_frame.max() < 40


def test_a_path_may_leap_over_any_distance() -> None:
    frames = pictures(film(24, shot=24))
    far = 900_000_000

    def give(wanted: Iterable[int]) -> Iterator[tuple[int, Picture]]:
        return ((n, frames[n % far]) for n in wanted)

    truth = np.array([3, 4, 5, 6, far + 10, far + 11, far + 12, 15, 16])
    found = rematch([frames[n % far] for n in truth], give, truth + 1, far + 24, 3, PlaneStats(), "path")
    assert np.array_equal(found.clip_frame, truth)


@pytest.mark.parametrize("select", ["argmin", "path"])
@pytest.mark.parametrize("dear", [False, True])
def test_a_film_in_pieces_gives_the_map_of_the_film_in_one(select: Any, dear: bool) -> None:
    frames = film(80)
    clip, ref = pictures(grainy(frames)), pictures(frames[5:75])
    expected = np.arange(70) + 5 + np.random.default_rng(2).integers(-4, 5, 70)
    expected[20:24] = -1
    whole = rematch(ref, Reader(clip), expected, 80, 12, Means() if dear else PlaneStats(), select)
    bounds = [0, 9, 10, 22, 23, 41, 60, 70]
    rows = {}
    for start, stop in reversed(list(pairwise(bounds))):
        piece = [(n, ref[n]) for n in range(start, stop) if expected[n] >= 0]
        rows |= compared_rows(piece, Reader(clip), expected, 80, 12, Means() if dear else PlaneStats(), select)
    pieces = path_map(rows, expected, 80, 12) if select == "path" else least_map(rows.items(), 70)
    assert whole == pieces
    assert np.array_equal(whole.matched, expected >= 0)


class Generous(Means):
    """A metric that finds pictures better than perfect, as a network may."""

    def costs(self, pairs: Sequence[tuple[Any, Any]]) -> Doubles:
        return super().costs(pairs) / 50 - 0.5


@pytest.mark.parametrize("select", ["argmin", "path"])
def test_costs_below_0_are_told_as_0_and_spoil_no_choice(select: Any) -> None:
    frames = film(40)
    found = rematch(pictures(frames[4:34]), Reader(pictures(frames)), np.arange(30), 40, 8, Generous(), select)
    assert np.array_equal(found.clip_frame, np.arange(30) + 4)
    assert found.cost.min() == 0


def test_the_pictures_behind_a_windows_features_are_let_go() -> None:
    frames = film(60)
    planes: list[weakref.ref[Any]] = []

    def give(wanted: Iterable[int]) -> Iterator[tuple[int, Picture]]:
        for n in wanted:
            picture = pictures(frames[n : n + 1].copy())[0]
            planes.append(weakref.ref(picture.planes[0]))
            yield n, picture

    rows = compared_rows(give(range(50)), give, np.arange(60), 60, 10, PlaneStats(), "path")
    alive = [sum(plane() is not None for plane in planes) for _ in rows]
    assert max(alive) <= 3


def test_the_plugins_metric_tells_frames_apart() -> None:
    if not hasattr(core, "vszip"):
        pytest.skip("vszip is not installed")
    frames = pictures(film(12, 96, 64))
    found = rematch(frames[2:8], Reader(frames), np.arange(6), 12, 4, PluginMetric())
    assert np.array_equal(found.clip_frame, np.arange(6) + 2)
    assert found.cost.max() < 0.1


def fake_plugins(monkeypatch: pytest.MonkeyPatch, **functions: Any) -> None:
    class Plugin:
        def __init__(self, **functions: Any) -> None:
            self.__dict__.update(functions)

    class Core:
        num_threads = 2

    for name, offered in functions.items():
        setattr(Core, name, Plugin(**offered))
    monkeypatch.setattr(pluginmetric.vs, "core", Core())
    monkeypatch.setattr(pluginmetric, "_noticed", set())


def test_butteraugli_comes_before_ssimulacra2_and_is_asked_for_a_screen_of_80_nits(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    asked: list[dict[str, Any]] = []

    def butteraugli(ref: Any, clip: Any, **given: Any) -> Any:
        asked.append(given)
        return ref

    fake_plugins(
        monkeypatch, julek={"Butteraugli": butteraugli}, vship={"BUTTERAUGLI": butteraugli}, vszip={"SSIMULACRA2": None}
    )
    julek, vship = find_filter(), find_filter("cuda")
    julek.compare(None, None)
    vship.compare(None, None)
    assert asked == [{"intensity_target": 80}, {"intensity_multiplier": 80}]
    assert julek.cost({"_FrameButteraugli": 3.5}) == 3.5
    assert vship.cost({"_BUTTERAUGLI_2Norm": 1.0, "_BUTTERAUGLI_INFNorm": 4.5}) == 4.5
    assert not caplog.records
    fake_plugins(monkeypatch, vszip={"SSIMULACRA2": lambda ref, clip: ref})
    for _ in range(3):
        assert find_filter("cpu").cost({"SSIMULACRA2": 75.0}) == 0.25
    assert len(caplog.records) == 1
    with pytest.raises(ValueError, match="install the VapourSynth plugin Vship"):
        find_filter("cuda")
    fake_plugins(monkeypatch)
    with pytest.raises(ValueError, match=r"install the VapourSynth plugin julek or vszip .* or Vship"):
        find_filter()


@pytest.mark.parametrize(("height", "usual"), [(576, 6), (720, 1)])
def test_yuv_becomes_rgb_by_its_own_matrix_or_the_one_usual_for_its_size(height: int, usual: int) -> None:
    film = noise_node(vs.YUV444P8, 1, 32, height)
    untagged = [np.asarray(p).copy() for p in rgb(film).get_frame(0)]
    for matrix in (1, 6, 9):
        tagged = [np.asarray(p).copy() for p in rgb(film.std.SetFrameProps(_Matrix=matrix)).get_frame(0)]
        assert np.array_equal(untagged, tagged) == (matrix == usual)
    for format in (vs.GRAY8, vs.GRAYS, vs.YUV420PS, vs.RGBH):
        assert rgb(noise_node(format, 1, 64, 48)).get_frame(0).format.id == vs.RGBS

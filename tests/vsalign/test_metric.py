"""PlaneStats, its bound, the choice among candidates, and the frames that are expected."""

from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from tests.films import film
from vsalign.metric import choose, row_costs_of, window
from vsalign.metricband import SignatureMetric, kept_by_signature
from vsalign.picture import RANGE_FULL, RANGE_LIMITED, ColourTags, Picture, SampleFormat
from vsalign.planestats import PlaneStats
from vsalign.rates import expected_frames
from vsalign.smallpicture import area_means, thumb_of

YUV = SampleFormat("yuv420p", "yuv", 8, 3, 1, 1)
YUV10 = SampleFormat("yuv420p10le", "yuv", 10, 3, 1, 1)
RGB = SampleFormat("gbrp", "rgb", 8, 3)
FLOATS = SampleFormat("gbrpf32le", "rgb", 32, 3)
GRAY = SampleFormat("gray", "gray", 8, 1)


def picture(
    random: np.random.Generator, format: SampleFormat, spread: float = 1.0, size: tuple[int, int] = (50, 37)
) -> Picture:
    """Noise on a ground of its own; ``spread`` 0 is one and the same picture."""
    width, height = size
    shapes = [format.plane_size(i, width, height)[::-1] for i in range(format.num_planes)]
    top = 1.0 if format.bit_depth == 32 else (1 << format.bit_depth) - 1.0
    unit = [np.clip(0.5 + spread * (random.normal(0, 0.2) + random.normal(0, 0.1, shape)), 0, 1) for shape in shapes]
    kind = np.float32 if format.bit_depth == 32 else np.uint16 if format.bit_depth > 8 else np.uint8
    return Picture(tuple((plane * top).astype(kind) for plane in unit), format)


def shifted(one: Picture, level: float) -> Picture:
    top = 1.0 if one.format.bit_depth == 32 else (1 << one.format.bit_depth) - 1.0
    return Picture(tuple((plane + level * top).astype(plane.dtype) for plane in one.planes), one.format)


def difference(one: Picture, other: Picture) -> float:
    """The definition, in double precision."""
    top = 1.0 if one.format.bit_depth == 32 else (1 << one.format.bit_depth) - 1.0
    planes = zip(one.planes, other.planes, strict=True)
    return float(np.mean([np.abs(a.astype(np.float64) - b.astype(np.float64)).mean() / top for a, b in planes]))


@pytest.mark.parametrize("format", [YUV, YUV10, RGB, FLOATS, GRAY], ids=lambda f: f.name)
def test_planestats_is_the_mean_over_all_planes_of_the_mean_absolute_difference(format: SampleFormat) -> None:
    random = np.random.default_rng(1)
    one, other = picture(random, format), picture(random, format)
    metric = PlaneStats()
    cost = metric.costs([(metric.features(one), metric.features(other))])
    assert cost == pytest.approx([difference(one, other)], rel=1e-9)


def test_a_difference_in_any_single_plane_counts() -> None:
    metric = PlaneStats()
    for format in (YUV, RGB):
        for index in range(3):
            same = picture(np.random.default_rng(0), format, 0.0)
            planes = [plane.copy() for plane in same.planes]
            planes[index][3, 4] += 1
            changed = Picture(tuple(planes), format)
            assert metric.costs([(metric.features(same), metric.features(changed))])[0] > 0


@pytest.mark.parametrize("format", [YUV, YUV10, RGB, FLOATS], ids=lambda f: f.name)
@pytest.mark.parametrize("seed", range(12))
def test_what_the_bound_rules_out_changes_nothing_ties_included(format: SampleFormat, seed: int) -> None:
    random = np.random.default_rng(seed)
    metric = PlaneStats()
    few = [picture(random, format, spread) for spread in (0.0, 0.02, 0.3, 1.0, 1.0)]
    ref = metric.features(few[seed % 5])
    candidates = [metric.features(few[k]) for k in random.integers(0, 5, 41)]  # so that every cost comes several times
    frames = list(range(100, 141))
    full, pruned = (row_costs_of(metric, ref, candidates, prune) for prune in (False, True))
    assert choose(frames, full) == choose(frames, pruned)
    looked_at = np.isfinite(pruned)
    assert np.array_equal(full[looked_at], pruned[looked_at])


@pytest.mark.parametrize("format", [YUV, FLOATS], ids=lambda f: f.name)
def test_a_bound_as_high_as_the_cost_rules_out_nothing_better(format: SampleFormat) -> None:
    """Flat pictures differ by their bound exactly, noise about the same level by much more than its own."""
    random = np.random.default_rng(3)
    metric = PlaneStats()
    for _ in range(20):
        levels = [0.0, *random.uniform(-0.35, 0.35, 12)]
        flat = [picture(random, format, 0.0)] * 13
        moved = [shifted(one, level) for one, level in zip(flat, levels, strict=True)]
        noise = [picture(random, format, spread) for spread in random.uniform(0.2, 1.5, 12)]
        mixed = [metric.features(one) for one in [*moved[1:], *noise]]
        order = random.permutation(len(mixed)).tolist()
        full, pruned = (
            row_costs_of(metric, metric.features(moved[0]), [mixed[k] for k in order], prune) for prune in (False, True)
        )
        assert choose(order, full) == choose(order, pruned)


def test_far_frames_are_ruled_out_unseen() -> None:
    random = np.random.default_rng(0)
    metric = PlaneStats()
    near, *far = (metric.features(picture(random, YUV, size=(256, 192))) for _ in range(30))
    assert np.isfinite(metric.least_costs(near, [*far, near])).sum() <= 4


def test_full_and_limited_range_are_compared_as_one() -> None:
    random = np.random.default_rng(0)
    unit = [np.clip(random.normal(0.5, 0.2, shape), 0, 1) for shape in ((48, 64), (24, 32), (24, 32))]
    full = Picture(tuple((255 * p).round().astype(np.uint8) for p in unit), YUV, ColourTags(range=RANGE_FULL))
    spans = (219, 224, 224)
    limited = tuple((16 + span * p).round().astype(np.uint8) for p, span in zip(unit, spans, strict=True))
    metric = PlaneStats()
    ref, *clips = (metric.features(Picture(limited, YUV, ColourTags(range=tag))) for tag in (RANGE_LIMITED, RANGE_FULL))
    told, mistaken = metric.costs([(ref, metric.features(full)), (clips[0], metric.features(full))])
    assert told < 0.002
    assert mistaken > 0.02
    candidates = [metric.features(full), ref]
    assert metric.least_costs(ref, candidates).argmin() == 1


def test_what_is_no_number_never_wins() -> None:
    random = np.random.default_rng(0)
    good = picture(random, FLOATS)
    planes = [plane.copy() for plane in good.planes]
    planes[1][5, 5] = np.nan
    metric = PlaneStats()
    ref, broken = metric.features(good), metric.features(Picture(tuple(planes), FLOATS))
    other = metric.features(picture(random, FLOATS))
    for prune in (False, True):
        assert choose([7, 8], row_costs_of(metric, ref, [broken, other], prune)).clip_frame == 8
        lost = choose([7, 8], row_costs_of(metric, ref, [broken, broken], prune))
        assert (lost.clip_frame, lost.confidence) == (7, 0.0)


def test_the_window_goes_from_the_expected_frame_outwards_forward_first_and_ends_with_the_clip() -> None:
    assert window(10, 2, 100) == [10, 11, 9, 12, 8]
    assert window(1, 3, 100) == [1, 2, 0, 3, 4]
    assert window(9, 2, 10) == [9, 8, 7]
    assert window(30, 2, 10) == [9, 8, 7]
    assert window(-5, 1, 10) == [0, 1]
    assert window(3, 0, 10) == [3]
    assert sorted(window(3, 10**9, 5)) == [0, 1, 2, 3, 4]


def test_confidence_tells_how_much_worse_the_second_best_is() -> None:
    def confidence(*costs: float) -> float:
        return choose(range(len(costs)), np.array(costs)).confidence

    assert confidence(0.5, 0.5, 0.7) == 0
    assert confidence(0.2, 0.4, np.inf) == 0.5
    assert confidence(0.0, 0.4) == 1
    assert confidence(0.3) == 1
    assert confidence(np.inf, np.inf) == 0


@pytest.mark.parametrize(
    ("ratio", "first"),
    [
        (Fraction(1), [0, 1, 2, 3, 4, 5]),
        (Fraction(2), [0, 2, 4, 6, 8, 10]),
        (Fraction(3), [0, 3, 6, 9, 12, 15]),
        (Fraction(60000, 1001) / Fraction(30000, 1001), [0, 2, 4, 6, 8, 10]),
        (Fraction(5, 2), [0, 3, 5, 8, 10, 13]),
        (Fraction(24, 60), [0, 0, 0, 1, 1, 2]),
        (Fraction(1, 2), [0, 0, 1, 1, 2, 2]),
    ],
    ids=str,
)
def test_expected_frames_are_exact(ratio: Fraction, first: list[int]) -> None:
    expected = expected_frames(20000, 10**9, ratio)
    assert expected[:6].tolist() == first
    exact = [-(-n * ratio.numerator // ratio.denominator) if ratio > 1 else int(n * ratio) for n in range(20000)]
    assert expected.tolist() == exact


def test_expected_frames_stay_within_the_clip() -> None:
    assert expected_frames(6, 3).tolist() == [0, 1, 2, 2, 2, 2]
    assert expected_frames(3, 10**6, Fraction(10**12 + 39, 10**12 + 61)).tolist() == [0, 0, 1]


def test_thumbs_are_area_means_of_luma_black_to_white() -> None:
    random = np.random.default_rng(0)
    plane = random.integers(0, 256, (80, 144)).astype(np.uint8)
    means = plane.reshape(40, 2, 72, 2).mean((1, 3))
    assert area_means(plane, 72, 40) == pytest.approx(means, abs=1e-3)
    assert area_means(plane[:79, :143], 72, 40).mean() == pytest.approx(plane[:79, :143].mean(), abs=1e-2)
    chroma = np.full((40, 72), 90, np.uint8)
    limited = Picture((plane, chroma, chroma), YUV)
    assert np.abs(thumb_of(limited, 72, 40) - np.clip((means - 16) * 255 / 219, 0, 255)).max() <= 0.51
    gray = [Picture((plane,), GRAY, ColourTags(range=RANGE_FULL)), Picture((plane,) * 3, RGB)]
    assert np.array_equal(thumb_of(gray[0]), thumb_of(gray[1]))
    floats = Picture((plane.astype(np.float32) / 255,) * 3, FLOATS)
    assert np.abs(thumb_of(floats).astype(int) - thumb_of(gray[0])).max() <= 1


def test_candidates_kept_by_signature_hold_the_true_frame_and_their_order() -> None:
    frames = film(60, seed=3)
    metric = SignatureMetric()
    features = [metric.features(Picture((f,), GRAY, ColourTags(range=RANGE_FULL))) for f in frames]
    candidates = window(25, 20, 60)
    unlike = metric.costs([(features[31], features[c]) for c in candidates])
    kept = kept_by_signature(candidates, unlike)
    assert 31 in kept
    assert kept == [c for c in candidates if c in kept]
    assert 9 <= len(kept) < 41
    flat: Any = np.ones(41)
    assert kept_by_signature(candidates, flat) == candidates

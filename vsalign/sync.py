"""Sync: which clip frame shows the moment of each ref frame, over the whole film at once.

Coarse to fine: a path over both films on even grids of time finds offset, rate and missing stretches; telling frame pairs give
the constant misalignment; in corrected coordinates a banded path (Viterbi) decides every frame.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from vsalign.band import Band, cost_band, moved_band
from vsalign.coarse import MOST_CLIP, MOST_REF, CoarsePath, Grid, find_path, grid
from vsalign.compare import View, unlike
from vsalign.contrast import Floats
from vsalign.framemap import UNMATCHED, FrameMap
from vsalign.framing import first_geometry
from vsalign.geometry import Geometry, edge_weight, pixel_grid, sampler
from vsalign.guide import Guide, find_lines, make_guide
from vsalign.judge import cost_along, judge, usual_cost
from vsalign.pace import measured_rate
from vsalign.path import ExactPath, least_path, without_lone_detours
from vsalign.pulldown import pattern_length, regular_steps
from vsalign.register import Telling, choose_telling, estimate_geometry
from vsalign.rough import describe_film
from vsalign.rowcost import row_costs
from vsalign.signature import LUMA_HEIGHT, LUMA_WIDTH, Rows, luma
from vsalign.switches import sharpen
from vsalign.thumb import SIGNATURE_BYTES

Doubles = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

#: Below this score two films have nothing in common.
MIN_SCORE = 0.2
#: A misalignment, in normalised units, that the coarse path forgives: its descriptors' pixels are 0.11 wide.
NEAR_IDENTITY = 0.02


@dataclass(frozen=True, slots=True)
class SyncFound:
    """What was found on the way. offset_seconds: clip time minus ``rate`` times ref time, usual over the matched frames. rate:
    clip seconds per ref second. clip_from_ref: affine (two rows of three) on normalised (x, y, 1), both axes [-1, 1] over the
    picture edge to edge."""

    offset_seconds: float
    rate: float
    clip_from_ref: tuple[tuple[float, float, float], tuple[float, float, float]]


@dataclass(frozen=True, slots=True)
class SyncResult:
    """The map; ``score`` in [0, 1], how much of the shorter film truly matches and how well (see MIN_SCORE); what was found."""

    frame_map: FrameMap
    score: float
    found: SyncFound


def solve(
    clip_signatures: Rows, ref_signatures: Rows, clip_seconds: Doubles, ref_seconds: Doubles, temporal_radius: int = 20
) -> SyncResult:
    """Match every ref frame with the clip frame of the same moment.

    clip_signatures (M,...), ref_signatures (N,...): rows of :func:`vsalign.signature.sign`, arrays or what hands out rows by
    slice and by index; clip_seconds (M,), ref_seconds (N,): rising presentation times; temporal_radius: clip frames searched on
    each side of the coarse path, whose offset needs no radius.
    Ref frames before the clip's first, after its last, or cut from the clip are unmatched. Never raises for films that do not
    match: compare ``score`` with MIN_SCORE. Raises ValueError when lengths or signature sizes disagree, and for times
    that do not rise.
    """
    _check(clip_signatures, ref_signatures, clip_seconds, ref_seconds, temporal_radius)
    if len(clip_signatures) == 0 or len(ref_signatures) == 0:
        empty = FrameMap.of_clip_frames(np.full(len(ref_signatures), UNMATCHED, np.int64), len(clip_signatures))
        return SyncResult(empty, 0.0, SyncFound(0.0, 1.0, ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0))))
    films = _Films(clip_signatures, ref_signatures, np.asarray(clip_seconds, np.float64), np.asarray(ref_seconds, np.float64))
    moments = _Moments.of(films)
    framing = first_geometry(moments.ref_luma, moments.clip_luma)
    coarse, value = _coarse(films, moments, framing, None)
    geometry = _register(films, coarse, value, temporal_radius, framing, None)
    if _displacement(geometry, framing) > NEAR_IDENTITY:
        coarse, value = _coarse(films, moments, geometry, coarse.rate)
        geometry = _register(films, coarse, value, temporal_radius, framing, geometry)
    return _exact(films, coarse, value, geometry, temporal_radius)


@dataclass(frozen=True, eq=False)
class _Films:
    clip: Rows
    ref: Rows
    clip_seconds: Doubles
    ref_seconds: Doubles


@dataclass(frozen=True, eq=False)
class _Moments:
    """What is looked at to find one's place in the films: frames at even times, and their plain luma."""

    ref: Grid
    clip: Grid
    ref_luma: npt.NDArray[np.uint8]
    clip_luma: npt.NDArray[np.uint8]

    @classmethod
    def of(cls, films: _Films) -> _Moments:
        ref, clip = grid(films.ref_seconds, MOST_REF), grid(films.clip_seconds, MOST_CLIP)
        # Copies: the rest of the rows that they were read from is not needed.
        return cls(ref, clip, luma(films.ref[ref.frame]).copy(), luma(films.clip[clip.frame]).copy())


def _check(clip: Rows, ref: Rows, clip_seconds: Doubles, ref_seconds: Doubles, radius: int) -> None:
    if len(clip) != len(clip_seconds) or len(ref) != len(ref_seconds):
        raise ValueError(
            f"signatures and times differ in length: clip {len(clip)}, {len(clip_seconds)}; ref {len(ref)}, {len(ref_seconds)}"
        )
    if not clip.shape[1:] == ref.shape[1:] == (SIGNATURE_BYTES,):
        raise ValueError(f"signatures are clip {clip.shape}, ref {ref.shape}; accepted is (frames, {SIGNATURE_BYTES}) of both")
    for name, seconds in (("clip", clip_seconds), ("ref", ref_seconds)):
        if not (np.diff(seconds) > 0).all():
            raise ValueError(f"times of the {name} do not rise at frame {int(np.argmin(np.diff(seconds) > 0)) + 1}")
    if radius < 1:
        raise ValueError(f"temporal_radius is {radius}; accepted is 1 or more")


def _displacement(geometry: Geometry, other: Geometry) -> float:
    """How far two geometries place a point apart at most, in normalised units (2 = the whole picture)."""
    x, y = pixel_grid(9, 16)
    return float(np.abs(geometry.positions(x, y) - other.positions(x, y)).max())


def _coarse(films: _Films, moments: _Moments, geometry: Geometry, rate: float | None) -> tuple[CoarsePath, Floats]:
    """The coarse path in the given geometry, and how telling each of its moments is, (A,) in [0, 1]."""
    ref, clip = moments.ref, moments.clip
    lay = sampler(geometry, LUMA_HEIGHT, LUMA_WIDTH)
    weight = edge_weight(LUMA_HEIGHT, LUMA_WIDTH) * lay.inside
    wanted, texture = describe_film(moments.ref_luma, weight)
    candidates, _ = describe_film(moments.clip_luma, weight, lay)
    alike = np.empty((len(wanted), len(candidates)), np.uint8)
    for start in range(0, len(candidates), 2048):
        block = wanted @ candidates[start : start + 2048].T
        alike[:, start : start + 2048] = np.clip(np.rint((block + 1.0) * 127.5), 0, 255)
    path = find_path(alike, texture, ref, clip, films.ref_seconds, films.clip_seconds, rate)
    return path, _telling_value(alike, path, clip, films.clip_seconds, texture)


def _telling_value(
    alike: npt.NDArray[np.uint8], path: CoarsePath, clip: Grid, clip_seconds: Doubles, texture: Floats
) -> Floats:
    """High where the match is good and clip moments half a second away look different; 0 where nothing was found."""
    times = clip_seconds[clip.frame]
    # A moment held at the clip's very ends says only that the clip is over.
    found = np.isfinite(path.clip_seconds) & (path.clip_seconds > times[0]) & (path.clip_seconds < times[-1])
    at = np.searchsorted(times, np.where(found, path.clip_seconds, 0.0) - 1e-9)
    reach = max(1, round(0.5 / clip.step_seconds))
    rows = np.arange(len(at))
    around = [
        alike[rows, np.clip(at + d, 0, alike.shape[1] - 1)] for d in (-reach, -max(1, reach // 2), max(1, reach // 2), reach)
    ]
    away = np.mean(np.stack(around), 0) / 127.5 - 1.0
    return np.asarray(
        np.where(found, np.clip(path.similarity - away, 0.0, 0.5) * np.clip(path.similarity, 0.0, 1.0) * np.sqrt(texture), 0.0),
        np.float32,
    )


def _register(
    films: _Films, coarse: CoarsePath, value: Floats, radius: int, framing: Geometry, first: Geometry | None
) -> Geometry:
    found = np.isfinite(coarse.clip_seconds)
    ref_frame = np.searchsorted(films.ref_seconds, coarse.ref_seconds[found] - 1e-9)
    clip_frame = np.searchsorted(films.clip_seconds, coarse.clip_seconds[found] - 1e-9)
    telling = choose_telling(ref_frame, clip_frame, value[found]) if found.any() else Telling(ref_frame, clip_frame)
    return estimate_geometry(films.ref, films.clip, telling, min(radius, 20), framing, first)


def _exact(films: _Films, coarse: CoarsePath, value: Floats, geometry: Geometry, radius: int) -> SyncResult:
    view = View.of(geometry)
    lines = find_lines(coarse, value, films.clip_seconds, radius)
    guide = make_guide(lines, coarse.rate, films.ref_seconds, films.clip_seconds, _alike(films, view))
    band = cost_band(films.ref, films.clip, view, _first(guide, radius), 2 * radius + 1)
    path = _solve_band(band, guide, len(films.clip))
    cost = cost_along(path, band, len(films.clip))
    sharper = sharpen(guide, path.clip_frame, cost, usual_cost(cost, band), _alike(films, view))
    if sharper is not guide:
        guide = sharper
        band = moved_band(band, films.ref, films.clip, view, _first(guide, radius))
        path = _solve_band(band, guide, len(films.clip))
    frame_map, score = judge(path, band, len(films.clip))
    matched = frame_map.matched
    clip_at, ref_at = films.clip_seconds[frame_map.clip_frame[matched]], films.ref_seconds[matched]
    rate = measured_rate(clip_at, ref_at, coarse.rate)
    offset = float(np.median(clip_at - rate * ref_at)) if matched.any() else 0.0
    rows = tuple(tuple(float(v) for v in row) for row in geometry.affine())
    return SyncResult(frame_map, score, SyncFound(offset, rate, rows))  # type: ignore[arg-type]


def _first(guide: Guide, radius: int) -> Ints:
    return np.rint(guide.expected).astype(np.int64) - radius


def _solve_band(band: Band, guide: Guide, num_clip: int) -> ExactPath:
    """The best path; where the films' rates suggest a pattern, along the pattern's own steps."""
    costs, width = row_costs(band, num_clip), band.unlike.shape[1]
    step = guide.step
    path = least_path(costs, band.first, step, guide.restart)
    length = pattern_length(step)
    if length > 1:
        step = regular_steps(costs, band.first, guide.expected, guide.restart, path.clip_frame, length)
        path = least_path(costs, band.first, step, guide.restart)
    return replace(path, clip_frame=without_lone_detours(path, band.first, width, guide.step))


def _alike(films: _Films, view: View) -> Callable[[Ints, Ints], Floats]:
    def alike(ref_frames: Ints, clip_frames: Ints) -> Floats:
        inside = (clip_frames >= 0) & (clip_frames < len(films.clip))
        wanted = view.of_ref(np.asarray(films.ref[ref_frames]))
        candidates = view.of_clip(np.asarray(films.clip[np.clip(clip_frames, 0, len(films.clip) - 1)]))
        out = np.empty((len(ref_frames), 1), np.float32)
        unlike(wanted, candidates, np.arange(len(ref_frames)), out)
        return np.where(inside, 1.0 - out[:, 0], 0.0).astype(np.float32)

    return alike

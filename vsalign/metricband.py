"""Matching by a picture metric: every ref frame against the clip frames around the one expected, then the best, or a path.

Pure functions of pictures and arrays; :mod:`vsalign.temporalfilter` does the same with VapourSynth's frames. A film may be
compared piece by piece: the rows of all pieces together are those of the film in one piece.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from vsalign.band import Band
from vsalign.compare import Seen, View, unlike
from vsalign.framemap import UNMATCHED, FrameMap, Source
from vsalign.geometry import Geometry
from vsalign.judge import SURE_MARGIN
from vsalign.metric import BoundedMetric, Choice, Doubles, Metric, Select, choose, row_costs_of, window
from vsalign.path import NO_GAPS, least_path, without_lone_detours
from vsalign.picture import Picture
from vsalign.rowcost import RowCosts, row_costs
from vsalign.signature import sign
from vsalign.smallpicture import thumb_of

Ints = npt.NDArray[np.int64]
#: Pictures of the wanted clip frames, in the order asked; ``tasks.decode.FrameReader.pictures`` is one.
GivePictures = Callable[[Iterable[int]], Iterator[tuple[int, Picture]]]
#: The clip frames that a ref frame was compared with, the preferred one first, and their costs.
Row = tuple[Sequence[int], Doubles]

#: Of candidates ranked by signature so many stay at least, and all whose 1 - correlation is within a share of the best one's.
KEPT_FRAMES, KEPT_FACTOR, KEPT_SLACK = 9, 2.0, 0.02
#: A path never goes there.
_NEVER = 1e6
#: The path may follow an expected pace up to this many clip frames per ref frame; beyond, and backwards, it starts anew.
_MOST_STEP = 8.0


class SignatureMetric:
    """1 - correlation of the frames' signatures: what ranks candidates before a dear metric looks at them."""

    def __init__(self) -> None:
        self._view = View.of(Geometry.identity())

    def features(self, picture: Picture) -> Seen:
        """The detail of ``picture``'s signature."""
        return self._view.of_ref(sign(thumb_of(picture)[None]))

    def costs(self, pairs: Sequence[tuple[Seen, Seen]]) -> Doubles:
        """(len(pairs),) in [0, 2]."""
        out = np.empty((len(pairs), 1), np.float32)
        for row, (ref, clip) in zip(out, pairs, strict=True):
            unlike(ref, clip, np.zeros(1, np.int64), row[None])
        return out[:, 0].astype(np.float64)


def kept_by_signature(frames: Sequence[int], unlike: Doubles) -> list[int]:
    """Those of ``frames`` that a metric should look at by their signatures' ``unlike``, in the same order."""
    least = float(unlike.min())
    limit = max(float(np.sort(unlike)[min(KEPT_FRAMES, len(unlike)) - 1]), least * KEPT_FACTOR + KEPT_SLACK)
    return [frame for frame, value in zip(frames, unlike.tolist(), strict=True) if value <= limit]


def rematch(
    ref_pictures: Iterable[Picture],
    clip_pictures: GivePictures,
    expected: Ints,
    num_clip: int,
    tr: int,
    metric: Metric,
    select: Select = "argmin",
    prune: bool = True,
    on_frame: Callable[[], None] = lambda: None,
) -> FrameMap:
    """Match every ref frame anew among the clip frames within ``tr`` of ``expected`` (N,), by ``metric``.

    ref_pictures: the N ref pictures in order. clip_pictures: gives clip pictures by number. Rows with ``expected`` -1 stay
    unmatched. select: "argmin", each ref frame alone, ties to the nearest of the expected frame, forward before backward; or
    "path", the least-cost path over the film. prune: leave out candidates that can't win (exact for a BoundedMetric, by their
    signatures' rank for all others). Memory holds 2 * tr + 1 clip pictures with their features, and with "path" the costs of
    the whole film. Costs are the metric's; confidence as in :func:`vsalign.metric.choose`, or by the path's margin.
    """

    def matched() -> Iterator[tuple[int, Picture]]:
        for n, picture in enumerate(ref_pictures):
            if expected[n] >= 0:
                yield n, picture
            on_frame()

    rows = compared_rows(matched(), clip_pictures, expected, num_clip, tr, metric, select, prune)
    return path_map(dict(rows), expected, num_clip, tr) if select == "path" else least_map(rows, len(expected))


def compared_rows(
    ref_pictures: Iterable[tuple[int, Picture]],
    clip_pictures: GivePictures,
    expected: Ints,
    num_clip: int,
    tr: int,
    metric: Metric,
    select: Select,
    prune: bool = True,
) -> Iterator[tuple[int, Row]]:
    """(ref frame, its row) for each of ``ref_pictures``, (ref frame, picture) of frames that have an ``expected`` one.

    A row is a pure function of its pictures: those of a part of the film are the same as those of the whole. With ``select``
    "argmin" a BoundedMetric's costs that can't matter are +inf. All else as for :func:`rematch`.
    """
    film = _Clip(clip_pictures, metric, 2 * tr + 1)
    pruned = prune and not (select == "path" and isinstance(metric, BoundedMetric))
    for n, picture in ref_pictures:
        yield n, film.row(picture, window(int(expected[n]), tr, num_clip), pruned)


class _Clip:
    """The clip's frames around the present one, each decoded and described once while it stays in reach."""

    def __init__(self, give: GivePictures, metric: Metric, width: int) -> None:
        self._give, self._metric, self._width = give, metric, width
        self._ranking = SignatureMetric()
        self._frames: OrderedDict[int, _Described] = OrderedDict()

    def row(self, ref: Picture, frames: Sequence[int], prune: bool) -> Row:
        """The frames compared with ``ref``, and their costs."""
        self._fetch(frames)
        own = _Described(ref, self._metric, self._ranking)
        if prune and len(frames) > KEPT_FRAMES and not isinstance(self._metric, BoundedMetric):
            unlike = self._ranking.costs([(own.signature, self._frames[f].signature) for f in frames])
            frames = kept_by_signature(frames, unlike)
        return frames, row_costs_of(self._metric, own.features, [self._frames[f].features for f in frames], prune)

    def _fetch(self, frames: Sequence[int]) -> None:
        missing = sorted(set(frames) - set(self._frames))
        for number in frames:
            if number in self._frames:
                self._frames.move_to_end(number)
        while self._frames and len(self._frames) + len(missing) > self._width:
            self._frames.popitem(last=False)
        for number, picture in self._give(missing):
            self._frames[number] = _Described(picture, self._metric, self._ranking)


class _Described:
    """What was worked out of a picture so far; the picture itself goes once nothing more can be asked of it."""

    def __init__(self, picture: Picture, metric: Metric, ranking: SignatureMetric) -> None:
        self._picture: Picture | None = picture
        self._metric, self._ranking = metric, ranking

    @cached_property
    def features(self) -> Any:
        assert self._picture is not None
        features = self._metric.features(self._picture)
        if isinstance(self._metric, BoundedMetric) or "signature" in self.__dict__:
            self._picture = None
        return features

    @cached_property
    def signature(self) -> Seen:
        assert self._picture is not None
        return self._ranking.features(self._picture)


def _map_of(choices: Sequence[Choice | None]) -> FrameMap:
    return FrameMap(
        np.array([UNMATCHED if c is None else c.clip_frame for c in choices], np.int64),
        np.array([1.0 if c is None else c.cost for c in choices], np.float32),
        np.array([0.0 if c is None else c.confidence for c in choices], np.float32),
        np.array([Source.UNMATCHED if c is None else Source.MATCH for c in choices], np.uint8),
    )


def least_map(rows: Iterable[tuple[int, Row]], num_ref: int) -> FrameMap:
    """Of each row, (ref frame, row) in any order, the frame of least cost (:func:`vsalign.metric.choose`); ref frames without a
    row are unmatched."""
    choices: list[Choice | None] = [None] * num_ref
    for n, (frames, costs) in rows:
        choices[n] = choose(frames, costs)
    return _map_of(choices)


def path_map(rows: Mapping[int, Row], expected: Ints, num_clip: int, tr: int) -> FrameMap:
    """The least-cost path through ``rows`` (by ref frame: candidates and their costs); ref frames without a row are unmatched.

    Candidates within the band that a row does not name count as its worst one. Confidence is 1 - exp(-margin / SURE_MARGIN),
    margin being how much worse the whole path gets when it must pass through another frame.
    """
    choices: list[Choice | None] = [None] * len(expected)
    numbers = np.array(sorted(rows), np.int64)
    if len(numbers) == 0:
        return _map_of(choices)
    centre = np.clip(expected[numbers], 0, num_clip - 1)
    first = centre - tr
    frames = first[:, None] + np.arange(2 * tr + 1)
    inside = (frames >= 0) & (frames < num_clip)
    costs = _band_costs((rows[n] for n in numbers.tolist()), first, inside)
    # A network's costs may go below 0; what a path adds up may not.
    lifted = costs - min(float(costs.min()), 0.0)
    scale = float(np.median(np.where(inside, lifted, 0.0).max(1))) or 1.0
    scaled = np.where(inside, lifted / scale, 1.0).astype(np.float32)
    match = row_costs(Band(first, scaled, np.ones(len(first), np.float32)), num_clip).match
    match[~inside] = _NEVER
    step = np.diff(centre, prepend=centre[0]).astype(np.float64)
    restart = (np.diff(numbers, prepend=-1) != 1) | (step < 0) | (step > _MOST_STEP)
    step[restart] = 1.0
    nothing_strange = np.zeros(len(first), np.float32)
    found = least_path(RowCosts(match, nothing_strange), first, step, restart, NO_GAPS)
    clip_frame = without_lone_detours(found, first, match.shape[1], step)
    margin = np.where(inside, found.margin, np.inf)
    margin[np.arange(len(first)), clip_frame - first] = np.inf
    sure = 1.0 - np.exp(-margin.min(1) / SURE_MARGIN)
    for k, n in enumerate(numbers.tolist()):
        cost = max(float(costs[k, clip_frame[k] - first[k]]), 0.0)
        choices[n] = Choice(int(clip_frame[k]), cost, float(sure[k]))
    return _map_of(choices)


def _band_costs(rows: Iterable[Row], first: Ints, inside: npt.NDArray[np.bool_]) -> Doubles:
    """(N,K) costs of clip frames first[i] + k: +inf where not ``inside`` the clip, the row's worst where it names no cost."""
    costs = np.full(inside.shape, np.inf)
    for line, (frames, values), start, within in zip(costs, rows, first.tolist(), inside, strict=True):
        finite = values[np.isfinite(values)]
        worst = finite.max() if len(finite) else 1.0
        line[within] = worst
        line[np.asarray(frames) - start] = np.where(np.isfinite(values), values, worst)
    return costs

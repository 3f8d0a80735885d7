"""Mean absolute difference of two pictures over all planes, and a lower bound of it that costs next to nothing.

The sum of absolute differences over a block is never less than the difference of the block's sums (triangle inequality), so
frames whose block sums alone differ by more than the second best frame does as a whole need no further look: the result is
that of the full search.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numba
import numpy as np
import numpy.typing as npt
from numba.extending import intrinsic, overload

from vsalign.picture import Picture, is_full_range

AnyPlane = npt.NDArray[Any]
Doubles = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

#: Edge of a block in samples: with 8 working out the bounds took longer than they saved, with 32 more frames were left over.
_EDGE = 16
#: Bounds are lowered by this share: both sides of the comparison are rounded sums.
_ROUNDING = 1e-6
#: A bound below this is no bound.
_NOTHING = 1e-9
#: Samples whose differences, of 16 bits each, add up in 31 bits.
_SPAN = 32768


@dataclass(frozen=True, eq=False)
class _Layout:
    """Where the samples and block sums of a picture lie, all planes one after the other.

    Block rows (R,) run through the planes: row r has the samples first_sample[r] to first_sample[r + 1], the sums
    first_sum[r] to first_sum[r + 1], and lies in a plane of which one sample is ``share[r]`` of the cost at full difference.
    """

    shapes: tuple[tuple[int, int], ...]
    first_sample: Ints
    first_sum: Ints
    share: Doubles


@lru_cache(maxsize=16)
def _layout(shapes: tuple[tuple[int, int], ...]) -> _Layout:
    samples, sums, share = [0], [0], []
    for height, width in shapes:
        for top in range(0, height, _EDGE):
            samples.append(samples[-1] + (min(top + _EDGE, height) - top) * width)
            sums.append(sums[-1] - (-width // _EDGE))
            share.append(1.0 / (len(shapes) * height * width))
    return _Layout(shapes, np.array(samples), np.array(sums), np.array(share))


@dataclass(frozen=True, eq=False)
class PlaneFeatures:
    """One picture: ``samples`` of all planes, ``sums`` of their blocks scaled so that differences add up to a cost; ``peak`` is
    the sample at full scale, ``limited`` whether black and white lie within it (never for floats)."""

    layout: _Layout
    samples: AnyPlane
    sums: Doubles
    peak: float
    limited: bool

    @cached_property
    def addresses(self) -> tuple[int, int]:
        """Where samples and sums lie in memory. Asking takes numpy longer than comparing, so it is asked once."""
        return self.samples.ctypes.data, self.sums.ctypes.data

    @cached_property
    def as_full_range(self) -> PlaneFeatures:
        """The same picture in floats, black 0 and white 1."""
        step, planes, at = (self.peak + 1) / 256, [], 0
        for index, (height, width) in enumerate(self.layout.shapes):
            codes = self.samples[at : at + height * width].reshape(height, width).astype(np.float32)
            at += codes.size
            zero, span = (16 * step, (224 if index else 219) * step) if self.limited else (0.0, self.peak)
            planes.append((codes - np.float32(zero)) / np.float32(span))
        return _features(planes, 1.0, False)


class PlaneStats:
    """Mean over all planes of their mean absolute difference, samples scaled to [0, 1]: 0 for equal pictures, at most 1 for
    integers. Pictures of the same size and format; where one is full range and the other limited, both are compared as full
    range."""

    def features(self, picture: Picture) -> PlaneFeatures:
        """A copy of ``picture``'s samples, and their block sums."""
        floats = picture.planes[0].dtype.kind == "f"
        peak = 1.0 if floats else float((1 << picture.format.bit_depth) - 1)
        return _features(picture.planes, peak, not floats and not is_full_range(picture))

    def costs(self, pairs: Sequence[tuple[PlaneFeatures, PlaneFeatures]]) -> Doubles:
        """(len(pairs),) costs of (ref, clip)."""
        return np.array([_cost(*_comparable(ref, clip)) for ref, clip in pairs], np.float64)

    def least_costs(self, ref: PlaneFeatures, candidates: Sequence[PlaneFeatures]) -> Doubles:
        """Costs of ``candidates``, +inf where a bound proves that one is neither the first of the least costs nor below the
        second least."""
        out = np.full(len(candidates), np.inf)
        if any(candidate.limited != ref.limited for candidate in candidates):
            ref, candidates = ref.as_full_range, [candidate.as_full_range for candidate in candidates]
        addresses = np.array([candidate.addresses for candidate in candidates], np.uintp)
        where = ref.layout
        place = (where.first_sample, where.first_sum, where.share)
        _search(ref.samples, ref.sums, addresses, *place, ref.peak, out)
        return out


def _features(planes: Sequence[AnyPlane], peak: float, limited: bool) -> PlaneFeatures:
    layout = _layout(tuple((plane.shape[0], plane.shape[1]) for plane in planes))
    samples, sums = np.empty(layout.first_sample[-1], planes[0].dtype), np.empty(layout.first_sum[-1])
    at = row = 0
    for plane in planes:
        own = samples[at : at + plane.size].reshape(plane.shape)
        np.copyto(own, plane)
        line = np.empty(plane.shape[1], np.float64 if plane.dtype.kind == "f" else np.int32)
        _block_sums(own, layout.share[row] / peak, line, sums[layout.first_sum[row] :])
        at, row = at + plane.size, row - (-plane.shape[0] // _EDGE)
    return PlaneFeatures(layout, samples, sums, peak, limited)


def _comparable(ref: PlaneFeatures, clip: PlaneFeatures) -> tuple[PlaneFeatures, PlaneFeatures]:
    return (ref, clip) if ref.limited == clip.limited else (ref.as_full_range, clip.as_full_range)


def _cost(ref: PlaneFeatures, clip: PlaneFeatures) -> float:
    where = ref.layout
    place = (where.first_sample, where.first_sum, where.share)
    return float(_difference(ref.samples, clip.samples, ref.sums, clip.sums, *place, ref.peak, np.inf))


@numba.njit(cache=True, nogil=True)
def _block_sums(plane, scale, line, out):  # type: ignore[no-untyped-def]
    height, width = plane.shape
    at = 0
    for top in range(0, height, _EDGE):
        line[:] = 0
        for y in range(top, min(top + _EDGE, height)):
            row = plane[y]
            for x in range(width):
                line[x] += row[x]
        for left in range(0, width, _EDGE):
            total = 0.0
            for x in range(left, min(left + _EDGE, width)):
                total += line[x]
            out[at] = total * scale
            at += 1


@numba.njit(cache=True, nogil=True, fastmath={"reassoc"})
def _sum_of_differences(one, other):  # type: ignore[no-untyped-def]
    total = 0.0
    for k in range(len(one)):
        total += abs(one[k] - other[k])
    return total


@numba.njit(cache=True, nogil=True)
def _lowered(bound):  # type: ignore[no-untyped-def]
    return bound * (1.0 - _ROUNDING) if bound > _NOTHING else 0.0  # 0 also for what is no number


@intrinsic
def _pointer(context, address):  # type: ignore[no-untyped-def]
    """An address as a pointer, for carray: an array of arrays that numba takes at once."""

    def inttoptr(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        return builder.inttoptr(arguments[0], context.get_value_type(numba.types.voidptr))

    return numba.types.voidptr(numba.types.uintp), inttoptr


@numba.njit(cache=True, nogil=True)
def _search(samples, sums, addresses, first_sample, first_sum, share, peak, out):  # type: ignore[no-untyped-def]
    """Into ``out`` (K,), which is +inf, the costs that matter; addresses (K,2): of the candidates' samples and sums."""
    bounds = np.empty(len(out))
    for k in range(len(out)):
        bounds[k] = _lowered(_sum_of_differences(sums, numba.carray(_pointer(addresses[k, 1]), sums.shape, sums.dtype)))
    least, first, second = np.inf, -1, np.inf
    for position in np.argsort(bounds, kind="mergesort"):
        k = int(position)
        # Bounds are lowered, so a cost equal to the second least has a bound below it, unless both are 0; among those the
        # preferred one comes first.
        if bounds[k] >= second:
            break
        other = numba.carray(_pointer(addresses[k, 0]), samples.shape, samples.dtype)
        other_sums = numba.carray(_pointer(addresses[k, 1]), sums.shape, sums.dtype)
        # The limit is a cost itself, whose sum may have been rounded otherwise.
        limit = second * (1.0 + 1e-12)
        cost = _difference(samples, other, sums, other_sums, first_sample, first_sum, share, peak, limit)
        out[k] = cost
        if cost < least or (cost == least and k < first):
            least, first, second = cost, k, least
        elif cost < second:
            second = cost


@numba.njit(cache=True, nogil=True)
def _difference(one, other, sums, other_sums, first_sample, first_sum, share, peak, limit):  # type: ignore[no-untyped-def]
    rows = len(share)
    rest = np.zeros(rows + 1)
    if limit < np.inf:
        for r in range(rows - 1, -1, -1):
            start, stop = first_sum[r], first_sum[r + 1]
            rest[r] = rest[r + 1] + _sum_of_differences(sums[start:stop], other_sums[start:stop])
    total = 0.0
    for r in range(rows):
        start, stop = first_sample[r], first_sample[r + 1]
        total += share[r] / peak * _span_difference(one[start:stop], other[start:stop])
        if total + _lowered(rest[r + 1]) > limit:
            return np.inf
    return total


def _span_difference(one: AnyPlane, other: AnyPlane) -> float:
    raise NotImplementedError


@overload(_span_difference, jit_options={"fastmath": {"reassoc"}})
def _span_difference_of(one, other):  # type: ignore[no-untyped-def]
    def of_integers(one, other):  # type: ignore[no-untyped-def]
        total = np.int64(0)
        for start in range(0, len(one), _SPAN):
            a, b = one[start : start + _SPAN], other[start : start + _SPAN]
            span = np.int32(0)
            for x in range(len(a)):
                apart = np.int32(np.int32(a[x]) - np.int32(b[x]))  # numba would widen it, and halve the speed
                span = np.int32(span + (apart if apart > 0 else np.int32(-apart)))
            total += span
        return np.float64(total)

    def of_floats(one, other):  # type: ignore[no-untyped-def]
        total = 0.0
        for x in range(len(one)):
            total += abs(np.float64(one[x]) - np.float64(other[x]))
        return total

    return of_integers if isinstance(one.dtype, numba.types.Integer) else of_floats

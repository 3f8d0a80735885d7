"""Fewer bits without bands: each code is rounded up or down by a fixed pattern, so that flat areas keep their mean.

Ordered dithering (Bayer, "An optimum method for two-level rendition of continuous-tone pictures", ICC 1973) with a blue-noise
pattern made by void and cluster (Ulichney, "The void-and-cluster method for dither array generation", SPIE 1913, 1993). The
pattern depends on a sample's place alone: it is the same in every frame and every chunk, so bytes repeat, and what does not
move does not flicker. Codes that the fewer bits can hold come out as they are.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from tasks.formats import planar_format
from vsalign.picture import Picture, Plane, SampleFormat

#: The pattern is SIZE x SIZE and repeats.
SIZE = 64
#: Ulichney's width of the Gaussian by which crowding is measured, in samples.
_SIGMA = 1.5
#: One part in how many is dotted before the ranks are given out.
_FIRST_DOTS = 10
#: Cb and Cr get the pattern moved by so much (rows, columns), or their grain would gather with luma's in the same places.
_MOVED = ((0, 0), (23, 41), (47, 11))


def in_depth(layout: SampleFormat, bit_depth: int) -> SampleFormat:
    """The same family and chroma resolution with ``bit_depth`` bits; FFmpeg need not know it."""
    stem = layout.name.removesuffix("le").rstrip("0123456789")
    return planar_format(stem if bit_depth == 8 else f"{stem}{bit_depth}le")


def lowered(picture: Picture, layout: SampleFormat, full_range: bool) -> Picture:
    """``picture`` in ``layout``, which is the same family and chroma resolution in fewer bits: means are kept, nothing bands.

    Limited range loses its lowest bits (times 1/4 from 10 to 8); in full range white stays white.
    """
    old, new = picture.format.bit_depth, layout.bit_depth
    same_dots = layout.family == "rgb"  # gray stays gray
    planes = []
    for number, plane in enumerate(picture.planes):
        moved = _MOVED[0] if same_dots else _MOVED[number]
        if not full_range:
            planes.append(_shifted(plane, old, new, moved))
        else:
            middle = number > 0 and layout.family == "yuv"
            planes.append(_scaled(plane, old, new, moved, middle))
    return Picture(tuple(planes), layout, picture.colour)


def _shifted(plane: Plane, old: int, new: int, moved: tuple[int, int]) -> Plane:
    """(code + d) >> bits with d evenly spread over [0, 2^bits): the mean of the result is code / 2^bits exactly."""
    bits = old - new
    spread = (ranks().astype(np.uint32) << bits) >> 12
    raised = plane.astype(np.uint32) + _laid(spread, plane, moved)
    return _codes(np.minimum(raised >> bits, (1 << new) - 1), new)


def _scaled(plane: Plane, old: int, new: int, moved: tuple[int, int], has_middle: bool) -> Plane:
    """The same where white is the highest code of either depth; chroma is scaled about its middle."""
    zero, new_zero = (1 << (old - 1), 1 << (new - 1)) if has_middle else (0, 0)
    factor = ((1 << new) - 1) / ((1 << old) - 1)
    every = (np.arange(1 << old, dtype=np.float64) - zero) * factor + new_zero
    # up to rounding these are whole where both depths have the colour: no dot may fall there
    every = np.round(every * 4096) / 4096
    exact = np.dtype(np.float32 if new <= 10 else np.float64)
    spread = ((ranks() + 0.5) / (SIZE * SIZE)).astype(exact)
    raised = np.floor(every.astype(exact)[plane] + _laid(spread, plane, moved))
    return _codes(np.clip(raised, 0, (1 << new) - 1), new)


def _codes(values: npt.NDArray[np.uint32] | npt.NDArray[np.floating], depth: int) -> Plane:
    return values.astype(np.uint8) if depth <= 8 else values.astype(np.uint16)


def _laid[T: np.generic](pattern: npt.NDArray[T], plane: Plane, moved: tuple[int, int]) -> npt.NDArray[T]:
    height, width = plane.shape
    tile = np.roll(pattern, moved, (0, 1))
    return np.tile(tile, (-(-height // SIZE), -(-width // SIZE)))[:height, :width]


@lru_cache(maxsize=1)
def ranks() -> npt.NDArray[np.uint16]:
    """The pattern (SIZE, SIZE): each number from 0 to SIZE * SIZE - 1 once, so placed that the places of all numbers below any
    limit are spread evenly. Made of whole numbers alone, so that every machine makes the same.
    """
    crowd = _crowding()
    dots = _even_dots(crowd)
    found = np.zeros(SIZE * SIZE, np.uint16)
    first = int(dots.sum())
    # from the first dots down: the most crowded one goes
    left, crowded = dots.copy(), _total(dots, crowd)
    for rank in range(first - 1, -1, -1):
        at = _tightest(left, crowded)
        left[at] = False
        crowded -= _around(crowd, at)
        found[at] = rank
    # and up: the emptiest place is next
    crowded = _total(dots, crowd)
    for rank in range(first, SIZE * SIZE):
        at = _emptiest(dots, crowded)
        dots[at] = True
        crowded += _around(crowd, at)
        found[at] = rank
    found.setflags(write=False)
    return found.reshape(SIZE, SIZE)


def _crowding() -> npt.NDArray[np.int64]:
    """What a dot at (0, 0) adds to the crowding of every place, the pattern taken to repeat."""
    away = np.minimum(np.arange(SIZE), SIZE - np.arange(SIZE)).astype(np.float64)
    square = away[:, None] ** 2 + away[None, :] ** 2
    return np.rint(np.exp(-square / (2 * _SIGMA**2)) * (1 << 30)).astype(np.int64)


def _around(crowd: npt.NDArray[np.int64], at: int) -> npt.NDArray[np.int64]:
    return np.roll(crowd, divmod(at, SIZE), (0, 1)).ravel()


def _total(dots: npt.NDArray[np.bool_], crowd: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    total = np.zeros(SIZE * SIZE, np.int64)
    for at in np.flatnonzero(dots):
        total += _around(crowd, int(at))
    return total


def _tightest(dots: npt.NDArray[np.bool_], crowded: npt.NDArray[np.int64]) -> int:
    return int(np.where(dots, crowded, -1).argmax())


def _emptiest(dots: npt.NDArray[np.bool_], crowded: npt.NDArray[np.int64]) -> int:
    return int(np.where(dots, np.iinfo(np.int64).max, crowded).argmin())


def _even_dots(crowd: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """The first dots, moved from the most crowded place to the emptiest until that changes nothing."""
    dots = np.zeros(SIZE * SIZE, np.bool_)
    # multiples of an odd number visit every place once, in no order that shows
    dots[(np.arange(SIZE * SIZE // _FIRST_DOTS) * 2731 + 977) % (SIZE * SIZE)] = True
    crowded = _total(dots, crowd)
    while True:
        out = _tightest(dots, crowded)
        dots[out] = False
        crowded -= _around(crowd, out)
        into = _emptiest(dots, crowded)
        dots[into] = True
        crowded += _around(crowd, into)
        if into == out:
            return dots

"""Pictures turned by multiples of 90 degrees: the clip's are brought to how the ref's are stored, so that whoever compares,
warps or encodes sees both alike. Samples move and are never mixed, with one exception (:func:`turned`)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from types import TracebackType
from typing import Protocol, Self

import numpy as np
import numpy.typing as npt

from tasks.damage import Replaced
from tasks.formats import planar_format
from tasks.messages import MediaInfo, Probe
from vsalign.errors import InputError
from vsalign.frames import FrameRange
from vsalign.picture import CHROMA_LEFT, ColourTags, Picture, Plane, SampleFormat

#: Where the first chroma sample lies among the luma samples it stands for, (across, down) in halves of their distance.
_SITES = {1: (0, 1), 2: (1, 1), 3: (0, 0), 4: (1, 0), 5: (0, 2), 6: (1, 2)}
_NUMBERS = {site: number for number, site in _SITES.items()}
_RIGHT = 2
_SUBSAMPLINGS = {"422": "440", "440": "422"}
_DEPTHS_OF_440 = (8, 10, 12)


class Reader(Protocol):
    """Frames of one source by number, as :class:`tasks.decode.FrameReader` gives them."""

    def __enter__(self) -> Self: ...
    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None: ...
    @property
    def replaced(self) -> Mapping[int, Replaced]: ...
    def close(self) -> None: ...
    def pictures(self, wanted: Iterable[int]) -> Iterator[tuple[int, Picture]]: ...
    def thumbs(self, frames: FrameRange, width: int, height: int) -> Iterator[tuple[int, npt.NDArray[np.uint8]]]: ...


class TurnedReader:
    """What ``reader`` gives, turned clockwise by ``degrees``."""

    def __init__(self, reader: Reader, degrees: int) -> None:
        self._reader, self._degrees = reader, degrees

    def __enter__(self) -> Self:
        self._reader.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._reader.__exit__(kind, error, trace)

    @property
    def replaced(self) -> Mapping[int, Replaced]:
        return self._reader.replaced

    def close(self) -> None:
        self._reader.close()

    def pictures(self, wanted: Iterable[int]) -> Iterator[tuple[int, Picture]]:
        return ((frame, turned(picture, self._degrees)) for frame, picture in self._reader.pictures(wanted))

    def thumbs(self, frames: FrameRange, width: int, height: int) -> Iterator[tuple[int, npt.NDArray[np.uint8]]]:
        size = (height, width) if self._degrees % 180 else (width, height)
        for frame, thumb in self._reader.thumbs(frames, *size):
            yield frame, np.ascontiguousarray(_turned_plane(thumb, self._degrees))


def turned_to(found: Probe, rotation_degrees: int) -> Probe:
    """A film stored as one that its player turns by ``rotation_degrees`` clockwise: itself where both are turned alike.

    Raises InputError where its pixel format has no turned counterpart.
    """
    degrees = (found.info.rotation_degrees - rotation_degrees) % 360
    if not degrees:
        return found
    stored = as_stored(found).info
    degrees = (found.info.turned_degrees + degrees) % 360
    info = replace(_turned_info(stored, degrees), turned_degrees=degrees, rotation_degrees=rotation_degrees)
    return replace(found, info=replace(info, stored_chroma_location=stored.colour.chroma_location if degrees else 0))


def as_stored(found: Probe) -> Probe:
    """The film as it lies in its file: what :func:`turned_to` began with."""
    if not found.info.turned_degrees:
        return found
    info = _turned_info(found.info, -found.info.turned_degrees % 360)
    colour = replace(info.colour, chroma_location=info.stored_chroma_location)
    return replace(found, info=replace(info, colour=colour, turned_degrees=0, stored_chroma_location=0))


def turned(picture: Picture, degrees: int) -> Picture:
    """``picture`` turned clockwise by 0, 90, 180 or 270 degrees.

    Every sample keeps its value, but for chroma that would come to lie on the right of its luma samples, where no tag can say
    so: it moves one luma sample to the left, as the mean of two neighbours.
    """
    if not degrees:
        return picture
    planes = [np.ascontiguousarray(_turned_plane(plane, degrees)) for plane in picture.planes]
    across, _ = _turned_site(picture.colour, picture.format, picture.width, picture.height, degrees)
    if across == _RIGHT and picture.format.num_planes > 1:
        planes[1:] = [_moved_left(plane) for plane in planes[1:]]
    colour = _turned_colour(picture.colour, picture.format, picture.width, picture.height, degrees)
    return Picture(tuple(planes), _turned_format(picture.format, degrees), colour)


def _turned_plane[T: np.generic](plane: npt.NDArray[T], degrees: int) -> npt.NDArray[T]:
    return np.rot90(plane, -degrees // 90)


def _moved_left(chroma: Plane) -> Plane:
    before = np.concatenate([chroma[:, :1], chroma[:, :-1]], axis=1)
    mean = (chroma.astype(np.uint32) + before + 1) >> 1
    return np.asarray(mean, dtype=np.uint8) if chroma.dtype == np.uint8 else np.asarray(mean, dtype=np.uint16)


def _turned_info(info: MediaInfo, degrees: int) -> MediaInfo:
    if not degrees:
        return info
    layout = planar_format(info.pixel_format)
    turned_layout = _turned_format(layout, degrees)
    swapped = degrees % 180 != 0
    return replace(
        info,
        width=info.height if swapped else info.width,
        height=info.width if swapped else info.height,
        sample_aspect_ratio=1 / info.sample_aspect_ratio if swapped else info.sample_aspect_ratio,
        pixel_format=info.pixel_format if turned_layout == layout else turned_layout.name,
        colour=_turned_colour(info.colour, layout, info.width, info.height, degrees),
    )


def _turned_format(layout: SampleFormat, degrees: int) -> SampleFormat:
    if degrees % 180 == 0 or layout.log2_chroma_w == layout.log2_chroma_h:
        return layout
    for old, new in _SUBSAMPLINGS.items():
        if old in layout.name and layout.bit_depth in _DEPTHS_OF_440:
            return planar_format(layout.name.replace(old, new))
    raise InputError(
        f"pixel format {layout.name} cannot be turned by {degrees} degrees; accepted: 4:2:0, 4:4:4, 4:2:2 of 8, 10 or 12 bits"
    )


def _turned_colour(colour: ColourTags, layout: SampleFormat, width: int, height: int, degrees: int) -> ColourTags:
    """Chroma that lay on the left comes to lie above, and so on."""
    across, down = _turned_site(colour, layout, width, height, degrees)
    site = (0 if across == _RIGHT else across, down)
    return colour if site == _site(colour, layout) else replace(colour, chroma_location=_NUMBERS[site])


def _site(colour: ColourTags, layout: SampleFormat) -> tuple[int, int]:
    """Where chroma lies; as the default has it along an axis where all samples have their own."""
    across, down = _SITES.get(colour.chroma_location, _SITES[CHROMA_LEFT])
    return (across if layout.log2_chroma_w else 0), (down if layout.log2_chroma_h else 1)


def _turned_site(colour: ColourTags, layout: SampleFormat, width: int, height: int, degrees: int) -> tuple[int, int]:
    across, down = _site(colour, layout)
    # Seen from the other end. In a picture of odd size the first sample is then the last one: where that lies between luma
    # samples no tag is true, and it counts as lying on one.
    from_right, from_below = (0 if width % 2 else 2 - across), (0 if height % 2 else 2 - down)
    across, down = {90: (from_below, across), 180: (from_right, from_below), 270: (down, from_right)}[degrees]
    swapped = degrees % 180 != 0
    subsampled = (layout.log2_chroma_w, layout.log2_chroma_h)[:: -1 if swapped else 1]
    return (across if subsampled[0] else 0), (down if subsampled[1] else 1)

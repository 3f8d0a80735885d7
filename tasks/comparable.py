"""Pictures that a metric can compare: clip and ref in one size and format, lying on each other, and only what both show.

The clip's are laid onto the ref by the film's constant misalignment; ref's geometry, format, matrix and range are kept.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch

from tasks.convert import Coding, coding_of
from tasks.encode import converted
from tasks.formats import planar_format
from tasks.messages import MediaInfo
from vsalign.picture import ColourTags, Picture, Plane, SampleFormat
from vsalign.planes import warp_picture
from vsalign.transfer import is_hdr, sdr_picture
from vsalign.warp import Warp, affine_warp, positions_inside, scale_positions

#: A misalignment of less, in clip pixels, is not worth a resampling: the metric sees the clip's own samples.
_NEGLIGIBLE = 0.25
#: Where both films share less of ref's width or height, ref's whole picture is compared: that geometry is not to be trusted.
_LEAST_SHARED = 0.3

Box = tuple[int, int, int, int]


class Comparable:
    """Makes pictures of both films comparable; a pure function of the films' descriptions and ``film_geometry``, six numbers as
    ``vsalign.warp.affine_warp`` takes them, so that all chunks of a film compare the same."""

    def __init__(self, clip: MediaInfo, ref: MediaInfo, film_geometry: tuple[float, ...], device: str = "cpu") -> None:
        self._format = planar_format(ref.pixel_format)
        self._size = (ref.height, ref.width)
        self._coding = coding_of(ref.colour, self._format, ref.height)
        # By what the stream says, not by a frame's own tags.
        self._colour = _told(ref.colour, self._format, self._coding)
        # Metrics subtract levels, which PQ, HLG and SDR code each in its own way.
        self._bends = _hdr_kind(clip) != _hdr_kind(ref)
        warp = _film_warp(film_geometry, (clip.height, clip.width), self._size, device)
        self._box: Box = (0, 0, *self._size)
        if warp is not None:
            inside = positions_inside(warp.clip_from_ref, (clip.height, clip.width))[0, 0].cpu().numpy()
            self._box = shared_box(inside, 1 << self._format.log2_chroma_w, 1 << self._format.log2_chroma_h)
            top, left, bottom, right = self._box
            warp = Warp(*(t[..., top:bottom, left:right].contiguous() for t in (warp.clip_from_ref, warp.confidence)))
        self._warp = warp

    def of_clip(self, picture: Picture) -> Picture:
        """A clip picture as the ref would show it, no more than both show; the very samples where nothing differs."""
        top, left, bottom, right = self._box
        with torch.inference_mode():
            moved = warp_picture(picture, self._warp, right - left, bottom - top)
        if self._bends:
            moved = sdr_picture(moved)
        have = coding_of(moved.colour, moved.format, self._size[0])
        if moved.format.name == self._format.name and have == self._coding:
            return moved
        told = replace(moved, colour=_told(moved.colour, moved.format, have))
        return converted(told, self._format.name, self._colour, dithered=False)

    def of_ref(self, picture: Picture) -> Picture:
        """The part of a ref picture that both show."""
        top, left, bottom, right = self._box
        if self._bends:
            picture = sdr_picture(picture)
        if (bottom - top, right - left) == self._size:
            return picture
        planes: list[Plane] = []
        for index, plane in enumerate(picture.planes):
            chroma = picture.format.family == "yuv" and index in (1, 2)
            down, across = (picture.format.log2_chroma_h, picture.format.log2_chroma_w) if chroma else (0, 0)
            part = plane[top >> down : -(-bottom >> down), left >> across : -(-right >> across)]
            planes.append(part.copy())
        return Picture(tuple(planes), picture.format, picture.colour)


def shared_box(inside: npt.NDArray[np.bool_], step_x: int, step_y: int) -> Box:
    """(top, left, bottom, right) of a box, half open, of which all lies ``inside`` (H,W): whatever edge has most outside goes.

    Its corners lie at multiples of ``step_x`` and ``step_y`` or at the picture's own ends. The whole picture where less than
    _LEAST_SHARED of its width or height is left.
    """
    height, width = inside.shape
    top, left, bottom, right = 0, 0, height, width
    while bottom > top and right > left:
        part = inside[top:bottom, left:right]
        outside = [1.0 - float(edge.mean()) for edge in (part[0], part[-1], part[:, 0], part[:, -1])]
        worst = int(np.argmax(outside))
        if outside[worst] == 0:
            break
        top, bottom = top + (worst == 0), bottom - (worst == 1)
        left, right = left + (worst == 2), right - (worst == 3)
    top, left = -(-top // step_y) * step_y, -(-left // step_x) * step_x
    bottom = bottom if bottom == height else bottom // step_y * step_y
    right = right if right == width else right // step_x * step_x
    if bottom - top < _LEAST_SHARED * height or right - left < _LEAST_SHARED * width:
        return 0, 0, height, width
    return top, left, bottom, right


def _hdr_kind(info: MediaInfo) -> int:
    return info.colour.transfer if is_hdr(info.colour.transfer) else 0


def _film_warp(
    film_geometry: tuple[float, ...], clip_size: tuple[int, int], ref_size: tuple[int, int], device: str
) -> Warp | None:
    """The film's misalignment as a warp; None where it is no more than a change of size. Sizes are (height, width)."""
    warp = affine_warp(film_geometry, clip_size, ref_size, device)
    moved = warp.clip_from_ref - scale_positions(clip_size, ref_size, warp.clip_from_ref.device)
    return warp if float(moved.abs().max()) >= _NEGLIGIBLE else None


def _told(colour: ColourTags, layout: SampleFormat, coding: Coding) -> ColourTags:
    """``colour`` with its matrix named: without a tag it hangs on the picture's height, which a part of it does not have."""
    return replace(colour, matrix=coding.matrix) if layout.family == "yuv" else colour

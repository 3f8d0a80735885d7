"""Where clip and ref do not show the same thing: the output shows the ref, black or white there, with a soft edge."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch.nn.functional as F
from torch import Tensor

from tasks.encode import converted
from tasks.messages import MismatchShow
from vsalign.picture import Picture, Plane, black_picture, is_full_range

#: Ref pixels: what does not match is covered whole, and so far around it; over as many again the cover fades.
_EDGE = 2

Cover = npt.NDArray[np.float32]


def cover_of(mismatched: Tensor) -> Cover:
    """How far to paint (H,W) in [0,1] for ``mismatched`` (1,1,H,W) bool: 1 on all of it, 0 from a few pixels around it on."""
    size, flag = 2 * _EDGE + 1, mismatched.float()
    grown = F.max_pool2d(flag, size, stride=1, padding=_EDGE)
    soft = F.avg_pool2d(grown, size, stride=1, padding=_EDGE, count_include_pad=False)
    return np.asarray(soft[0, 0].cpu().numpy(), dtype=np.float32)


def painted(picture: Picture, ref: Picture, cover: Cover, show: MismatchShow) -> Picture:
    """``picture`` with what ``show`` names laid over it by ``cover``, each plane at its own resolution.

    ``ref`` (of the same size) is brought to the picture's format, matrix and range. "keep" paints nothing.
    """
    if show == "keep":
        return picture
    if show == "ref":
        paint = converted(ref, picture.format.name, picture.colour)
    else:
        paint = black_picture(picture, picture.width, picture.height)
        paint = paint if show == "black" else _whitened(paint)
    planes = tuple(
        _blended(plane, over, _at_plane(cover, picture, index))
        for index, (plane, over) in enumerate(zip(picture.planes, paint.planes, strict=True))
    )
    return Picture(planes, picture.format, picture.colour)


def _whitened(black: Picture) -> Picture:
    """White in the format and range of ``black``: chroma is the same."""
    depth, full = black.format.bit_depth, is_full_range(black)
    code = (1 << depth) - 1 if full else 235 << (depth - 8)
    planes = tuple(
        plane if black.format.family == "yuv" and index else np.full_like(plane, code)
        for index, plane in enumerate(black.planes)
    )
    return Picture(planes, black.format, black.colour)


def _at_plane(cover: Cover, picture: Picture, index: int) -> Cover:
    """The mean of ``cover`` over the luma samples of each sample of a plane."""
    if picture.format.family != "yuv" or index == 0:
        return cover
    step_x, step_y = 1 << picture.format.log2_chroma_w, 1 << picture.format.log2_chroma_h
    height, width = cover.shape
    whole = np.pad(cover, ((0, -height % step_y), (0, -width % step_x)), mode="edge")
    blocks = whole.reshape(whole.shape[0] // step_y, step_y, whole.shape[1] // step_x, step_x)
    return np.asarray(blocks.mean(axis=(1, 3)), dtype=np.float32)


def _blended(plane: Plane, over: Plane, cover: Cover) -> Plane:
    mixed = np.rint(plane + (over.astype(np.float32) - plane) * cover)
    return mixed.astype(np.uint8) if plane.dtype == np.uint8 else mixed.astype(np.uint16)

"""The warp on a decoded picture: once, on every plane in its own sample format, chroma where it really lies."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from vsalign.picture import (
    CHROMA_CENTER,
    CHROMA_LEFT,
    CHROMA_TOP,
    CHROMA_TOPLEFT,
    CHROMA_UNSPECIFIED,
    Picture,
    Plane,
)
from vsalign.upload import upload
from vsalign.warp import Warp, sampled_tiles, scale_positions

#: A plane of any sample format: codes, or floats that have no range to be held in.
AnyPlane = Plane | npt.NDArray[np.float16] | npt.NDArray[np.float32]

_CHROMA_BOTTOMLEFT, _CHROMA_BOTTOM = 5, 6
#: Where the first chroma sample lies among the luma samples it stands for: (across, down), 0 = the first, 1 = the last of them.
_SITING = {
    CHROMA_UNSPECIFIED: (0.0, 0.5),  # MPEG-2 and later, unless the stream says otherwise
    CHROMA_LEFT: (0.0, 0.5),
    CHROMA_CENTER: (0.5, 0.5),
    CHROMA_TOPLEFT: (0.0, 0.0),
    CHROMA_TOP: (0.5, 0.0),
    _CHROMA_BOTTOMLEFT: (0.0, 1.0),
    _CHROMA_BOTTOM: (0.5, 1.0),
}


def warp_picture(picture: Picture, warp: Warp | None, width: int, height: int, tile_rows: int = 0) -> Picture:
    """Move ``picture`` onto a ref of ``width`` x ``height`` luma samples with one resampling per plane.

    ``warp`` (batch of one, sized height x width) says where each ref luma sample lies among the picture's luma samples; None
    only changes the size, pixel-centred. The result has the picture's format, bit depth, tags and chroma siting (untagged:
    left), rounded to nearest and within the code range; colour and gamma are not touched, and a warp that moves nothing returns
    the very samples. ``tile_rows`` rows of a plane are resampled at once (0: all), which changes no sample. Raises ValueError
    when the warp's size or batch is another. Sampling: see :func:`vsalign.warp.apply_warp`.
    """
    if warp is None:
        if (width, height) == (picture.width, picture.height):
            return picture
        positions = scale_positions((picture.height, picture.width), (height, width))[0]
    else:
        seen = tuple(warp.clip_from_ref.shape)
        if seen != (1, 2, height, width):
            raise ValueError(f"warp has shape {seen}, expected {(1, 2, height, width)} for a ref of {width}x{height}")
        positions = warp.clip_from_ref[0]
    planes = tuple(_warp_plane(picture, index, positions, tile_rows) for index in range(picture.format.num_planes))
    return Picture(planes, picture.format, picture.colour)


def _warp_plane(picture: Picture, index: int, luma_positions: Tensor, tile_rows: int) -> Plane:
    plane, format = picture.planes[index], picture.format
    positions = luma_positions
    if format.family == "yuv" and index in (1, 2):
        shifts = format.log2_chroma_w, format.log2_chroma_h
        positions = chroma_positions(luma_positions, shifts, picture.colour.chroma_location)
    dtype = np.dtype(np.uint8 if plane.dtype == np.uint8 else np.uint16)
    bands = [band.astype(dtype) for band in _moved_bands(plane, positions, (1 << format.bit_depth) - 1, tile_rows)]
    return np.concatenate(bands) if len(bands) > 1 else bands[0]


def warp_plane(plane: AnyPlane, positions: Tensor, peak: int | None = None) -> npt.NDArray[np.float32]:
    """``plane`` (h,w) at ``positions`` (2,H,W) in its own samples, on their device -> (H,W), whole and in [0, peak] if given.

    Without ``peak`` the samples are floats that may lie anywhere: super-white and negative chroma stay as they are.
    """
    return next(_moved_bands(plane, positions, peak, 0))


def _moved_bands(plane: AnyPlane, positions: Tensor, peak: int | None, tile_rows: int) -> Iterator[npt.NDArray[np.float32]]:
    """What :func:`warp_plane` gives, in bands of ``tile_rows`` rows (0: whole)."""
    # In its own sample type, a quarter or half of the floats' bytes.
    image = upload(plane, positions.device).float()[None]
    for moved in sampled_tiles(image, positions, tile_rows):
        yield (moved[0] if peak is None else moved[0].round().clamp(0, peak)).cpu().numpy()


def chroma_positions(luma_positions: Tensor, shifts: tuple[int, int], location: int) -> Tensor:
    """Positions (2,h,w) in chroma samples for each chroma sample of the output.

    ``luma_positions`` (2,H,W) are those of the luma samples; ``shifts`` the subsampling (log2 across, log2 down), the same on
    both sides; ``location`` FFmpeg's number of where chroma lies.
    """
    step_x, step_y = 1 << shifts[0], 1 << shifts[1]
    if step_x == step_y == 1:
        return luma_positions
    height, width = luma_positions.shape[-2:]
    columns, rows = -(-width // step_x), -(-height // step_y)
    across, down = _SITING.get(location, _SITING[CHROMA_UNSPECIFIED])
    offset_x, offset_y = across * (step_x - 1), down * (step_y - 1)
    at_rows = _interpolate(luma_positions, rows, step_y, offset_y, dim=1)
    at_samples = _interpolate(at_rows, columns, step_x, offset_x, dim=2)
    return torch.stack([(at_samples[0] - offset_x) / step_x, (at_samples[1] - offset_y) / step_y])


def chroma_at_luma(size: tuple[int, int], shifts: tuple[int, int], location: int, device: torch.device) -> Tensor:
    """Where each luma sample of a picture of ``size`` (height, width) lies among its own chroma samples: (2,height,width).

    ``shifts`` and ``location`` as in :func:`chroma_positions`.
    """
    siting = _SITING.get(location, _SITING[CHROMA_UNSPECIFIED])
    x, y = (
        (torch.arange(size[1 - axis], dtype=torch.float32, device=device) - siting[axis] * ((1 << shifts[axis]) - 1))
        / (1 << shifts[axis])
        for axis in (0, 1)
    )
    return torch.stack([x[None, :].expand(size), y[:, None].expand(size)])


def _interpolate(field: Tensor, count: int, step: int, offset: float, dim: int) -> Tensor:
    """``field`` at positions ``offset, offset + step, ...`` (``count`` of them) along ``dim``, linear, continued past its
    ends."""
    if step == 1:
        return field
    length = field.shape[dim]
    where = torch.arange(count, dtype=torch.float32, device=field.device) * step + offset
    first = where.floor().clamp(0, max(0, length - 2))
    fraction = (where - first).view(-1, 1) if dim == 1 else where - first
    low = field.index_select(dim, first.long())
    high = field.index_select(dim, (first.long() + 1).clamp_max(length - 1))
    return low + (high - low) * fraction

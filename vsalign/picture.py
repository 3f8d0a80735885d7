"""One decoded picture as planar arrays in its own sample format, and what its samples mean.

Nothing here converts colour: the warp works on the planes as they are, and ``luma`` is what sync and align look at.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Plane = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]

#: FFmpeg's numbers (AVColorSpace, AVColorRange, AVChromaLocation) that change how samples are read.
MATRIX_BT709, MATRIX_UNSPECIFIED, MATRIX_BT601 = 1, 2, 6
RANGE_LIMITED, RANGE_FULL = 1, 2
#: From this many lines on players read untagged YUV as BT.709, below as BT.601.
HD_LINES = 720
#: Matrix -> the weights of red and blue in luma. Matrices outside this table are never converted.
LUMA_WEIGHTS = {
    MATRIX_BT709: (0.2126, 0.0722),
    4: (0.30, 0.11),
    5: (0.299, 0.114),
    MATRIX_BT601: (0.299, 0.114),
    7: (0.212, 0.087),
    9: (0.2627, 0.0593),
    10: (0.2627, 0.0593),
}
CHROMA_UNSPECIFIED, CHROMA_LEFT, CHROMA_CENTER, CHROMA_TOPLEFT, CHROMA_TOP = 0, 1, 2, 3, 4


@dataclass(frozen=True, slots=True)
class SampleFormat:
    """How the planes of a picture are laid out.

    ``name`` is FFmpeg's planar pixel format (yuv420p10le, gray, gbrp16le ...); ``family`` is "yuv", "gray" or "rgb" (planes in
    FFmpeg's order G, B, R); ``log2_chroma_w`` and ``log2_chroma_h`` are the chroma subsampling shifts (0 unless yuv).
    """

    name: str
    family: str
    bit_depth: int
    num_planes: int
    log2_chroma_w: int = 0
    log2_chroma_h: int = 0

    def plane_size(self, plane: int, width: int, height: int) -> tuple[int, int]:
        """(width, height) in samples of ``plane`` in a ``width`` x ``height`` picture; odd sizes round up, as in FFmpeg."""
        if plane == 0 or self.family != "yuv":
            return width, height
        return -(-width >> self.log2_chroma_w), -(-height >> self.log2_chroma_h)


@dataclass(frozen=True, slots=True)
class ColourTags:
    """FFmpeg's colour numbers as the stream carries them (2, or 0 for range and chroma location, mean unspecified)."""

    primaries: int = 2
    transfer: int = 2
    matrix: int = 2
    range: int = 0
    chroma_location: int = 0


@dataclass(frozen=True, slots=True)
class Picture:
    """Planes (h, w), uint8 up to 8 bit, uint16 (LSB aligned) above, with the meaning of their samples."""

    planes: tuple[Plane, ...]
    format: SampleFormat
    colour: ColourTags = ColourTags()

    def __post_init__(self) -> None:
        if len(self.planes) != self.format.num_planes:
            raise ValueError(f"{self.format.name} has {self.format.num_planes} planes, got {len(self.planes)}")

    @property
    def width(self) -> int:
        return int(self.planes[0].shape[1])

    @property
    def height(self) -> int:
        return int(self.planes[0].shape[0])

    def __repr__(self) -> str:
        return f"Picture({self.width}x{self.height} {self.format.name})"


def is_full_range(picture: Picture) -> bool:
    """RGB and pictures tagged full range use all codes; untagged YUV and gray are limited, as FFmpeg assumes."""
    return picture.format.family == "rgb" or picture.colour.range == RANGE_FULL or picture.format.name.startswith("yuvj")


def luma(picture: Picture) -> npt.NDArray[np.float32]:
    """Luma (h, w) as float32, black 0 and white 1, range respected; may leave [0, 1] where the samples do."""
    peak = float((1 << picture.format.bit_depth) - 1)
    if picture.format.family == "rgb":
        green, blue, red = (p.astype(np.float32) for p in picture.planes[:3])
        return np.asarray((0.2126 * red + 0.7152 * green + 0.0722 * blue) / peak, dtype=np.float32)
    samples = picture.planes[0].astype(np.float32)
    if is_full_range(picture):
        return np.asarray(samples / peak, dtype=np.float32)
    step = float(1 << (picture.format.bit_depth - 8))
    return np.asarray((samples - 16 * step) / (219 * step), dtype=np.float32)


def black_sample(format: SampleFormat, full_range: bool, plane: int) -> int:
    """The code of black in ``plane``: limited luma 16, chroma the middle, all else 0, scaled to the bit depth."""
    if format.family == "yuv" and plane in (1, 2):
        return 1 << (format.bit_depth - 1)
    return 0 if full_range or format.family == "rgb" else 16 << (format.bit_depth - 8)


def usual_matrix(lines: int) -> int:
    """The matrix of an untagged YUV picture, by its height, as players take it."""
    return MATRIX_BT709 if lines >= HD_LINES else MATRIX_BT601


def black_picture(like: Picture, width: int, height: int) -> Picture:
    """A black picture of the given size in the format and range of ``like``."""
    full = is_full_range(like)
    planes = []
    for i, plane in enumerate(like.planes):
        w, h = like.format.plane_size(i, width, height)
        planes.append(np.full((h, w), black_sample(like.format, full, i), dtype=plane.dtype))
    return Picture(tuple(planes), like.format, like.colour)

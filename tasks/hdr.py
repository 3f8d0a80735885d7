"""What a film says of its mastering display and its brightness (SMPTE ST 2086, CTA-861.3), beside its colour tags. Pure."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from fractions import Fraction

#: x and y on the CIE 1931 diagram.
Chromaticity = tuple[Fraction, Fraction]

HDR10_PLUS, HDR_VIVID, DOLBY_VISION = "HDR10+", "HDR Vivid", "Dolby Vision"
#: Its picture is coded as nothing but a Dolby Vision player reads it: there is no HDR10 picture below.
DOLBY_VISION_ALONE = "Dolby Vision profile 5"

#: Steps in which ST 2086 counts: chromaticity, and luminance in cd/m2.
_POINT_STEP, _LUMINANCE_STEP = 50000, 10000


@dataclass(frozen=True, slots=True)
class Mastering:
    """The mastering display (ST 2086): red, green and blue primaries, white point; luminance in cd/m2."""

    red: Chromaticity
    green: Chromaticity
    blue: Chromaticity
    white: Chromaticity
    min_luminance: Fraction
    max_luminance: Fraction

    def steps(self) -> tuple[int, ...]:
        """Ten whole numbers as ST 2086 and H.265 count: x and y of red, green, blue and white in 1/50000, then the least and
        the greatest luminance in 1/10000 cd/m2."""
        points = (value for point in (self.red, self.green, self.blue, self.white) for value in point)
        luminance = (self.min_luminance, self.max_luminance)
        return (*(round(p * _POINT_STEP) for p in points), *(round(value * _LUMINANCE_STEP) for value in luminance))


@dataclass(frozen=True, slots=True)
class Hdr:
    """``max_cll`` and ``max_fall`` in cd/m2 (brightest pixel, brightest mean of a frame), 0 where unknown.

    ``dynamic``: what varies from scene to scene, by name ("HDR10+", "Dolby Vision profile 8").
    """

    mastering: Mastering | None = None
    max_cll: int = 0
    max_fall: int = 0
    dynamic: tuple[str, ...] = ()

    @property
    def is_static(self) -> bool:
        """There is something that holds for the whole film."""
        return self.mastering is not None or bool(self.max_cll or self.max_fall)

    def completed_by(self, other: Hdr) -> Hdr:
        """This, and what it leaves open from ``other``."""
        level = self if self.max_cll or self.max_fall else other
        named = dict.fromkeys((*self.dynamic, *other.dynamic))
        # "Dolby Vision profile 8" says all that "Dolby Vision" says
        dynamic = tuple(name for name in named if not any(n != name and n.startswith(f"{name} ") for n in named))
        return Hdr(self.mastering or other.mastering, level.max_cll, level.max_fall, dynamic)


#: A film that says nothing of the kind.
NO_HDR = Hdr()


def parse_mastering(data: bytes) -> Mastering | None:
    """FFmpeg's AVMasteringDisplayMetadata as bytes; None where primaries or luminance are missing or make no sense."""
    *numbers, has_primaries, has_luminance = struct.unpack_from("=22i", data)
    pairs = list(zip(numbers[::2], numbers[1::2], strict=True))
    if not (has_primaries and has_luminance) or any(den <= 0 for _, den in pairs):
        return None
    v = [Fraction(num, den) for num, den in pairs]
    points = ((v[0], v[1]), (v[2], v[3]), (v[4], v[5]), (v[6], v[7]))
    if not all(0 <= value <= 1 for value in v[:8]) or not 0 <= v[8] < v[9]:
        return None
    return Mastering(*points, min_luminance=v[8], max_luminance=v[9])


def parse_light_level(data: bytes) -> tuple[int, int]:
    """FFmpeg's AVContentLightMetadata as bytes -> (max_cll, max_fall)."""
    cll, fall = struct.unpack_from("=2I", data)
    return cll, fall


#: By the option that takes an encoder's params: what it calls the mastering display and the light level.
_NAMES = {
    "x264-params": ("mastering-display", "cll"),
    "x265-params": ("master-display", "max-cll"),
    "svtav1-params": ("mastering-display", "content-light"),
}


def bitstream_params(hdr: Hdr, params_option: str) -> dict[str, str]:
    """What an encoder's params must say for ``hdr`` to be in its bitstream; empty for encoders that have no place for it."""
    if params_option not in _NAMES:
        return {}
    display, level = _NAMES[params_option]
    params = {}
    if hdr.mastering:
        params[display] = _decimal(hdr.mastering) if params_option == "svtav1-params" else _whole(hdr.mastering)
    if hdr.max_cll or hdr.max_fall:
        params[level] = f"{hdr.max_cll},{hdr.max_fall}"
    return params


def _whole(display: Mastering) -> str:
    rx, ry, gx, gy, bx, by, wx, wy, low, high = display.steps()
    return f"G({gx},{gy})B({bx},{by})R({rx},{ry})WP({wx},{wy})L({high},{low})"


def _decimal(display: Mastering) -> str:
    """The same numbers in units of 1, which five and four decimals hold exactly."""
    rx, ry, gx, gy, bx, by, wx, wy = (f"{step / _POINT_STEP:.5f}" for step in display.steps()[:8])
    low, high = (f"{step / _LUMINANCE_STEP:.4f}" for step in display.steps()[8:])
    return f"G({gx},{gy})B({bx},{by})R({rx},{ry})WP({wx},{wy})L({high},{low})"

"""What a film says of its mastering display and its brightness (SMPTE ST 2086, CTA-861.3), beside its colour tags."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

#: x and y on the CIE 1931 diagram.
Chromaticity = tuple[Fraction, Fraction]


@dataclass(frozen=True, slots=True)
class Mastering:
    """The mastering display (ST 2086): red, green and blue primaries, white point; luminance in cd/m2."""

    red: Chromaticity
    green: Chromaticity
    blue: Chromaticity
    white: Chromaticity
    min_luminance: Fraction
    max_luminance: Fraction


@dataclass(frozen=True, slots=True)
class Hdr:
    """``max_cll`` and ``max_fall`` in cd/m2 (brightest pixel, brightest mean of a frame), 0 where unknown.

    ``dynamic``: what varies from scene to scene, by name ("HDR10+", "Dolby Vision").
    """

    mastering: Mastering | None = None
    max_cll: int = 0
    max_fall: int = 0
    dynamic: tuple[str, ...] = ()


#: A film that says nothing of the kind.
NO_HDR = Hdr()

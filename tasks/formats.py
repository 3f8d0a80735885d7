"""Pixel formats by name: which planar layout each one becomes, and which of a codec's formats holds it best. No I/O."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

from vsalign.errors import InputError
from vsalign.picture import SampleFormat

_YUV = re.compile(r"yuv(j?)(a?)(\d{3})p(\d*)(?:le|be)?$")
_GRAY = re.compile(r"(?:gray|y|ya|gray8a)(\d*)(?:le|be)?$")
_GBR = re.compile(r"gbr(a?)p(\d*)(?:le|be)?$")
_ALPHA = re.compile(r"yuva|gbra|ya\d|yaf|gray8a|rgba|bgra|argb|abgr|ayuv|vuya|uyva")
_FLOAT = re.compile(r"f(?:16|32)(?:le|be)?$")
_CHROMA_SHIFTS = {"444": (0, 0), "422": (1, 0), "420": (1, 1), "440": (0, 1), "411": (2, 0), "410": (2, 2)}

#: Packed and semi-planar formats, with the planar format that holds the same samples.
_PLANAR_OF_PACKED = {
    **dict.fromkeys(("nv12", "nv21"), "yuv420p"),
    **dict.fromkeys(("nv16", "yuyv422", "uyvy422", "yvyu422"), "yuv422p"),
    **dict.fromkeys(("nv24", "nv42", "vuyx", "vuya", "ayuv", "uyva", "vyu444"), "yuv444p"),
    "uyyvyy411": "yuv411p",
    **{f"p0{d}{e}": f"yuv420p{d}le" for d in ("10", "12", "16") for e in ("le", "be")},
    **{f"p2{d}{e}": f"yuv422p{d}le" for d in ("10", "12", "16") for e in ("le", "be")},
    **{f"p4{d}{e}": f"yuv444p{d}le" for d in ("10", "12", "16") for e in ("le", "be")},
    **dict.fromkeys(("y210le", "y210be", "nv20le", "nv20be"), "yuv422p10le"),
    "y212le": "yuv422p12le",
    **dict.fromkeys(("xv30le", "v30xle", "xv30be", "v30xbe"), "yuv444p10le"),
    **dict.fromkeys(("xv36le", "xv36be"), "yuv444p12le"),
    **dict.fromkeys(("xv48le", "xv48be", "ayuv64le", "ayuv64be"), "yuv444p16le"),
    **dict.fromkeys(("rgb24", "bgr24", "rgba", "bgra", "argb", "abgr", "rgb0", "bgr0", "0rgb", "0bgr", "pal8"), "gbrp"),
    **dict.fromkeys((f"{o}{n}{e}" for o in ("rgb", "bgr") for n in (444, 555, 565) for e in ("le", "be")), "gbrp"),
    **dict.fromkeys(("rgb8", "bgr8", "rgb4_byte", "bgr4_byte"), "gbrp"),
    **dict.fromkeys(("x2rgb10le", "x2bgr10le", "x2rgb10be", "x2bgr10be"), "gbrp10le"),
    **{f"{o}{e}": "gbrp16le" for o in ("rgb48", "bgr48", "rgba64", "bgra64") for e in ("le", "be")},
    **dict.fromkeys(("monow", "monob"), "gray"),
}


@lru_cache(maxsize=256)
def planar_format(name: str) -> SampleFormat:
    """The planar layout without alpha that holds every sample of FFmpeg's ``name``; InputError if none does.

    Full-range ``yuvj`` names become plain ``yuv`` ones (the range goes into the colour tags).
    """
    found = _parse_planar(_PLANAR_OF_PACKED.get(name, name))
    if found is None and _FLOAT.search(name):
        raise InputError(
            f"pixel format {name!r} holds floating-point samples; accepted: integers of 8 to 16 bits "
            "(ffmpeg -i IN -pix_fmt gbrp16le -c:v ffv1 OUT.mkv)"
        )
    if found is None:
        raise InputError(f"pixel format {name!r} is not supported; planar or packed YUV, gray and RGB of 8 to 16 bits are")
    return found


def has_alpha(name: str) -> bool:
    """True where FFmpeg's pixel format ``name`` has an alpha channel."""
    return _ALPHA.match(name) is not None


def is_planar_name(name: str) -> bool:
    """True where frames of this format already lie in little-endian planes (alpha last), so that no conversion is needed."""
    return name not in _PLANAR_OF_PACKED and not name.endswith("be") and not name.startswith("ya") and name != "gray8a"


def _parse_planar(name: str) -> SampleFormat | None:
    if match := _YUV.match(name):
        shifts = _CHROMA_SHIFTS.get(match[3])
        return None if shifts is None else _sample_format("yuv" + match[3] + "p", "yuv", match[4], 3, *shifts)
    if match := _GRAY.match(name):
        return _sample_format("gray", "gray", match[1].removeprefix("8"), 1)
    if match := _GBR.match(name):
        return _sample_format("gbrp", "rgb", match[2], 3)
    return None


def _sample_format(stem: str, family: str, depth: str, planes: int, log2_w: int = 0, log2_h: int = 0) -> SampleFormat:
    bits = int(depth or 8)
    return SampleFormat(stem if bits == 8 else f"{stem}{bits}le", family, bits, planes, log2_w, log2_h)


def nearest_format(accepted: Iterable[str], wanted: str) -> tuple[str, str]:
    """The one of ``accepted`` that keeps most of ``wanted``, and "" or one line that says what is converted.

    First come formats that hold every sample (same family before wider, same depth before deeper), then those that lose least:
    depth goes before chroma resolution, chroma resolution before the colour family.
    """
    want = planar_format(wanted)
    names = [n for n in accepted if _is_usable(n)]
    best = min(names, key=lambda n: _loss(want, planar_format(n)))
    return best, _notice(want, planar_format(best))


def _is_usable(name: str) -> bool:
    """Encoders list formats with alpha, in packed order and with the old full-range names as well: never chosen."""
    try:
        return planar_format(name).name == name
    except InputError:
        return False


def _loss(want: SampleFormat, have: SampleFormat) -> tuple[bool, int, bool, bool, int, int]:
    finer = (have.log2_chroma_w <= want.log2_chroma_w and have.log2_chroma_h <= want.log2_chroma_h) or want.family == "gray"
    exact_family = have.family == want.family
    chroma_shifts = have.log2_chroma_w + have.log2_chroma_h
    if want.family == "gray":
        chroma_shifts = -chroma_shifts  # its chroma says nothing, so the less of it the better
    chroma_waste = (want.log2_chroma_w + want.log2_chroma_h) - (have.log2_chroma_w + have.log2_chroma_h)
    return (
        want.family != "gray" and have.family == "gray",
        max(0, want.bit_depth - have.bit_depth) if finer else 100 + max(0, want.bit_depth - have.bit_depth),
        not finer,
        not exact_family,
        abs(chroma_waste) if exact_family else chroma_shifts,
        max(0, have.bit_depth - want.bit_depth),
    )


def _notice(want: SampleFormat, have: SampleFormat) -> str:
    if have.name == want.name:
        return ""
    lost = []
    if have.bit_depth < want.bit_depth:
        lost.append(f"{want.bit_depth} bits become {have.bit_depth} (dithered)")
    if have.family == "yuv" == want.family and (have.log2_chroma_w, have.log2_chroma_h) > (
        want.log2_chroma_w,
        want.log2_chroma_h,
    ):
        lost.append("chroma resolution is reduced")
    if want.family == "rgb" and have.family == "yuv":
        lost.append("RGB becomes YUV")
    return f"{want.name} is converted to {have.name}: {' and '.join(lost) if lost else 'every sample is kept'}"

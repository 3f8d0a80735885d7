"""What each supported encoder accepts, and what vsalign pins so that its bytes repeat and its segments join. A table.

NVENC as FFmpeg's own option tables describe it. Quality is its constant quality mode (``rc`` vbr with ``cq``, no bit rate),
which all three take on the scale of x264's CRF; no lookahead, so that no frame depends on what comes much later.
"""

from __future__ import annotations

import platform
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

_X26X_PRESETS = ("ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow", "placebo")
_PRORES_PROFILES = ("proxy", "lt", "standard", "hq", "4444", "4444xq")


@dataclass(frozen=True, slots=True)
class CodecRules:
    """One encoder: quality scale, presets, and the options that only vsalign sets.

    ``crf`` is (lowest, highest, default), None where the codec has no such scale; ``whole_crf``: whole numbers only;
    ``preset_option`` is the encoder option that takes the preset; ``params_option`` the one that takes ``key=value:key=value``
    and ``pinned_params`` what vsalign adds at its end; ``pinned`` are plain options no job may change; ``frame_threads`` says
    that threads work on whole frames (libx264 must not cut its pictures into slices). ``crf_option`` takes the quality.
    ``software`` names the encoder that stands in for one of hardware, and ``software_presets`` its presets for ours.
    ``formats``: the pixel formats it keeps, where FFmpeg lists others as well. ``carried``: (planar format, the encoder's own
    format of the very same samples in other places).
    """

    name: str
    crf: tuple[float, float, float] | None
    presets: tuple[str, ...]
    preset: str
    preset_option: str
    pinned: tuple[tuple[str, str], ...]
    whole_crf: bool = False
    params_option: str = ""
    pinned_params: Callable[[int], str] | None = None
    frame_threads: bool = False
    min_side: int = 2
    crf_option: str = "crf"
    software: str = ""
    software_presets: tuple[str, ...] = ()
    formats: tuple[str, ...] = ()
    carried: tuple[tuple[str, str], ...] = ()

    @property
    def own_format(self) -> dict[str, str]:
        """The encoder's own name for a planar format that it takes in another layout."""
        return dict(self.carried)


#: libx264's names of instruction sets, and how Linux calls them. AVX-512 is left out on purpose: with it libx264's macroblock
#: tree reads memory it has not written, and two encodes in one process differ. The sets below all give the same bytes.
_X264_SETS = {"LZCNT": "abm", "AVX": "avx", "FMA3": "fma", "BMI1": "bmi1", "BMI2": "bmi2", "AVX2": "avx2"}
_X264_BASE = "MMX2,SSE2,SSE3,SSSE3,SSE4,SSE4.2"


@lru_cache(maxsize=1)
def _x264_asm() -> str:
    """Pin the instruction sets on x86-64 (where all CPUs of the last decade have the base ones)."""
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return ""
    try:
        with open("/proc/cpuinfo", encoding="ascii", errors="replace") as file:
            flags = next((line.split() for line in file if line.startswith("flags")), [])
    except OSError:
        flags = []
    return ":asm=" + ",".join([_X264_BASE, *(name for name, flag in _X264_SETS.items() if flag in flags)])


#: NVENC takes ten bits at the upper end of sixteen.
_NVENC_CARRIED = (("yuv420p10le", "p010le"), ("yuv444p10le", "yuv444p16le"))


def _nvenc(
    name: str, worst: float, quality: float, min_side: int, formats: str, software: str, software_presets: tuple[str, ...]
) -> CodecRules:
    """``worst`` and usual ``quality`` (0 would leave it to the encoder); ``min_side``: the least width that NVENC takes."""
    pinned = {"rc": "vbr", "b": "0", "rc-lookahead": "0", "forced-idr": "1", "intra-refresh": "0", "tune": "hq"}
    return CodecRules(
        name=name,
        crf=(1, worst, quality),
        presets=tuple(f"p{n}" for n in range(1, 8)),
        preset="p5",
        preset_option="preset",
        pinned=tuple(pinned.items()),
        min_side=min_side,
        crf_option="cq",
        software=software,
        software_presets=software_presets,
        formats=tuple(formats.split()),
        carried=tuple(pair for pair in _NVENC_CARRIED if pair[0] in formats.split()),
    )


CODECS = {
    rules.name: rules
    for rules in (
        CodecRules(
            name="libx264",
            crf=(0, 51, 16),
            presets=_X26X_PRESETS,
            preset="medium",
            preset_option="preset",
            pinned=(),
            params_option="x264-params",
            # stitchable: headers don't depend on the content, so that those of all segments agree
            pinned_params=lambda threads: f"stitchable=1:threads={threads}:sliced-threads=0:open-gop=0{_x264_asm()}",
            frame_threads=True,
        ),
        CodecRules(
            name="libx265",
            crf=(0, 51, 18),
            presets=_X26X_PRESETS,
            preset="medium",
            preset_option="preset",
            pinned=(),
            params_option="x265-params",
            # info=0: else the encoder writes its options into the header, and segments made with other threads would differ
            pinned_params=lambda threads: f"info=0:open-gop=0:pools={threads}:frame-threads={min(threads, 4)}:log-level=error",
            # smaller ones make it write over memory that is not its own
            min_side=64,
        ),
        CodecRules(
            name="libsvtav1",
            crf=(0, 63, 24),
            presets=tuple(str(n) for n in range(14)),
            preset="8",
            preset_option="preset",
            pinned=(),
            whole_crf=True,
            params_option="svtav1-params",
            pinned_params=lambda threads: f"lp={min(threads, 6)}:irefresh-type=2",
            min_side=64,
        ),
        CodecRules(
            name="ffv1",
            crf=None,
            presets=(),
            preset="",
            preset_option="",
            pinned=(("level", "3"), ("slices", "4"), ("slicecrc", "1"), ("g", "1"), ("coder", "range_def"), ("context", "0")),
            carried=(("gbrp", "bgr0"),),
        ),
        CodecRules(
            name="prores_ks",
            crf=None,
            presets=_PRORES_PROFILES,
            preset="",
            preset_option="profile",
            pinned=(("vendor", "apl0"),),
        ),
        _nvenc("h264_nvenc", 51, 19, 146, "yuv420p yuv444p", "libx264", _X26X_PRESETS[2:9]),
        _nvenc("hevc_nvenc", 51, 21, 130, "yuv420p yuv444p yuv420p10le yuv444p10le", "libx265", _X26X_PRESETS[2:9]),
        _nvenc("av1_nvenc", 63, 28, 192, "yuv420p yuv420p10le", "libsvtav1", ("12", "11", "10", "8", "6", "5", "4")),
    )
}

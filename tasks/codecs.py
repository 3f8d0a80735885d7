"""What each supported encoder accepts and what vsalign pins so that its bytes repeat. A table and checks."""

from __future__ import annotations

import math
import os
import platform
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from tasks.messages import EncodeSettings
from vsalign.errors import InputError

_X26X_PRESETS = ("ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow", "placebo")
_PRORES_PROFILES = ("proxy", "lt", "standard", "hq", "4444", "4444xq")


@dataclass(frozen=True, slots=True)
class CodecRules:
    """One encoder: quality scale, presets, and the options that only vsalign sets.

    ``crf`` is (lowest, highest, default), None where the codec has no such scale; ``whole_crf``: whole numbers only;
    ``preset_option`` is the encoder option that takes the preset; ``params_option`` the one that takes ``key=value:key=value``
    and ``pinned_params`` what vsalign adds at its end; ``pinned`` are plain options no job may change; ``frame_threads`` says
    that threads work on whole frames (libx264 must not cut its pictures into slices).
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


_CODECS = {
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
            min_side=16,
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
        ),
        CodecRules(
            name="prores_ks",
            crf=None,
            presets=_PRORES_PROFILES,
            preset="",
            preset_option="profile",
            pinned=(("vendor", "apl0"),),
        ),
    )
}

#: Set from EncodeSettings or fixed by the segment format: giving them as encoder options would set them twice.
_TAKEN_OPTIONS = {
    "crf": "the crf setting",
    "preset": "the preset setting",
    "threads": "the threads setting",
    "pixel_format": "the pixel format setting",
    "pix_fmt": "the pixel format setting",
    "flags": "vsalign, to keep segments joinable",
    "time_base": "vsalign, to keep segments joinable",
}


def codec_rules(codec: str) -> CodecRules:
    """The rules of an encoder by FFmpeg's name; InputError lists the known ones."""
    if codec not in _CODECS:
        raise InputError(f"unknown codec {codec!r}; known are {', '.join(_CODECS)}")
    return _CODECS[codec]


def encoder_options(settings: EncodeSettings) -> dict[str, str]:
    """All private options of the encoder, the pinned ones last so that they win; InputError for a value it cannot take."""
    rules = codec_rules(settings.codec)
    options = dict(_checked_user_options(rules, settings))
    if rules.crf is not None:
        options["crf"] = _crf_text(rules, settings.crf)
    elif settings.crf is not None:
        raise InputError(f"crf {settings.crf:g} means nothing to {rules.name}; leave it out")
    if preset := _preset(rules, settings.preset):
        options[rules.preset_option] = preset
    if rules.params_option and rules.pinned_params is not None:
        given = options.get(rules.params_option, "")
        options[rules.params_option] = ":".join(part for part in (given, rules.pinned_params(settings.threads)) if part)
    return options | dict(rules.pinned)


def check_size(codec: str, width: int, height: int, chroma_shifts: tuple[int, int]) -> None:
    """InputError where the encoder cannot hold pictures of this size with this chroma subsampling (log2 in x and y)."""
    rules = codec_rules(codec)
    if min(width, height) < rules.min_side:
        raise InputError(f"{codec} cannot hold {width}x{height}: each side must be at least {rules.min_side}")
    step_x, step_y = 1 << chroma_shifts[0], 1 << chroma_shifts[1]
    if codec == "ffv1" or (width % step_x == 0 and height % step_y == 0):
        return
    raise InputError(
        f"{codec} cannot hold {width}x{height} with this chroma subsampling: width must be a multiple of {step_x} "
        f"and height of {step_y} (a 4:4:4 pixel format or ffv1 can)"
    )


def _checked_user_options(rules: CodecRules, settings: EncodeSettings) -> tuple[tuple[str, str], ...]:
    pinned = {name for name, _ in rules.pinned}
    for name, value in settings.options:
        if name in _TAKEN_OPTIONS or name == rules.preset_option:
            owner = _TAKEN_OPTIONS.get(name, "the preset setting")
            raise InputError(f"encoder option {name}={value} is already set by {owner}")
        if name in pinned:
            raise InputError(f"encoder option {name}={value} is fixed by vsalign so that segments of {rules.name} join")
    return settings.options


def _crf_text(rules: CodecRules, wanted: float | None) -> str:
    assert rules.crf is not None
    lowest, highest, default = rules.crf
    crf = default if wanted is None else wanted
    if not (math.isfinite(crf) and lowest <= crf <= highest):
        raise InputError(f"crf {crf:g} is out of range for {rules.name}: {lowest:g} (best) to {highest:g} (smallest)")
    if rules.whole_crf and crf != int(crf):
        raise InputError(f"crf {crf:g} is not a whole number, which is what {rules.name} takes ({lowest:g} to {highest:g})")
    return f"{crf:g}"


def _preset(rules: CodecRules, wanted: str) -> str:
    if not wanted:
        return rules.preset
    if not rules.presets:
        raise InputError(f"preset {wanted!r}: {rules.name} has no presets; leave it out")
    if wanted not in rules.presets:
        raise InputError(f"unknown preset {wanted!r} for {rules.name}; known are {', '.join(rules.presets)}")
    return wanted


_CONTAINERS = {".mkv": "matroska", ".mp4": "mp4", ".mov": "mov"}


def container_of(path: str) -> str:
    """FFmpeg's muxer for an output file by its extension; InputError lists the accepted ones."""
    extension = os.path.splitext(path)[1].lower()
    if extension not in _CONTAINERS:
        raise InputError(f"{path}: unknown container {extension or '(no extension)'}; accepted are {', '.join(_CONTAINERS)}")
    return _CONTAINERS[extension]

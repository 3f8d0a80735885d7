"""Settings -> an encoder's options, checked against what :mod:`tasks.codectable` says it accepts. No FFmpeg."""

from __future__ import annotations

import math
import os

from tasks.codectable import CODECS, CodecRules
from tasks.messages import EncodeSettings
from vsalign.errors import InputError
from vsalign.picture import SampleFormat

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
#: Side of the largest coding unit of libx265, which it takes unless told otherwise.
_X265_UNIT = 64


def codec_rules(codec: str) -> CodecRules:
    """The rules of an encoder by FFmpeg's name; InputError lists the known ones."""
    if codec not in CODECS:
        raise InputError(f"unknown codec {codec!r}; known are {', '.join(CODECS)}")
    return CODECS[codec]


def encoder_options(settings: EncodeSettings) -> dict[str, str]:
    """All private options of the encoder, the pinned ones last so that they win; InputError for a value it cannot take."""
    rules = codec_rules(settings.codec)
    options = dict(_checked_user_options(rules, settings))
    if rules.crf is not None:
        options[rules.crf_option] = _crf_text(rules, settings.crf)
    elif settings.crf is not None:
        raise InputError(f"crf {settings.crf:g} means nothing to {rules.name}; leave it out")
    if preset := _preset(rules, settings.preset):
        options[rules.preset_option] = preset
    if rules.params_option and rules.pinned_params is not None:
        given = options.get(rules.params_option, "")
        options[rules.params_option] = ":".join(part for part in (given, rules.pinned_params(settings.threads)) if part)
    return options | dict(rules.pinned)


def options_for_size(options: dict[str, str], codec: str, width: int, height: int) -> dict[str, str]:
    """``options`` and those that the picture's size asks for: where one coding unit of libx265's would hold the whole picture,
    it predicts from memory that it has not written, and no two encodes are the same."""
    if codec != "libx265" or max(width, height) > _X265_UNIT:
        return options
    return options | {"x265-params": f"{options['x265-params']}:ctu={_X265_UNIT // 2}"}


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


def check_profile(settings: EncodeSettings, layout: SampleFormat) -> None:
    """InputError where a ProRes profile of one chroma resolution is asked for pictures of the other."""
    if settings.codec != "prores_ks" or not settings.preset:
        return
    full = settings.preset.startswith("4444")
    if full != (layout.log2_chroma_w == 0):
        holds = "yuv444p10le" if full else "yuv422p10le"
        raise InputError(
            f"prores profile {settings.preset} holds {holds} and the pictures are {layout.name}; accepted: no --preset, which "
            f"takes the right one, or --pix-fmt {holds}"
        )


def _checked_user_options(rules: CodecRules, settings: EncodeSettings) -> tuple[tuple[str, str], ...]:
    pinned = {name for name, _ in rules.pinned}
    for name, value in settings.options:
        if name in _TAKEN_OPTIONS or name in (rules.preset_option, rules.crf_option):
            owner = _TAKEN_OPTIONS.get(name, "the crf setting" if name == rules.crf_option else "the preset setting")
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


#: FFmpeg's muxer by the output's extension.
CONTAINERS = {".mkv": "matroska", ".mp4": "mp4", ".mov": "mov"}


def container_of(path: str) -> str:
    """FFmpeg's muxer for an output file by its extension; InputError lists the accepted ones."""
    extension = os.path.splitext(path)[1].lower()
    if extension not in CONTAINERS:
        raise InputError(f"{path}: unknown container {extension or '(no extension)'}; accepted are {', '.join(CONTAINERS)}")
    return CONTAINERS[extension]

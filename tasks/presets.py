"""What a preset named after a use stands for: it fills in what the user left open, and says where his wishes contradict it.

archive: nothing is lost. master: what editing programs take. web: what plays everywhere and can be sought in. No FFmpeg.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from tasks.codecs import codec_rules
from tasks.messages import EncodeSettings
from vsalign.errors import InputError
from vsalign.picture import ColourTags

ARCHIVE, MASTER, WEB = "archive", "master", "web"
DEFAULT_CODEC = "libx264"
#: A key frame at least so often: 5 s of a film, and more often than that at higher rates.
_WEB_GOP = ("g", "120")
#: By use: each codec that fits, its usual one first, with the settings left open: quality, the codec's own preset, options.
_USES: dict[str, dict[str, EncodeSettings]] = {
    ARCHIVE: {"ffv1": EncodeSettings()},
    MASTER: {"prores_ks": EncodeSettings()},
    WEB: {
        "libx264": EncodeSettings(crf=18, preset="slow", options=(_WEB_GOP,)),
        "libx265": EncodeSettings(crf=20, preset="slow", options=(_WEB_GOP,)),
        "libsvtav1": EncodeSettings(crf=28, preset="5", options=(_WEB_GOP,)),
        "h264_nvenc": EncodeSettings(crf=20, preset="p6", options=(_WEB_GOP,)),
        "hevc_nvenc": EncodeSettings(crf=22, preset="p6", options=(_WEB_GOP,)),
        "av1_nvenc": EncodeSettings(crf=30, preset="p6", options=(_WEB_GOP,)),
    },
}
USES = tuple(_USES)
#: PQ and HLG, as AVColorTransferCharacteristic counts.
_HDR_TRANSFERS = {16: "PQ", 18: "HLG"}
#: Whose 10 bits are played by what shows HDR; of H.264 they are by hardly anything.
_HDR_WEB = ("libx265", "libsvtav1", "hevc_nvenc", "av1_nvenc")


def settled(given: EncodeSettings, preset: str) -> EncodeSettings:
    """``given`` with what ``preset`` fills in, where that is one named after a use, else with ``preset`` as the codec's own.

    In ``given`` a codec of "" means: left open. Raises InputError where codec and use do not go together.
    """
    if preset not in _USES:
        return replace(given, codec=given.codec or DEFAULT_CODEC, preset=preset)
    fitting = _USES[preset]
    codec = given.codec or next(iter(fitting))
    if codec not in fitting:
        others = ", ".join(fitting)
        raise InputError(f"--preset {preset} and --codec {codec} do not go together; accepted with {preset}: {others}")
    fill = fitting[codec]
    named = {name for name, _ in given.options}
    options = (*given.options, *(option for option in fill.options if option[0] not in named))
    crf = fill.crf if given.crf is None else given.crf
    return replace(given, codec=codec, crf=crf, preset=fill.preset, options=tuple(sorted(options)))


def wanted_format(settings: EncodeSettings, preset: str, clip_format: str, colour: ColourTags) -> tuple[str, str]:
    """The pixel format asked for, before what the codec can hold is looked at, and "" or one line that the user should read.

    ``clip_format`` and ``colour`` are the clip's. Raises InputError where a use has no pixel format for such a clip.
    """
    if settings.pixel_format or preset != WEB:
        return settings.pixel_format or clip_format, ""
    hdr = _HDR_TRANSFERS.get(colour.transfer)
    if hdr is None:
        return "yuv420p", ""
    if settings.codec in _HDR_WEB:
        return "yuv420p10le", f"clip is HDR ({hdr}): web keeps 10 bits of it, which players without HDR show pale"
    raise InputError(
        f"--preset web: the clip is HDR ({hdr}), which 8 bits of {settings.codec} show pale and with bands; accepted: "
        f"--codec libx265 or libsvtav1 (10 bits, still HDR), or --pix-fmt yuv420p to have it all the same"
    )


def container_options(preset: str, container: str) -> dict[str, str]:
    """Options of the output's muxer that a use asks for: in mp4 and mov the index comes first, so that players need not fetch
    the file's end before they begin."""
    return {"movflags": "+faststart"} if preset == WEB and container in ("mp4", "mov") else {}


def software_settings(codec: str, crf: float | None, preset: str, options: Mapping[str, str]) -> tuple[str, float | None, str]:
    """(codec, crf, preset) of the software encoder in place of hardware's ``codec``, as near as their scales are.

    Raises InputError for options of the hardware's own, which mean nothing to it.
    """
    rules = codec_rules(codec)
    if options:
        raise InputError(
            f"{codec} can't be used here, and its options ({', '.join(options)}) mean nothing to {rules.software}; accepted: "
            f"a machine with {codec}, or --codec {rules.software} with options of its own"
        )
    if preset and preset not in USES:
        if preset not in rules.presets:
            raise InputError(f"unknown preset {preset!r} for {codec}; known are {', '.join(rules.presets)}")
        preset = rules.software_presets[rules.presets.index(preset)]
    if crf is not None and codec_rules(rules.software).whole_crf:
        crf = float(round(crf))
    return rules.software, crf, preset

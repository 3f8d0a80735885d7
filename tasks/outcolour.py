"""What the output says of its pictures, and which encoder options say it in the bitstream. Pure."""

from __future__ import annotations

from dataclasses import replace

from tasks.codecs import codec_rules
from tasks.convert import MATRIX_RGB
from tasks.formats import planar_format
from tasks.hdr import bitstream_params
from tasks.messages import EncodeSettings, VideoFormat
from vsalign.errors import InputError
from vsalign.picture import MATRIX_BT709, RANGE_FULL, RANGE_LIMITED, ColourTags

#: AVFieldOrder.
FIELD_ORDERS = {"progressive": 1, "tt": 2, "bb": 3}
_CHROMA_LOCATIONS = ("unspecified", "left", "center", "topleft", "top", "bottomleft", "bottom")
#: ProRes is limited by definition: decoders read it so, whatever a container says.
_LIMITED_CODECS = ("prores_ks",)


def output_colour(colour: ColourTags, pixel_format: str, codec: str = "") -> ColourTags:
    """The tags that are true of samples in ``pixel_format`` of ``codec``: YUV made of RGB is BT.709 limited, RGB has no YUV
    matrix, ProRes is limited."""
    if planar_format(pixel_format).family == "rgb":
        return replace(colour, matrix=MATRIX_RGB, range=RANGE_FULL, chroma_location=0)
    if colour.matrix == MATRIX_RGB:
        return replace(colour, matrix=MATRIX_BT709, range=RANGE_LIMITED)
    return replace(colour, range=RANGE_LIMITED) if codec in _LIMITED_CODECS else colour


def with_picture_facts(options: dict[str, str], video: VideoFormat, settings: EncodeSettings) -> dict[str, str]:
    """An encoder's ``options`` and those that say where chroma lies and what the pictures were mastered on.

    InputError where the user's own params say the latter otherwise: container and bitstream would contradict each other.
    """
    options = dict(options)
    location = video.colour.chroma_location
    if 0 < location < len(_CHROMA_LOCATIONS):
        options["chroma_sample_location"] = _CHROMA_LOCATIONS[location]
    option = codec_rules(settings.codec).params_option
    params = bitstream_params(video.hdr, option)
    given = dict(settings.options).get(option, "")
    for name in params:
        if any(part.partition("=")[0] == name for part in given.split(":")):
            raise InputError(f"{option} {name} is already set from the clip, which says it itself; leave it out")
    if params:
        told = ":".join(f"{name}={value}" for name, value in params.items())
        options[option] = ":".join(part for part in (told, options.get(option, "")) if part)
    return options

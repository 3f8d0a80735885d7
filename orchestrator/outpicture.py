"""PURE: what clip and ref ask of the output's picture, and what of it will surprise."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

from tasks.codecs import codec_rules
from tasks.formats import planar_format
from tasks.hdr import DOLBY_VISION_ALONE, bitstream_params
from tasks.messages import FieldOrder, MediaInfo, Probe, VideoFormat
from tasks.outcolour import output_colour
from tasks.turning import turned_to
from vsalign.errors import InputError
from vsalign.picture import LUMA_WEIGHTS, MATRIX_UNSPECIFIED, RANGE_FULL, usual_matrix
from vsalign.transfer import TRANSFER_HLG, TRANSFER_PQ

#: What is not standard dynamic range.
_HDR_NAMES = {TRANSFER_PQ: "PQ", TRANSFER_HLG: "HLG"}
#: AVCOL_SPC_IPT_C2: Dolby Vision's own colours.
_IPT = 15
_MATRIX_NAMES = {0.2126: "BT.709", 0.299: "BT.601", 0.30: "FCC", 0.212: "SMPTE 240M", 0.2627: "BT.2020"}


def as_ref_lies(found: Probe, ref: MediaInfo) -> Probe:
    """A film of which pictures are shown, turned to how the ref's are stored, read as players read it.

    Raises InputError for pictures that only Dolby Vision players can read, or that cannot be turned.
    """
    info = found.info
    if DOLBY_VISION_ALONE in info.hdr.dynamic or info.colour.matrix == _IPT:
        raise InputError(
            f"{info.source} is {DOLBY_VISION_ALONE}, a picture that only Dolby Vision players can read; accepted: one with an "
            f"HDR10, HLG or SDR picture of its own (profiles 7 and 8), or a conversion to HDR10"
        )
    try:
        turned = turned_to(found, ref.rotation_degrees)
    except InputError as error:
        raise InputError(f"{info.source}: {error}") from None
    return with_matrix(turned, info.height, ref.height)


def with_matrix(found: Probe, stored_lines: int, out_lines: int) -> Probe:
    """A YUV film without a matrix tag is read by its height; where another height would read it otherwise, say it."""
    info, read_as = found.info, usual_matrix(stored_lines)
    untagged = info.colour.matrix == MATRIX_UNSPECIFIED and planar_format(info.pixel_format).family == "yuv"
    if not untagged or read_as == usual_matrix(out_lines) == usual_matrix(info.height):
        return found
    return replace(found, info=replace(info, colour=replace(info.colour, matrix=read_as)))


def video_format(clip: MediaInfo, ref: MediaInfo, keep_interlaced: bool = False) -> VideoFormat:
    """The output's format: ref's size, shape of pixels, rate and rotation; the clip's colour and brightness, since the samples
    are the clip's."""
    rate = ref.average_rate.limit_denominator(1001) if ref.average_rate > 0 else Fraction(25)
    return VideoFormat(
        ref.width,
        ref.height,
        rate,
        ref.sample_aspect_ratio,
        clip.colour,
        replace(clip.hdr, dynamic=()),
        ref.rotation_degrees,
        _field_order(clip) if keep_interlaced else "progressive",
    )


def _field_order(clip: MediaInfo) -> FieldOrder:
    if clip.fields.scan != "interlaced" or clip.fields.filter:
        return "progressive"
    return "tt" if clip.fields.top_field_first else "bb"


def picture_notices(clip: MediaInfo, ref: MediaInfo, video: VideoFormat, codec: str, pixel_format: str) -> list[str]:
    """One line for each thing that clip and ref disagree about, or that the output will not have.

    ``clip`` and ``ref`` as they were probed.
    """
    return [
        line
        for line in (
            _turn(clip, ref),
            _dynamic_range(clip, ref),
            _few_bits(clip, pixel_format),
            _family(clip, codec, pixel_format),
            _matrices(clip, ref),
            _ranges(clip, ref),
            _limited(clip, codec, pixel_format),
            _lost_metadata(clip, codec),
            _container_alone(video, codec),
            _woven(video, codec),
        )
        if line
    ]


def _turn(clip: MediaInfo, ref: MediaInfo) -> str:
    degrees = (clip.rotation_degrees - ref.rotation_degrees) % 360
    return f"clip is turned by {degrees} degrees clockwise to lie as the ref is stored" if degrees else ""


def _dynamic_range(clip: MediaInfo, ref: MediaInfo) -> str:
    kinds = [_HDR_NAMES.get(info.colour.transfer, "") for info in (clip, ref)]
    if kinds[0] == kinds[1]:
        return ""
    ours, theirs = (f"HDR ({kind})" if kind else "SDR" for kind in kinds)
    return f"clip is {ours} and ref is {theirs}: the output is {ours}; what it shows of the ref itself is not converted"


def _few_bits(clip: MediaInfo, pixel_format: str) -> str:
    kind = _HDR_NAMES.get(clip.colour.transfer, "")
    if not kind or planar_format(pixel_format).bit_depth >= 10:
        return ""
    return f"HDR ({kind}) in {pixel_format} has too few bits and will show bands; 10 bits are usual"


def _family(clip: MediaInfo, codec: str, pixel_format: str) -> str:
    family = planar_format(clip.pixel_format).family
    if family == "gray":
        return "clip is gray: the output has no colour"
    if family == "rgb" and planar_format(pixel_format).family == "yuv":
        matrix = output_colour(clip.colour, pixel_format, codec).matrix
        return f"clip is RGB: the output is {_matrix_name(matrix, 0)} YUV, limited range"
    return ""


def _matrices(clip: MediaInfo, ref: MediaInfo) -> str:
    if {planar_format(info.pixel_format).family for info in (clip, ref)} != {"yuv"}:
        return ""
    ours, theirs = (_matrix_name(info.colour.matrix, info.height) for info in (clip, ref))
    if clip.colour.matrix == MATRIX_UNSPECIFIED:
        if ref.colour.matrix == MATRIX_UNSPECIFIED:
            return ""
        return f"clip has no colour tags (ref has {theirs}): it is read as {ours}, by its height"
    if ours == theirs or usual_matrix(clip.height) != usual_matrix(ref.height) or _dynamic_range(clip, ref):
        return ""
    return f"clip is tagged {ours} and ref {theirs} though both are of like size: the output is {ours}; one tag may be wrong"


def _matrix_name(matrix: int, lines: int) -> str:
    weights = LUMA_WEIGHTS.get(usual_matrix(lines) if matrix == MATRIX_UNSPECIFIED else matrix)
    return _MATRIX_NAMES[weights[0]] if weights else f"matrix {matrix}"


def _ranges(clip: MediaInfo, ref: MediaInfo) -> str:
    if "rgb" in {planar_format(info.pixel_format).family for info in (clip, ref)}:
        return ""
    ours, theirs = ("full" if info.colour.range == RANGE_FULL else "limited" for info in (clip, ref))
    return f"clip is {ours} range and ref {theirs}: the output is read as the clip is" if ours != theirs else ""


def _limited(clip: MediaInfo, codec: str, pixel_format: str) -> str:
    told = output_colour(clip.colour, pixel_format)
    if output_colour(clip.colour, pixel_format, codec).range == told.range or told.range != RANGE_FULL:
        return ""
    return f"full range becomes limited: {codec} holds no other"


def _lost_metadata(clip: MediaInfo, codec: str) -> str:
    if not clip.hdr.dynamic:
        return ""
    stays = "its HDR10 mastering data and light level stay" if clip.hdr.is_static else "it has no HDR10 data that could stay"
    return f"clip's {' and '.join(clip.hdr.dynamic)} metadata is not in the output ({codec} is not given it); {stays}"


def _container_alone(video: VideoFormat, codec: str) -> str:
    if not video.hdr.is_static or bitstream_params(video.hdr, codec_rules(codec).params_option):
        return ""
    return f"{codec} has no place for HDR10 mastering data and light level: the output's container alone has them"


def _woven(video: VideoFormat, codec: str) -> str:
    if video.field_order == "progressive":
        return ""
    place = "the container alone says so" if codec_rules(codec).params_option else "the file says so"
    return f"fields stay woven in the output ({video.field_order}); {place}, so a player may have to be told to deinterlace"

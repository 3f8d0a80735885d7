"""What is done about a source's fields, or the line that says what the user may do."""

from __future__ import annotations

from dataclasses import replace

from orchestrator.sections import DecodeConfig
from tasks.fieldfilter import bwdif, fieldmatch, planar_name, takes
from tasks.fieldlook import look_at_fields
from tasks.fieldplan import with_filter
from tasks.fields import FieldFilter, Fields
from tasks.messages import Probe, Role
from vsalign.errors import InputError

_TAKEN = {"bwdif": "8 to 16 bit YUV and RGB, 8 bit gray", "detelecine": "8 bit YUV 4:2:0, 4:2:2 and 4:4:4"}
_PROGRESSIVE_TAGS = {"progressive", "unknown", ""}


def with_fields(role: Role, found: Probe, decode: DecodeConfig) -> Probe:
    """``found``, as probed, with what its pictures show of its fields, and with the frames that ``decode`` wants made of them.

    Decodes some frames. Raises InputError for a source whose fields nobody said what to do about, and where a filter doesn't
    take its pixel format; for a remote film what reading it raises.
    """
    fields = look_at_fields(found)
    wanted = choose_filter(role, fields, decode)
    filter = fieldmatch(True) if wanted == "detelecine" else bwdif(True)
    if wanted and not takes(filter, planar_name(found.info.pixel_format)):
        raise InputError(
            f"{role}: {filter[0]} does not take {found.info.pixel_format}; accepted: {_TAKEN[wanted]}, or --keep-interlaced"
        )
    return with_filter(replace(found, info=replace(found.info, fields=fields)), wanted, fields.top_field_first)


def choose_filter(role: Role, found: Fields, decode: DecodeConfig) -> FieldFilter:
    """The filter for the source in ``role``, by what was found of its fields and what is asked for.

    ``fields_of`` names the sources that are filtered, whatever they are found to be, and no others are. Raises InputError for a
    source whose fields nobody said what to do about.
    """
    asked: FieldFilter = "detelecine" if decode.detelecine else decode.deinterlace
    if role in ("clip", "ref") and decode.fields_of != "found":
        return asked if decode.fields_of in (role, "both") else ""
    if found.scan not in ("interlaced", "telecined") or decode.keep_interlaced:
        return ""
    fitting: FieldFilter = "bwdif" if found.scan == "interlaced" else "detelecine"
    if asked != fitting:
        raise InputError(_advice(role, found, asked))
    return fitting


def fields_notice(role: Role, found: Probe) -> str:
    """What the user should know of the fields of a source that is not refused; "" where there is nothing to say."""
    info, fields = found.info, found.info.fields
    if fields.filter == "bwdif":
        return f"{role}'s fields are made frames by bwdif ({fields.order})"
    if fields.filter == "detelecine" and found.coded is not None:
        return f"{role}'s pull-down is undone: {len(found.coded)} frames become {len(found.index)} ({fields.order})"
    if fields.scan in ("interlaced", "telecined"):
        return f"{_what(role, fields)}; its frames are used as they are, fields woven"
    if fields.combed_samples:
        forced = f"; --deinterlace bwdif --fields-of {role} filters it all the same" if role in ("clip", "ref") else ""
        return f"{role} combs in {_samples(fields)}: it is used as progressive{forced}"
    if fields.scan == "unknown" and info.field_order not in _PROGRESSIVE_TAGS:
        return f"{role} is tagged interlaced ({info.field_order}), nothing moves enough to tell; it is used as progressive"
    return ""


def _advice(role: Role, found: Fields, asked: FieldFilter) -> str:
    if found.scan == "interlaced":
        way = "--deinterlace bwdif makes frames of its fields"
        other = "--detelecine"
    else:
        way = "--detelecine brings back the film's own frames"
        other = "--deinterlace bwdif"
    forced = f", --fields-of {role} has {other} done all the same" if asked and role in ("clip", "ref") else ""
    return f"{_what(role, found)}; {way}{forced}, --keep-interlaced uses them woven"


def _what(role: Role, found: Fields) -> str:
    kind = "interlaced" if found.scan == "interlaced" else "telecined (3:2)"
    return f"{role} is {kind} ({_samples(found)} comb, {found.order})"


def _samples(found: Fields) -> str:
    return f"{found.combed_samples} of {found.moving_samples} samples"

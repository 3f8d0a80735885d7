"""What a container and its streams are called: language, title, flags and tags, in terms that all containers share."""

from __future__ import annotations

import re
from collections.abc import Mapping
from fractions import Fraction

from av.stream import Disposition, Stream

from tasks.contents import Label

#: Of the file they stand in: true of no copy.
_OF_THE_FILE = frozenset(
    {
        *("encoder", "duration", "handler_name", "vendor_id", "filename", "mimetype", "name"),
        "alpha_mode",  # the picture that is written has none
        *("major_brand", "minor_version", "compatible_brands", "creation_time"),
    }
)
#: mkvmerge's statistics, with or without a language behind them ("BPS-eng").
_STATISTICS = ("bps", "number_of_frames", "number_of_bytes", "_statistics", "duration-")
#: QuickTime has its own short list of languages, each under one code only.
_MOV_LANGUAGES = {"fre": "fra", "deu": "ger", "nld": "dut", "ell": "gre", "isl": "ice", "zho": "chi", "swe": "sve"}
_TIMECODE = re.compile(r"\d\d:\d\d:\d\d[:;.](\d\d)$")
#: What programs call every track of theirs where QuickTime has room for a name.
_NO_NAME = re.compile(r"handler|^core media |^apple |^iso media|^mainconcept|^gpac|^(video|audio|sound|mono|stereo|surround)$")
_NO_FLAG = ("attached_pic", "timed_thumbnails", "still_image", "multilayer")


def language_of(metadata: Mapping[str, str]) -> str:
    """A stream's language as it is tagged, "" where it is not."""
    language = metadata.get("language", "")
    return "" if language == "und" else language


def title_of(metadata: Mapping[str, str]) -> str:
    """A track's name; mp4 and mov bring it as "name", and some programs' as that of its handler."""
    handler = metadata.get("handler_name", "").strip()
    return metadata.get("title") or metadata.get("name") or ("" if _NO_NAME.search(handler.lower()) else handler)


def labels_of(stream: Stream) -> Label:
    """What is worth carrying of what a stream says of itself."""
    given = {name.lower(): value for name, value in stream.metadata.items()}
    labels = {name: value for name, value in given.items() if not _is_technical(name)}
    labels |= {"language": language_of(given), "title": title_of(given)}
    labels["flags"] = ", ".join(_flags(stream.disposition))
    return tuple(sorted((name, value) for name, value in labels.items() if value))


def tags_of(metadata: Mapping[str, str]) -> Label:
    """The same of a container."""
    given = {name.lower(): value for name, value in metadata.items()}
    return tuple(sorted((name, value) for name, value in given.items() if value and not _is_technical(name)))


def written_labels(label: Label, container: str) -> tuple[dict[str, str], Disposition]:
    """Metadata and flags that make FFmpeg's muxer ``container`` write ``label``."""
    metadata = {name: value for name, value in label if name != "flags"}
    language = metadata.get("language", "")
    if container == "mov" and language:
        metadata["language"] = _MOV_LANGUAGES.get(language, language)
    flags = Disposition(0)
    for name in dict(label).get("flags", "").split(", "):
        flags |= Disposition[name] if name else Disposition(0)
    return metadata, flags


def _is_technical(name: str) -> bool:
    return name in _OF_THE_FILE or name.startswith(_STATISTICS)


def _flags(disposition: Disposition) -> list[str]:
    return [flag.name for flag in Disposition if flag & disposition and flag.name and flag.name not in _NO_FLAG]


def usable_timecode(timecode: str, rate: Fraction | None) -> bool:
    """FFmpeg can count on from it, at ``rate`` frames a second."""
    found = _TIMECODE.match(timecode)
    return bool(found and rate and int(found[1]) < round(rate))

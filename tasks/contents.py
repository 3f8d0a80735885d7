"""What a film holds beside its picture, as records, and in what two such records differ. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import zip_longest

from pydantic import TypeAdapter

Label = tuple[tuple[str, str], ...]
"""Names (lower case) and values of one stream, in order of the names; its flags under "flags", as "default, forced"."""

#: Matroska counts milliseconds, and so do the chapters of mp4.
_NEAR_SECONDS = 0.0021
#: Where a stream begins is rounded to them once.
_NEAR_START = 0.0011
#: Codes of one language: ISO 639-2's bibliographic and terminological ones.
_SAME = {
    **{"sqi": "alb", "hye": "arm", "eus": "baq", "mya": "bur", "zho": "chi", "ces": "cze", "nld": "dut", "fra": "fre"},
    **{"kat": "geo", "deu": "ger", "ell": "gre", "isl": "ice", "mkd": "mac", "mri": "mao", "msa": "may", "fas": "per"},
    **{"ron": "rum", "slk": "slo", "bod": "tib", "cym": "wel", "sve": "swe"},
}


@dataclass(frozen=True, slots=True)
class StreamSums:
    """One copied stream: its kind ("audio", "subtitle", "data"), FFmpeg's codec name, language ("" untagged), and its packets:
    how many, sha256 over their bytes in order, when the first is presented."""

    kind: str
    codec: str
    language: str
    num_packets: int
    sha256: str
    start_seconds: float

    def __str__(self) -> str:
        return f"{self.kind} stream ({', '.join(text for text in (self.language, self.codec) if text)})"


@dataclass(frozen=True, slots=True)
class AttachmentSum:
    """A font or a cover; mp4 and mov keep no ``name``."""

    is_cover: bool
    name: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class ChapterMark:
    """Where a chapter begins, in seconds of the film."""

    start_seconds: float
    title: str


@dataclass(frozen=True, slots=True)
class Contents:
    """All that a film holds beside its picture. ``tags`` are the container's; ``labels`` the picture's and then each stream's,
    in order."""

    streams: tuple[StreamSums, ...] = ()
    attachments: tuple[AttachmentSum, ...] = ()
    chapters: tuple[ChapterMark, ...] = ()
    tags: Label = ()
    labels: tuple[Label, ...] = ()

    def __str__(self) -> str:
        kinds = ("audio", "subtitle", "cover", "attachment", "chapter", "tag")
        covers = sum(each.is_cover for each in self.attachments)
        numbers = [*(sum(s.kind == kind for s in self.streams) for kind in kinds[:2]), covers, len(self.attachments) - covers]
        numbers += [len(self.chapters), len(self.tags)]
        told = [f"{number} {kind}{'s' * (number > 1)}" for number, kind in zip(numbers, kinds, strict=True) if number]
        return ", ".join(told).replace("audios", "audio") or "nothing"

    def to_json(self) -> str:
        return _CONTENTS.dump_json(self).decode()

    @staticmethod
    def from_json(text: str) -> Contents:
        """Raises ValueError."""
        return _CONTENTS.validate_json(text)


_CONTENTS = TypeAdapter(Contents)


def content_problems(found: Contents, expected: Contents) -> Iterator[str]:
    """What of the streams' bytes, the attachments and the chapters differs."""
    for number, (have, want) in enumerate(zip_longest(found.streams, expected.streams), 1):
        if want is None:
            yield f"{have} is one that was not to be there"
        elif have is None:
            yield f"{want} is missing, {number} of {len(expected.streams)}"
        else:
            yield from _stream_differences(have, want)
    yield from _attachment_differences(found.attachments, expected.attachments)
    if len(found.chapters) != len(expected.chapters):
        yield f"{len(found.chapters)} chapters, {len(expected.chapters)} were planned"
        return
    for chapter, (is_at, planned) in enumerate(zip(found.chapters, expected.chapters, strict=True), 1):
        if is_at.title != planned.title or abs(is_at.start_seconds - planned.start_seconds) > _NEAR_SECONDS:
            yield f"chapter {chapter} is {is_at.title!r} at {is_at.start_seconds} s, planned was {planned}"


def label_problems(found: Contents, expected: Contents) -> Iterator[str]:
    """What of titles, languages, flags and tags is not there as it should be."""
    if lost := list(lost_labels(expected.tags, found.tags)):
        yield f"of the tags are lost: {', '.join(lost)}"
    for number, (want, have) in enumerate(zip(expected.labels, found.labels, strict=False)):
        if lost := list(lost_labels(want, have)):
            yield f"{'the picture' if not number else str(expected.streams[number - 1])} lost its {', '.join(lost)}"


def _stream_differences(found: StreamSums, expected: StreamSums) -> Iterator[str]:
    if (found.kind, _usual_codec(found.codec)) != (expected.kind, _usual_codec(expected.codec)):
        yield f"{found} is where {expected} should be"
    elif found.sha256 != expected.sha256:
        fewer = f": {found.num_packets} packets, {expected.num_packets} were copied"
        yield f"{expected} has not the bytes that were copied{fewer if found.num_packets != expected.num_packets else ''}"
    elif abs(found.start_seconds - expected.start_seconds) > _NEAR_START:
        yield f"{expected} begins at {found.start_seconds} s, planned was {expected.start_seconds} s"


def _usual_codec(codec: str) -> str:
    """mp4 has one name for all layers of MPEG audio."""
    return "mp3" if codec in ("mp1", "mp2") else codec


def _attachment_differences(found: Iterable[AttachmentSum], expected: Iterable[AttachmentSum]) -> Iterator[str]:
    """mp4 keeps no names, and Matroska puts covers behind fonts: what counts is that each is there."""
    left = [(each.is_cover, each.sha256) for each in found]
    for each in expected:
        if (each.is_cover, each.sha256) in left:
            left.remove((each.is_cover, each.sha256))
        else:
            yield f"{'cover' if each.is_cover else 'attachment'} {each.name or each.sha256[:12]} is not there as it was copied"
    if left:
        yield f"{len(left)} attachments too many"


def lost_labels(wanted: Label, found: Label) -> Iterator[str]:
    """What of ``wanted`` is not there, in words; what else is there does not matter."""
    have = dict(found)
    for name, value in wanted:
        if name == "flags":
            if missing := [flag for flag in value.split(", ") if flag not in have.get(name, "").split(", ")]:
                yield f"flag {', '.join(missing)}"
        elif name == "language" and same_language(value, have.get(name, "")):
            continue
        elif have.get(name) != value:
            yield name if len(value) > 40 else f"{name} {value!r}"


def same_language(one: str, other: str) -> bool:
    """Two codes mean one language ("fre", "fra"); "" and "und" mean none."""
    return _usual(one) == _usual(other)


def _usual(language: str) -> str:
    code = language.lower()
    return "" if code == "und" else _SAME.get(code, code)

"""PURE: which streams of ref and clip go into the output: the kinds' defaults, and what ``map`` adds and takes away."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from orchestrator.sections import OutputConfig
from tasks.contents import same_language
from tasks.messages import MediaInfo, StreamInfo
from vsalign.errors import InputError

Film = Literal["ref", "clip"]
Kind = Literal["audio", "subtitle", "attachment"]

#: Letters of ``map``.
KINDS: Mapping[str, Kind] = {"a": "audio", "s": "subtitle", "t": "attachment"}
_LETTERS = {kind: letter for letter, kind in KINDS.items()}
_ACCEPTED = (
    'FILM:KIND, FILM:KIND:NUMBER (from 0) or FILM:KIND:LANGUAGE, "-" before it takes away; FILM ref or clip; KIND a, s, t'
)
_ENTRY = re.compile(r"(?P<away>-?)(?P<film>ref|clip):(?P<letter>[ast])(?::(?:(?P<number>\d{1,4})|(?P<language>[a-z]{2,3})))?$")


@dataclass(frozen=True, slots=True)
class MapEntry:
    """One entry of ``map``: all streams of a kind, the ``number``-th (from 0), or those in ``language``."""

    text: str
    away: bool
    film: Film
    kind: Kind
    number: int | None
    language: str


@dataclass(frozen=True, slots=True)
class Chosen:
    """A stream that is copied: the ``number``-th of its kind in ``film``."""

    film: Film
    kind: Kind
    number: int
    stream: StreamInfo

    def __str__(self) -> str:
        what = self.stream.language or self.stream.filename
        return f"#{self.stream.index}{f' ({what})' if what else ''} {self.stream.codec}".rstrip()

    @property
    def name(self) -> str:
        """As ``map`` calls it."""
        return f"{self.film}:{_LETTERS[self.kind]}:{self.number}"


@dataclass(frozen=True, slots=True)
class Choice:
    """Streams in the output's order, and whose chapters and tags go with them."""

    streams: tuple[Chosen, ...] = ()
    chapters: Film | None = None
    tags: Film | None = None

    def lines(self) -> tuple[str, ...]:
        """What is taken from where, a line for each kind."""
        told = []
        for kind, name in (("audio", "audio"), ("subtitle", "subtitles"), ("attachment", "attachments")):
            films = (("ref", "clip"), ("clip", "ref"))[bool(self.streams) and self.streams[0].film == "clip"]
            parts = [
                f"{film} {', '.join(map(str, of))}"
                for film in films
                if (of := [e for e in self.streams if (e.film, e.kind) == (film, kind)])
            ]
            told += [f"{name}: {'; '.join(parts)}"] if parts else []
        both = [f"{name}: {film}" for name, film in (("chapters", self.chapters), ("tags", self.tags)) if film]
        return (*told, *([", ".join(both)] if both else []))

    @property
    def sound_from(self) -> str:
        """ "ref", "clip", both ("ref, clip") or "none"."""
        return ", ".join(dict.fromkeys(each.film for each in self.streams if each.kind == "audio")) or "none"

    def of(self, film: Film, *kinds: Kind) -> tuple[Chosen, ...]:
        return tuple(each for each in self.streams if each.film == film and (each.kind in kinds or not kinds))


#: The picture alone.
NO_STREAMS = Choice()


def parse_entry(text: str) -> MapEntry:
    """Raises InputError."""
    found = _ENTRY.match(text.strip().lower())
    if found is None:
        raise InputError(f"--map {text!r}; accepted: {_ACCEPTED}")
    number = int(found["number"]) if found["number"] else None
    film: Film = "ref" if found["film"] == "ref" else "clip"
    return MapEntry(text, bool(found["away"]), film, KINDS[found["letter"]], number, found["language"] or "")


def choose(output: OutputConfig, ref: MediaInfo, clip: MediaInfo) -> Choice:
    """What ``output`` asks for. Raises InputError for an entry of ``map`` that is not understood or that no stream answers to,
    and where the clip's sound is asked for and it has none."""
    films: dict[Film, MediaInfo] = {"ref": ref, "clip": clip}
    entries = [parse_entry(text) for text in output.map]
    asked = {"audio": output.audio, "subtitle": output.subtitles, "attachment": output.attachments}
    streams: list[Chosen] = []
    for kind in KINDS.values():
        wanted = [entry for entry in entries if entry.kind == kind]
        added = [entry for entry in wanted if not entry.away]
        whose = asked[kind]
        chosen = [each for entry in added for each in _answering(entry, films[entry.film])]
        if not added and whose != "none":
            chosen = copyable(whose, kind, films[whose])
            if kind == "audio" and whose == "clip" and not chosen:
                raise InputError(f"--audio clip: {clip.source.path} has no audio; accepted: ref or none")
        gone = {each.name for entry in wanted if entry.away for each in _answering(entry, films[entry.film])}
        streams += [each for each in dict.fromkeys(chosen) if each.name not in gone]
    chapters = output.chapters if output.chapters != "none" and films[output.chapters].num_chapters else None
    return Choice(tuple(streams), chapters, output.tags if output.tags != "none" else None)


def of_kind(film: Film, kind: Kind, info: MediaInfo) -> list[Chosen]:
    """All streams of a kind, numbered; covers are among the attachments."""
    streams = [stream for stream in info.streams if _kind_of(stream) == kind]
    return [Chosen(film, kind, number, stream) for number, stream in enumerate(streams)]


def copyable(film: Film, kind: Kind, info: MediaInfo) -> list[Chosen]:
    return [each for each in of_kind(film, kind, info) if can_copy(each.stream)]


def can_copy(stream: StreamInfo) -> bool:
    """FFmpeg has a codec for it; attachments need none."""
    return bool(stream.codec) or stream.kind == "attachment"


def left_behind(info: MediaInfo, takes_tags: bool = True) -> Iterator[str]:
    """One line on each of the film's streams that cannot go into any output, and why. ``takes_tags``: the film's tags do."""
    for stream in info.streams:
        what = f"stream #{stream.index}{f' ({stream.language})' if stream.language else ''}"
        if stream.kind in ("audio", "subtitle") and not can_copy(stream):
            yield f"{what}, {stream.kind}: this FFmpeg has no codec for it"
        elif stream.codec == "tmcd" and not takes_tags:
            yield f"{what}, time code: it would go along as a tag"
        elif stream.kind == "data" and stream.codec not in _OWN_DATA:
            yield f"{what}, data{f' ({stream.codec})' if stream.codec else ''}: not copied, no output keeps it in time"


#: Time codes go along as a tag, and chapters as chapters, from which FFmpeg makes such streams.
_OWN_DATA = ("chapters", "tmcd")


def _kind_of(stream: StreamInfo) -> Kind | None:
    if stream.is_cover or stream.kind == "attachment":
        return "attachment"
    return "audio" if stream.kind == "audio" else "subtitle" if stream.kind == "subtitle" else None


def _answering(entry: MapEntry, info: MediaInfo) -> list[Chosen]:
    there = of_kind(entry.film, entry.kind, info)
    found = [each for each in there if _answers(entry, each)]
    if not found:
        raise InputError(f"--map {entry.text}: no such stream in {info.source.path}; accepted: {_listed(there)}")
    copied = [each for each in found if can_copy(each.stream)]
    if not copied and not entry.away:
        raise InputError(f"--map {entry.text}: this FFmpeg has no codec for stream #{found[0].stream.index}; accepted: others")
    return copied


def _answers(entry: MapEntry, each: Chosen) -> bool:
    if entry.number is not None:
        return each.number == entry.number
    return not entry.language or same_language(each.stream.language, entry.language)


def _listed(there: Sequence[Chosen]) -> str:
    return ", ".join(
        f"{each.name} ({each.stream.language or each.stream.filename or each.stream.codec})" for each in there
    ) or ("none of this kind, it has no such streams")

"""Chapters of another film -> those of the film that is written. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from operator import attrgetter
from typing import Any

from tasks.contents import ChapterMark, Label
from tasks.streamplan import Origin
from tasks.streamtimes import moved_chapter

#: A first chapter so little later than the film's start is meant to begin with it.
_WITH_THE_FILM = Fraction(1, 2)


@dataclass(frozen=True, slots=True)
class Chapter:
    """Times in seconds of the film. ``tags``: what else is said of it, which Matroska alone keeps."""

    start: Fraction
    stop: Fraction
    title: str
    tags: Label = ()


def moved_chapters(given: Iterable[Mapping[str, Any]], origin: Origin, film_stop: Fraction, container: str) -> list[Chapter]:
    """``given``: as PyAV has them. Those that are over before the film begins, or begin when it is over, are left out.

    In mp4 and mov, as FFmpeg reads them, a first chapter begins with the film and each has a title: one more comes before one
    that begins later, and those without a title get their number.
    """
    found = [_moved(chapter, origin) for chapter in given]
    kept = sorted((chapter for chapter in found if chapter is not None), key=attrgetter("start"))
    starts = [chapter.start for chapter in kept[1:]] + [film_stop]
    kept = [_until(chapter, following) for chapter, following in zip(kept, starts, strict=False)]
    if container == "matroska" or not kept:
        return kept
    first = kept[0]
    if first.start < _WITH_THE_FILM:
        kept[0] = replace(first, start=Fraction(0))
    else:
        kept.insert(0, Chapter(Fraction(0), first.start, ""))
    return [Chapter(c.start, c.stop, c.title or f"Chapter {number}") for number, c in enumerate(kept, 1)]


def as_pyav_has_them(chapters: Iterable[Chapter], container: str) -> list[dict[str, Any]]:
    """Matroska counts nanoseconds, mp4 and mov milliseconds."""
    time_base = Fraction(1, 10**9 if container == "matroska" else 1000)
    return [
        {
            "id": number,
            "start": round(chapter.start / time_base),
            "end": round(chapter.stop / time_base),
            "time_base": time_base,
            "metadata": ({"title": chapter.title} if chapter.title else {})
            | (dict(chapter.tags) if container == "matroska" else {}),
        }
        for number, chapter in enumerate(chapters, 1)
    ]


def marks_of(chapters: Iterable[Chapter]) -> tuple[ChapterMark, ...]:
    return tuple(ChapterMark(round(float(chapter.start), 3), chapter.title) for chapter in chapters)


def _moved(chapter: Mapping[str, Any], origin: Origin) -> Chapter | None:
    time_base = chapter["time_base"] or Fraction(1)
    tags = tuple((name, value) for name, value in chapter["metadata"].items() if name.lower() != "title")
    start, stop, title = chapter["start"] * time_base, chapter["end"] * time_base, chapter["metadata"].get("title", "")
    if origin.plan is not None:
        at = moved_chapter(origin.plan, float(start), float(stop))
        if at is None:
            return None
        begin = max(Fraction(round(at * 10**6), 10**6) + origin.shift_seconds, Fraction(0))
        return Chapter(begin, Fraction(-1), title, tags)
    start, stop = start + origin.shift_seconds, stop + origin.shift_seconds
    if origin.is_over(start) or (stop <= 0 and start < 0):
        return None
    return Chapter(max(start, Fraction(0)), stop, title, tags)


def _until(chapter: Chapter, following: Fraction) -> Chapter:
    """A chapter that does not know its end goes on to the next one."""
    stop = chapter.stop if chapter.stop >= 0 else following
    return replace(chapter, stop=max(stop, chapter.start))

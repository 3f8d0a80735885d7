"""What of other films could not go into the film as it was, in words for the report. Pure."""

from __future__ import annotations

from vsalign.timecode import timecode


class CopyNotes:
    """Each kind of thing is said once, with how often it was met and when, in its own film's time, for the first time."""

    def __init__(self) -> None:
        self._once: dict[str, None] = {}
        self._met: dict[tuple[str, str], tuple[int, float]] = {}

    def say(self, line: str) -> None:
        self._once[line] = None

    def count(self, where: str, what: str, seconds: float) -> None:
        """``what``: in the plural; ``where``: the stream's name."""
        number, first = self._met.get((where, what), (0, seconds))
        self._met[where, what] = (number + 1, first)

    def lines(self) -> tuple[str, ...]:
        counted = (
            f"{where}: {number} {what}, the first at {timecode(first)}" for (where, what), (number, first) in self._met.items()
        )
        return (*self._once, *counted)

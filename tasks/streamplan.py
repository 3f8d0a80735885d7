"""What goes into the film beside its picture, and where from: records that cross to the worker that joins. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Literal

from tasks.soundplan import SoundPlan

PickKind = Literal["audio", "subtitle", "cover", "attachment"]
Role = Literal["ref", "clip", "sound"]


@dataclass(frozen=True, slots=True)
class Origin:
    """A file that is copied from, and how its times become the film's: all later by ``shift_seconds``, or by the ``plan``.

    What begins at ``stop_seconds`` or later, once moved, is left out. ``role`` "sound": the clip's sound that was laid on ref's
    time, whose ``path`` is known once it is. ``version``: of a remote source, as probed.
    """

    role: Role
    path: str
    version: str = ""
    shift_seconds: Fraction = Fraction(0)
    stop_seconds: Fraction | None = None
    plan: SoundPlan | None = None

    def is_over(self, moved_seconds: Fraction) -> bool:
        """What the film would have at ``moved_seconds`` comes after the end."""
        return self.stop_seconds is not None and moved_seconds >= self.stop_seconds


@dataclass(frozen=True, slots=True)
class Pick:
    """One stream that is copied: number ``index`` among all streams of ``Extras.origins[origin]``."""

    origin: int
    index: int
    kind: PickKind


@dataclass(frozen=True, slots=True)
class Extras:
    """``picks`` in the output's order; ``chapters``, ``tags``: the origin of all of them; ``picture``: the stream (of origin
    ``tags``) whose title, language and flags the picture gets."""

    origins: tuple[Origin, ...] = ()
    picks: tuple[Pick, ...] = ()
    chapters: int | None = None
    tags: int | None = None
    picture: int | None = None

    def of_kind(self, *kinds: PickKind) -> tuple[Pick, ...]:
        return tuple(pick for pick in self.picks if pick.kind in kinds)

    def sound_at(self, path: str) -> Extras:
        """With the clip's sound, laid on ref's time, at ``path``."""
        there = (replace(origin, path=path) if origin.role == "sound" else origin for origin in self.origins)
        return replace(self, origins=tuple(there))

    def text(self) -> str:
        """All of these that the joined file's bytes depend on: not the paths, which stand for films and units that count by
        their own identities."""
        origins = [
            (o.role, str(o.shift_seconds), str(o.stop_seconds), repr(o.plan) if o.plan is not None else "")
            for o in self.origins
        ]
        picks = [(p.origin, p.index, p.kind) for p in self.picks]
        return repr((origins, picks, self.chapters, self.tags, self.picture))


#: The picture alone.
NO_EXTRAS = Extras()

"""How far damage reaches: into all that may be predicted from it, up to the next picture that looks back no further. Pure."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable
from dataclasses import dataclass, field

from tasks.nalunits import begins_anew, is_looked_at
from tasks.seekplan import SeekPlan

#: What these show before a picture that is decoded earlier are B pictures, which nothing is predicted from.
_B_STANDS_ALONE = ("mpeg1video", "mpeg2video", "mpeg4", "vc1", "wmv3")
#: Containers also call pictures key frames that later ones look past: their own packets say more.
_TOLD_BY_PACKETS = ("h264", "hevc")


@dataclass(slots=True)
class Run:
    """What is known of decoding from one start: ranks of damaged packets that others may look back to, ascending; how far it
    came; whether anything was met but frames that do not come."""

    hurt: list[int] = field(default_factory=list)
    seen_to: int = -1
    is_harmed: bool = False


class Spread:
    """Which frames of a film are in doubt because of others. ``stands_alone``: its codec predicts no picture from another."""

    def __init__(self, plan: SeekPlan, codec: str, stands_alone: bool) -> None:
        self._plan, self._codec, self._stands_alone = plan, codec, stands_alone
        self._runs: dict[int, Run] = {}
        # Ranks, as far as packets were looked at.
        self._entries: set[int] = set()
        self._never_looked_at: set[int] = set()

    def run(self, start: int) -> Run:
        """What is known of decoding from key frame ``start``, a position in the plan's."""
        return self._runs.setdefault(start, Run())

    def look(self, run: Run, rank: int, packet: Callable[[], tuple[bytes, bytes]]) -> None:
        """Take note of the packet of ``rank``, which ``run`` comes to; ``packet`` gives its bytes and the extradata."""
        run.seen_to = max(run.seen_to, rank)
        if self._codec not in _TOLD_BY_PACKETS:
            return
        if self._plan.is_key(rank):
            if rank not in self._entries and begins_anew(self._codec, *packet()):
                self._entries.add(rank)
        elif self._codec == "h264" and self._plan.is_shown_early(rank) and not is_looked_at(*packet()):
            self._never_looked_at.add(rank)

    def note(self, run: Run, rank: int, is_harm: bool, lost_before: bool) -> None:
        """The packet of ``rank`` is damaged, or its frame does not come (no ``is_harm``); ``lost_before``: packets before it
        may be missing."""
        run.is_harmed |= is_harm
        ends_here = (self._plan.is_shown_early(rank) and self._codec in _B_STANDS_ALONE) or rank in self._never_looked_at
        if not self._stands_alone and (lost_before or not ends_here):
            at = bisect_left(run.hurt, rank)
            if run.hurt[at : at + 1] != [rank]:
                insort(run.hurt, rank)

    def doubt(self, run: Run, frame: int) -> int | None:
        """Rank of a damaged packet that ``frame``, decoded in ``run``, may be predicted from; None if it isn't, as far as is
        known."""
        before = bisect_left(run.hurt, int(self._plan.index.packet[frame]))
        if not before:
            return None
        last = run.hurt[before - 1]
        key = self._plan.last_key(frame)
        while key >= 0 and (at := int(self._plan.key_ranks[key])) > last:
            if at > run.seen_to or (int(self._plan.key_frames[key]) <= frame and self._is_entry(at)):
                return None
            key -= 1
        return last

    def _is_entry(self, key_rank: int) -> bool:
        return self._codec not in _TOLD_BY_PACKETS or key_rank in self._entries

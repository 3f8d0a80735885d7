"""PURE: does a unit that runs still move?"""

from __future__ import annotations

from dataclasses import dataclass, field

from tasks.work import Work

#: A unit may rest for so many times what its frames took so far.
_FRAMES_OF_REST = 10


@dataclass(slots=True)
class Watchdog:
    """Units that finish no frame for ``patience_s``, and for ten of their frames' time, are stalled.

    Work that counts no frames (solve, choose) gets ``blind_patience_s``.
    """

    patience_s: float = 300.0
    blind_patience_s: float = 7200.0
    _last: dict[str, tuple[int, float]] = field(default_factory=dict)

    def stalled(self, work: Work, frames_done: int, since: float, now: float) -> float | None:
        """How many seconds a unit that began at ``since`` has stood still, None while that is not too long."""
        frames, moved = self._last.get(work.name, (-1, since))
        if frames_done != frames or moved < since:
            moved = now if frames_done else since
            self._last[work.name] = frames_done, moved
        still_s = now - moved
        if still_s <= min(self.patience_s, self.blind_patience_s):
            return None
        patience = self.patience_s if work.counts_frames or frames_done else self.blind_patience_s
        if frames_done:
            patience = max(patience, _FRAMES_OF_REST * (moved - since) / frames_done)
        return still_s if still_s > patience else None

    def forget(self, name: str) -> None:
        """The unit runs no more."""
        self._last.pop(name, None)

"""How a running unit tells how far it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

#: Called once per finished frame, from whatever thread finishes it.
OnFrame = Callable[[], None]


@dataclass(slots=True)
class Share:
    """Progress of work that does not go frame by frame, told as if it did: ``num_frames`` calls from beginning to end."""

    num_frames: int
    on_frame: OnFrame
    told: int = 0

    def reach(self, share: float) -> None:
        """So much of the work is done, 0 to 1."""
        due = min(int(share * self.num_frames), self.num_frames)
        while self.told < due:
            self.told += 1
            self.on_frame()

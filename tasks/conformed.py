"""Sound as a unit of work: the clip's audio laid on ref's time, in a file of its own."""

from __future__ import annotations

from pathlib import Path

from tasks.progress import OnFrame, Share
from tasks.sound import conform
from tasks.work import SoundWork


def conform_film(work: SoundWork, folder: Path, on_frame: OnFrame) -> Path:
    """The sound of the whole film, written to ``folder``. Raises StitchError."""
    path = folder / f"sound{work.suffix}"
    seconds = max(work.plan.ref_stop - work.plan.ref_start, 1e-6)
    share = Share(work.num_frames, on_frame)
    conform(work.path, work.plan, str(path), lambda done: share.reach(done / seconds), work.version, work.streams)
    return path

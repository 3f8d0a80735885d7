"""A probed source -> the reader that gives its frames by number, whatever has to be done to get them."""

from __future__ import annotations

from tasks.decode import FrameReader
from tasks.messages import AS_IT_IS, Probe, ReadSettings


def open_reader(probe: Probe, read: ReadSettings = AS_IT_IS, *, only_thumbs: bool = False) -> FrameReader:
    """A reader of ``probe.index``'s frames; a context manager, to be closed by the caller. ``only_thumbs`` as for
    :class:`tasks.decode.FrameReader`."""
    return FrameReader(probe, only_thumbs=only_thumbs)

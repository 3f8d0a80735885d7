"""Subtitles of a film that was cut otherwise -> the packets that are shown on ref's time, by the pieces of a SoundPlan."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av
from av.container import InputContainer
from av.packet import Packet
from av.stream import Discard

from tasks.openfilm import open_container
from tasks.shiftcopy import readable, stream_name
from tasks.soundplan import SoundPiece, SoundPlan
from tasks.streamcheck import codec_name
from tasks.streamplan import Origin
from tasks.streamtimes import Span, by_time, clip_stop, forward_runs, moved_event

#: Events begin so long before what of them is shown, and come so much later in a file than their time.
_EARLIER_SECONDS, _LATER_SECONDS = 30.0, 10.0


def planned_events(
    origin: Origin, indexes: list[int], left_out: Callable[[Origin], None]
) -> Iterator[tuple[float, Packet[Any]]]:
    """(seconds, packet) of the subtitle streams ``indexes`` in order of the film's time; ``left_out`` hears of each event that
    ref does not have. The file is read once, and again for each time that ref goes back in it."""
    assert origin.plan is not None
    missing: set[tuple[int | None, ...]] = set()
    for run in forward_runs(origin.plan):
        with open_container(origin.path, origin.version) as container:
            # Inside: a packet is not to outlive its container.
            yield from by_time(_of_run(container, origin, run, indexes, missing))
    for _ in missing:
        left_out(origin)


def _of_run(
    container: InputContainer,
    origin: Origin,
    run: tuple[SoundPiece, ...],
    indexes: list[int],
    missing: set[tuple[int | None, ...]],
) -> Iterator[tuple[float, int, Packet[Any]]]:
    assert origin.plan is not None
    streams = [container.streams[index] for index in indexes]
    for stream in container.streams:
        if stream.index not in indexes:
            stream.discard = Discard.all
    shown = {stream.index: _Shown(codec_name(stream), origin.plan, run) for stream in streams}
    if run[0].clip_start > _EARLIER_SECONDS:
        container.seek(int((run[0].clip_start - _EARLIER_SECONDS) * av.time_base))
    for packet in readable(container, origin, {stream.index: stream_name(origin, stream) for stream in streams}):
        if packet.pts is None:
            continue
        time_base = packet.time_base
        start = float(packet.pts * time_base)
        if start > clip_stop(run[-1]) + _LATER_SECONDS:
            break
        on_ref = moved_event(origin.plan, start, start + float((packet.duration or 0) * time_base))
        span = shown[packet.stream_index].span(packet, start, on_ref)
        if span is not None:
            _set_times(packet, span, origin.shift_seconds)
            assert packet.pts is not None
            yield packet.pts * float(time_base), packet.size, packet
        elif on_ref is None and not shown[packet.stream_index].clears(packet):
            missing.add((packet.stream_index, packet.pos, packet.pts))


def _set_times(packet: Packet[Any], span: Span, later: Fraction) -> None:
    time_base = packet.time_base
    start = max(round((Fraction(span[0]) + later) / time_base), 0)
    if packet.duration:
        packet.duration = max(round((Fraction(span[1]) + later) / time_base) - start, 1)
    packet.pts = packet.dts = start


@dataclass(slots=True)
class _Shown:
    """When packets of one stream are shown in the pieces of ``run``. Bitmaps without a duration stay until a packet clears
    them: where ref has the one and not the other, they are cleared where ref's piece ends."""

    codec: str
    plan: SoundPlan
    run: tuple[SoundPiece, ...]
    until: float | None = None

    def span(self, packet: Packet[Any], start: float, on_ref: Span | None) -> Span | None:
        """None for what this run does not show. ``start``: in the clip's seconds; ``on_ref``: where the plan has it."""
        mine = on_ref if on_ref is not None and self.run[0].ref_start <= on_ref[0] < self.run[-1].ref_stop else None
        if packet.duration:
            return mine
        clears, until = self.clears(packet), self.until
        if mine is not None or clears:
            self.until = None if clears else self._piece_stop(start)
        return (until, until) if mine is None and clears and until is not None else mine

    def clears(self, packet: Packet[Any]) -> bool:
        return clears_screen(self.codec, bytes(memoryview(packet)[:16]))

    def _piece_stop(self, start: float) -> float:
        return next(piece.ref_stop for piece in self.run if piece.clip_start <= start < clip_stop(piece))


def clears_screen(codec: str, head: bytes) -> bool:
    """A packet of PGS or DVB subtitles that shows nothing: its composition has no objects, or its page no regions."""
    if codec == "hdmv_pgs_subtitle":
        return len(head) > 13 and head[0] == 0x16 and head[13] == 0
    return codec == "dvb_subtitle" and head[:2] == b"\x0f\x10" and int.from_bytes(head[4:6], "big") == 2

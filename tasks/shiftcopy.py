"""Sound and subtitles of a film moved by one shift: packets with all their bytes, timed anew.

What would be heard before the film begins is left out, up to the priming that a decoder needs, and so is what an edit list
takes away; an event that is shown when the film begins is shown from then on.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av
from av.container import InputContainer
from av.packet import Packet
from av.stream import Discard, Stream

from tasks.copynotes import CopyNotes
from tasks.eac3 import Eac3Gate
from tasks.errors import StitchError
from tasks.streamcheck import codec_name
from tasks.streamplan import Origin

#: The longest start-up of a common audio codec (Opus: 80 ms at most) with room to spare.
_PRIMING_SECONDS = Fraction(1, 10)
#: Times are rounded to it at the coarsest.
_INSTANT = Fraction(1, 1000)
#: An event that is to be shown for longer stays until the next one; some programs write the largest number there is.
_LONGEST_SECONDS = 86_400
#: FFmpeg's mp4 and mov read the frames of these, and give up the film at one that is damaged.
_READ_BY_MUXERS = ("ac3", "eac3")


@dataclass(frozen=True, slots=True)
class Target:
    """Where the packets of a stream go: the output's muxer ``container`` counts their times in ``tick`` seconds."""

    container: str
    tick: Fraction


def shifted_packets(
    container: InputContainer,
    origin: Origin,
    targets: Mapping[int, Target],
    left_out: Callable[[Origin], None],
    notes: CopyNotes,
) -> Iterator[tuple[float, int, Packet[Any]]]:
    """(decode seconds, bytes, packet) of the streams number ``targets``, moved by the origin's shift; decode times of sound
    made to rise where the source's do not. Raises StitchError where the source cannot be read."""
    names = {index: stream_name(origin, container.streams[index]) for index in targets}
    sounds = {
        index: _Sound(origin, target, names[index], notes, codec_name(container.streams[index]))
        for index, target in targets.items()
        if container.streams[index].type == "audio"
    }
    latest = dict.fromkeys(sounds, -math.inf)
    for packet in _whole_packets(container, origin, names, notes):
        index = packet.stream_index
        if index in sounds:
            ready = sounds[index].taken(packet)
        elif not _event_moved(packet, round(origin.shift_seconds / packet.time_base), origin):
            left_out(origin)
            continue
        else:
            ready = [packet]
        for each in ready:
            # Whoever sorts by them is not to change the order of packets whose times were made equal.
            seconds = max(_seconds(each), latest.get(index, -math.inf))
            if index in latest:
                latest[index] = seconds
            yield seconds, each.size, each
    for sound in sounds.values():
        sound.close()


def stream_name(origin: Origin, stream: Stream) -> str:
    return f"{origin.role} stream #{stream.index}{f' ({codec})' if (codec := codec_name(stream)) else ''}"


def _whole_packets(
    container: InputContainer, origin: Origin, names: Mapping[int, str], notes: CopyNotes
) -> Iterator[Packet[Any]]:
    """Packets of these streams in the file's order; AAC of transport streams in the form that other containers have it in."""
    for stream in container.streams:
        if stream.index not in names:
            stream.discard = Discard.all
    wanted = [container.streams[index] for index in names]
    raw = {s.index: av.BitStreamFilterContext("aac_adtstoasc", s) for s in wanted if _is_adts(s)}
    for packet in _as_edited(readable(container, origin, names), origin):
        # A filter takes the packet away, with what it says of itself.
        index, time_base, seconds = packet.stream_index, packet.time_base, _seconds(packet)
        try:
            whole_ones = raw[index].filter(packet) if index in raw else [packet]
        except av.FFmpegError:
            notes.count(names[index], "damaged packets left out", seconds)
            continue
        for whole in whole_ones:
            whole.stream, whole.time_base = container.streams[index], time_base
            yield whole


def readable(container: InputContainer, origin: Origin, names: Mapping[int, str]) -> Iterator[Packet[Any]]:
    """All packets; StitchError saying of which film, of which streams and when where it cannot be read on."""
    last = dict.fromkeys(names, 0.0)
    try:
        for packet in container.demux(*(container.streams[index] for index in names)):
            if packet.size:
                last[packet.stream_index] = _seconds(packet)
                yield packet
    except av.FFmpegError as error:
        told = ", ".join(f"{name} behind {last[index]:.3f} s" for index, name in names.items())
        raise StitchError(f"{origin.path}: cannot be read on ({error}): {told}") from error


def _as_edited(packets: Iterable[Packet[Any]], origin: Origin) -> Iterator[Packet[Any]]:
    """Without what an edit list takes away. Its packets come flagged, those before a stream's first one for its decoder to
    start with: they stay where they are over when the film begins, or are no more than a codec's own priming."""
    early: dict[int, list[Packet[Any]]] = {}
    begun: set[int] = set()
    for packet in packets:
        index = packet.stream_index
        if packet.stream.type == "audio" and packet.is_discard:
            if index not in begun:
                early.setdefault(index, []).append(packet)
            continue
        waiting = early.pop(index, [])
        is_priming = bool(waiting) and _seconds(packet) - _seconds(waiting[0]) <= _PRIMING_SECONDS
        yield from (each for each in waiting if is_priming or _is_over(each, origin))
        begun.add(index)
        yield packet


def _is_over(packet: Packet[Any], origin: Origin) -> bool:
    stop = (packet.dts or 0) + (packet.duration or 0)
    return stop * packet.time_base + origin.shift_seconds <= _INSTANT


def _seconds(packet: Packet[Any]) -> float:
    given = packet.dts if packet.dts is not None else packet.pts
    return float((given or 0) * packet.time_base)


def _is_adts(stream: Stream) -> bool:
    return codec_name(stream) == "aac" and not stream.codec_context.extradata


class _Sound:
    """One stream of sound on its way, packet by packet."""

    def __init__(self, origin: Origin, target: Target, name: str, notes: CopyNotes, codec: str) -> None:
        self._origin, self._tick, self._name, self._notes = origin, target.tick, name, notes
        #: Matroska takes packets of one time; in mp4 and mov the difference is how long one is heard.
        self._step = 0 if target.container == "matroska" else 1
        self._gate = Eac3Gate() if self._step and codec in _READ_BY_MUXERS else None
        self._held: list[Packet[Any]] = []
        self._last: int | None = None
        self._last_seconds = self._last_duration = Fraction(0)

    def taken(self, packet: Packet[Any]) -> list[Packet[Any]]:
        """What can go into the film now: none, the packet, or those that waited for it too."""
        if not self._takes(packet):
            return []
        self._held.append(packet)
        if self._gate is not None and not self._gate.is_complete:
            return []
        ready, self._held = self._held, []
        return ready

    def close(self) -> None:
        for packet in self._held:
            self._notes.count(self._name, "last packets left out, too few for a whole one there", _seconds(packet))

    def _takes(self, packet: Packet[Any]) -> bool:
        """Give the packet its new times; False for one that is not in the film."""
        seconds, time_base = _seconds(packet), packet.time_base
        if not self._moved(packet):
            return False
        if self._gate is not None and not self._gate.passes(memoryview(packet)):
            self._notes.count(self._name, "damaged packets left out", seconds)
            return False
        assert packet.dts is not None
        due, least = _nearest(packet.dts * time_base / self._tick), -math.inf if self._last is None else self._last + self._step
        if due < least:
            self._raise(packet, int(least))
            self._notes.count(self._name, "packets whose times do not rise moved behind the one before", seconds)
        elif not packet.duration and self._last is not None:
            # mp4 would end before a last packet without one
            packet.duration = max(round((packet.dts * time_base - self._last_seconds) / time_base), 1)
        self._last = max(due, int(least)) if self._last is not None else due
        self._last_seconds = packet.dts * packet.time_base
        self._last_duration = (packet.duration or 0) * packet.time_base
        return True

    def _moved(self, packet: Packet[Any]) -> bool:
        time_base = packet.time_base
        shift = round(self._origin.shift_seconds / time_base)
        given = packet.dts if packet.dts is not None else packet.pts
        if given is None:
            dts = shift if self._last is None else math.ceil((self._last_seconds + self._last_duration) / time_base)
        else:
            dts = given + shift
            if self._origin.is_over(dts * time_base):
                return False
        if dts * time_base < -_PRIMING_SECONDS:
            return False
        pts = packet.pts + shift if packet.pts is not None else dts
        packet.dts, packet.pts = dts, max(pts, dts)
        return True

    def _raise(self, packet: Packet[Any], dts: int) -> None:
        """To be decoded at tick ``dts`` of the output, and not to be heard before."""
        time_base, tick = packet.time_base, self._tick
        assert packet.pts is not None
        pts, duration = _nearest(packet.pts * time_base / tick), round((packet.duration or 0) * time_base / tick)
        packet.time_base, packet.dts, packet.pts, packet.duration = tick, dts, max(pts, dts), duration


def _nearest(ticks: Fraction) -> int:
    """As FFmpeg rounds times: halves away from zero."""
    whole = math.floor(abs(ticks) + Fraction(1, 2))
    return whole if ticks >= 0 else -whole


def _event_moved(packet: Packet[Any], shift: int, origin: Origin) -> bool:
    given = packet.pts if packet.pts is not None else packet.dts
    if given is None or origin.is_over((given + shift) * packet.time_base):
        return False
    if packet.duration and packet.duration * packet.time_base > _LONGEST_SECONDS:
        packet.duration = 0
    start, stop = given + shift, given + shift + (packet.duration or 0)
    if start < 0 and stop <= 0:
        return False
    if start < 0:
        start, packet.duration = 0, stop
    packet.pts = packet.dts = start
    return True

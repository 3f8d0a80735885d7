"""Sound and subtitles of a film moved by one shift: packets with all their bytes, timed anew.

What would be heard before the film begins is left out, up to the priming that a decoder needs; an event that is shown when it
begins is shown from then on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

import av
from av.container import InputContainer
from av.packet import Packet
from av.stream import Discard, Stream

from tasks.streamcheck import codec_name
from tasks.streamplan import Origin

#: The longest start-up of a common audio codec (Opus: 80 ms at most) with room to spare.
_PRIMING_SECONDS = Fraction(1, 10)
#: An event that is to be shown for longer stays until the next one; some programs write the largest number there is.
_LONGEST_SECONDS = 86_400


def shifted_packets(
    container: InputContainer, origin: Origin, indexes: list[int], left_out: Callable[[Origin], None]
) -> Iterator[tuple[float, int, Packet[Any]]]:
    """(decode seconds, bytes, packet) of the streams, moved by the origin's shift; decode times of sound made to rise where the
    source's do not."""
    last: dict[int, int] = {}
    for packet in _whole_packets(container, indexes):
        time_base = packet.time_base
        shift = round(origin.shift_seconds / time_base)
        if packet.stream.type == "subtitle":
            if not _event_moved(packet, shift, origin):
                left_out(origin)
                continue
        elif not _sound_moved(packet, shift, origin, last):
            continue
        assert packet.dts is not None
        yield packet.dts * float(time_base), packet.size, packet


def _whole_packets(container: InputContainer, indexes: list[int]) -> Iterator[Packet[Any]]:
    """Packets of these streams in the file's order; AAC of transport streams in the form that other containers have it in."""
    for stream in container.streams:
        if stream.index not in indexes:
            stream.discard = Discard.all
    wanted = [container.streams[index] for index in indexes]
    raw = {s.index: av.BitStreamFilterContext("aac_adtstoasc", s) for s in wanted if _is_adts(s)}
    for packet in container.demux(*wanted):
        if not packet.size:
            continue
        # A filter takes the packet away, with what it says of itself.
        index, time_base = packet.stream_index, packet.time_base
        for whole in raw[index].filter(packet) if index in raw else (packet,):
            whole.stream, whole.time_base = container.streams[index], time_base
            yield whole


def _is_adts(stream: Stream) -> bool:
    return codec_name(stream) == "aac" and not stream.codec_context.extradata


def _sound_moved(packet: Packet[Any], shift: int, origin: Origin, last: dict[int, int]) -> bool:
    """Give the packet its new times; False for one that is not in the film."""
    index, time_base = packet.stream_index, packet.time_base
    given = packet.dts if packet.dts is not None else packet.pts
    if given is not None and origin.is_over((given + shift) * time_base):
        return False
    dts = given + shift if given is not None else last.get(index, shift - 1) + 1
    if dts * time_base < -_PRIMING_SECONDS:
        return False
    dts = max(dts, last[index] + 1) if index in last else dts
    pts = packet.pts + shift if packet.pts is not None else dts
    if not packet.duration and index in last:
        packet.duration = dts - last[index]  # mp4 would end before a last packet without one
    packet.dts, packet.pts, last[index] = dts, max(pts, dts), dts
    return True


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

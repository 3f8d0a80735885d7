"""All audio streams of a file as samples by position, decoded once from front to back in bounded memory."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import av
import numpy as np
import numpy.typing as npt
from av.audio.codeccontext import AudioCodecContext
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.codec.codec import Properties
from av.container import InputContainer
from av.packet import Packet

from tasks.openfilm import open_container
from vsalign.errors import InputError

Samples = npt.NDArray[np.float32]

#: Sound this long before the window is kept: pieces that meet overlap a little.
_KEPT_SECONDS = 10.0
#: Streams of a file lie no further apart than this; one that has nothing by then has nothing.
_APART_SECONDS = 10.0
#: Timestamps off by less than this are rounding; the samples just follow each other.
_JITTER_SECONDS = 0.008
#: Sound fades this long where timestamps leave a hole in it or tell some of it twice; shorter than the jitter.
_FADE_SECONDS = 0.005
#: PyAV counts a plane too many, or more, in planar frames of as many channels as this, and reads what lies behind them.
_MOST_PLANES = 7
_FULL_SCALE = {"u8": 2**7, "s16": 2**15, "s32": 2**31, "s64": 2**63}
_LAYOUTS = ("mono", "stereo", "2.1", "4.0", "5.0", "5.1", "6.1", "7.1")


@dataclass(frozen=True, slots=True)
class SoundFormat:
    """One audio stream: ``rate`` in Hz, FFmpeg's name of the channel ``layout``; ``deep``: lossless with more than 16 bits."""

    rate: int
    channels: int
    layout: str
    deep: bool


def sound_format(stream: AudioStream) -> SoundFormat:
    """What a stream decodes to. Raises InputError, one line, where FFmpeg has no decoder or the header says too little."""
    context: AudioCodecContext | None = stream.codec_context  # none for a codec that FFmpeg does not know
    if context is None or not context.sample_rate or not context.layout.nb_channels:
        raise InputError(f"audio stream #{stream.index} cannot be decoded; --audio ref or none goes without it")
    rate, channels, name = context.sample_rate, context.layout.nb_channels, context.layout.name
    if channels <= len(_LAYOUTS) and (not name or "channels" in name):
        name = _LAYOUTS[channels - 1]  # a file that does not say which channel is which
    lossless = bool(Properties(context.codec.properties) & Properties.LOSSLESS)
    return SoundFormat(rate, channels, name, lossless and context.format.name.rstrip("p") not in ("u8", "s16"))


def audio_streams(container: InputContainer, numbers: tuple[int, ...]) -> list[AudioStream]:
    """Those with these numbers among all streams of the file, in their order; without numbers all."""
    by_number = {stream.index: stream for stream in container.streams.audio}
    return [by_number[number] for number in numbers] if numbers else list(by_number.values())


class SoundReader:
    """Reads the audio streams number ``streams`` (all if empty) of a file side by side; a context manager. Positions are
    samples of the stream's own rate, 0 is time 0 of the file. Going back more than ``_KEPT_SECONDS`` decodes from the start
    again. ``version`` as :func:`tasks.openfilm.open_container` takes it."""

    def __init__(self, path: str, version: str = "", streams: tuple[int, ...] = ()) -> None:
        self._path, self._version, self._numbers = path, version, streams
        self._forgotten = -math.inf
        self._open()
        chosen = audio_streams(self._container, streams)
        self.formats = tuple(sound_format(stream) for stream in chosen)
        self._tracks = {s.index: _Track(f) for s, f in zip(chosen, self.formats, strict=True)}

    def __enter__(self) -> SoundReader:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._container.close()

    def window(self, start_seconds: float, stop_seconds: float) -> None:
        """Make the sound of all streams from ``start_seconds`` to ``stop_seconds`` ready to be taken."""
        if start_seconds < self._forgotten:
            self._container.close()
            self._open()
            for track in self._tracks.values():
                track.forget()
        self._forgotten = max(self._forgotten, start_seconds - _KEPT_SECONDS)
        for track in self._tracks.values():
            track.drop_before(self._forgotten)
        while not self._is_ready(stop_seconds) and (packet := self._next_packet()) is not None:
            self._tracks[packet.stream.index].add(packet, self._forgotten)

    def take(self, number: int, start: int, stop: int) -> Samples:
        """(channels, stop - start) of the ``number``-th audio stream, zeros where it has nothing; within the last window."""
        return list(self._tracks.values())[number].take(start, stop)

    def _open(self) -> None:
        self._container = open_container(self._path, self._version)
        self._forgotten = -math.inf
        self._packets: Iterator[Packet[Any]] = iter(self._container.demux(*audio_streams(self._container, self._numbers)))

    def _next_packet(self) -> Packet[Any] | None:
        """None at the file's end, which for a truncated one is where it cannot be read on."""
        try:
            return next(self._packets, None)
        except av.FFmpegError:
            return None

    def _is_ready(self, stop_seconds: float) -> bool:
        ends = [track.stop_seconds for track in self._tracks.values()]
        return min(ends) >= stop_seconds or max(ends) >= stop_seconds + _APART_SECONDS


class _Track:
    """Decoded sound of one stream: chunks in order, each with the position of its first sample."""

    def __init__(self, form: SoundFormat) -> None:
        self._form = form
        self.forget()

    def forget(self) -> None:
        self._chunks: deque[tuple[int, Samples]] = deque()
        self._stop: int | None = None
        self._next = 0
        self._packer: tuple[str, AudioResampler] | None = None
        self._mixer: tuple[str, AudioResampler] | None = None

    @property
    def stop_seconds(self) -> float:
        """Where the sound ends that what follows will not change."""
        return -math.inf if self._stop is None else (self._stop - self._fade) / self._form.rate

    @property
    def _fade(self) -> int:
        return max(round(_FADE_SECONDS * self._form.rate), 1)

    def drop_before(self, seconds: float) -> None:
        while self._chunks and self._chunks[0][0] + self._chunks[0][1].shape[1] <= seconds * self._form.rate:
            self._chunks.popleft()

    def take(self, start: int, stop: int) -> Samples:
        out = np.zeros((self._form.channels, stop - start), np.float32)
        for at, chunk in self._chunks:
            first, last = max(at, start), min(at + chunk.shape[1], stop)
            if first < last:
                out[:, first - start : last - start] = chunk[:, first - at : last - at]
        return out

    def add(self, packet: Packet[Any], forgotten: float) -> None:
        """Decode; damage leaves silence."""
        try:
            frames = packet.decode()
        except av.FFmpegError:
            return
        for frame in frames:
            if isinstance(frame, av.AudioFrame):
                self._append(frame)
        self.drop_before(forgotten)

    def _append(self, frame: av.AudioFrame) -> None:
        rate = self._form.rate
        samples = self._samples(frame)
        start = self._next
        if frame.pts is not None and frame.time_base is not None:
            stamped = round(frame.pts * frame.time_base * rate)
            if self._stop is None or abs(stamped - start) > _JITTER_SECONDS * rate:
                start = stamped
        if self._stop is not None and start > self._stop:
            self._bridge(self._stop, start)
        self._place(start, samples)
        self._next = start + samples.shape[1]

    def _bridge(self, stop: int, start: int) -> None:
        """Lead from sound that ends at ``stop`` to sound that begins at ``start``, without a click.

        A short hole, as timestamps that drift against the samples make again and again, is filled with the sound before it once
        more; at a longer one sound falls to silence, and rises out of it.
        """
        fade, hole = self._fade, start - stop
        if hole <= 2 * _JITTER_SECONDS * self._form.rate:
            self._place(stop - fade, self.take(stop - fade - hole, stop))
            return
        silence = np.zeros((self._form.channels, fade), np.float32)
        self._place(stop - fade, silence)
        self._place(start, silence)  # the sound is laid over it

    def _place(self, start: int, samples: Samples) -> None:
        """Add samples from position ``start`` on. Of what is there already only the last ``_fade`` samples fade into them."""
        if self._stop is not None and start < self._stop:
            first = max(start, self._stop - self._fade)
            self._blend(first, samples[:, first - start : self._stop - start], self._stop)
            samples, start = samples[:, self._stop - start :], self._stop
        if samples.shape[1]:
            self._chunks.append((start, samples))
            self._stop = start + samples.shape[1]

    def _blend(self, first: int, samples: Samples, stop: int) -> None:
        """Fade what lies at ``first`` into ``samples``, with shares that reach one at ``stop``."""
        last = first + samples.shape[1]
        share = np.clip(1 - (stop - np.arange(first, last)) / self._fade, 0, 1).astype(np.float32)
        for at, chunk in reversed(self._chunks):
            if at + chunk.shape[1] <= first:
                break
            begin, end = max(at, first), min(at + chunk.shape[1], last)
            if begin < end:
                old, part = chunk[:, begin - at : end - at], slice(begin - first, end - first)
                old += (samples[:, part] - old) * share[part]

    def _samples(self, frame: av.AudioFrame) -> Samples:
        if frame.sample_rate != self._form.rate:
            raise InputError(
                f"the clip's sound changes from {self._form.rate} to {frame.sample_rate} Hz; --audio ref goes without it"
            )
        if frame.layout.nb_channels == self._form.channels:
            return _as_float(self._packed(frame))
        return np.concatenate([_as_float(mixed) for mixed in self._mixed(frame)], axis=1)

    def _packed(self, frame: av.AudioFrame) -> av.AudioFrame:
        """The frame in a form that PyAV reads whole; its samples as they are."""
        if not frame.format.is_planar or frame.layout.nb_channels <= _MOST_PLANES:
            return frame
        kind = f"{frame.layout.name} {frame.format.name}"
        if self._packer is None or self._packer[0] != kind:
            self._packer = (kind, AudioResampler(format="flt"))
        (packed,) = self._packer[1].resample(frame)
        return packed

    def _mixed(self, frame: av.AudioFrame) -> list[av.AudioFrame]:
        """Broadcasts change between stereo and 5.1: the stream's first layout stays."""
        kind = f"{frame.layout.name} {frame.format.name}"
        if self._mixer is None or self._mixer[0] != kind:
            self._mixer = (kind, AudioResampler(format="flt", layout=self._form.layout, rate=self._form.rate))
        return self._mixer[1].resample(frame)


def _as_float(frame: av.AudioFrame) -> Samples:
    """(channels, n) in [-1, 1); exact for up to 24 bits."""
    data = frame.to_ndarray()
    if not frame.format.is_planar:
        data = data.reshape(-1, frame.layout.nb_channels).T
    scale = _FULL_SCALE.get(frame.format.name.rstrip("p"))
    if scale is None:
        return np.ascontiguousarray(data, np.float32)
    centred: npt.NDArray[np.float64] = data.astype(np.float64) - (scale if scale == 2**7 else 0)
    return np.ascontiguousarray(centred / scale, np.float32)

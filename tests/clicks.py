"""Click tracks: sound that says which frame it belongs to, so that misplaced sound shows as such."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt

Samples = npt.NDArray[np.float32]

#: A click is this many seconds of a loud 1 kHz tone; under it lies a hum, so that silence can be told.
CLICK_SECONDS, HUM = 0.004, 0.02
_LOUD = 0.3
_FORMATS = {"flac": "s16", "wavpack": "fltp"}


@dataclass(frozen=True)
class Track:
    """One audio stream: sound begins at ``start`` seconds; channel c is channel 0 times 1 - c / 10."""

    codec: str = "flac"
    rate: int = 48000
    layout: str = "stereo"
    language: str = ""
    start: float = 0.0


def click_track(
    path: Path,
    seconds: float,
    clicks: npt.NDArray[np.float64],
    tracks: Sequence[Track] = (Track(),),
    muxer: Mapping[str, str] | None = None,
) -> Path:
    """A file of audio only: clicks at the given times (seconds) in every track."""
    with av.open(str(path), "w", container_options=dict(muxer or {})) as out:
        made = []
        for track in tracks:
            stream = out.add_stream(track.codec, rate=track.rate)
            assert isinstance(stream, av.AudioStream)
            stream.codec_context.layout = track.layout
            if track.codec in _FORMATS:
                stream.codec_context.format = _FORMATS[track.codec]
            if track.language:
                stream.metadata["language"] = track.language
            stream.codec_context.open()
            made.append((stream, track))
        packets = [p for stream, track in made for p in _encoded(stream, track, seconds, clicks)]
        for packet in sorted(packets, key=lambda p: p.dts * p.time_base):
            out.mux(packet)
    return path


def _encoded(stream: av.AudioStream, track: Track, seconds: float, clicks: npt.NDArray[np.float64]) -> list[av.Packet]:
    context = stream.codec_context
    wave = _wave(track, seconds, clicks)
    shares = 1 - np.arange(context.layout.nb_channels) / 10
    sound = np.asarray(shares[:, None] * wave, np.float32)
    if not context.format.is_planar:
        deep = context.format.name == "s32"
        whole = np.rint(sound.T.astype(np.float64) * (2**31 - 1 if deep else 2**15 - 1))
        sound = whole.astype(np.int32 if deep else np.int16).reshape(1, -1)
    width = 1 if context.format.is_planar else context.layout.nb_channels
    size, packets = context.frame_size or 4096, []
    for at in range(0, len(wave), size):
        part = np.ascontiguousarray(sound[:, at * width : (at + size) * width])
        frame = av.AudioFrame.from_ndarray(part, format=context.format.name, layout=track.layout)
        frame.sample_rate, frame.pts, frame.time_base = (
            track.rate,
            round(track.start * track.rate) + at,
            Fraction(1, track.rate),
        )
        packets += stream.encode(frame)
    return packets + stream.encode(None)


def _wave(track: Track, seconds: float, clicks: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    t = track.start + np.arange(round((seconds - track.start) * track.rate)) / track.rate
    wave = HUM * np.sin(2 * np.pi * 220 * t)
    for click in clicks:
        inside = (t >= click - 1e-9) & (t < click + CLICK_SECONDS)
        wave[inside] = 0.8 * np.cos(2 * np.pi * 1000 * (t[inside] - click))
    return wave


def heard(path: Path, number: int = 0) -> tuple[Samples, int]:
    """(channels, n) of an audio stream from time 0 on, and its rate, by plain decoding."""
    with av.open(str(path)) as container:
        stream = container.streams.audio[number]
        frames = [frame for frame in container.decode(stream) if isinstance(frame, av.AudioFrame)]
    rate = frames[0].sample_rate
    spans = [(round(frame.pts * frame.time_base * rate), frame) for frame in frames]
    sound = np.zeros((frames[0].layout.nb_channels, spans[-1][0] + spans[-1][1].samples + rate), np.float32)
    for at, frame in spans:
        data = frame.to_ndarray()
        data = data if frame.format.is_planar else data.reshape(-1, frame.layout.nb_channels).T
        data = data / {"s16": 2**15, "s32": 2**31}.get(frame.format.name.rstrip("p"), 1)
        if at + frame.samples > 0:
            first = max(at, 0)
            sound[:, first : at + frame.samples] = data[:, first - at :]
    return sound, rate


def onsets(sound: Samples, rate: int) -> npt.NDArray[np.float64]:
    """Seconds at which clicks begin in one channel (n,): loud after 50 ms that were not."""
    loud = np.flatnonzero(np.abs(sound) > _LOUD * np.abs(sound).max())
    return loud[np.diff(loud, prepend=-rate) > 0.05 * rate] / rate


def with_sound(film: Path, sound: Path, out: Path) -> Path:
    """The film's video and the sound's audio in one file, packets copied."""
    with av.open(str(film)) as pictures, av.open(str(sound)) as sounds, av.open(str(out), "w") as both:
        packets = []
        for source, streams in ((pictures, pictures.streams.video), (sounds, sounds.streams.audio)):
            copies = {s.index: both.add_stream_from_template(s, opaque=True) for s in streams}
            for s in streams:
                copies[s.index].metadata.update({k: v for k, v in s.metadata.items() if k == "language"})
            for packet in source.demux(*streams):
                if packet.size:
                    packets.append((packet.dts * packet.time_base, packet, copies[packet.stream_index]))
        for _, packet, copy in sorted(packets, key=lambda p: p[0]):
            packet.stream = copy
            both.mux(packet)
    return out

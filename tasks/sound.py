"""The clip's sound laid on ref's time by a SoundPlan: decoded, moved, resampled, cross-faded, encoded into a file of its own.

Sample n of the file is heard n / rate seconds after ref's first frame. Pieces at ref's rate are copied sample for sample (moved
by the nearest whole number of samples), others resampled, so that their pitch follows, as that of a sped-up film does.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import av
import numpy as np
import numpy.typing as npt
from av.audio.stream import AudioStream
from av.container import OutputContainer

from tasks.codecs import container_of
from tasks.errors import StitchError
from tasks.openfilm import open_container
from tasks.soundplan import SoundPiece, SoundPlan
from tasks.soundread import SoundFormat, SoundReader, audio_streams, sound_format
from tasks.streamlabels import labels_of, written_labels
from vsalign.errors import InputError

Samples = npt.NDArray[np.float32]

#: Raised by hand when a change here alters the bytes of a conformed file.
SOUND_ABI = 3
#: How long one piece fades into the next or into silence; over by the border, where the next scene's first sound may be.
FADE_SECONDS = 0.010
_BLOCK_SECONDS = 2.0
_AAC_RATES = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350)
_AAC_BITS_PER_CHANNEL = 96_000
#: What FFmpeg's AAC in mp4 tells a player; of other layouts it tells the number of channels only.
_AAC_LAYOUTS = ("mono", "stereo", "2.1", "3.0", "3.0(back)", "4.0", "quad", "5.0", "5.1", "7.1")
#: The same loudspeakers by another name, as AC-3 and DTS give them.
_AAC_NAMES = {"5.0(side)": "5.0", "5.1(side)": "5.1"}
_MOST_FLAC_CHANNELS = 8


def check_sound(path: str, out_path: str, streams: tuple[int, ...] = ()) -> None:
    """Raise InputError when an audio stream (of ``streams``, if given) of ``path`` cannot be decoded, or not be encoded for the
    output's container."""
    container = container_of(out_path)
    with (
        open_container(path) as source,
        av.open(io.BytesIO(), "w", format=container) as scratch,
    ):
        for stream in audio_streams(source, streams):
            try:
                _add_stream(scratch, sound_format(stream))
            except InputError as error:
                raise InputError(f"{path}: {error}") from None
            except (av.FFmpegError, ValueError) as error:
                layout = stream.codec_context.layout.name
                raise InputError(
                    f"{path}: audio stream #{stream.index} ({layout}) cannot be encoded for {container} ({error}); "
                    f"--audio ref or none goes without it"
                ) from None


def conform(
    path: str,
    plan: SoundPlan,
    out_path: str,
    on_progress: Callable[[float], None] | None = None,
    version: str = "",
    streams: tuple[int, ...] = (),
) -> None:
    """Write the audio streams number ``streams`` of ``path`` (all if empty), laid on ref's time by ``plan``, to ``out_path``
    (.mkv: FLAC, .mp4: AAC, .mov: PCM).

    Equal inputs give equal bytes. Memory does not grow with the film. ``on_progress`` gets seconds done. ``version`` of a
    remote film as :func:`tasks.openfilm.open_container` takes it. Raises StitchError, StorageError, SourceChanged.
    """
    try:
        with SoundReader(path, version, streams) as reader, _output(out_path) as out:
            encoders = _encoders(path, version, streams, out, reader.formats)
            for start, stop in _blocks(plan):
                mixed = _Mix(plan, start, stop, tuple(encoder.rate for encoder in encoders), reader)
                for number, encoder in enumerate(encoders):
                    encoder.write(mixed.sound[number])
                if on_progress:
                    on_progress(stop)
            for encoder in encoders:
                encoder.close()
    except (av.FFmpegError, OSError, ValueError) as error:
        raise StitchError(f"the sound of {path} cannot be laid on ref's time ({error})") from error


def _output(path: str) -> OutputContainer:
    return av.open(path, "w", format=container_of(path), container_options={"fflags": "+bitexact"})


def _blocks(plan: SoundPlan) -> Iterator[tuple[float, float]]:
    """Stretches of the film, in seconds from its start, that together cover it; none ends inside a fade."""
    whole = plan.ref_stop - plan.ref_start
    borders = np.array([border - plan.ref_start for piece in plan.pieces for border in (piece.ref_start, piece.ref_stop)])
    start = 0.0
    while start < whole:
        stop = min(start + _BLOCK_SECONDS, whole)
        fading = borders[(borders - 2 * FADE_SECONDS < stop) & (borders > stop)]
        stop = min(float(fading.max()), whole) if len(fading) else stop
        yield start, stop
        start = stop


class _Mix:
    """``sound``: one array (channels, n) per stream, of the film's seconds from ``start`` to ``stop``."""

    def __init__(self, plan: SoundPlan, start: float, stop: float, rates: tuple[int, ...], reader: SoundReader) -> None:
        self._plan, self._rates, self._reader = plan, rates, reader
        self._spans = [(_sample_at(start, rate), _sample_at(stop, rate)) for rate in rates]
        self.sound = [
            np.zeros((form.channels, last - first), np.float32)
            for form, (first, last) in zip(reader.formats, self._spans, strict=True)
        ]
        # In the order of the film and all streams of a piece together, so that the file is read forwards.
        for piece in plan.pieces:
            if piece.ref_start - plan.ref_start - FADE_SECONDS < stop and piece.ref_stop - plan.ref_start > start:
                self._add(piece, start, stop)

    def _add(self, piece: SoundPiece, start: float, stop: float) -> None:
        from vsalign.sinc import HALF

        origin = self._plan.ref_start
        first = max(piece.ref_start - FADE_SECONDS, start + origin)
        last = min(piece.ref_stop, stop + origin)
        margin = (HALF + 2) / min(form.rate for form in self._reader.formats)
        self._reader.window(piece.clip_seconds(first) - margin, piece.clip_seconds(last) + margin)
        for number, (span, rate) in enumerate(zip(self._spans, self._rates, strict=True)):
            fade_from = _sample_at(piece.ref_start - FADE_SECONDS - origin, rate)
            begin, end = max(fade_from, span[0]), min(_sample_at(piece.ref_stop - origin, rate), span[1])
            if begin < end:
                heard = _heard(self._reader, number, piece, origin, rate, begin, end)
                self.sound[number][:, begin - span[0] : end - span[0]] += heard * self._gain(piece, rate, begin, end)

    def _gain(self, piece: SoundPiece, rate: int, begin: int, end: int) -> Samples:
        """Rising before the piece's border and falling before its end, in straight lines that add up to one where pieces meet;
        the film's own start and end are hard."""
        plan, n, fade = self._plan, np.arange(begin, end), max(round(FADE_SECONDS * rate), 1)
        gain = np.ones(end - begin)
        first, last = _sample_at(piece.ref_start - plan.ref_start, rate), _sample_at(piece.ref_stop - plan.ref_start, rate)
        gain *= np.clip(1 - (first - n) / fade, 0, 1)
        if piece.ref_stop < plan.ref_stop:
            gain *= np.clip((last - n) / fade, 0, 1)
        return gain.astype(np.float32)


def _sample_at(seconds: float, rate: int) -> int:
    """The first sample that is not before ``seconds``."""
    return math.ceil(seconds * rate - 1e-6)


def _heard(reader: SoundReader, number: int, piece: SoundPiece, origin: float, rate: int, begin: int, end: int) -> Samples:
    """(channels, end - begin): what of the clip is heard at output samples ``begin`` to ``end`` while the piece lasts."""
    from vsalign.sinc import HALF, sample_at

    clip_rate = reader.formats[number].rate
    step = piece.rate * clip_rate / rate
    # Counted from the piece's start, and the step is exact: positions do not drift over hours.
    place = piece.clip_seconds(origin) * clip_rate + begin * step
    if step == 1.0:
        first = round(piece.clip_seconds(origin) * clip_rate) + begin
        return reader.take(number, first, first + end - begin)
    low = math.floor(place) - HALF
    sound = reader.take(number, low, math.ceil(place + (end - begin) * step) + HALF + 2)
    return sample_at(sound, place - low, step, end - begin)


@dataclass(slots=True)
class _Encoder:
    """Feeds one output stream with frames of the size that its codec wants."""

    out: OutputContainer
    stream: AudioStream
    size: int
    waiting: Samples
    written: int = 0

    @property
    def rate(self) -> int:
        return int(self.stream.codec_context.sample_rate)

    def write(self, sound: Samples) -> None:
        self.waiting = np.concatenate([self.waiting, sound], axis=1)
        while self.waiting.shape[1] >= self.size:
            self._encode(self.waiting[:, : self.size])
            self.waiting = self.waiting[:, self.size :]

    def close(self) -> None:
        if self.waiting.shape[1]:
            self._encode(self.waiting)
        self.out.mux(self.stream.encode(None))

    def _encode(self, sound: Samples) -> None:
        context = self.stream.codec_context
        # PyAV makes packed frames planar for an encoder that wants them so; it cannot build planar ones of eight channels.
        name, layout = context.format.packed.name, context.layout.name
        frame = av.AudioFrame.from_ndarray(_as_format(sound, name), format=name, layout=layout)
        frame.sample_rate, frame.pts, frame.time_base = self.rate, self.written, context.time_base
        self.written += sound.shape[1]
        self.out.mux(self.stream.encode(frame))


def _as_format(sound: Samples, name: str) -> npt.NDArray[Any]:
    """Samples in [-1, 1) as FFmpeg wants them, packed: float, 16 bits, or 24 bits at the top of 32."""
    if name == "flt":
        return np.ascontiguousarray(sound.T).reshape(1, -1)
    scale = 2**15 if name == "s16" else 2**23
    whole = np.clip(np.rint(sound.T.astype(np.float64) * scale), -scale, scale - 1).astype(np.int32)
    packed = whole.reshape(1, -1)
    return packed.astype(np.int16) if name == "s16" else packed << 8


def _encoders(
    path: str, version: str, streams: tuple[int, ...], out: OutputContainer, formats: tuple[SoundFormat, ...]
) -> list[_Encoder]:
    encoders = []
    with open_container(path, version) as source:
        for template, form in zip(audio_streams(source, streams), formats, strict=True):
            stream = _add_stream(out, form)
            metadata, stream.disposition = written_labels(labels_of(template), out.format.name)
            stream.metadata.update(metadata)
            size = stream.codec_context.frame_size or 4096
            encoders.append(_Encoder(out, stream, size, np.zeros((form.channels, 0), np.float32)))
    return encoders


def _add_stream(out: OutputContainer, form: SoundFormat) -> AudioStream:
    """An opened encoder: FLAC in Matroska, for it loses nothing more; PCM in mov; AAC in mp4, which players expect there.

    Raises ValueError for a layout that would be lost.
    """
    codec, sample_format = f"pcm_s{24 if form.deep else 16}le", "s32" if form.deep else "s16"
    rate, layout = form.rate, form.layout
    if out.format.name == "mp4":
        codec, sample_format, layout = "aac", "fltp", _AAC_NAMES.get(layout, layout)
        if layout not in _AAC_LAYOUTS:
            raise ValueError(f"its AAC keeps the layouts {', '.join(_AAC_LAYOUTS)}, and mkv and mov others too")
        rate = min((r for r in _AAC_RATES if r >= rate), default=_AAC_RATES[0])
    elif out.format.name == "matroska" and form.channels <= _MOST_FLAC_CHANNELS:
        codec = "flac"
    stream = out.add_stream(codec, rate=rate)
    assert isinstance(stream, AudioStream)
    context = stream.codec_context
    context.format, context.layout = sample_format, layout
    if codec == "aac":
        context.bit_rate = _AAC_BITS_PER_CHANNEL * form.channels
    context.open()
    return stream

"""Tiny real films, made on the fly: every frame carries its number in readable blocks, so that a wrong frame shows as such."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
from av.packet import Packet

from tasks.formats import planar_format
from vsalign.picture import ColourTags, Picture, SampleFormat

CLIPS = Path(__file__).resolve().parents[1].parent / "shared" / "clips"

_GRID_COLUMNS, _GRID_ROWS, _BIT_ROWS = 8, 6, 2
_DARK, _BRIGHT = 48, 200


UNTAGGED = ColourTags()


@dataclass(frozen=True)
class Video:
    """One video stream. ``pts`` (ticks of ``time_base``, one per frame) overrules ``rate``; ``first_frame`` is the number that
    the first frame shows; ``start`` is added to every PTS, in ticks of ``time_base`` (by default 1/rate).
    """

    num_frames: int = 48
    width: int = 64
    height: int = 48
    codec: str = "libx264"
    pixel_format: str = "yuv420p"
    options: Mapping[str, str] = field(default_factory=dict)
    rate: Fraction = Fraction(25)
    pts: Sequence[int] | None = None
    time_base: Fraction | None = None
    start: int = 0
    first_frame: int = 0
    sample_aspect_ratio: Fraction = Fraction(1)
    colour: ColourTags = UNTAGGED
    rotation: int = 0


@dataclass(frozen=True)
class Audio:
    """A sine with a click at every full second. ``start`` in samples."""

    seconds: float = 2.0
    codec: str = "aac"
    rate: int = 48000
    language: str = ""
    start: int = 0


OPEN_GOP_H264 = {
    "preset": "veryfast",
    "x264-params": "open-gop=1:bframes=3:b-pyramid=normal:b-adapt=0:keyint=10:min-keyint=10:scenecut=0:threads=1",
}
OPEN_GOP_HEVC = {"preset": "ultrafast", "x265-params": "open-gop=1:bframes=4:keyint=10:min-keyint=10:log-level=error:pools=1"}
ALT_REF_VPX = {
    "auto-alt-ref": "1",
    "lag-in-frames": "12",
    "arnr-maxframes": "5",
    "g": "16",
    "deadline": "good",
    "cpu-used": "4",
}
LOSSLESS_H264 = {"preset": "ultrafast", "qp": "0", "x264-params": "threads=1"}


def make_film(
    path: Path,
    *streams: Video,
    audio: Sequence[Audio] = (),
    format: str | None = None,
    muxer: Mapping[str, str] | None = None,
) -> Path:
    """Write a film of the given streams (one default Video if none); the container follows ``path``'s ending or ``format``."""
    with av.open(str(path), "w", format=format, container_options=dict(muxer or {})) as out:
        videos = [(_add_video(out, v), v) for v in (streams or (Video(),))]
        sounds = [(_add_audio(out, a), a) for a in audio]
        # the last stream's packets first would make the muxer hold all others back: go by time instead
        packets: list[Packet[Any]] = [p for stream, v in videos for p in _encode_video(stream, v)]
        packets += [p for stream, a in sounds for p in _encode_audio(stream, a)]
        for packet in sorted(packets, key=_decode_seconds):
            out.mux(packet)
    return path


def _decode_seconds(packet: Packet[Any]) -> Fraction:
    ticks = packet.dts if packet.dts is not None else packet.pts
    assert ticks is not None
    return ticks * packet.time_base


def _add_video(out: av.container.OutputContainer, video: Video) -> av.VideoStream:
    stream = out.add_stream(video.codec, rate=video.rate, options=dict(video.options))
    assert isinstance(stream, av.VideoStream)
    context = stream.codec_context
    context.width, context.height, context.pix_fmt = video.width, video.height, video.pixel_format
    context.time_base = video.time_base or 1 / video.rate
    context.thread_count = 1
    context.sample_aspect_ratio = video.sample_aspect_ratio
    context.color_primaries, context.color_trc = video.colour.primaries, video.colour.transfer
    context.colorspace, context.color_range = video.colour.matrix, video.colour.range
    if video.rotation:
        stream.set_display_rotation(video.rotation)
    context.open()
    return stream


def _encode_video(stream: av.VideoStream, video: Video) -> list[Packet[Any]]:
    packets: list[Packet[Any]] = []
    for n in range(video.num_frames):
        frame = frame_of(painted(video.first_frame + n, video.width, video.height, video.pixel_format))
        step = 1 / video.rate / stream.codec_context.time_base
        frame.pts = (video.pts[n] if video.pts is not None else round(n * step)) + video.start
        frame.time_base = stream.codec_context.time_base
        frame.colorspace, frame.color_range = video.colour.matrix, video.colour.range
        packets += stream.encode(frame)
    return packets + stream.encode(None)


def _add_audio(out: av.container.OutputContainer, audio: Audio) -> av.AudioStream:
    stream = out.add_stream(audio.codec, rate=audio.rate)
    assert isinstance(stream, av.AudioStream)
    stream.codec_context.layout = "mono"
    if audio.language:
        stream.metadata["language"] = audio.language
    stream.codec_context.open()
    return stream


def _encode_audio(stream: av.AudioStream, audio: Audio) -> list[Packet[Any]]:
    t = np.arange(round(audio.seconds * audio.rate))
    wave = 0.3 * np.sin(2 * np.pi * 440 * t / audio.rate)
    wave[t % audio.rate < 32] = 0.9
    name = stream.codec_context.format.name
    samples = wave.astype(np.float32) if name.startswith("flt") else (wave * 32767).astype(np.int16)
    size = stream.codec_context.frame_size or 1024
    packets: list[Packet[Any]] = []
    for at in range(0, len(samples), size):
        frame = av.AudioFrame.from_ndarray(samples[None, at : at + size], format=name, layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = audio.rate, audio.start + at, Fraction(1, audio.rate)
        packets += stream.encode(frame)
    return packets + stream.encode(None)


def painted(number: int, width: int, height: int, pixel_format: str = "yuv420p") -> Picture:
    """A picture whose upper third shows ``number`` in 16 blocks, above a texture that moves with it."""
    layout = planar_format(pixel_format)
    light = _painted_light(number, width, height)
    planes = []
    for plane in range(layout.num_planes):
        w, h = layout.plane_size(plane, width, height)
        if layout.family == "yuv" and plane:
            y, x = np.mgrid[0:h, 0:w]
            samples = 96 + (x * (2 + plane) + y + number * 5) % 64
        else:
            samples = light
        planes.append(_deepened(samples, layout))
    return Picture(tuple(planes), layout)


def _painted_light(number: int, width: int, height: int) -> npt.NDArray[np.int64]:
    y, x = np.mgrid[0:height, 0:width]
    light = 60 + (x * 3 + y * 5 + number * 7) % 120
    for bit in range(_GRID_COLUMNS * _BIT_ROWS):
        rows, columns = _block(bit, width, height)
        light[rows, columns] = _BRIGHT if number >> bit & 1 else _DARK
    return np.asarray(light, dtype=np.int64)


def _block(bit: int, width: int, height: int) -> tuple[slice, slice]:
    row, column = divmod(bit, _GRID_COLUMNS)
    return (
        slice(row * height // _GRID_ROWS, (row + 1) * height // _GRID_ROWS),
        slice(column * width // _GRID_COLUMNS, (column + 1) * width // _GRID_COLUMNS),
    )


def _deepened(samples: npt.NDArray[np.int64], layout: SampleFormat) -> npt.NDArray[np.uint8] | npt.NDArray[np.uint16]:
    deep = samples << (layout.bit_depth - 8)
    return deep.astype(np.uint8) if layout.bit_depth == 8 else (deep + samples % 4).astype(np.uint16)


def shown_number(picture: Picture) -> int:
    """The number painted into a picture, read back from its first plane."""
    plane = picture.planes[0].astype(np.float64) / (1 << (picture.format.bit_depth - 8))
    middle = (_DARK + _BRIGHT) / 2
    blocks = (float(plane[_block(bit, picture.width, picture.height)].mean()) for bit in range(_GRID_COLUMNS * _BIT_ROWS))
    return sum(int(mean > middle) << bit for bit, mean in enumerate(blocks))


def frame_of(picture: Picture, name: str | None = None) -> av.VideoFrame:
    """The picture as an FFmpeg frame of format ``name`` (default: its own)."""
    frame = av.VideoFrame(picture.width, picture.height, picture.format.name)
    for plane, samples in zip(frame.planes, picture.planes, strict=True):
        rows = np.frombuffer(plane, dtype=samples.dtype).reshape(plane.height, -1)
        rows[:, : plane.width] = samples
    return frame if name is None else frame.reformat(format=name)


def picture_hash(picture: Picture) -> str:
    return hashlib.sha256(b"".join(plane.tobytes() for plane in picture.planes)).hexdigest()


def linear_hashes(path: Path, video_stream: int = 0) -> list[tuple[int, str]]:
    """(pts, hash) of every frame by decoding the whole file in one go: what frame-exact reading is held against."""
    with av.open(str(path)) as container:
        stream = container.streams.video[video_stream]
        stream.thread_count = 1
        return [(frame.pts, _frame_hash(frame)) for frame in container.decode(stream) if frame.pts is not None]


def _frame_hash(frame: av.VideoFrame) -> str:
    digest = hashlib.sha256()
    for plane in frame.planes[: planar_format(frame.format.name).num_planes]:
        size = 2 if planar_format(frame.format.name).bit_depth > 8 else 1
        rows = np.frombuffer(plane, np.uint8).reshape(plane.height, -1)
        digest.update(rows[:, : plane.width * size].tobytes())
    return digest.hexdigest()


def cut_file(path: Path, fraction: float) -> Path:
    """A copy that ends after ``fraction`` of the bytes."""
    cut = path.with_name(f"{path.stem}.cut{path.suffix}")
    data = path.read_bytes()
    cut.write_bytes(data[: int(len(data) * fraction)])
    return cut


def forget_timestamps(path: Path, keep_every: int = 3) -> Path:
    """Take the timestamp out of most packets of an MPEG program stream in place, as DVDs have it."""
    data = bytearray(path.read_bytes())
    timed = [m.start() for m in re.finditer(b"\x00\x00\x01\xe0", data) if data[m.start() + 7] & 0xC0]
    for at in (a for n, a in enumerate(timed) if n % keep_every):
        data[at + 7] &= 0x3F
        data[at + 9 : at + 9 + data[at + 8]] = b"\xff" * data[at + 8]
    path.write_bytes(data)
    return path


def packet_payloads(path: Path, kind: str = "audio") -> list[list[bytes]]:
    """The bytes of every packet, per stream of ``kind``."""
    with av.open(str(path)) as container:
        streams = [s for s in container.streams if s.type == kind]
        return [_payloads_of(path, stream.index) for stream in streams]


def _payloads_of(path: Path, index: int) -> list[bytes]:
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(container.streams[index]) if packet.size]


def remux(source: Path, target: Path, change: Callable[[int, Packet[Any]], Sequence[Packet[Any]]]) -> Path:
    """Copy the first video stream; ``change(rank, packet)`` gives the packets to write in place of each one."""
    with av.open(str(source)) as film, av.open(str(target), "w") as out:
        stream = film.streams.video[0]
        copy = out.add_stream_from_template(stream, opaque=True)
        for rank, packet in enumerate(p for p in film.demux(stream) if p.size):
            for kept in change(rank, packet):
                kept.stream = copy
                out.mux(kept)
    return target

"""A film with all that a Matroska file can carry beside its picture, made without any tool but PyAV."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.stream import Disposition, Stream

MILLISECOND = Fraction(1, 1000)
SRT = """1
00:00:00,500 --> 00:00:01,200
one

2
00:00:02,000 --> 00:00:02,600
<i>two</i>

3
00:00:03,000 --> 00:00:03,500
three
"""
ASS = """[Script Info]
ScriptType: v4.00+
PlayResX: 384

[V4+ Styles]
Format: Name, Fontname, Fontsize
Style: Default,Font One,16

[Events]
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text
Dialogue: 0,0:00:00.50,0:00:01.50,Default,,0,0,0,,{\\b1}eins
Dialogue: 1,0:00:00.50,0:00:01.00,Default,,0,0,0,,together with it
Dialogue: 0,0:00:02.50,0:00:03.00,Default,,0,0,0,,zwei
"""
FONTS = {"one.ttf": ("font/ttf", bytes(range(256)) * 8), "two.otf": ("font/otf", bytes(reversed(range(256))) * 5)}
CHAPTERS = ((0.0, "Anfang"), (1.5, "Mitte – ü"), (3.0, ""))
TAGS = {"title": "A Film", "DIRECTOR": "N. N.", "COMMENT": "a comment"}


def _png() -> bytes:
    def part(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + bytes([40 * y, 128, 200] * 4) for y in range(4))
    head = struct.pack(">IIBBBBB", 4, 4, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + part(b"IHDR", head) + part(b"IDAT", zlib.compress(rows)) + part(b"IEND", b"")


COVER = _png()


def pgs(number: int, shows: bool) -> bytes:
    """One display set of PGS subtitles: a square of 4x4 pixels, or nothing."""

    def segment(kind: int, payload: bytes) -> bytes:
        return bytes([kind]) + struct.pack(">H", len(payload)) + payload

    objects = struct.pack(">HBBHH", 0, 0, 0, 8, 8) if shows else b""
    composition = struct.pack(">HHBHBBBB", 96, 64, 0x10, number, 0x80 if shows else 0, 0, 0, shows) + objects
    window = struct.pack(">BBHHHH", 1, 0, 8, 8, 4, 4)
    made = segment(0x16, composition) + segment(0x17, window)
    if shows:
        line = b"\x01" * 4 + b"\0\0"
        picture = struct.pack(">HH", 4, 4) + line * 4
        made += segment(0x14, bytes([0, 0, 1, 200, 128, 128, 255]))
        made += segment(0x15, struct.pack(">HBB", 0, 0, 0xC0) + struct.pack(">I", len(picture))[1:] + picture)
    return made + segment(0x80, b"")


#: (milliseconds, bytes): shown from the first of a pair to the second.
PGS = [(ms, pgs(number, number % 2 == 0)) for number, ms in enumerate((600, 1100, 2100, 2700, 3200, 3700))]


def with_extras(
    picture: Path,
    target: Path,
    *,
    audio: Sequence[tuple[str, str]] = (("aac", "eng"), ("flac", "ger")),
    subtitles: Sequence[str] = ("srt", "ass", "pgs"),
    attached: bool = True,
    seconds: float = 4.0,
    later: int = 0,
    tags: Mapping[str, str] = TAGS,
    chapters: Sequence[tuple[float, str]] = CHAPTERS,
) -> Path:
    """``target``: ``picture``'s first video stream with sound, subtitles (srt fre forced, ass eng, pgs jpn; or mov_text), fonts
    and a cover, chapters and tags; ``later``: all but the picture by so many milliseconds."""
    packets: list[Packet[Any]] = []
    with av.open(str(picture)) as film, av.open(str(target), "w") as out:
        source = film.streams.video[0]
        video = out.add_stream_from_template(source, opaque=True)
        video.metadata.update({"title": "Picture", "language": "dan"})
        video.disposition = Disposition.default
        packets += _copied(film, source, video, 0)
        for number, (codec, language) in enumerate(audio):
            packets += _sound(out, codec, language, seconds, 440 * (number + 1), later)
        for kind in subtitles:
            packets += _subtitles(out, kind, later)
        if attached:
            for name, (mimetype, data) in FONTS.items():
                out.add_attachment(name, mimetype, data)
            out.add_attachment("cover.png", "image/png", COVER)
        out.metadata.update(tags)
        out.set_chapters(_chapters(chapters, seconds, later))
        for packet in sorted(packets, key=lambda each: each.dts * each.time_base):
            out.mux_one(packet)
    return target


def _chapters(marks: Sequence[tuple[float, str]], seconds: float, later: int) -> list[Any]:
    ends = [*(start for start, _ in marks[1:]), seconds][: len(marks)]
    return [
        {
            "id": number,
            "start": round(start * 1000) + later,
            "end": round(end * 1000) + later,
            "time_base": MILLISECOND,
            "metadata": {"title": title} if title else {},
        }
        for number, ((start, title), end) in enumerate(zip(marks, ends, strict=True), 1)
    ]


def _copied(film: InputContainer, source: Stream, target: Stream, later: int) -> list[Packet[Any]]:
    copied = []
    for packet in film.demux(source):
        if packet.size:
            assert packet.pts is not None
            shift = round(later * MILLISECOND / packet.time_base)
            packet.pts, packet.dts = packet.pts + shift, (packet.dts if packet.dts is not None else packet.pts) + shift
            packet.stream = target
            copied.append(packet)
    return copied


def _sound(out: OutputContainer, codec: str, language: str, seconds: float, hertz: int, later: int) -> list[Packet[Any]]:
    stream = out.add_stream(codec, rate=48000)
    assert isinstance(stream, av.AudioStream)
    stream.codec_context.layout = "mono"
    stream.metadata.update({"language": language, "title": f"Sound {language}"})
    stream.disposition = Disposition.default if language == "eng" else Disposition.hearing_impaired
    stream.codec_context.open()
    name, size = stream.codec_context.format.name, stream.codec_context.frame_size or 1152
    wave = 0.3 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * 48000)) / 48000)
    samples = wave.astype(np.float32) if name.startswith("flt") else (wave * 32767).astype(np.int16)
    packets: list[Packet[Any]] = []
    for at in range(0, len(samples), size):
        frame = av.AudioFrame.from_ndarray(samples[None, at : at + size], format=name, layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = 48000, at + 48 * later, Fraction(1, 48000)
        packets += stream.encode(frame)
    return packets + stream.encode(None)


def _subtitles(out: OutputContainer, kind: str, later: int) -> list[Packet[Any]]:
    if kind == "pgs":
        stream = out.add_mux_stream("hdmv_pgs_subtitle", time_base=MILLISECOND)
        stream.metadata["language"] = "jpn"
        return [timed(stream, data, ms + later) for ms, data in PGS]
    if kind == "mov_text":
        return _mov_text(out, later)
    text, language = (SRT, "fre") if kind == "srt" else (ASS, "eng")
    with av.open(io.BytesIO(text.encode()), format=kind) as source:
        stream = out.add_stream_from_template(source.streams[0], opaque=True)
        stream.metadata.update({"language": language, "title": f"Text {kind}"})
        if kind == "srt":
            stream.disposition = Disposition.forced
        return _copied(source, source.streams[0], stream, later)


def _mov_text(out: OutputContainer, later: int) -> list[Packet[Any]]:
    stream = out.add_mux_stream("mov_text", time_base=MILLISECOND)
    stream.metadata["language"] = "fre"
    texts = ((500, 700, "one"), (2000, 600, "two"), (3000, 500, "three"))
    return [timed(stream, struct.pack(">H", len(text)) + text.encode(), ms + later, length) for ms, length, text in texts]


def timed(stream: Stream, data: bytes, pts: int, duration: int = 0) -> Packet[Any]:
    packet: Packet[Any] = Packet(data)
    packet.stream, packet.time_base = stream, MILLISECOND
    packet.pts = packet.dts = pts
    packet.duration = duration
    return packet

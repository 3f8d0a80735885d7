"""Small films of many containers, and damaged copies of them, each told by a number alone."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av

from tests.synth import OPEN_GOP_H264, OPEN_GOP_HEVC, Audio, Video, frame_of, make_film, painted

NUM_FRAMES = 24
_MPEG2 = {"g": "8", "bf": "2"}
_H264 = Video(num_frames=NUM_FRAMES, options=OPEN_GOP_H264)
_SRT = "\n".join(f"{n + 1}\n00:00:00,{n * 200 + 100} --> 00:00:00,{n * 200 + 250}\nLine {n}\n" for n in range(4))
#: Bytes of a damage that is neither short nor long.
_MOST_RANGE = 3000


def _films() -> dict[str, tuple[tuple[Video, ...], tuple[Audio, ...], dict[str, str]]]:
    mpeg2, vp9 = Video(num_frames=NUM_FRAMES, codec="mpeg2video", options=_MPEG2), Video(NUM_FRAMES, codec="libvpx-vp9")
    mpeg4, av1 = (
        Video(NUM_FRAMES, codec="mpeg4", options=_MPEG2),
        Video(NUM_FRAMES, codec="libsvtav1", options={"preset": "12"}),
    )
    hevc = Video(NUM_FRAMES, 128, 96, codec="libx265", options=OPEN_GOP_HEVC)
    aac, mp2, opus = Audio(0.96), Audio(0.96, "mp2"), Audio(0.96, "libopus")
    return {
        "film.mkv": ((_H264,), (aac, Audio(0.96, "flac", language="ger")), {}),
        "ffv1.mkv": ((Video(NUM_FRAMES, codec="ffv1", options={"g": "1"}),), (), {}),
        "film.mp4": ((_H264,), (aac,), {}),
        "fast.mp4": ((_H264,), (aac,), {"movflags": "faststart"}),
        "pieces.mp4": ((_H264,), (aac,), {"movflags": "frag_keyframe+empty_moov"}),
        "hevc.mp4": ((hevc,), (aac,), {}),
        "film.mov": ((Video(NUM_FRAMES, codec="prores_ks", pixel_format="yuv422p10le"),), (Audio(0.96, "pcm_s16le"),), {}),
        "film.ts": ((_H264,), (aac,), {}),
        "mpeg2.ts": ((mpeg2,), (mp2,), {}),
        "film.vob": ((mpeg2,), (mp2,), {}),
        "film.avi": ((mpeg4,), (mp2,), {}),
        "film.webm": ((vp9,), (opus,), {}),
        "film.flv": ((_H264,), (aac,), {}),
        "film.ogg": ((Video(NUM_FRAMES, codec="libvpx"),), (opus,), {}),
        "film.ivf": ((av1,), (), {}),
        "film.obu": ((av1,), (), {}),
        "film.h264": ((_H264,), (), {}),
        "film.hevc": ((hevc,), (), {}),
        "film.m2v": ((mpeg2,), (), {}),
        "sound.wav": ((), (Audio(0.96, "pcm_s16le"),), {}),
    }


@dataclass(frozen=True)
class Mutant:
    """A damaged file, what it was made of, and how."""

    path: Path
    original: str
    damage: str


def make_originals(folder: Path) -> dict[str, Path]:
    """All films that mutants are made of, by name."""
    made = {}
    for name, (videos, audio, muxer) in _films().items():
        path = folder / name
        with_subtitles = folder / "subtitled.mkv"
        if name.endswith((".wav",)):
            _write_sound(path)
        else:
            make_film(path, *videos, audio=audio, muxer=muxer)
        if name == "film.mkv":
            (folder / "film.srt").write_text(_SRT)
            made["subtitled.mkv"] = _with_subtitles(path, folder / "film.srt", with_subtitles)
        made[name] = path
    made["film.srt"] = folder / "film.srt"
    made["still.png"] = _write_still(folder / "still.png")
    return made


def mutant(number: int, originals: dict[str, Path], folder: Path) -> Mutant:
    """The mutant of ``number``, in ``folder``; every original comes in its turn."""
    dice = random.Random(number)
    name = sorted(originals)[number % len(originals)]
    damage = dice.choice(_DAMAGES)
    data, said = damage(bytearray(originals[name].read_bytes()), dice)
    suffix = Path(name).suffix
    if dice.random() < 0.08:
        suffix = dice.choice([".mkv", ".mp4", ".ts", ".avi", ".png", ".txt", ""])
        said += f", named {suffix or 'without an ending'}"
    path = folder / f"mutant{number}{suffix}"
    path.write_bytes(bytes(data))
    return Mutant(path, name, said)


_Damage = Callable[[bytearray, random.Random], tuple[bytearray, str]]


def _range(data: bytearray, dice: random.Random) -> tuple[int, int]:
    length = min(len(data), int(2 ** dice.uniform(0, 12)), _MOST_RANGE)
    start = dice.randrange(max(1, len(data) - length))
    return start, start + length


def _truncated(data: bytearray, dice: random.Random) -> tuple[bytearray, str]:
    size = dice.randrange(len(data))
    return data[:size], f"cut to {size} of {len(data)} bytes"


def _bits_flipped(data: bytearray, dice: random.Random) -> tuple[bytearray, str]:
    count = int(2 ** dice.uniform(0, 6))
    for _ in range(count):
        data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
    return data, f"{count} bits flipped"


def _header_flipped(data: bytearray, dice: random.Random) -> tuple[bytearray, str]:
    for at in (places := [dice.randrange(min(len(data), 800)) for _ in range(int(2 ** dice.uniform(0, 4)))]):
        data[at] = dice.randrange(256)
    return data, f"header bytes {sorted(places)} changed"


def _tail_flipped(data: bytearray, dice: random.Random) -> tuple[bytearray, str]:
    for at in (places := [len(data) - 1 - dice.randrange(min(len(data), 1500)) for _ in range(int(2 ** dice.uniform(0, 4)))]):
        data[at] = dice.randrange(256)
    return data, f"bytes {sorted(places)} near the end changed"


def _header_cut(data: bytearray, dice: random.Random) -> tuple[bytearray, str]:
    start = dice.randrange(1, min(len(data), 2000))
    return data[start:], f"first {start} bytes cut off"


def _swapped(data: bytearray, dice: random.Random) -> tuple[bytearray, str]:
    size = min(dice.choice([188, 256, 1024, 4096]), len(data) // 4)
    one, two = sorted(dice.sample(range(0, len(data) - 2 * size), 2))
    two = max(two, one + size)
    data[one : one + size], data[two : two + size] = data[two : two + size], data[one : one + size]
    return data, f"{size} bytes at {one} and {two} swapped"


def _zeroed(data: bytearray, dice: random.Random) -> tuple[bytearray, str]:
    start, stop = _range(data, dice)
    data[start:stop] = bytes(stop - start)
    return data, f"bytes [{start}, {stop}) zeroed"


def _scrambled(data: bytearray, dice: random.Random) -> tuple[bytearray, str]:
    start, stop = _range(data, dice)
    data[start:stop] = dice.randbytes(stop - start)
    return data, f"bytes [{start}, {stop}) scrambled"


def _taken_out(data: bytearray, dice: random.Random) -> tuple[bytearray, str]:
    start, stop = _range(data, dice)
    del data[start:stop]
    return data, f"bytes [{start}, {stop}) taken out"


def _put_in(data: bytearray, dice: random.Random) -> tuple[bytearray, str]:
    start, stop = _range(data, dice)
    data[start:start] = dice.randbytes(stop - start)
    return data, f"{stop - start} bytes put in at {start}"


def _twice(data: bytearray, dice: random.Random) -> tuple[bytearray, str]:
    start, stop = _range(data, dice)
    data[start:start] = data[start:stop]
    return data, f"bytes [{start}, {stop}) twice"


_DAMAGES: tuple[_Damage, ...] = (
    *(_truncated, _bits_flipped, _header_flipped, _tail_flipped, _header_cut, _swapped),
    *(_zeroed, _scrambled, _taken_out, _put_in, _twice),
)


def _with_subtitles(film: Path, srt: Path, target: Path) -> Path:
    with av.open(str(film)) as source, av.open(str(srt)) as texts, av.open(str(target), "w") as out:
        copies = {s.index: out.add_stream_from_template(s, opaque=True) for s in source.streams}
        lines = out.add_stream_from_template(texts.streams[0], opaque=True)
        packets = [(p, copies[p.stream_index]) for p in source.demux() if p.size]
        packets += [(p, lines) for p in texts.demux() if p.size]
        for packet, stream in sorted(packets, key=lambda pair: (pair[0].dts or 0) * pair[0].time_base):
            packet.stream = stream
            out.mux(packet)
    return target


def _write_sound(path: Path) -> None:
    with av.open(str(path), "w") as out:
        stream = out.add_stream("pcm_s16le", rate=8000)
        stream.codec_context.layout = "mono"
        frame = av.AudioFrame(format="s16", layout="mono", samples=8000)
        frame.planes[0].update(bytes(16000))
        frame.sample_rate, frame.pts, frame.time_base = 8000, 0, Fraction(1, 8000)
        out.mux(stream.encode(frame) + stream.encode(None))


def _write_still(path: Path) -> Path:
    with av.open(str(path), "w", format="image2") as out:
        stream = out.add_stream("png", rate=1)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "rgb24"
        out.mux(stream.encode(frame_of(painted(0, 64, 48)).reformat(format="rgb24")) + stream.encode(None))
    return path

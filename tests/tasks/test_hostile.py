"""Headers that no muxer writes: each is refused in one line, or read as far as it makes sense, with bounded memory and time."""

from __future__ import annotations

import re
import resource
import struct
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pytest

from tasks.messages import Source
from tasks.probe import probe
from tests.apart import call_apart
from tests.synth import Audio, Video, make_film, remux
from vsalign.errors import InputError

_MOST_MEGABYTES = 700
_Change = Callable[[bytes], bytes]


def written_over(name: bytes, offset: int, form: str, *values: int) -> _Change:
    """Values in place of what stands ``offset`` bytes behind the first ``name``."""

    def change(data: bytes) -> bytes:
        at = data.index(name) + offset
        packed = struct.pack(form, *values)
        return data[:at] + packed + data[at + len(packed) :]

    return change


AVI_SIZE, AVI_RATE = (b"strf", 12), (b"strh", 28)
#: What is changed in a film of that ending, and what probe says of it ("": it reads the film).
HOSTILE: dict[str, tuple[str, _Change, str]] = {
    "pictures-of-4-gigapixels": ("avi", written_over(*AVI_SIZE, "<II", 65535, 65535), "can be decoded"),
    "pictures-of-240-megapixels": ("avi", written_over(*AVI_SIZE, "<II", 30000, 8000), "30000x8000, accepted are at most"),
    "pictures-of-nothing": ("avi", written_over(*AVI_SIZE, "<II", 0, 0), "can be decoded"),
    "pictures-upside-down": ("avi", written_over(*AVI_SIZE, "<iI", -(2**31), 48), ""),
    "time-base-of-zero": ("avi", written_over(*AVI_RATE, "<II", 0, 25), ""),
    "rate-of-zero": ("avi", written_over(*AVI_RATE, "<II", 1, 0), ""),
    "rate-of-2-billion": ("avi", written_over(*AVI_RATE, "<II", 1, 2**31 - 1), "counts time in units of 1/2147483647 s"),
    "a-frame-in-a-lifetime": ("avi", written_over(*AVI_RATE, "<II", 2**31 - 1, 1), "counts time in units of 2147483647 s"),
    "a-billion-samples": ("mp4", written_over(b"stsz", 8, ">II", 1, 10**9), "no frame in this video stream"),
    "a-billion-sizes": ("mp4", written_over(b"stsz", 8, ">II", 0, 10**9), "not a readable video file"),
    "ticks-of-nothing": ("mp4", written_over(b"mdhd", 16, ">I", 0), ""),
    "centuries": ("mp4", written_over(b"mdhd", 20, ">I", 2**32 - 1), ""),
    "frames-a-day-apart": ("mp4", written_over(b"stts", 16, ">I", 2**31 - 1), ""),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_headers_cost_neither_memory_nor_a_crash(tmp_path: Path, name: str) -> None:
    ending, change, said = HOSTILE[name]
    codec = "ffv1" if ending == "avi" else "libx264"
    film = make_film(
        tmp_path / f"film.{ending}", Video(num_frames=6, codec=codec, options={} if codec == "ffv1" else {"bf": "0"})
    )
    film.write_bytes(change(film.read_bytes()))
    assert call_apart(_probe_apart, str(film), str(tmp_path / "answer"), timeout_s=50) == 0, name
    answer, megabytes = (tmp_path / "answer").read_text().rsplit("|", 1)
    assert said in answer and "\n" not in answer, answer
    assert int(megabytes) < _MOST_MEGABYTES, answer


def _probe_apart(film: str, answers: str) -> None:
    try:
        found = probe(Source(film))
        answer = f"{found.info.num_frames} frames, {found.info.average_rate} a second"
    except InputError as error:
        answer = str(error)
    Path(answers).write_text(f"{answer}|{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10}")


def test_streams_that_no_decoder_knows_are_listed_and_left_alone(tmp_path: Path) -> None:
    film = make_film(tmp_path / "film.mkv", Video(num_frames=6), audio=[Audio(0.3, "flac")])
    film.write_bytes(film.read_bytes().replace(b"A_FLAC", b"A_MOON"))
    found = probe(Source(str(film)))
    assert [s.kind for s in found.info.streams] == ["video", "audio"] and len(found.index) == 6
    film.write_bytes(film.read_bytes().replace(b"V_MPEG4/ISO/AVC", b"V_MOONS/ISO/AVC"))
    with pytest.raises(InputError, match="no decoder for this video stream"):
        probe(Source(str(film)))


@pytest.mark.parametrize("shape", [(10000, 1), (0, 0), (2**31 - 1, 1)])
def test_a_shape_of_pixels_that_cannot_be_counts_as_square(tmp_path: Path, shape: tuple[int, int]) -> None:
    film = make_film(
        tmp_path / "film.mov",
        Video(num_frames=6, codec="prores_ks", pixel_format="yuv422p10le", sample_aspect_ratio=Fraction(4, 3)),
    )
    film.write_bytes(written_over(b"pasp", 4, ">II", *shape)(film.read_bytes()))
    assert probe(Source(str(film))).info.sample_aspect_ratio == 1


def test_tags_in_another_encoding_are_no_obstacle(tmp_path: Path) -> None:
    film = make_film(tmp_path / "film.mkv", Video(num_frames=6), audio=[Audio(0.3, language="xyz")])
    film.write_bytes(film.read_bytes().replace(b"xyz", b"x\xe9z"))
    assert [s.kind for s in probe(Source(str(film))).info.streams] == ["video", "audio"]


def test_what_ffmpeg_complains_of_while_it_opens_a_film_is_told(tmp_path: Path) -> None:
    film = make_film(tmp_path / "film.ogg", Video(num_frames=24, codec="libvpx"), audio=[Audio(0.96, "libopus")])
    assert probe(Source(str(film))).info.damage == ""
    data = bytearray(film.read_bytes())
    pages = [match.start() for match in re.finditer(b"OggS", data)]
    data[pages[-2] + 60] ^= 1
    film.write_bytes(bytes(data))
    assert "CRC mismatch" in probe(Source(str(film))).info.damage


@pytest.mark.parametrize(
    "change", [lambda data, at: data[:at] + bytes(900) + data[at:], lambda data, at: data[:at] + bytes(900) + data[at + 900 :]]
)
def test_a_piece_of_an_mp4_in_pieces_that_is_not_there_is_told(tmp_path: Path, change: Callable[[bytes, int], bytes]) -> None:
    film = make_film(
        tmp_path / "film.mp4", Video(num_frames=24, options={"g": "8"}), muxer={"movflags": "frag_keyframe+empty_moov"}
    )
    assert probe(Source(str(film))).info.damage == ""
    data = film.read_bytes()
    second = data.index(b"moof", data.index(b"moof") + 4) - 4
    film.write_bytes(change(data, second))
    found = probe(Source(str(film)))
    assert len(found.index) == 8 and f"do not fit together from byte {second} on" in found.info.damage


def test_packets_lost_to_the_demuxer_are_told_with_its_own_words(tmp_path: Path) -> None:
    film = make_film(tmp_path / "film.mkv", Video(num_frames=24, codec="ffv1", options={"g": "1"}))
    with av.open(str(film)) as container:
        places = [packet.pos or 0 for packet in container.demux(video=0) if packet.size]
    data = film.read_bytes()
    film.write_bytes(data[: places[12]] + bytes(6) + data[places[12] + 6 :])
    found = probe(Source(str(film)))
    assert len(found.index) < 24
    assert "invalid as first byte of an EBML number" in found.info.damage
    assert "frames seem to be missing, the first behind frame 11 (00:00:00.440)" in found.info.damage


def test_frames_lost_behind_the_first_key_frame_stay_in_the_index(tmp_path: Path) -> None:
    whole = make_film(tmp_path / "whole.mkv", Video(num_frames=24, codec="ffv1", options={"g": "1"}))

    def spoiled(rank: int, packet: av.Packet[Any]) -> Sequence[av.Packet[Any]]:
        if rank != 5:
            return [packet]
        made = av.Packet(b"\xff" * packet.size)
        made.pts, made.dts, made.time_base, made.is_keyframe = packet.pts, packet.dts, packet.time_base, True
        return [made]

    found = probe(Source(str(remux(whole, tmp_path / "film.mkv", spoiled))))
    assert len(found.index) == 24, "what becomes of it is for --on-corrupt to say"

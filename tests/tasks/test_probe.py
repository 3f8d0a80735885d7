"""Probe: what is found in real containers, and how bad input is refused."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from tasks.decode import FrameReader
from tasks.messages import Probe, Source
from tasks.packets import frame_index, packet_table
from tasks.probe import parse_source, probe
from tasks.probefile import load_probe, save_probe
from tests.synth import (
    ALT_REF_VPX,
    CLIPS,
    LOSSLESS_H264,
    OPEN_GOP_H264,
    Audio,
    Video,
    cut_file,
    linear_hashes,
    make_film,
    remux,
    shown_number,
)
from vsalign.errors import InputError
from vsalign.picture import ColourTags

film = pytest.mark.film


def probed(path: Path, stream: int = 0, allow_truncated: bool = False) -> Probe:
    return probe(Source(str(path), stream), allow_truncated)


def numbers_shown(path: Path, found: Probe) -> list[int]:
    with FrameReader(found) as reader:
        return [shown_number(picture) for _, picture in reader.pictures(found.index.whole)]


def refusal(path: str, allow_truncated: bool = False) -> str:
    with pytest.raises(InputError) as caught:
        probe(parse_source(path), allow_truncated)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# --- what is found


def test_a_film_with_b_frames_is_listed_in_presentation_order(tmp_path: Path) -> None:
    found = probed(make_film(tmp_path / "film.mkv", Video(num_frames=30, options=OPEN_GOP_H264)))
    assert found.info.num_frames == len(found.index) == 30
    assert list(found.index.pts) == [40 * n for n in range(30)]
    assert sorted(found.index.packet) == list(range(30))
    assert list(found.index.packet) != list(range(30)), "decode order differs from presentation order"
    assert found.index.keyframe[0] and found.index.keyframe.sum() == 3
    assert set(found.index.duration) == {40}


def test_times_of_a_vfr_film_are_kept_to_the_tick(tmp_path: Path) -> None:
    pts = [0, 40, 41, 90, 1000, 1500, 1533, 1600]
    video = Video(num_frames=8, pts=pts, time_base=Fraction(1, 1000), start=250)
    found = probed(make_film(tmp_path / "film.mkv", video))
    assert list(found.index.pts) == [p + 250 for p in pts]
    assert list(found.index.duration[:-1]) == list(np.diff(pts))
    assert abs(found.info.average_rate - Fraction(7000, 1600)) < Fraction(1, 100)


def test_the_second_video_stream_is_chosen_by_number(tmp_path: Path) -> None:
    film = make_film(tmp_path / "film.mp4", Video(), Video(num_frames=20, width=96, height=64, first_frame=500))
    found = probe(parse_source(f"{film}#v:1"))
    assert (found.info.width, found.info.height, found.info.num_frames) == (96, 64, 20)
    assert numbers_shown(film, found) == list(range(500, 520))
    assert "has 2 video streams" in refusal(f"{film}#v:2")
    assert found.info.identity != probed(film).info.identity


def test_a_file_whose_name_looks_like_a_stream_choice_wins(tmp_path: Path) -> None:
    odd = make_film(tmp_path / "film.mkv#v:1", Video(num_frames=3), format="matroska")
    assert parse_source(str(odd)) == Source(str(odd), 0)
    assert parse_source("film.mkv#v:1") == Source("film.mkv", 1)
    assert str(parse_source("a#v:2")) == "a#v:2"


def test_colour_shape_and_rotation_are_found(tmp_path: Path) -> None:
    video = Video(
        num_frames=4,
        pixel_format="yuv420p10le",
        colour=ColourTags(9, 16, 9, 1),
        sample_aspect_ratio=Fraction(4, 3),
        rotation=90,
        options={"chroma_sample_location": "topleft"},
    )
    info = probed(make_film(tmp_path / "film.mp4", video)).info
    assert info.colour == ColourTags(9, 16, 9, 1, 3)
    assert (info.pixel_format, info.bit_depth, info.sample_aspect_ratio) == ("yuv420p10le", 10, Fraction(4, 3))
    assert info.rotation_degrees == 270, "90 degrees counter-clockwise are 270 clockwise"
    assert info.field_order == "progressive"


def test_interlaced_film_is_not_called_progressive(tmp_path: Path) -> None:
    plain, fields = (Video(codec="mpeg2video", num_frames=6, options=o) for o in ({}, {"flags": "+ildct+ilme"}))
    assert probed(make_film(tmp_path / "plain.ts", plain)).info.field_order == "progressive"
    assert probed(make_film(tmp_path / "fields.ts", fields)).info.field_order in ("tt", "bb", "tb", "bt")


def test_streams_are_described_with_their_language(tmp_path: Path) -> None:
    film = make_film(tmp_path / "film.mkv", Video(num_frames=25), audio=[Audio(1, language="fre"), Audio(1, codec="flac")])
    streams = probed(film).info.streams
    assert [(s.index, s.kind, s.codec, s.language) for s in streams] == [
        (0, "video", "h264", ""),
        (1, "audio", "aac", "fre"),
        (2, "audio", "flac", ""),
    ]


def test_vp8_packets_that_show_nothing_are_no_frames(tmp_path: Path) -> None:
    shown = make_film(tmp_path / "shown.webm", Video(codec="libvpx", num_frames=70, options={**ALT_REF_VPX, "g": "10"}))

    def with_hidden_copy(rank: int, packet: av.Packet) -> Sequence[av.Packet]:
        if not packet.is_keyframe:
            return [packet]
        hidden = av.Packet(bytes([bytes(packet)[0] & ~0x10]) + bytes(packet)[1:])
        hidden.pts, hidden.dts, hidden.time_base = packet.pts + 5, packet.dts + 5, packet.time_base
        return [packet, hidden]

    film = remux(shown, tmp_path / "hidden.webm", with_hidden_copy)
    found = probed(film)
    assert len(found.index) == 70
    assert found.index.packet[-1] == 69 + found.index.keyframe.sum(), "ranks count the hidden packets"
    assert numbers_shown(film, found) == list(range(70))


def test_frames_outside_an_mp4_edit_list_are_no_frames(tmp_path: Path) -> None:
    film = make_film(tmp_path / "film.mp4", Video(num_frames=30, start=-5, options=OPEN_GOP_H264))
    found = probed(film)
    assert numbers_shown(film, found) == list(range(5, 30))
    assert found.index.pts[0] == 0
    assert [h for _, h in linear_hashes(film)] == [h for _, h in linear_hashes(film)]


def test_leading_frames_whose_references_are_gone_leave_the_index(tmp_path: Path) -> None:
    whole = make_film(tmp_path / "whole.mkv", Video(num_frames=40, options=OPEN_GOP_H264))
    second_key = int(np.sort(probed(whole).index.packet[probed(whole).index.keyframe])[1])
    film = remux(whole, tmp_path / "late.mkv", lambda rank, packet: [packet] if rank >= second_key else [])
    found = probed(film)
    assert list(found.index.pts) == [pts for pts, _ in linear_hashes(film)]
    assert numbers_shown(film, found)[0] >= 9


def test_cover_art_is_no_video_stream(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "song.flac"), "w") as out:
        sound, cover = out.add_stream("flac", rate=48000), out.add_stream("mjpeg", rate=1)
        sound.codec_context.layout = "mono"
        cover.codec_context.width, cover.codec_context.height, cover.codec_context.pix_fmt = 64, 48, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        frame = av.VideoFrame(64, 48, "yuvj420p")
        frame.pts = 0
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 4096), np.int16), format="s16", layout="mono")
        silence.sample_rate = 48000
        out.mux(cover.encode(frame) + cover.encode(None) + sound.encode(silence) + sound.encode(None))
    assert "no video stream (it has 1 video, 1 audio)" in refusal(str(tmp_path / "song.flac"))


def test_saving_and_loading_gives_the_same_probe(tmp_path: Path) -> None:
    found = probed(make_film(tmp_path / "film.mp4", Video(num_frames=12), audio=[Audio(0.5, language="ger")]))
    json_bytes, npz_bytes = save_probe(found)
    loaded = load_probe(json_bytes, npz_bytes)
    assert loaded.info == found.info
    for name in ("pts", "duration", "keyframe", "packet", "packet_bytes"):
        assert np.array_equal(getattr(loaded.index, name), getattr(found.index, name))
        assert getattr(loaded.index, name).dtype == getattr(found.index, name).dtype
    assert loaded.index.time_base == found.index.time_base
    assert loaded.coded is None
    assert save_probe(loaded) == (json_bytes, npz_bytes)


def test_frames_as_they_are_coded_are_saved_beside_those_that_are_shown(tmp_path: Path) -> None:
    found = probed(make_film(tmp_path / "film.mkv", Video(num_frames=12)))
    coded = replace(found.index, pts=found.index.pts * 2, time_base=Fraction(1, 50))
    loaded = load_probe(*save_probe(replace(found, coded=coded)))
    assert loaded.coded is not None and loaded.coded.time_base == Fraction(1, 50)
    assert np.array_equal(loaded.coded.pts, coded.pts) and np.array_equal(loaded.index.pts, found.index.pts)


def test_identity_follows_the_film_and_not_its_name(tmp_path: Path) -> None:
    film = make_film(tmp_path / "film.mkv", Video(num_frames=10))
    copy = shutil.copy(film, tmp_path / "copy.mkv")
    other = make_film(tmp_path / "other.mkv", Video(num_frames=10, first_frame=1))
    assert probed(film).info.identity == probed(Path(copy)).info.identity
    assert probed(film).info.identity != probed(other).info.identity


# --- what is refused


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    assert refusal(f"{tmp_path}/none.mkv") == f"{tmp_path}/none.mkv: no such file"
    assert "is a folder" in refusal(str(tmp_path))


@pytest.mark.parametrize("content", [b"", b"once upon a time\n" * 40, bytes(range(256)) * 50], ids=["empty", "text", "garbage"])
@pytest.mark.parametrize("name", ["film.mkv", "film.mp4", "film.txt"])
def test_a_file_that_is_no_video_is_refused(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    assert "video" in refusal(str(tmp_path / name))


def test_audio_alone_is_refused(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "song.flac"), "w") as out:
        stream = out.add_stream("flac", rate=48000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 4800), np.int16), format="s16", layout="mono")
        frame.sample_rate = 48000
        out.mux(stream.encode(frame) + stream.encode(None))
    assert "no video stream (it has 1 audio)" in refusal(str(tmp_path / "song.flac"))


def test_pictures_out_of_the_order_of_their_times_are_refused(tmp_path: Path) -> None:
    film = make_film(tmp_path / "film.mkv", Video(options=OPEN_GOP_H264))

    def by_decoding(rank: int, packet: av.Packet) -> Sequence[av.Packet]:
        packet.pts = packet.dts = 40 * rank
        return [packet]

    assert "timestamps do not follow" in refusal(str(remux(film, tmp_path / "wrong.mkv", by_decoding)))


def table_of(pts: Sequence[int | None]) -> Any:
    n = len(pts)
    return packet_table(pts, [1] * n, [True] * n, [100] * n, [True] * n)


@pytest.mark.parametrize(
    ("pts", "said"),
    [
        ([0, 1, 1, 2], "frames 1 and 2 have the same timestamp"),
        ([0, 1, None, 3], "frame 2 has no timestamp"),
        ([*range(100), *range(-100, 0)], "timestamps jump back"),
        ([], "no frame"),
    ],
)
def test_times_that_cannot_be_trusted_are_refused(pts: list[int | None], said: str) -> None:
    with pytest.raises(InputError, match=said):
        frame_index(table_of(pts), Fraction(1, 25), "film.mkv")


# --- files that end too early

LONG = Video(num_frames=90, options=LOSSLESS_H264 | {"g": "12"})


@pytest.mark.parametrize("name", ["film.mkv", "film.mp4", "film.ts", "film.webm", "film.avi"])
def test_a_cut_file_is_refused_and_read_as_far_as_it_goes_on_request(tmp_path: Path, name: str) -> None:
    video = Video(num_frames=90, codec="libvpx-vp9", options={"g": "12"}) if name.endswith("webm") else LONG
    whole = make_film(tmp_path / name, video, muxer={"movflags": "faststart"} if name.endswith("mp4") else {})
    assert probed(whole).info.truncated == ""
    cut = cut_file(whole, 0.6)
    said = refusal(str(cut))
    found = probed(cut, allow_truncated=True)
    assert 20 < len(found.index) < 90
    assert f"ends at frame {len(found.index)}" in said and "--allow-truncated" in said
    assert found.info.truncated and found.info.truncated in said
    assert numbers_shown(cut, found) == list(range(len(found.index))), "every frame of the index is really there"


def test_the_refusal_of_a_cut_mp4_says_how_many_frames_there_should_be(tmp_path: Path) -> None:
    cut = cut_file(make_film(tmp_path / "film.mp4", LONG, muxer={"movflags": "faststart"}), 0.5)
    assert "of 90" in refusal(str(cut))


def test_an_mp4_cut_before_its_table_is_unreadable(tmp_path: Path) -> None:
    cut = cut_file(make_film(tmp_path / "film.mp4", LONG), 0.8)
    assert "not a readable video file (moov atom not found)" in refusal(str(cut), allow_truncated=True)


def test_a_whole_file_with_longer_audio_is_not_taken_for_cut(tmp_path: Path) -> None:
    for name in ("film.mkv", "film.mp4"):
        assert probed(make_film(tmp_path / name, Video(num_frames=25), audio=[Audio(4)])).info.truncated == ""


@film
@pytest.mark.skipif(not CLIPS.is_dir(), reason="real film clips are absent")
def test_the_real_vp8_film_has_all_its_frames() -> None:
    found = probed(CLIPS / "bbb_720p24_vp8.webm")
    assert found.info.num_frames == 720
    assert (found.info.codec, found.info.average_rate) == ("vp8", 24)


@film
@pytest.mark.skipif(not CLIPS.is_dir(), reason="real film clips are absent")
def test_the_real_file_of_two_videos_gives_both() -> None:
    path = CLIPS / "nasa_13013_two_streams.mp4"
    assert [(probed(path, n).info.width, probed(path, n).info.num_frames) for n in (0, 1)] == [(320, 325), (480, 390)]

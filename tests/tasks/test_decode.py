"""Decode: any frame, from anywhere, equals the same frame of one linear run."""

from __future__ import annotations

import gc
import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import pytest
from av.packet import Packet
from av.video.frame import PictureType
from av.video.reformatter import VideoReformatter

from tasks.decode import FrameReader
from tasks.decoder import Decoder
from tasks.errors import DecodeError
from tasks.formats import planar_format
from tasks.messages import FrameIndex, Probe, Source
from tasks.openfilm import open_stream
from tasks.pictures import picture_of
from tasks.probe import probe
from tasks.seekplan import SeekPlan, reorder_depth
from tests.synth import (
    ALT_REF_VPX,
    CLIPS,
    OPEN_GOP_H264,
    OPEN_GOP_HEVC,
    Video,
    cut_file,
    forget_timestamps,
    frame_of,
    linear_hashes,
    make_film,
    painted,
    picture_hash,
    shown_number,
)
from vsalign.frames import FrameRange
from vsalign.picture import RANGE_FULL, ColourTags, Picture, black_sample, luma

MPEG2 = {"g": "12", "bf": "2"}
FILMS = {
    "h264-open-gop.mkv": Video(options=OPEN_GOP_H264),
    "h264-open-gop.mp4": Video(options=OPEN_GOP_H264, start=7),
    "h264-open-gop.ts": Video(options=OPEN_GOP_H264, start=50),
    "h264-10bit.mkv": Video(pixel_format="yuv420p10le", options=OPEN_GOP_H264),
    "h264-422.mkv": Video(pixel_format="yuv422p", options=OPEN_GOP_H264),
    "hevc-open-gop.mkv": Video(codec="libx265", options=OPEN_GOP_HEVC),
    "hevc-open-gop.mp4": Video(codec="libx265", options=OPEN_GOP_HEVC),
    "vp8.webm": Video(codec="libvpx", options=ALT_REF_VPX),
    "vp9.webm": Video(codec="libvpx-vp9", options=ALT_REF_VPX),
    "mpeg2.ts": Video(codec="mpeg2video", options=MPEG2),
    "mpeg2.mpg": Video(codec="mpeg2video", options=MPEG2),
    "mpeg4.avi": Video(codec="mpeg4", options=MPEG2),
    "ffv1.mkv": Video(codec="ffv1", options={"g": "1"}),
    "prores.mov": Video(codec="prores_ks", pixel_format="yuv422p10le"),
    "vfr.mkv": Video(pts=[n * 40 + n % 3 * 7 for n in range(48)], time_base=Fraction(1, 1000), options=OPEN_GOP_H264),
}


def probed(path: Path) -> Probe:
    return probe(Source(str(path)))


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("films")
    return {name: make_film(folder / name, video) for name, video in FILMS.items()}


# --- exactness (of all formats: test_format_matrix.py)


@pytest.mark.parametrize("name", ["h264-open-gop.mp4", "hevc-open-gop.mkv", "mpeg2.ts", "vp9.webm"])
def test_one_reader_jumping_about_gives_what_was_asked_in_the_order_asked(films: dict[str, Path], name: str) -> None:
    wanted = [40, 3, 3, 4, 47, 0, 46, 12, 11, 10, 9, 12, 30, 29, 30, 29]
    with FrameReader(probed(films[name])) as reader:
        got = [(n, shown_number(picture)) for n, picture in reader.pictures(wanted)]
    assert got == [(n, n) for n in wanted]


@pytest.mark.parametrize("name", ["h264-open-gop.mkv", "hevc-open-gop.mkv", "mpeg2.ts", "vp8.webm", "vp9.webm", "prores.mov"])
def test_pictures_stay_what_they_are_after_reading_on_and_closing(films: dict[str, Path], name: str) -> None:
    """They share the decoder's memory."""
    with FrameReader(probed(films[name])) as reader:
        pictures = dict(reader.pictures(range(48)))
    gc.collect()
    assert [picture_hash(picture) for picture in pictures.values()] == [digest for _, digest in linear_hashes(films[name])]


def test_a_decoded_plane_is_not_copied() -> None:
    frame = frame_of(painted(5, 67, 48, "yuv420p10le"))
    planes = picture_of(frame, ColourTags(), VideoReformatter()).planes
    for plane, samples in zip(frame.planes, planes, strict=True):
        assert np.shares_memory(np.frombuffer(plane, np.uint8), samples)


# --- what it costs


class Counting:
    """Counts the frames that a reader's decoder gives out, and its starts."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.frames, self.starts = 0, 0
        frames, begin = Decoder._frames, Decoder.begin

        def counted_frames(decoder: Decoder, packets: object, rank: int) -> object:
            for item in frames(decoder, packets, rank):  # type: ignore[arg-type]
                self.frames += 1
                yield item

        def counted_begin(decoder: Decoder, key: int) -> bool:
            self.starts += 1
            return begin(decoder, key)

        monkeypatch.setattr(Decoder, "_frames", counted_frames)
        monkeypatch.setattr(Decoder, "begin", counted_begin)


def test_ascending_numbers_cost_one_pass(films: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    count = Counting(monkeypatch)
    with FrameReader(probed(films["h264-open-gop.mkv"])) as reader:
        wanted = [5, 5, 6, 8, 9, 9, 9, 20, 21, 40]
        assert [n for n, _ in reader.pictures(wanted)] == wanted
    assert (count.starts, count.frames) == (1, 41)


def test_the_last_two_pictures_are_kept(films: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    count = Counting(monkeypatch)
    with FrameReader(probed(films["h264-open-gop.mkv"])) as reader:
        list(reader.pictures([10, 11, 10, 11, 10]))
        assert count.starts == 1


def test_a_far_jump_ahead_seeks_instead_of_decoding_everything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = probed(make_film(tmp_path / "film.mkv", Video(num_frames=300, codec="mpeg2video", options=MPEG2)))
    count = Counting(monkeypatch)
    with FrameReader(found) as reader:
        assert [shown_number(p) for _, p in reader.pictures([0, 290])] == [0, 290]
    assert count.starts == 2
    assert count.frames < 60


@pytest.mark.parametrize("name", ["h264-open-gop.mkv", "h264-open-gop.ts", "hevc-open-gop.mkv", "mpeg2.ts", "vp9.webm"])
def test_every_jump_back_finds_its_frame_at_the_first_start(
    films: dict[str, Path], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    count = Counting(monkeypatch)
    with FrameReader(probed(films[name])) as reader:
        for k, start in enumerate((45, 33, 27, 21, 13, 8, 2)):
            assert [shown_number(p) for _, p in reader.pictures(range(start, start + 3))] == [start, start + 1, start + 2]
            assert count.starts == k + 1


def test_a_seek_that_lands_late_is_tried_again_from_earlier(films: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    found, true_open = probed(films["h264-open-gop.mkv"]), open_stream

    class Late:
        """A container that always lands one key frame further than asked."""

        def __init__(self, container: av.container.InputContainer) -> None:
            self._container = container

        def seek(self, pts: int, stream: av.VideoStream) -> None:
            self._container.seek(min(pts + 400, 1600), stream=stream)

        def __getattr__(self, name: str) -> object:
            return getattr(self._container, name)

    def late_open(source: Source, version: str) -> tuple[object, av.VideoStream]:
        container, stream = true_open(source, version)
        return Late(container), stream

    monkeypatch.setattr("tasks.decoder.open_stream", late_open)
    with FrameReader(found) as reader:
        assert [shown_number(p) for _, p in reader.pictures([25, 12, 47])] == [25, 12, 47]


def test_film_with_few_timestamps_is_read_exactly_behind_a_seek(tmp_path: Path) -> None:
    video = Video(codec="mpeg2video", num_frames=90, width=320, height=240, options=MPEG2)
    film = forget_timestamps(make_film(tmp_path / "film.vob", video))
    found, dice = probed(film), random.Random(4)
    assert len(found.index) == 90
    with FrameReader(found) as reader:
        for _ in range(15):
            start = dice.randrange(88)
            assert [shown_number(p) for _, p in reader.pictures(range(start, start + 2))] == [start, start + 1]


def test_times_that_a_container_forgets_behind_a_seek_come_from_the_index(
    films: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    found, true_demuxed = probed(films["h264-open-gop.ts"]), Decoder._demuxed

    def forgetful(reading: Decoder, container: Any, stream: Any) -> Iterator[Packet[Any]]:
        for packet in true_demuxed(reading, container, stream):
            packet.pts = packet.pts if packet.is_keyframe else None
            yield packet

    monkeypatch.setattr(Decoder, "_demuxed", forgetful)
    with FrameReader(found) as reader:
        assert [shown_number(p) for _, p in reader.pictures([25, 33, 12])] == [25, 33, 12]


def test_a_landing_on_other_packets_is_found_out(films: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    found, true_from_key = probed(films["ffv1.mkv"]), Decoder._from_key
    landings = []

    def one_too_far(decoder: Decoder, packets: Iterator[Packet[Any]], key: int) -> Iterator[Packet[Any]] | None:
        right = true_from_key(decoder, packets, key)
        landings.append(key)
        if right is not None and len(landings) == 1:
            next(right)
        return right

    monkeypatch.setattr(Decoder, "_from_key", one_too_far)
    with FrameReader(found) as reader:
        assert [shown_number(p) for _, p in reader.pictures([30, 31])] == [30, 31]
    assert len(landings) > 1


# --- failures


def test_a_number_outside_the_film_is_an_index_error(films: dict[str, Path]) -> None:
    with FrameReader(probed(films["ffv1.mkv"])) as reader, pytest.raises(IndexError, match=r"frame 48 is outside \[0, 48\)"):
        next(reader.pictures([48]))


def test_a_promised_frame_that_does_not_come_is_named(films: dict[str, Path], tmp_path: Path) -> None:
    found = probed(films["mpeg2.ts"])
    short = cut_file(films["mpeg2.ts"], 0.5)
    short.replace(tmp_path / "film.ts")
    gone = Probe(replace(found.info, source=Source(f"{tmp_path}/film.ts")), found.index)
    with FrameReader(gone) as reader:
        assert shown_number(next(reader.pictures([3]))[1]) == 3
        with pytest.raises(DecodeError) as caught:
            next(reader.pictures([45]))
    assert caught.value.frame == 45
    assert "film.ts: frame 45" in str(caught.value)


# --- sample formats


def raw_film(path: Path, name: str, pictures: Sequence[Picture]) -> Path:
    with av.open(str(path), "w", format="nut") as out:
        stream = out.add_stream("rawvideo", rate=25)
        stream.codec_context.width, stream.codec_context.height = pictures[0].width, pictures[0].height
        stream.codec_context.pix_fmt = name
        for n, picture in enumerate(pictures):
            frame = frame_of(picture, name)
            frame.pts = n
            out.mux(stream.encode(frame))
    return path


@pytest.mark.parametrize(
    ("name", "planar"),
    [
        ("nv12", "yuv420p"),
        ("nv21", "yuv420p"),
        ("yuyv422", "yuv422p"),
        ("uyvy422", "yuv422p"),
        ("p010le", "yuv420p10le"),
        ("p210le", "yuv422p10le"),
        ("rgb24", "gbrp"),
        ("bgra", "gbrp"),
        ("rgb48le", "gbrp16le"),
        ("yuva420p", "yuv420p"),
        ("gbrap", "gbrp"),
        ("gray", "gray"),
        ("gray10le", "gray10le"),
        ("yuv444p16le", "yuv444p16le"),
        ("yuv420p10be", "yuv420p10le"),
    ],
)
def test_every_layout_comes_out_planar_with_all_its_samples(name: str, planar: str) -> None:
    want = painted(5, 64, 48, planar)
    have = picture_of(frame_of(want, name), ColourTags(), VideoReformatter())
    assert have.format == planar_format(planar)
    for w, h in zip(want.planes, have.planes, strict=True):
        assert np.array_equal(w, h)
        assert h.strides[1] == h.itemsize, "rows without gaps between their samples"


@pytest.mark.parametrize("name", ["nv12", "yuyv422", "rgb24", "gray10le"])
def test_packed_film_is_read_planar(tmp_path: Path, name: str) -> None:
    sent = [painted(n, 64, 48, planar_format(name).name) for n in range(3)]
    with FrameReader(probed(raw_film(tmp_path / "film.nut", name, sent))) as reader:
        assert [picture_hash(picture) for _, picture in reader.pictures([0, 1, 2])] == [picture_hash(p) for p in sent]


def test_full_range_by_name_becomes_a_tag(tmp_path: Path) -> None:
    film = make_film(tmp_path / "film.mkv", Video(num_frames=3, pixel_format="yuvj420p", colour=ColourTags(range=RANGE_FULL)))
    found = probed(film)
    assert found.info.pixel_format == "yuvj420p"
    with FrameReader(found) as reader:
        picture = next(reader.pictures([0]))[1]
    assert (picture.format.name, picture.colour.range) == ("yuv420p", RANGE_FULL)


def test_odd_sizes_keep_their_last_column_and_row(tmp_path: Path) -> None:
    sent = painted(5, 67, 51)
    film = make_film(tmp_path / "film.mkv", Video(num_frames=6, codec="ffv1", width=67, height=51))
    with FrameReader(probed(film)) as reader:
        assert picture_hash(next(reader.pictures([5]))[1]) == picture_hash(sent)


# --- thumbs


def averaged(picture: Picture, width: int, height: int) -> npt.NDArray[np.float64]:
    light = luma(picture).astype(np.float64).clip(0, 1) * 255
    rows, columns = light.shape[0] // height, light.shape[1] // width
    return np.asarray(light.reshape(height, rows, width, columns).mean(axis=(1, 3)))


@pytest.mark.parametrize("name", ["yuv420p", "yuv420p10le", "gbrp", "gray"])
def test_thumbs_are_area_means_of_luma_in_full_range(tmp_path: Path, name: str) -> None:
    sent = [painted(n, 128, 96, name) for n in range(4)]
    found = probed(raw_film(tmp_path / "film.nut", name, sent))
    with FrameReader(found) as reader:
        thumbs = dict(reader.thumbs(FrameRange(1, 4), 32, 24))
        pictures = dict(reader.pictures(range(1, 4)))
    assert list(thumbs) == [1, 2, 3]
    for n, thumb in thumbs.items():
        assert thumb.shape == (24, 32) and thumb.dtype == np.uint8
        assert np.abs(thumb - averaged(pictures[n], 32, 24)).max() <= 3


def test_black_and_white_reach_the_ends_of_a_thumb(tmp_path: Path) -> None:
    layout = planar_format("yuv420p")
    planes = [np.full((48, 64), black_sample(layout, False, 0), np.uint8), *(np.full((24, 32), 128, np.uint8) for _ in "uv")]
    planes[0][:, 32:] = 235
    with FrameReader(probed(raw_film(tmp_path / "film.nut", "yuv420p", [Picture(tuple(planes), layout)]))) as reader:
        thumb = next(reader.thumbs(FrameRange(0, 1), 16, 12))[1]
    assert set(thumb[:, :7].flat) == {0} and set(thumb[:, 9:].flat) == {255}


def test_a_thumb_depends_on_its_frame_alone(films: dict[str, Path]) -> None:
    found = probed(films["h264-open-gop.ts"])
    with FrameReader(found, threads=2) as reader:
        whole = dict(reader.thumbs(found.index.whole, 20, 15))
    for start in (1, 11, 29, 47):
        with FrameReader(found) as reader:
            for n, thumb in reader.thumbs(FrameRange(start, min(48, start + 3)), 20, 15):
                assert np.array_equal(thumb, whole[n])


@pytest.mark.parametrize("name", FILMS)
def test_a_reader_of_thumbs_alone_gives_the_same_from_wherever_it_begins(films: dict[str, Path], name: str) -> None:
    found, dice = probed(films[name]), random.Random(name)
    with FrameReader(found, threads=2, only_thumbs=True) as reader:
        whole = dict(reader.thumbs(found.index.whole, 80, 60))
    for start in dice.sample(range(len(found.index)), 6):
        with FrameReader(found, only_thumbs=True) as reader:
            for n, thumb in reader.thumbs(FrameRange(start, min(len(found.index), start + 3)), 80, 60):
                assert np.array_equal(thumb, whole[n])


def test_a_reader_of_thumbs_alone_deblocks_all_that_others_need(films: dict[str, Path]) -> None:
    """Frames that others are predicted from are decoded in full, so that nothing adds up."""
    film = films["h264-open-gop.ts"]
    found = probed(film)
    with FrameReader(found) as full, FrameReader(found, only_thumbs=True) as quick:
        pairs = zip(full.thumbs(found.index.whole, 80, 60), quick.thumbs(found.index.whole, 80, 60), strict=True)
        apart = [np.abs(one.astype(int) - other) for (_, one), (_, other) in pairs]
    with av.open(str(film)) as container:
        kinds = [frame.pict_type for frame in container.decode(video=0)]
    assert all(not step.any() for step, kind in zip(apart, kinds, strict=True) if kind != PictureType.B)
    assert any(step.any() for step in apart)
    assert max(step.mean() for step in apart) < 1


def test_a_reader_of_thumbs_alone_refuses_pictures(films: dict[str, Path]) -> None:
    found = probed(films["h264-open-gop.ts"])
    with FrameReader(found, only_thumbs=True) as reader, pytest.raises(ValueError, match="thumbs alone"):
        next(reader.pictures([0]))


# --- where decoding starts (pure)


def test_an_open_gops_leading_frame_starts_at_the_key_frame_before() -> None:
    # decode order: I0 P3 B1 B2 | I6 B4 B5 P9 B7 B8; B4 and B5 look back at P3
    ranks = np.array([0, 2, 3, 1, 5, 6, 4, 8, 9, 7])
    keys = np.isin(np.arange(10), [0, 6])
    pts = np.arange(10)
    index = decode_index(pts, keys, ranks)
    assert [SeekPlan.of(index, "mpeg2video").start_key(n) for n in (0, 3, 4, 5, 6, 7, 9)] == [0, 0, 0, 0, 1, 1, 1]
    assert SeekPlan.of(index, "h264").start_key(7) == 0, "an H.264 key frame may be a mere recovery point"
    assert reorder_depth(ranks) == 1
    assert reorder_depth(np.array([0, 3, 2, 4, 1])) == 2, "a B pyramid"


def decode_index(pts: npt.NDArray[np.int64], keys: npt.NDArray[np.bool_], ranks: npt.NDArray[np.int64]) -> FrameIndex:
    return FrameIndex(pts, np.ones_like(pts), keys, ranks, np.ones_like(pts), Fraction(1, 25))


# --- real film


@pytest.mark.film
@pytest.mark.skipif(not CLIPS.is_dir(), reason="real film clips are absent")
@pytest.mark.parametrize("name", ["bbb_720p24_vp8.webm", "bbb_480p24_h264.mp4", "bbb_wake_720p25_mpeg4.mp4"])
def test_real_film_read_in_pieces_equals_linear_decoding(name: str) -> None:
    found, linear, dice = probed(CLIPS / name), linear_hashes(CLIPS / name), random.Random(7)
    assert [pts for pts, _ in linear] == list(found.index.pts)
    with FrameReader(found) as reader:
        for _ in range(6):
            start = dice.randrange(len(linear) - 4)
            assert all(picture_hash(p) == linear[n][1] for n, p in reader.pictures(range(start, start + 4)))

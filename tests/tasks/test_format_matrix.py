"""Every input format: any frame, from anywhere, equals the same frame of one linear run, byte for byte."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.packet import Packet
from av.video.reformatter import VideoReformatter

from tasks.decode import FrameReader
from tasks.messages import Probe, Source
from tasks.pictures import picture_of
from tasks.probe import parse_source, probe
from tasks.sight import Sight, own_version, see
from tests.synth import (
    ALT_REF_VPX,
    CLIPS,
    OPEN_GOP_H264,
    OPEN_GOP_HEVC,
    Video,
    forget_timestamps,
    frame_of,
    make_film,
    painted,
    picture_hash,
    shown_number,
)
from vsalign.errors import InputError
from vsalign.picture import Picture

REFRESH = {"preset": "veryfast", "x264-params": "intra-refresh=1:keyint=12:bframes=0:scenecut=0:threads=1:ref=2"}
WOVEN = {
    "preset": "veryfast",
    "x264-params": "tff=1:open-gop=1:bframes=3:keyint=10:min-keyint=10:scenecut=0:threads=1",
}
DEEP_HEVC = {
    "preset": "ultrafast",
    "x265-params": "open-gop=1:bframes=4:b-adapt=0:b-pyramid=1:keyint=10:min-keyint=10:log-level=error:pools=1",
}
MPEG2 = {"g": "12", "bf": "2"}
SVT = {"preset": "12", "svtav1-params": "keyint=16:lp=1"}
DNX = Video(codec="dnxhd", width=256, height=128, num_frames=20, options={"profile": "dnxhr_hq"}, pixel_format="yuv422p")


@dataclass(frozen=True)
class Case:
    """A film; ``reads_as``: the pixel format of its pictures; ``numbered``: the numbers painted in it can be read."""

    video: Video
    reads_as: str = "yuv420p"
    numbered: bool = True


def case(reads_as: str = "yuv420p", numbered: bool = True, **video: object) -> Case:
    return Case(Video(pixel_format=str(video.pop("pixel_format", reads_as)), **video), reads_as, numbered)  # type: ignore[arg-type]


FILMS = {
    "h264-open-gop.mkv": case(options=OPEN_GOP_H264),
    "h264-open-gop.mp4": case(options=OPEN_GOP_H264, start=7),
    "h264-open-gop.ts": case(options=OPEN_GOP_H264, start=50),
    "h264-refresh.mkv": case(options=REFRESH),
    "h264-refresh.ts": case(options=REFRESH),
    "h264-refresh.mp4": case(options=REFRESH),
    "h264-woven.ts": case(options=WOVEN, height=64),
    "h264-10bit-422.mkv": case("yuv422p10le", options=OPEN_GOP_H264),
    "h264-444.mkv": case("yuv444p", num_frames=24, options=OPEN_GOP_H264),
    "h264-gray.mkv": case(pixel_format="gray", options=OPEN_GOP_H264),
    "h264-rgb.mkv": case("gbrp", codec="libx264rgb", pixel_format="rgb24", options=OPEN_GOP_H264),
    "h264-full.mkv": case(pixel_format="yuvj420p", options=OPEN_GOP_H264),
    "h264-vfr.mkv": case(pts=[n * 40 + n % 3 * 7 for n in range(48)], time_base=Fraction(1, 1000), options=OPEN_GOP_H264),
    "hevc-open-gop.mkv": case("yuv420p10le", codec="libx265", options=DEEP_HEVC),
    "hevc-open-gop.mp4": case("yuv420p10le", codec="libx265", options=DEEP_HEVC),
    "hevc-open-gop.ts": case("yuv420p10le", codec="libx265", options=DEEP_HEVC),
    "hevc-8bit.mkv": case(codec="libx265", options=OPEN_GOP_HEVC),
    "hevc-12bit-422.mkv": case("yuv422p12le", codec="libx265", options=DEEP_HEVC),
    "av1.mkv": case(codec="libsvtav1", options=SVT),
    "av1.mp4": case(codec="libsvtav1", options=SVT),
    "av1-10bit.webm": case("yuv420p10le", codec="libsvtav1", options=SVT),
    "vp9.webm": case(codec="libvpx-vp9", options=ALT_REF_VPX),
    "vp9-444.webm": case("yuv444p", codec="libvpx-vp9", options=ALT_REF_VPX),
    "vp9-alpha.webm": case(codec="libvpx-vp9", pixel_format="yuva420p", options=ALT_REF_VPX | {"auto-alt-ref": "0"}),
    "vp8.webm": case(codec="libvpx", options=ALT_REF_VPX),
    "mpeg2.ts": case(codec="mpeg2video", options=MPEG2),
    "mpeg2.vob": case(codec="mpeg2video", options=MPEG2),
    "mpeg2-few-times.vob": case(codec="mpeg2video", num_frames=90, width=320, height=240, options=MPEG2),
    "mpeg2-422.mkv": case("yuv422p", codec="mpeg2video", options=MPEG2),
    "mpeg1.mpg": case(codec="mpeg1video", options=MPEG2),
    "mpeg4.avi": case(codec="mpeg4", options=MPEG2),
    "mpeg4.mp4": case(codec="mpeg4", options=MPEG2),
    "mpeg4-packed.avi": case(codec="mpeg4", options={"g": "12", "bf": "1"}),
    "prores.mov": case("yuv422p10le", codec="prores_ks"),
    "prores4444.mov": case(
        "yuv444p12le", codec="prores_ks", pixel_format="yuva444p10le", num_frames=12, options={"profile": "4444"}
    ),
    "ffv1.mkv": case(codec="ffv1", options={"g": "12"}),
    "ffv1-16bit.mkv": case("yuv444p16le", codec="ffv1", num_frames=12),
    "ffv1-gray16.mkv": case("gray16le", codec="ffv1", num_frames=24),
    "ffv1-rgb12.mkv": case("gbrp12le", codec="ffv1", num_frames=12),
    "ffv1-packed.mkv": case("gbrp", codec="ffv1", pixel_format="bgr0", num_frames=24),
    "utvideo.avi": case(codec="utvideo"),
    "utvideo-rgb.avi": case("gbrp", codec="utvideo"),
    "dnxhr.mov": Case(DNX, "yuv422p"),
    "dnxhr.mxf": Case(DNX, "yuv422p"),
    "dnxhr-444.mov": Case(replace(DNX, pixel_format="gbrp10le", num_frames=8, options={"profile": "dnxhr_444"}), "gbrp10le"),
    "mjpeg.avi": case("yuv422p", codec="mjpeg", pixel_format="yuvj422p", options={"huffman": "default"}),
    "png.mov": case("gbrp", codec="png", pixel_format="rgba", num_frames=24),
    "v210.mov": case("yuv422p10le", codec="v210", num_frames=12),
    "qtrle.mov": case("gbrp", codec="qtrle", pixel_format="rgb24", num_frames=24),
    "wmv2.asf": case(codec="wmv2", options={"g": "12"}),
    "msmpeg4.avi": case(codec="msmpeg4", options={"g": "12"}),
    "magicyuv.avi": case("yuv444p", codec="magicyuv", num_frames=24),
    "animated.gif": case("gbrp", codec="gif", pixel_format="rgb8", num_frames=24, numbered=False),
}

#: Encoder, its pixel format, the pixel format read.
STILLS = {
    "frame_%04d.png": ("png", "rgb24", "gbrp"),
    "deep_%d.png": ("png", "rgb48be", "gbrp16le"),
    "alpha_%03d.png": ("png", "rgba", "gbrp"),
    "gray_%04d.png": ("png", "gray16be", "gray16le"),
    "frame_%04d.tif": ("tiff", "rgb24", "gbrp"),
    "deep_%04d.tif": ("tiff", "rgb48le", "gbrp16le"),
    "frame_%06d.dpx": ("dpx", "gbrp10be", "gbrp10le"),
    "deep_%04d.dpx": ("dpx", "rgb48le", "gbrp16le"),
    "frame_%02d.jpg": ("mjpeg", "yuvj420p", "yuv420p"),
}
FIRST = 97


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("films")


@pytest.fixture(scope="module")
def made(folder: Path) -> Callable[[str], Path]:
    """The film or the image sequence of that name, made when it is first asked for."""

    def make(name: str) -> Path:
        path = folder / name
        if name in STILLS:
            codec, pixel_format, _ = STILLS[name]
            return path if (folder / (name % FIRST)).exists() else stills(path, codec, pixel_format)
        if not path.exists():
            make_film(path, FILMS[name].video)
            if "few-times" in name:
                forget_timestamps(path)
            if "packed" in name and path.suffix == ".avi":
                pack(path)
        return path

    return make


def stills(pattern: Path, codec: str, pixel_format: str, numbers: Sequence[int] = range(FIRST, FIRST + 12)) -> Path:
    """One file per picture, the first of them painted 0."""
    for painted_number, number in enumerate(numbers):
        pattern.with_name(pattern.name % number).write_bytes(still(painted_number, codec, pixel_format))
    return pattern


def still(number: int, codec: str, pixel_format: str, width: int = 64, height: int = 48) -> bytes:
    layout = {"rgb24": "gbrp", "rgba": "gbrp", "rgb48be": "gbrp16le", "rgb48le": "gbrp16le", "gbrp10be": "gbrp10le"}
    return still_of(painted(number, width, height, layout.get(pixel_format, pixel_format)), codec, pixel_format)


def still_of(picture: Picture, codec: str, pixel_format: str) -> bytes:
    """A picture as a file of its own."""
    frame = frame_of(picture, pixel_format)
    frame.pts = 0
    encoder = av.CodecContext.create(codec, "w")
    assert isinstance(encoder, av.VideoCodecContext)
    encoder.width, encoder.height, encoder.pix_fmt = picture.width, picture.height, pixel_format
    encoder.time_base = Fraction(1, 25)
    return b"".join(bytes(packet) for packet in [*encoder.encode(frame), *encoder.encode(None)])


def pack(film: Path) -> None:
    """Put every B frame into the packet of the P frame before it, with an empty one in its place, as DivX did."""
    with av.open(str(film)) as container:
        packets = [bytes(packet) for packet in container.demux(video=0) if packet.size]
        extradata, size = container.streams.video[0].codec_context.extradata, (64, 48)
    marked = (extradata or b"") + b"\x00\x00\x01\xb2DivX503b1393p"
    out = []
    for packet, following in zip(packets, [*packets[1:], b""], strict=True):
        if is_b(packet):
            out.append(b"\x00\x00\x01\xb6\x50\x00")
        else:
            out.append((marked if not out else b"") + packet + (following if is_b(following) else b""))
    with av.open(str(film), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.codec_context.width, stream.codec_context.height = size
        stream.codec_context.pix_fmt = "yuv420p"
        for n, data in enumerate(out):
            made = Packet(data)
            made.pts = made.dts = n
            made.time_base, made.stream, made.is_keyframe = Fraction(1, 25), stream, n % 12 == 0
            container.mux(made)


def is_b(packet: bytes) -> bool:
    at = packet.find(b"\x00\x00\x01\xb6")
    return at >= 0 and packet[at + 4] >> 6 == 2


def probed(path: Path) -> Probe:
    return probe(parse_source(str(path)))


def linear(path: Path, found: Probe) -> list[str]:
    """Hashes of all pictures by decoding the whole film in one go, in the order of its index."""
    hashes, reformatter = {}, VideoReformatter()
    options = {"start_number": str(FIRST)} if "%" in path.name else {}
    with av.open(str(path), options=options) as container:
        stream = container.streams.video[0]
        stream.thread_count = 1
        for frame in container.decode(stream):
            hashes[frame.pts] = picture_hash(picture_of(frame, found.info.colour, reformatter))
    assert len(hashes) == len(found.index)
    if found.info.made_times or "few-times" in path.name:
        return list(hashes.values())
    return [hashes[int(pts)] for pts in found.index.pts]


# --- exactness


@pytest.mark.parametrize("name", [*FILMS, *STILLS])
def test_frames_from_random_starts_are_those_of_linear_decoding(made: Callable[[str], Path], name: str) -> None:
    film, dice = made(name), random.Random(name)
    found = probed(film)
    want = linear(film, found)
    reads_as = STILLS[name][2] if name in STILLS else FILMS[name].reads_as
    for threads, start in ((1, 0), *((1 + 2 * (k == 4), dice.randrange(len(want))) for k in range(5))):
        with FrameReader(found, threads) as reader:
            for n, picture in reader.pictures(range(start, len(want) if start == 0 else min(len(want), start + 6))):
                assert picture_hash(picture) == want[n], f"frame {n}, begun at {start}"
                assert picture.format.name == reads_as
                assert not (name in STILLS or FILMS[name].numbered) or shown_number(picture) == n


@pytest.mark.parametrize("name", ["h264-open-gop.mkv", "h264-refresh.ts", "vp9.webm", "av1.mkv", "ffv1.mkv", "mpeg2.vob"])
def test_frames_do_not_depend_on_threads(made: Callable[[str], Path], name: str) -> None:
    found = probed(made(name))
    want = linear(made(name), found)
    with FrameReader(found, threads=3) as reader:
        for n, picture in reader.pictures([30, 31, 47, 5, 6, *range(48)]):
            assert picture_hash(picture) == want[n]


@pytest.mark.film
@pytest.mark.skipif(not CLIPS.is_dir(), reason="real film clips are absent")
@pytest.mark.parametrize("name", sorted(path.name for path in CLIPS.glob("*.*") if path.suffix in (".mp4", ".webm")))
def test_no_frame_of_a_good_film_counts_as_damaged(name: str) -> None:
    found, dice = probe(Source(str(CLIPS / name))), random.Random(name)
    assert found.info.damage == "" and found.info.truncated == ""
    with FrameReader(found, only_thumbs=True) as reader:
        for n in found.index.whole:
            reader.frame(n)
    for start in dice.sample(range(len(found.index)), 3):
        with FrameReader(found) as reader:
            reader.frame(start)


# --- alpha


@pytest.mark.parametrize("name", ["vp9-alpha.webm", "prores4444.mov", "png.mov", "alpha_%03d.png"])
def test_an_alpha_channel_is_told_of(made: Callable[[str], Path], name: str) -> None:
    assert probed(made(name)).info.alpha


@pytest.mark.parametrize("name", ["vp9.webm", "prores.mov", "frame_%04d.png", "h264-gray.mkv"])
def test_no_alpha_channel_is_made_up(made: Callable[[str], Path], name: str) -> None:
    assert not probed(made(name)).info.alpha


def test_floating_point_pictures_are_refused_with_a_way_out(tmp_path: Path) -> None:
    for n in range(3):
        frame = av.VideoFrame(64, 48, "gbrpf32le")
        frame.pts = 0
        encoder = av.CodecContext.create("exr", "w")
        assert isinstance(encoder, av.VideoCodecContext)
        encoder.width, encoder.height, encoder.pix_fmt, encoder.time_base = 64, 48, "gbrpf32le", Fraction(1, 25)
        data = b"".join(bytes(packet) for packet in [*encoder.encode(frame), *encoder.encode(None)])
        (tmp_path / f"light_{n}.exr").write_bytes(data)
    with pytest.raises(InputError) as caught:
        probed(tmp_path / "light_%d.exr")
    assert str(caught.value).startswith(f"{tmp_path}/light_%d.exr: pixel format 'gbrpf32le' holds floating-point samples")
    assert "gbrp16le" in str(caught.value)


# --- image sequences


def test_a_sequence_has_the_rate_that_is_asked_for(made: Callable[[str], Path]) -> None:
    path = made("frame_%04d.png")
    usual, film = probed(path), probe(parse_source(f"{path}#fps:24000/1001"))
    assert usual.info.average_rate == 25 and film.info.average_rate == Fraction(24000, 1001)
    assert [pts * film.index.time_base for pts in film.index.pts.tolist()] == [n * Fraction(1001, 24000) for n in range(12)]
    assert str(film.info.source).endswith("frame_%04d.png#fps:24000/1001")
    assert parse_source(str(film.info.source)) == film.info.source
    assert usual.info.identity != film.info.identity == probe(parse_source(f"{path}#fps:24000/1001")).info.identity


@pytest.mark.parametrize("rate", ["", "0", "-24", "film", "1/0", "100000"])
def test_a_rate_that_is_none_is_refused(rate: str) -> None:
    with pytest.raises(InputError, match=r"accepted: pictures a second"):
        parse_source(f"frame_%04d.png#fps:{rate}")


def test_a_rate_is_for_sequences_alone(made: Callable[[str], Path]) -> None:
    with pytest.raises(InputError, match=r"#fps:24: a film has its own times"):
        probe(parse_source(f"{made('ffv1.mkv')}#fps:24"))


def test_size_and_identity_are_those_of_all_files(tmp_path: Path) -> None:
    path = stills(tmp_path / "f_%03d.png", "png", "rgb24", range(8))
    found = probed(path)
    assert found.info.size_bytes == sum(file.stat().st_size for file in tmp_path.glob("f_*.png"))
    (tmp_path / "f_005.png").write_bytes(still(99, "png", "rgb24"))
    assert probed(path).info.identity != found.info.identity


def test_a_worker_that_does_not_see_all_files_says_so(tmp_path: Path) -> None:
    path = stills(tmp_path / "f_%03d.png", "png", "rgb24", range(8))
    there = Sight("s3://jobs/x", "", "", ((str(path), probed(path).info.size_bytes),), own_version())
    assert see(there) == ""
    (tmp_path / "f_004.png").unlink()
    assert "the first is f_004.png" in see(there)
    (tmp_path / "f_004.png").write_bytes(b"x")
    assert "bytes, this run's has" in see(there)


def test_a_gap_in_the_numbers_is_told(tmp_path: Path) -> None:
    path = stills(tmp_path / "f_%03d.png", "png", "rgb24", [7, 8, 9, 12, 13, 15])
    with pytest.raises(InputError) as caught:
        probed(path)
    assert f"{path}: 3 of the numbers from 7 to 15 have no file, the first is f_010.png" in str(caught.value)


def test_a_sequence_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no file of this sequence is there \(such as f_001.png\)"):
        probed(tmp_path / "f_%03d.png")
    with pytest.raises(InputError, match="folder can't be read"):
        probed(tmp_path / "none" / "f_%03d.png")
    with pytest.raises(InputError, match="not from a store"):
        probe(parse_source("s3://films/f_%03d.png"))


def test_numbers_are_read_as_printf_writes_them(tmp_path: Path) -> None:
    stills(tmp_path / "f_%03d.png", "png", "rgb24", range(998, 1002))
    (tmp_path / "f_7.png").write_bytes(b"")
    (tmp_path / "f_0999.png").write_bytes(b"")
    found = probed(tmp_path / "f_%03d.png")
    with FrameReader(found) as reader:
        assert [shown_number(picture) for _, picture in reader.pictures(range(4))] == [0, 1, 2, 3]


def test_percent_signs_in_folders_and_names_of_real_files_mean_themselves(tmp_path: Path) -> None:
    odd = tmp_path / "100%d of it"
    odd.mkdir()
    assert len(probed(stills(odd / "f_%02d.png", "png", "rgb24", range(3))).index) == 3
    assert len(probed(make_film(odd / "film_%02d.mkv", Video(num_frames=4))).index) == 4


def test_a_gray_picture_among_coloured_ones_becomes_a_coloured_one(tmp_path: Path) -> None:
    path = stills(tmp_path / "f_%03d.png", "png", "rgb24", range(6))
    (tmp_path / "f_003.png").write_bytes(still(3, "png", "gray"))
    with FrameReader(probed(path)) as reader:
        pictures = dict(reader.pictures(range(6)))
    assert {picture.format.name for picture in pictures.values()} == {"gbrp"}
    assert shown_number(pictures[3]) == 3
    gray = painted(3, 64, 48, "gray").planes[0]
    assert all(np.array_equal(plane, gray) for plane in pictures[3].planes)

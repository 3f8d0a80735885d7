"""What the output says of its pictures: colour, brightness, shape and rotation, in every codec and container."""

from __future__ import annotations

import io
import itertools
import zlib
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from tasks.colourcheck import bitstream_hdr, colour_problems
from tasks.colourread import clockwise_turn, container_hdr, frame_hdr
from tasks.ebml import CRC, SEGMENT, TRACKS, children, encoded, encoded_whole, found, padding
from tasks.encode import SegmentWriter, check_output, choose_pixel_format
from tasks.errors import StitchError
from tasks.hdr import DOLBY_VISION_ALONE, NO_HDR, Hdr, bitstream_params, parse_mastering
from tasks.messages import EncodeSettings, Source, VideoFormat
from tasks.outcolour import output_colour
from tasks.probe import probe
from tasks.stitch import SegmentPlan, stitch
from tasks.trackroom import ROOM, fill_room, filled
from tests.hdrfilm import HDR10, P3_DISPLAY, P3_NUMBERS, ffprobe, numbers, side_data, write_hdr10
from tests.synth import Video, make_film, painted
from vsalign.errors import InputError
from vsalign.frames import FrameRange
from vsalign.picture import ColourTags

CODECS = {"libx264": "veryfast", "libx265": "ultrafast", "libsvtav1": "12", "ffv1": "", "prores_ks": ""}
#: Which containers a codec goes into.
HELD = {"libsvtav1": ("mkv", "mp4"), "ffv1": ("mkv", "mp4"), "prores_ks": ("mkv", "mov")}
HDR_TAGS, PAL_TAGS = ColourTags(9, 16, 9, 1, 3), ColourTags(5, 6, 5, 2, 1)
#: All that can be said at once.
VIDEO = VideoFormat(64, 64, Fraction(24), Fraction(16, 11), HDR_TAGS, HDR10, 90)


def film(folder: Path, codec: str, containers: tuple[str, ...] = (), video: VideoFormat = VIDEO) -> tuple[list[Path], str]:
    """The same two segments joined in each of ``containers`` (all that hold the codec), and the pixel format."""
    name, _ = choose_pixel_format(codec, "yuv420p10le")
    plans = []
    for n in range(2):
        with SegmentWriter(str(folder / f"{n}.mkv"), video, EncodeSettings(codec=codec, preset=CODECS[codec]), name) as writer:
            for number in range(4 * n, 4 * n + 4):
                writer.write(replace(painted(number, 64, 64, "yuv420p10le"), colour=video.colour))
            plans.append((writer.close(), FrameRange(4 * n, 4 * n + 4)))
    assert plans[0][0].header_sha256 == plans[1][0].header_sha256
    films = [folder / f"film.{container}" for container in containers or HELD.get(codec, ("mkv", "mp4", "mov"))]
    for path in films:
        segments = [SegmentPlan(segment.path, frames) for segment, frames in plans]
        stitch(segments, np.arange(8, dtype=np.int64) * 512, Fraction(1, 12288), 512, str(path))
    return films, name


@pytest.mark.parametrize("codec", CODECS)
def test_all_that_is_said_is_in_the_joined_film(tmp_path: Path, codec: str) -> None:
    films, name = film(tmp_path, codec)
    for path in films:
        assert colour_problems(str(path), VIDEO, name, codec) == ()
        info = probe(Source(str(path))).info
        assert info.hdr.mastering and info.hdr.mastering.steps() == P3_DISPLAY.steps()
        assert (info.hdr.max_cll, info.hdr.max_fall) == (1000, 400)
        assert (info.rotation_degrees, info.sample_aspect_ratio) == (90, Fraction(16, 11))
        assert (info.colour.primaries, info.colour.transfer, info.colour.matrix, info.colour.range) == (9, 16, 9, 1)
        with av.open(str(path)) as container:
            assert container_hdr(container.streams.video[0]) == HDR10


@pytest.mark.parametrize("codec", ["libx264", "libx265", "libsvtav1"])
def test_the_bitstream_alone_says_it_too(tmp_path: Path, codec: str) -> None:
    for path in film(tmp_path, codec, ("mkv", "mp4"))[0]:
        told = bitstream_hdr(str(path))
        assert told.mastering and told.mastering.steps() == P3_DISPLAY.steps()
        assert (told.max_cll, told.max_fall) == (1000, 400)


@pytest.mark.parametrize("codec", CODECS)
def test_ffprobe_says_the_same(tmp_path: Path, codec: str) -> None:
    for path in film(tmp_path, codec)[0]:
        stream = ffprobe(path)
        assert (stream["color_primaries"], stream["color_transfer"], stream["color_space"], stream["color_range"]) == (
            "bt2020",
            "smpte2084",
            "bt2020nc",
            "tv",
        )
        assert stream["sample_aspect_ratio"] == "16:11"
        assert side_data(stream, "Display Matrix")["rotation"] == -90
        assert numbers(side_data(stream, "Mastering display metadata")) == pytest.approx(P3_NUMBERS, rel=1e-6)
        assert numbers(side_data(stream, "Content light level metadata")) == {"max_content": 1000, "max_average": 400}


@pytest.mark.parametrize(
    ("codec", "colour"), list(itertools.product(CODECS, [PAL_TAGS, ColourTags(), ColourTags(1, 1, 1, 2, 2)]))
)
def test_every_kind_of_tags_survives(tmp_path: Path, codec: str, colour: ColourTags) -> None:
    video = replace(VIDEO, colour=colour, hdr=NO_HDR, rotation_degrees=0)
    films, name = film(tmp_path, codec, video=video)
    for path in films:
        assert colour_problems(str(path), video, name, codec) == ()


CHANGES = [
    ({"colour": replace(HDR_TAGS, primaries=1)}, "primaries 9, planned 1"),
    ({"colour": replace(HDR_TAGS, transfer=18)}, "transfer 16, planned 18"),
    ({"colour": replace(HDR_TAGS, matrix=1)}, "matrix 9, planned 1"),
    ({"colour": replace(HDR_TAGS, range=2)}, "limited range, planned the other one"),
    ({"colour": replace(HDR_TAGS, chroma_location=2)}, "chroma location 3, planned 2"),
    ({"sample_aspect_ratio": Fraction(4, 3)}, "pixels of shape 16/11, planned 4/3"),
    ({"rotation_degrees": 0}, "turned by 90 degrees, planned 0"),
    ({"hdr": replace(HDR10, max_cll=999)}, "the container has light level 1000,400, planned 999,400"),
    ({"hdr": replace(HDR10, max_cll=999)}, "the bitstream has light level 1000,400, planned 999,400"),
    (
        {"hdr": replace(HDR10, mastering=replace(P3_DISPLAY, max_luminance=Fraction(4000)))},
        "the bitstream has another mastering display",
    ),
]


@pytest.fixture(scope="module")
def joined(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    films, name = film(tmp_path_factory.mktemp("joined"), "libx265", ("mkv",))
    return films[0], name


@pytest.mark.parametrize(("change", "said"), CHANGES, ids=[said for _, said in CHANGES])
def test_a_film_that_says_something_else_is_found_out(joined: tuple[Path, str], change: dict[str, object], said: str) -> None:
    path, name = joined
    assert said in colour_problems(str(path), replace(VIDEO, **change), name, "libx265")


def test_a_bitstream_without_it_is_found_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.encode.with_picture_facts", lambda options, video, settings: options)
    films, name = film(tmp_path, "libx265", ("mkv",), replace(VIDEO, colour=replace(HDR_TAGS, chroma_location=0)))
    found = colour_problems(str(films[0]), replace(VIDEO, colour=replace(HDR_TAGS, chroma_location=0)), name, "libx265")
    assert set(found) == {
        "the bitstream has no mastering display",
        "the bitstream has light level 0,0, planned 1000,400",
    }


def test_a_file_that_is_no_film_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "film.mkv").write_bytes(b"nothing")
    assert "cannot be read" in colour_problems(str(tmp_path / "film.mkv"), VIDEO, "yuv420p", "libx264")[0]


def test_prores_is_limited_whatever_the_clip_is() -> None:
    assert output_colour(PAL_TAGS, "yuv422p10le", "prores_ks").range == 1
    assert output_colour(PAL_TAGS, "yuv422p10le", "libx264").range == 2


def test_kept_fields_are_tagged(tmp_path: Path) -> None:
    video = replace(VIDEO, hdr=NO_HDR, rotation_degrees=0)
    for order, said in (("tt", "tt"), ("bb", "bb"), ("progressive", "progressive")):
        films, _ = film(tmp_path, "ffv1", ("mkv", "mp4"), replace(video, field_order=order))
        assert [ffprobe(path)["field_order"] for path in films] == [said, said]


# --- what the encoders are told


def test_encoders_get_each_number_in_their_own_unit() -> None:
    assert bitstream_params(HDR10, "x265-params") == {
        "master-display": "G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,50)",
        "max-cll": "1000,400",
    }
    assert set(bitstream_params(HDR10, "x264-params")) == {"mastering-display", "cll"}
    assert bitstream_params(HDR10, "svtav1-params") == {
        "mastering-display": "G(0.26500,0.69000)B(0.15000,0.06000)R(0.68000,0.32000)WP(0.31270,0.32900)L(1000.0000,0.0050)",
        "content-light": "1000,400",
    }
    assert bitstream_params(HDR10, "") == {} == bitstream_params(NO_HDR, "x265-params")
    assert set(bitstream_params(replace(HDR10, mastering=None), "x265-params")) == {"max-cll"}


def test_params_that_contradict_the_clip_are_refused() -> None:
    settings = EncodeSettings(codec="libx265", options=(("x265-params", "aq-mode=3:max-cll=500,200"),))
    check_output("libx265", "out.mkv", 640, 480, "yuv420p10le", settings)
    with pytest.raises(InputError, match="x265-params max-cll is already set from the clip"):
        check_output("libx265", "out.mkv", 640, 480, "yuv420p10le", settings, HDR10)


@pytest.mark.parametrize("den", [0, -1])
def test_a_mastering_display_that_makes_no_sense_is_none(den: int) -> None:
    pairs = [(34000, 50000)] * 8 + [(50, 10000), (1000, 1)]
    data = np.array([n for pair in pairs for n in pair] + [1, 1], "<i4")
    assert parse_mastering(data.tobytes()) is not None
    for at, value in ((1, den), (0, 60000), (20, 0), (21, 0), (18, 0)):
        broken = data.copy()
        broken[at] = value
        assert parse_mastering(broken.tobytes()) is None


def test_what_one_leaves_open_comes_from_the_other() -> None:
    container = Hdr(None, 1000, 400, ("Dolby Vision profile 8",))
    frame = Hdr(P3_DISPLAY, 0, 0, ("HDR10+", "Dolby Vision"))
    assert frame.completed_by(container) == Hdr(P3_DISPLAY, 1000, 400, ("HDR10+", "Dolby Vision profile 8"))


# --- the room in a finished file


def test_the_room_is_spent_without_moving_a_byte_and_the_film_stays_readable(tmp_path: Path) -> None:
    films, _ = film(tmp_path, "ffv1", ("mkv",))
    assert ROOM.encode() not in films[0].read_bytes()
    with pytest.raises(StitchError, match="no room"):
        fill_room(str(films[0]), 64, 64, Fraction(4, 3), HDR10)


def test_the_checksum_is_right_where_subtitles_have_a_long_head(tmp_path: Path) -> None:
    path, styles = tmp_path / "film.mkv", "".join(f"Style: S{n},Arial,20\n" for n in range(60_000))
    text = f"[Script Info]\nScriptType: v4.00+\n\n[V4+ Styles]\nFormat: Name, Fontname, Fontsize\n{styles}\n[Events]\n"
    with av.open(io.BytesIO(text.encode()), format="ass") as subtitles, av.open(str(path), "w") as out:
        picture = out.add_stream("ffv1", rate=24)
        picture.width, picture.height, picture.metadata["title"] = 64, 64, ROOM
        out.add_stream_from_template(subtitles.streams[0], opaque=True)
        out.mux(picture.encode(av.VideoFrame(64, 64, "yuv420p")))
        out.mux(picture.encode())
    with pytest.raises(StitchError, match="ends amid its tracks"):
        filled(path.read_bytes()[: 1 << 20], 64, 64, Fraction(4, 3))
    fill_room(str(path), 64, 64, Fraction(4, 3))
    data = path.read_bytes()
    tracks = found(data, SEGMENT, TRACKS)
    assert tracks and tracks.end - tracks.payload > 1 << 20
    checksum = next(children(data, tracks.payload, tracks.end))
    assert checksum.id == CRC
    assert int.from_bytes(data[checksum.payload : checksum.end], "little") == zlib.crc32(data[checksum.end : tracks.end])


def test_elements_of_the_head_are_written_as_they_are_read() -> None:
    data = encoded(0xAE, encoded_whole(0x55BC, 1000) + padding(200))
    track = found(data, 0xAE)
    assert track and [e.id for e in children(data, track.payload, track.end)] == [0x55BC, 0xEC]
    assert found(data, 0xAE, 0xE0) is None
    assert all(len(padding(n)) == n for n in (3, 4, 128, 129, 130, 5000))
    with pytest.raises(StitchError, match="no room"):
        filled(data, 64, 64, Fraction(4, 3))


# --- reading sources


def test_what_the_bitstream_alone_says_is_found(tmp_path: Path) -> None:
    path = write_hdr10(tmp_path / "film.mkv", np.full((3, 64, 64), 90, np.uint8))
    with av.open(str(path)) as container:
        assert container_hdr(container.streams.video[0]) == NO_HDR
    assert probe(Source(str(path))).info.hdr == HDR10


def dolby_vision(folder: Path, profile: int) -> Path:
    """An AV1 film in a Matroska file that calls itself Dolby Vision of that profile."""
    [source], _ = film(folder, "libsvtav1", ("mkv",), replace(VIDEO, rotation_degrees=0, hdr=NO_HDR))
    with av.open(str(source)) as container:
        stream = container.streams.video[0]
        extradata, payloads = stream.codec_context.extradata or b"", [bytes(p) for p in container.demux(stream) if p.size]
    record = bytes([1, 0, profile << 1, 0x35, 0x40]) + bytes(19)
    mapping = encoded(0x41E4, encoded_whole(0x41E7, 0x64767643 if profile > 7 else 0x64766343) + encoded(0x41ED, record))
    video = encoded(0xE0, encoded_whole(0xB0, 64) + encoded_whole(0xBA, 64))
    numbers = encoded_whole(0xD7, 1) + encoded_whole(0x73C5, 1) + encoded_whole(0x83, 1)
    track = encoded(0xAE, numbers + encoded(0x86, b"V_AV1") + encoded(0x63A2, extradata) + mapping + video)
    blocks = b"".join(encoded(0xA3, b"\x81" + (n * 40).to_bytes(2, "big") + b"\x80" + p) for n, p in enumerate(payloads))
    cluster = (0x1F43B675).to_bytes(4, "big") + (1 << 56 | len(blocks) + 3).to_bytes(8, "big") + encoded_whole(0xE7, 0) + blocks
    body = encoded(0x1549A966, encoded_whole(0x2AD7B1, 1_000_000)) + encoded(0x1654AE6B, track) + cluster
    head = encoded(0x1A45DFA3, encoded(0x4282, b"matroska") + encoded_whole(0x4287, 4) + encoded_whole(0x4285, 2))
    path = folder / f"dv{profile}.mkv"
    path.write_bytes(head + (0x18538067).to_bytes(4, "big") + (1 << 56 | len(body)).to_bytes(8, "big") + body)
    return path


@pytest.mark.parametrize("profile", [5, 8])
def test_dolby_vision_is_found_by_its_profile(tmp_path: Path, profile: int) -> None:
    assert probe(Source(str(dolby_vision(tmp_path, profile)))).info.hdr.dynamic == (f"Dolby Vision profile {profile}",)
    assert DOLBY_VISION_ALONE == "Dolby Vision profile 5"


@pytest.mark.parametrize("location", range(1, 5))
def test_where_chroma_lies_is_read_back(tmp_path: Path, location: int) -> None:
    video = replace(VIDEO, colour=replace(HDR_TAGS, chroma_location=location), hdr=NO_HDR, rotation_degrees=0)
    [path], _ = film(tmp_path, "libx264", ("mkv",), video)
    assert probe(Source(str(path))).info.colour.chroma_location == location


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_which_way_is_up_is_read(tmp_path: Path, degrees: int) -> None:
    path = make_film(tmp_path / "film.mp4", Video(num_frames=2, rotation=-degrees))
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
        assert clockwise_turn(frame, "film") == degrees and frame_hdr(frame) == NO_HDR


@pytest.mark.parametrize(("degrees", "mirrored", "said"), [(0, True, "mirrored"), (90, True, "mirrored"), (45, False, "by 45")])
def test_a_film_shown_mirrored_or_askew_is_refused(tmp_path: Path, degrees: int, mirrored: bool, said: str) -> None:
    with av.open(str(tmp_path / "film.mp4"), "w") as out:
        stream = out.add_stream("libx264", rate=24)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.set_display_rotation(-degrees, hflip=mirrored)
        for n in range(2):
            frame = av.VideoFrame(64, 48, "yuv420p")
            frame.pts = n
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    with pytest.raises(InputError, match=rf"film\.mp4 is shown .*{said}.*accepted: upright") as caught:
        probe(Source(str(tmp_path / "film.mp4")))
    assert "\n" not in str(caught.value)


def test_side_data_that_nobody_knows_keeps_no_film_from_being_read() -> None:
    class Frame:
        rotation = -90

        @property
        def side_data(self) -> object:
            raise ValueError("31 is not a valid Type")

    assert clockwise_turn(Frame(), "film") == 90 and frame_hdr(Frame()) == NO_HDR  # type: ignore[arg-type]

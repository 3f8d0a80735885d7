"""Encode: segments that repeat to the byte, agree in their headers and hold what was put in."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.container import OutputContainer
from av.packet import Packet
from av.video.stream import VideoStream

import tasks.encode
from tasks.codecs import encoder_options
from tasks.decode import FrameReader
from tasks.encode import SegmentWriter, check_output, choose_pixel_format, inspect_segment
from tasks.errors import SegmentMismatch, StitchError
from tasks.formats import planar_format
from tasks.messages import EncodeSettings, Segment, Source, VideoFormat
from tasks.probe import probe
from tasks.store import file_sha256
from tests.synth import cut_file, painted, picture_hash, remux, shown_number
from vsalign.errors import InputError
from vsalign.picture import ColourTags, Picture

FAST = {"libx264": "veryfast", "libx265": "ultrafast", "libsvtav1": "12"}
CODECS = ("libx264", "libx265", "libsvtav1", "ffv1", "prores_ks")
VIDEO = VideoFormat(64, 64, Fraction(24000, 1001), Fraction(1), ColourTags(1, 1, 1, 1, 1))


def settings(codec: str, **changes: object) -> EncodeSettings:
    return replace(EncodeSettings(codec=codec, preset=FAST.get(codec, "")), **changes)


def encoded(
    path: Path, pictures: Iterable[Picture], how: EncodeSettings, video: VideoFormat = VIDEO, name: str = ""
) -> Segment:
    first, *rest = pictures
    with SegmentWriter(str(path), video, how, name or choose_pixel_format(how.codec, first.format.name)[0]) as writer:
        for picture in (first, *rest):
            writer.write(picture)
        return writer.close()


def pictures_of(path: Path) -> list[Picture]:
    found = probe(Source(str(path)))
    with FrameReader(found) as reader:
        return [picture for _, picture in reader.pictures(found.index.whole)]


def sequence(start: int, stop: int, name: str = "yuv420p", width: int = 64, height: int = 64) -> list[Picture]:
    return [replace(painted(n, width, height, name), colour=VIDEO.colour) for n in range(start, stop)]


# --- segments


@pytest.mark.parametrize("codec", CODECS)
def test_a_segment_holds_its_pictures_in_order_behind_a_key_frame(tmp_path: Path, codec: str) -> None:
    segment = encoded(tmp_path / "s.mkv", sequence(100, 130), settings(codec))
    assert segment.num_frames == 30
    assert segment.size_bytes == (tmp_path / "s.mkv").stat().st_size
    assert [shown_number(p) for p in pictures_of(tmp_path / "s.mkv")] == list(range(100, 130))
    with av.open(str(tmp_path / "s.mkv")) as container:
        assert next(container.demux(video=0)).is_keyframe


def noisy(seed: int, frames: int = 40) -> list[Picture]:
    """Slow noise on a moving texture: enough to wake every stage of an encoder's lookahead."""
    dice = np.random.default_rng(seed)
    layout, pictures = planar_format("yuv420p"), []
    base = dice.integers(30, 220, (256, 256), dtype=np.uint8)
    for n in range(frames):
        light = np.roll(base, (n // 2, n), (0, 1))[:192, :240] // 2 + dice.integers(0, 100, (192, 240), dtype=np.uint8)
        pictures.append(Picture((light, light[::2, ::2].copy(), light[1::2, ::2].copy()), layout))
    return pictures


@pytest.mark.parametrize("codec", CODECS)
def test_the_same_pictures_give_the_same_bytes_in_one_process(tmp_path: Path, codec: str) -> None:
    video = replace(VIDEO, width=240, height=192)
    how = settings(codec, preset="fast") if codec == "libx264" else settings(codec)
    found = [encoded(tmp_path / f"{n}.mkv", noisy(1), how, video) for n in range(3)]
    assert len({file_sha256(Path(segment.path)) for segment in found}) == 1


def test_a_picture_of_one_coding_unit_gives_the_same_bytes_each_time(tmp_path: Path) -> None:
    """libx265 predicts such pictures from memory that it has not written, unless its units are smaller."""
    pictures, how = sequence(0, 60, "yuv420p10le"), EncodeSettings("libx265", preset="medium")
    made = [encoded(tmp_path / f"{n}.mkv", pictures, how, name="yuv420p10le") for n in range(5)]
    assert len({file_sha256(Path(each.path)) for each in made}) == 1


class _Unsure:
    """A stream whose encoder gives decode times that it has not thought about, as libx265 does for one or two frames."""

    def __init__(self, stream: VideoStream) -> None:
        self._stream = stream

    def encode(self, frame: av.VideoFrame | None) -> list[Packet]:
        packets = self._stream.encode(frame)
        for packet in packets:
            packet.dts = packet.pts + 5
        return packets

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)


@pytest.mark.parametrize("codec", CODECS)
def test_what_an_encoder_says_of_decode_times_does_not_matter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, codec: str
) -> None:
    plain = encoded(tmp_path / "plain.mkv", sequence(0, 20), settings(codec))
    begun = tasks.encode._begun

    def unsure(*given: object) -> tuple[OutputContainer, _Unsure]:
        container, stream = begun(*given)  # type: ignore[arg-type]
        return container, _Unsure(stream)

    monkeypatch.setattr(tasks.encode, "_begun", unsure)
    other = encoded(tmp_path / "other.mkv", sequence(0, 20), settings(codec))
    assert file_sha256(Path(other.path)) == file_sha256(Path(plain.path))


@pytest.mark.parametrize("codec", CODECS)
def test_segments_of_different_pictures_have_the_same_header(tmp_path: Path, codec: str) -> None:
    video = replace(VIDEO, width=240, height=192)
    one = encoded(tmp_path / "1.mkv", noisy(1, 12), settings(codec), video)
    two = encoded(tmp_path / "2.mkv", sequence(0, 1, width=240, height=192), settings(codec), video)
    assert one.header_sha256 == two.header_sha256
    assert file_sha256(Path(one.path)) != file_sha256(Path(two.path))


@pytest.mark.parametrize("codec", CODECS)
def test_headers_do_not_depend_on_threads(tmp_path: Path, codec: str) -> None:
    found = [encoded(tmp_path / f"{n}.mkv", sequence(0, 3), settings(codec, threads=n)) for n in (1, 3)]
    assert found[0].header_sha256 == found[1].header_sha256


def test_headers_of_other_settings_differ(tmp_path: Path) -> None:
    one = encoded(tmp_path / "1.mkv", sequence(0, 3), settings("libx264"))
    deeper = encoded(tmp_path / "2.mkv", sequence(0, 3, "yuv420p10le"), settings("libx264"))
    assert one.header_sha256 != deeper.header_sha256


@pytest.mark.parametrize("codec", ["libx264", "libx265", "libsvtav1"])
def test_no_group_of_pictures_looks_past_its_key_frame(tmp_path: Path, codec: str) -> None:
    gop = {
        "libx264": ("x264-params", "keyint=10:min-keyint=10:open-gop=1"),
        "libx265": ("x265-params", "keyint=10:min-keyint=10:open-gop=1"),
        "libsvtav1": ("svtav1-params", "keyint=16:irefresh-type=1"),
    }[codec]
    encoded(tmp_path / "s.mkv", sequence(0, 40), settings(codec, options=(gop,)))
    index = probe(Source(str(tmp_path / "s.mkv"))).index
    keys = np.flatnonzero(index.keyframe)
    assert len(keys) >= 3
    for key in keys:
        assert (index.packet[key:] >= index.packet[key]).all(), "a frame shown later was decoded before the key frame"
        assert (index.packet[:key] < index.packet[key]).all(), "a frame shown earlier is decoded after the key frame"


@pytest.mark.parametrize("name", ["yuv420p", "yuv422p10le", "yuv444p16le", "gray", "gray12le", "gbrp10le", "yuv420p"])
def test_ffv1_gives_back_every_sample(tmp_path: Path, name: str) -> None:
    sent = sequence(0, 4, name)
    encoded(tmp_path / "s.mkv", sent, settings("ffv1"))
    assert [picture_hash(p) for p in pictures_of(tmp_path / "s.mkv")] == [picture_hash(p) for p in sent]


def test_eight_bits_become_ten_without_loss(tmp_path: Path) -> None:
    sent = sequence(0, 3)
    encoded(tmp_path / "s.mkv", sent, settings("ffv1"), name="yuv420p10le")
    for want, have in zip(sent, pictures_of(tmp_path / "s.mkv"), strict=True):
        for w, h in zip(want.planes, have.planes, strict=True):
            assert np.array_equal(w.astype(np.uint16) * 4, h)


def test_rgb_becomes_yuv_with_the_tags_that_are_true_of_it(tmp_path: Path) -> None:
    white = Picture(tuple(np.full((64, 64), 255, np.uint8) for _ in "gbr"), planar_format("gbrp"), ColourTags(1, 1, 0, 2, 0))
    video = replace(VIDEO, colour=ColourTags(1, 1, 0, 2, 0))
    encoded(tmp_path / "s.mkv", [white] * 3, settings("ffv1"), video, name="yuv444p")
    picture = pictures_of(tmp_path / "s.mkv")[0]
    assert (picture.colour.matrix, picture.colour.range) == (1, 1)
    assert {int(plane.max()) for plane in picture.planes} == {235, 128}


@pytest.mark.parametrize("codec", CODECS)
def test_colour_tags_and_rate_are_in_the_segment(tmp_path: Path, codec: str) -> None:
    video = replace(VIDEO, colour=ColourTags(9, 16, 9, 1, 1))
    encoded(tmp_path / "s.mkv", sequence(0, 4), settings(codec), video)
    info = probe(Source(str(tmp_path / "s.mkv"))).info
    assert info.colour == ColourTags(9, 16, 9, 1, 1)
    assert info.average_rate == Fraction(24000, 1001)


@pytest.mark.parametrize("codec", ["libx264", "libx265"])
def test_pixel_shape_and_colour_are_in_the_bitstream(tmp_path: Path, codec: str) -> None:
    video = replace(VIDEO, sample_aspect_ratio=Fraction(16, 11), colour=ColourTags(5, 6, 5, 1, 3))
    encoded(tmp_path / "s.mkv", sequence(0, 4), settings(codec), video)
    with av.open(str(tmp_path / "s.mkv")) as container:
        stream = container.streams.video[0]
        frame = next(container.decode(stream))
        assert stream.codec_context.sample_aspect_ratio == Fraction(16, 11)
        assert (frame.color_primaries, frame.color_trc, frame.colorspace) == (5, 6, 5)
    assert probe(Source(str(tmp_path / "s.mkv"))).info.colour.chroma_location == 3


def test_a_picture_of_another_size_is_refused(tmp_path: Path) -> None:
    with SegmentWriter(str(tmp_path / "s.mkv"), VIDEO, settings("ffv1"), "yuv420p") as writer:
        writer.write(painted(0, 64, 64))
        with pytest.raises(ValueError, match="picture 1 is 64x48, the segment's are 64x64"):
            writer.write(painted(1, 64, 48))


@pytest.mark.parametrize("content", [b"", b"not a film"])
def test_an_unreadable_segment_is_a_stitch_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "s.mkv").write_bytes(content)
    with pytest.raises(StitchError, match=r"s\.mkv"):
        inspect_segment(str(tmp_path / "s.mkv"))
    with pytest.raises(StitchError, match="none"):
        inspect_segment(str(tmp_path / "none.mkv"))


def test_a_cut_segment_is_a_stitch_error(tmp_path: Path) -> None:
    encoded(tmp_path / "s.mkv", sequence(0, 20), settings("ffv1"))
    with pytest.raises(StitchError, match="cut off"):
        inspect_segment(str(cut_file(tmp_path / "s.mkv", 0.9)))


def test_a_segment_that_starts_without_a_key_frame_is_a_mismatch(tmp_path: Path) -> None:
    encoded(tmp_path / "s.mkv", sequence(0, 20), settings("libx264"))
    headless = remux(tmp_path / "s.mkv", tmp_path / "headless.mkv", lambda rank, packet: [packet] if rank else [])
    with pytest.raises(SegmentMismatch, match="first packet"):
        inspect_segment(str(headless))


# --- colour

LIMITED_709, FULL_709 = ColourTags(1, 1, 1, 1, 1), ColourTags(1, 1, 1, 2, 1)
LIMITED_601, UNTAGGED = ColourTags(6, 6, 6, 1, 1), ColourTags()
WEIGHTS = {1: (0.2126, 0.0722), 6: (0.299, 0.114)}


def plain(name: str, codes: Sequence[float], colour: ColourTags, size: int = 64) -> Picture:
    """A picture of one colour."""
    layout = planar_format(name)
    dtype = np.uint8 if layout.bit_depth == 8 else np.uint16
    shapes = [layout.plane_size(n, size, size)[::-1] for n in range(layout.num_planes)]
    return Picture(tuple(np.full(s, round(c), dtype) for s, c in zip(shapes, codes, strict=True)), layout, colour)


def written(folder: Path, picture: Picture, name: str, colour: ColourTags) -> Picture:
    """What is read back after ``picture`` went into a segment of pixel format ``name`` and ``colour``."""
    video = replace(VIDEO, width=picture.width, height=picture.height, colour=colour)
    encoded(folder / "s.mkv", [picture], settings("ffv1"), video, name)
    return pictures_of(folder / "s.mkv")[0]


def codes_of(picture: Picture) -> list[int]:
    """The one code of every plane of a picture of one colour."""
    assert all(plane.min() == plane.max() for plane in picture.planes)
    return [int(plane[0, 0]) for plane in picture.planes]


def mean_codes_of(picture: Picture) -> list[float]:
    """The same of a picture that fewer bits have given grain: two neighbouring codes to a plane, and their mean."""
    assert all(int(plane.max()) - int(plane.min()) <= 1 for plane in picture.planes)
    return [float(plane.mean()) for plane in picture.planes]


def yuv_of(rgb: Sequence[float], colour: ColourTags, depth: int) -> list[float]:
    """The definition of YUV: R, G, B from 0 to 1 -> codes, not rounded."""
    (red, green, blue), (kr, kb) = rgb, WEIGHTS[colour.matrix]
    y = kr * red + (1 - kr - kb) * green + kb * blue
    cb, cr = (blue - y) / (2 - 2 * kb), (red - y) / (2 - 2 * kr)
    if colour.range == 2:
        peak, middle = (1 << depth) - 1, 1 << (depth - 1)
        return [y * peak, cb * peak + middle, cr * peak + middle]
    return [code * (1 << (depth - 8)) for code in (16 + 219 * y, 128 + 224 * cb, 128 + 224 * cr)]


@pytest.mark.parametrize("tags", [LIMITED_709, UNTAGGED])
@pytest.mark.parametrize(
    ("name", "code", "into", "found"),
    [
        ("gray", 235, "yuv420p", [235, 128, 128]),
        ("gray", 16, "yuv420p", [16, 128, 128]),
        ("gray", 254, "yuv420p", [254, 128, 128]),
        ("gray", 235, "yuv422p10le", [940, 512, 512]),
        ("gray", 16, "yuv422p10le", [64, 512, 512]),
        ("gray10le", 941, "yuv420p", [235.25, 128, 128]),
        ("gray10le", 942, "yuv420p", [235.5, 128, 128]),
        ("gray10le", 1023, "yuv444p", [255, 128, 128]),
        ("gray", 235, "gray10le", [940]),
        ("gray", 235, "gbrp10le", [1023, 1023, 1023]),
    ],
)
def test_limited_gray_keeps_its_luma(
    tmp_path: Path, tags: ColourTags, name: str, code: int, into: str, found: list[float]
) -> None:
    assert mean_codes_of(written(tmp_path, plain(name, [code], tags), into, LIMITED_709)) == found


@pytest.mark.parametrize(
    ("name", "code", "into", "found"),
    [
        ("gray", 255, "yuv420p", [235, 128, 128]),
        ("gray", 0, "yuv420p", [16, 128, 128]),
        ("gray", 128, "yuv420p10le", [504, 512, 512]),  # 64 + 876 * 128 / 255 = 503.7
        ("gray12le", 4095, "yuv420p10le", [940, 512, 512]),
        ("gray", 255, "gray", [235]),
    ],
)
def test_full_gray_becomes_limited(tmp_path: Path, name: str, code: int, into: str, found: list[int]) -> None:
    assert codes_of(written(tmp_path, plain(name, [code], FULL_709), into, LIMITED_709)) == found


def test_limited_gray_becomes_full_and_is_cut_at_white(tmp_path: Path) -> None:
    found = [codes_of(written(tmp_path, plain("gray", [c], UNTAGGED), "yuv444p", FULL_709))[0] for c in (10, 16, 126, 235, 245)]
    assert found == [0, 0, 128, 255, 255]


def test_full_gray_keeps_black_and_white_in_more_bits(tmp_path: Path) -> None:
    found = [codes_of(written(tmp_path, plain("gray", [c], FULL_709), "yuv420p10le", FULL_709)) for c in (0, 255)]
    assert found == [[0, 512, 512], [1023, 512, 512]]


@pytest.mark.parametrize(("into", "step"), [("gray", 1), ("gray10le", 4)])
def test_yuv_keeps_its_luma_as_gray(tmp_path: Path, into: str, step: int) -> None:
    sent = sequence(0, 1)[0]
    assert np.array_equal(written(tmp_path, sent, into, LIMITED_709).planes[0], sent.planes[0].astype(np.uint16) * step)


def test_rgb_becomes_the_luma_of_the_segment_s_matrix_as_gray(tmp_path: Path) -> None:
    red = plain("gbrp", [0, 0, 255], ColourTags(1, 1, 0, 2, 0))
    assert codes_of(written(tmp_path, red, "gray", LIMITED_601)) == [round(yuv_of((1, 0, 0), LIMITED_601, 8)[0])]


@pytest.mark.parametrize("rgb", [(1, 0, 0), (0, 1, 0), (0.1, 0.4, 0.9), (1, 1, 1), (0.5, 0.5, 0.5)])
@pytest.mark.parametrize(
    ("name", "into"),
    [(n, n) for n in ("yuv420p", "yuv444p", "yuv420p10le", "yuv444p10le")]
    + [
        ("yuv420p", "yuv420p10le"),
        ("yuv420p10le", "yuv420p"),
        ("yuv420p", "yuv444p"),
        ("yuv444p10le", "yuv420p10le"),
    ],
)
@pytest.mark.parametrize(
    ("tags", "wanted"),
    [
        (LIMITED_709, LIMITED_601),
        (LIMITED_601, LIMITED_709),
        (FULL_709, LIMITED_709),
        (FULL_709, LIMITED_601),
        (LIMITED_601, FULL_709),
    ],
)
def test_a_picture_of_another_matrix_or_range_keeps_its_colour(
    tmp_path: Path, rgb: Sequence[float], name: str, into: str, tags: ColourTags, wanted: ColourTags
) -> None:
    depth, deep = planar_format(name).bit_depth, planar_format(into).bit_depth
    found = written(tmp_path, plain(name, np.clip(yuv_of(rgb, tags, depth), 0, (1 << depth) - 1), tags), into, wanted)
    # what the source's own rounding may amount to in the segment's codes, and one rounding more
    slack = 1 + 1.2 * (1 << max(0, deep - depth))
    assert found.colour.matrix == wanted.matrix
    codes = mean_codes_of(found) if deep < depth else codes_of(found)
    assert codes == pytest.approx(np.clip(yuv_of(rgb, wanted, deep), 0, (1 << deep) - 1), abs=min(slack, 6))


def test_red_of_bt709_has_the_codes_of_bt601_red_in_a_bt601_segment(tmp_path: Path) -> None:
    found = written(tmp_path, plain("yuv420p", [63, 102, 240], LIMITED_709), "yuv420p", LIMITED_601)
    assert codes_of(found) == pytest.approx([81, 90, 240], abs=2)


def test_full_range_white_is_235_in_a_limited_segment(tmp_path: Path) -> None:
    assert codes_of(written(tmp_path, plain("yuv420p", [255, 128, 128], FULL_709), "yuv420p", LIMITED_709)) == [235, 128, 128]


def test_codes_above_white_survive_another_matrix(tmp_path: Path) -> None:
    assert codes_of(written(tmp_path, plain("yuv420p", [250, 128, 128], LIMITED_709), "yuv420p", LIMITED_601)) == [
        250,
        128,
        128,
    ]


def test_chroma_edges_stay_sharp_in_another_matrix(tmp_path: Path) -> None:
    picture = plain("yuv420p", [120, 128, 128], LIMITED_709)
    for n in (1, 2):
        picture.planes[n][:, 16:] = 170
    left, right = plain("yuv420p", [120, 128, 128], LIMITED_709), plain("yuv420p", [120, 170, 170], LIMITED_709)
    found, *halves = (written(tmp_path, p, "yuv420p", LIMITED_601) for p in (picture, left, right))
    for n in (1, 2):
        assert np.array_equal(found.planes[n][:, :16], halves[0].planes[n][:, :16])
        assert np.array_equal(found.planes[n][:, 16:], halves[1].planes[n][:, 16:])
    assert np.array_equal(found.planes[0][:, :31], halves[0].planes[0][:, :31])
    assert np.array_equal(found.planes[0][:, 32:], halves[1].planes[0][:, 32:])
    low, between, high = (int(found.planes[0][5, x]) for x in (30, 31, 32))
    assert min(low, high) < between < max(low, high)


@pytest.mark.parametrize("name", ["yuv420p", "yuv444p10le", "gray", "gray10le", "gbrp10le"])
@pytest.mark.parametrize(
    ("tags", "wanted"), [(LIMITED_601, replace(LIMITED_601, matrix=5)), (FULL_709, FULL_709), (UNTAGGED, UNTAGGED)]
)
def test_equal_colours_stay_untouched(tmp_path: Path, name: str, tags: ColourTags, wanted: ColourTags) -> None:
    layout, dice = planar_format(name), np.random.default_rng(1)
    dtype = np.uint8 if layout.bit_depth == 8 else np.uint16
    shapes = [layout.plane_size(n, 64, 64)[::-1] for n in range(layout.num_planes)]
    sent = Picture(tuple(dice.integers(0, 1 << layout.bit_depth, s, dtype=dtype) for s in shapes), layout, tags)
    assert picture_hash(written(tmp_path, sent, name, wanted)) == picture_hash(sent)


@pytest.mark.parametrize(("size", "alike"), [(64, LIMITED_601), (720, LIMITED_709)])
def test_an_untagged_picture_is_read_as_its_height_says(tmp_path: Path, size: int, alike: ColourTags) -> None:
    codes = [100, 90, 180]
    assert codes_of(written(tmp_path, plain("yuv420p", codes, UNTAGGED, size), "yuv420p", alike)) == codes
    other = LIMITED_709 if alike is LIMITED_601 else LIMITED_601
    assert codes_of(written(tmp_path, plain("yuv420p", codes, UNTAGGED, size), "yuv420p", other)) != codes


def test_a_full_range_pixel_format_is_full_range_and_says_so(tmp_path: Path) -> None:
    white = [plain("yuv420p", [235, 128, 128], LIMITED_709)]
    encoded(tmp_path / "s.mkv", white, settings("libx264", crf=0.0), replace(VIDEO, colour=LIMITED_709), "yuvj420p")
    found = pictures_of(tmp_path / "s.mkv")[0]
    assert found.colour.range == 2
    assert codes_of(found) == [255, 128, 128]


@pytest.mark.parametrize("wanted", [LIMITED_601, LIMITED_709, FULL_709])
def test_rgb_becomes_the_segment_s_matrix_and_range_and_comes_back(tmp_path: Path, wanted: ColourTags) -> None:
    rgb = ColourTags(1, 1, 0, 2, 0)
    red = written(tmp_path, plain("gbrp", [0, 0, 255], rgb), "yuv444p", wanted)
    assert codes_of(red) == pytest.approx(np.clip(yuv_of((1, 0, 0), wanted, 8), 0, 255), abs=2)
    assert codes_of(written(tmp_path, red, "gbrp10le", rgb)) == pytest.approx([0, 0, 1023], abs=12)


# --- pixel formats


@pytest.mark.parametrize(
    ("codec", "wanted", "chosen", "said"),
    [
        ("libx264", "yuv420p", "yuv420p", ""),
        ("libx264", "yuvj420p", "yuv420p", ""),
        ("libx264", "nv12", "yuv420p", ""),
        ("libx264", "yuv422p10le", "yuv422p10le", ""),
        ("libx264", "yuv420p12le", "yuv420p10le", "12 bits become 10"),
        ("libx264", "gray", "gray", ""),
        ("libx264", "rgb24", "yuv444p", "RGB becomes YUV"),
        ("libx265", "gbrp", "gbrp", ""),
        ("libx265", "yuv420p12le", "yuv420p12le", ""),
        ("libsvtav1", "yuv444p", "yuv420p", "chroma resolution is reduced"),
        ("libsvtav1", "gray10le", "yuv420p10le", "every sample is kept"),
        ("prores_ks", "yuv420p", "yuv422p10le", "every sample is kept"),
        ("prores_ks", "gray", "yuv422p10le", "every sample is kept"),
        ("prores_ks", "yuv444p12le", "yuv444p10le", "12 bits become 10"),
        ("libsvtav1", "yuv420p9le", "yuv420p10le", "every sample is kept"),
        ("ffv1", "yuv411p", "yuv411p", ""),
        ("ffv1", "gray10le", "gray10le", ""),
    ],
)
def test_the_nearest_pixel_format_is_chosen_and_said(codec: str, wanted: str, chosen: str, said: str) -> None:
    got, notice = choose_pixel_format(codec, wanted)
    assert got == chosen
    assert said in notice and bool(notice) == bool(said) and "\n" not in notice


@pytest.mark.parametrize("name", ["xyz12le", "grayf32le", "cuda", "nonsense"])
def test_samples_nobody_here_can_hold_are_refused(name: str) -> None:
    with pytest.raises(InputError, match=name):
        choose_pixel_format("ffv1", name)


# --- what is refused before anything is rendered


def check(
    codec: str = "libx264",
    out: str = "out.mkv",
    size: tuple[int, int] = (640, 480),
    name: str = "yuv420p",
    **changes: object,
) -> None:
    check_output(codec, out, *size, name, replace(EncodeSettings(codec=codec), **changes))


@pytest.mark.parametrize("codec", CODECS)
def test_defaults_are_accepted(codec: str) -> None:
    check(codec, out="out.mkv", name=choose_pixel_format(codec, "yuv420p")[0])


@pytest.mark.parametrize(
    ("codec", "options"),
    [
        ("libx264", (("tune", "film"), ("x264-params", "keyint=48:ref=3"))),
        ("libx265", (("x265-params", "aq-mode=3"),)),
        ("libsvtav1", (("svtav1-params", "tune=0"), ("g", "48"))),
        ("ffv1", (("slicecrc", "1"),)),
    ],
)
def test_encoder_options_reach_the_encoder(codec: str, options: Sequence[tuple[str, str]]) -> None:
    if codec == "ffv1":
        with pytest.raises(InputError, match="fixed by vsalign"):
            check(codec, options=tuple(options))
    else:
        check(codec, options=tuple(options))


REFUSED = [
    ({"codec": "libx266"}, "unknown codec 'libx266'; known are libx264"),
    ({"out": "out.avi"}, "unknown container .avi; accepted are .mkv, .mp4, .mov"),
    ({"out": "out"}, "unknown container"),
    ({"codec": "prores_ks", "out": "out.mp4", "name": "yuv422p10le"}, "mp4 cannot hold prores_ks"),
    ({"codec": "ffv1", "out": "out.mov"}, "mov cannot hold ffv1"),
    ({"codec": "libsvtav1", "out": "out.mov"}, "mov cannot hold libsvtav1"),
    ({"size": (641, 480)}, "641x480.*multiple of 2"),
    ({"size": (640, 481)}, "multiple of 2"),
    ({"size": (641, 480), "name": "yuv422p"}, "multiple of 2"),
    ({"codec": "libsvtav1", "size": (32, 480)}, "at least 64"),
    ({"codec": "libx265", "size": (48, 64)}, "at least 64"),
    ({"crf": 52.0}, "crf 52 is out of range for libx264: 0 .* to 51"),
    ({"crf": -1.0}, "crf -1 is out of range"),
    ({"crf": float("nan")}, "crf nan"),
    ({"codec": "libsvtav1", "crf": 20.5}, "whole number"),
    ({"codec": "ffv1", "crf": 10.0}, "means nothing to ffv1"),
    ({"preset": "quick"}, "unknown preset 'quick' for libx264; known are ultrafast"),
    ({"codec": "libsvtav1", "preset": "medium"}, "unknown preset 'medium' for libsvtav1; known are 0"),
    ({"codec": "ffv1", "preset": "fast"}, "ffv1 has no presets"),
    ({"options": (("nonsense", "1"),)}, "libx264 has no encoder option 'nonsense'"),
    ({"options": (("bf", "many"),)}, "many"),
    ({"options": (("tune", "movie"),)}, "movie"),
    ({"options": (("x264-params", "nonsense=1"),)}, "nonsense"),
    ({"codec": "libx265", "options": (("x265-params", "nonsense=1"),)}, "nonsense"),
    ({"codec": "libsvtav1", "options": (("svtav1-params", "nonsense=1"),)}, "nonsense"),
    ({"options": (("crf", "20"),)}, "crf=20 is already set by the crf setting"),
    ({"options": (("threads", "9"),)}, "already set by the threads setting"),
    ({"name": "yuv420p16le"}, "cannot hold pixel format 'yuv420p16le'; the nearest it can is yuv420p10le"),
]


@pytest.mark.parametrize(("case", "said"), REFUSED, ids=[said for _, said in REFUSED])
def test_what_the_output_cannot_be_is_refused_in_one_line(case: dict[str, object], said: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        check(**case)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_odd_sizes_are_fine_without_chroma_subsampling() -> None:
    check(size=(641, 481), name="yuv444p")
    check("ffv1", size=(641, 481))


def test_what_joins_segments_cannot_be_switched_off() -> None:
    options = encoder_options(settings("libx264", options=(("x264-params", "open-gop=1:stitchable=0"),)))
    assert options["x264-params"].index("stitchable=1") > options["x264-params"].index("stitchable=0")

"""What clip and ref ask of the output's picture, and what the user is told of it."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest

from orchestrator.outpicture import as_ref_lies, picture_notices, video_format
from tasks.fields import Fields
from tasks.hdr import NO_HDR, Hdr
from tasks.messages import MediaInfo
from tests.factories import inputs_of
from tests.hdrfilm import HDR10
from vsalign.errors import InputError
from vsalign.picture import ColourTags

SDR, HLG, PQ = ColourTags(1, 1, 1, 1, 1), ColourTags(9, 18, 9, 1, 1), ColourTags(9, 16, 9, 1, 3)


def info(colour: ColourTags = SDR, pixel_format: str = "yuv420p10le", **changes: object) -> MediaInfo:
    return replace(inputs_of().clip.info, colour=colour, pixel_format=pixel_format, width=1920, height=1080, **changes)


def told(clip: MediaInfo, ref: MediaInfo, codec: str = "libx265", pixel_format: str = "", keep: bool = False) -> list[str]:
    lines = picture_notices(clip, ref, video_format(clip, ref, keep), codec, pixel_format or clip.pixel_format)
    assert all(line and "\n" not in line for line in lines)
    return lines


def test_two_films_alike_need_no_word() -> None:
    for colour in (SDR, HLG, PQ, ColourTags()):
        assert told(info(colour), info(colour)) == []
    assert told(info(PQ, hdr=HDR10), info(PQ)) == []


SURPRISES = [
    (info(PQ), info(SDR), "clip is HDR (PQ) and ref is SDR: the output is HDR (PQ)"),
    (info(SDR), info(HLG), "clip is SDR and ref is HDR (HLG): the output is SDR"),
    (info(PQ), info(HLG), "clip is HDR (PQ) and ref is HDR (HLG): the output is HDR (PQ)"),
    (info(PQ, "yuv420p"), info(PQ), "HDR (PQ) in yuv420p has too few bits"),
    (info(replace(SDR, matrix=6)), info(SDR), "clip is tagged BT.601 and ref BT.709 though both are of like size"),
    (info(replace(SDR, range=2)), info(SDR), "clip is full range and ref limited"),
    (info(SDR), info(replace(SDR, range=2)), "clip is limited range and ref full"),
    (info(ColourTags()), info(SDR), "clip has no colour tags (ref has BT.709): it is read as BT.709, by its height"),
    (info(SDR, "gray10le"), info(SDR), "clip is gray: the output has no colour"),
    (info(SDR, rotation_degrees=90), info(SDR), "clip is turned by 90 degrees clockwise"),
    (info(SDR), info(SDR, rotation_degrees=90), "clip is turned by 270 degrees clockwise"),
]


@pytest.mark.parametrize(("clip", "ref", "said"), SURPRISES, ids=[said for *_, said in SURPRISES])
def test_what_will_surprise_is_said_in_one_line(clip: MediaInfo, ref: MediaInfo, said: str) -> None:
    assert [line for line in told(clip, ref) if said in line]


def test_bt601_is_no_surprise_in_a_film_of_another_size() -> None:
    assert told(replace(info(replace(SDR, matrix=6)), width=720, height=480), info(SDR)) == []


def test_rgb_is_said_to_become_yuv_only_where_it_does() -> None:
    clip = info(ColourTags(1, 1, 0, 2, 0), "gbrp10le")
    assert told(clip, info(), pixel_format="yuv444p10le") == ["clip is RGB: the output is BT.709 YUV, limited range"]
    assert told(clip, info(), pixel_format="gbrp10le") == []


def test_prores_is_said_to_be_limited() -> None:
    full = info(replace(SDR, range=2))
    assert told(full, full, "prores_ks", "yuv422p10le") == ["full range becomes limited: prores_ks holds no other"]
    assert told(full, full, "ffv1") == []


def test_metadata_that_is_lost_is_named_with_what_stays() -> None:
    clip = info(PQ, hdr=replace(HDR10, dynamic=("HDR10+", "Dolby Vision profile 8")))
    assert told(clip, info(PQ)) == [
        "clip's HDR10+ and Dolby Vision profile 8 metadata is not in the output (libx265 is not given it); "
        "its HDR10 mastering data and light level stay"
    ]
    assert "it has no HDR10 data" in told(info(PQ, hdr=Hdr(dynamic=("HDR Vivid",))), info(PQ))[0]


def test_where_the_container_alone_has_it_is_said() -> None:
    [line] = told(info(PQ, hdr=HDR10), info(PQ), "ffv1")
    assert line.startswith("ffv1 has no place for HDR10")


def test_woven_fields_are_said() -> None:
    woven = info(fields=Fields(scan="interlaced", top_field_first=False))
    assert "fields stay woven in the output (bb)" in told(woven, info(), keep=True)[0]
    assert told(woven, info()) == []


# --- what the output is


def test_the_samples_are_the_clip_s_and_the_geometry_is_ref_s() -> None:
    clip = info(PQ, hdr=replace(HDR10, dynamic=("HDR10+",)), rotation_degrees=90, average_rate=Fraction(25))
    ref = replace(info(SDR), width=1280, height=720, sample_aspect_ratio=Fraction(4, 3), rotation_degrees=180)
    video = video_format(clip, ref)
    assert (video.width, video.height, video.rate) == (1280, 720, ref.average_rate)
    assert (video.sample_aspect_ratio, video.rotation_degrees) == (Fraction(4, 3), 180)
    assert (video.colour, video.hdr, video.field_order) == (PQ, HDR10, "progressive")


@pytest.mark.parametrize(
    ("fields", "keep", "order"),
    [
        (Fields(scan="interlaced"), True, "tt"),
        (Fields(scan="interlaced", top_field_first=False), True, "bb"),
        (Fields(scan="interlaced"), False, "progressive"),
        (Fields(scan="interlaced", filter="bwdif"), True, "progressive"),
        (Fields(scan="progressive"), True, "progressive"),
    ],
)
def test_fields_are_tagged_only_where_they_are_kept(fields: Fields, keep: bool, order: str) -> None:
    assert video_format(info(fields=fields), info(), keep).field_order == order


@pytest.mark.parametrize("tags", [{"hdr": Hdr(dynamic=("Dolby Vision profile 5",))}, {"colour": ColourTags(9, 16, 15)}])
def test_a_picture_that_only_dolby_vision_players_read_is_refused(tags: dict[str, object]) -> None:
    found = replace(inputs_of().clip, info=replace(info(), **tags))
    with pytest.raises(InputError, match=r"clip\.mkv is Dolby Vision profile 5.*accepted: ") as caught:
        as_ref_lies(found, info())
    assert "\n" not in str(caught.value)
    other = replace(found, info=info(hdr=Hdr(dynamic=("Dolby Vision profile 8",))))
    assert as_ref_lies(other, info()) is other


def test_a_clip_that_cannot_be_turned_is_refused_by_name() -> None:
    found = replace(inputs_of().clip, info=info(SDR, "yuv411p", rotation_degrees=90, hdr=NO_HDR))
    with pytest.raises(InputError, match=r"clip\.mkv: pixel format yuv411p cannot be turned"):
        as_ref_lies(found, info())


def test_an_untagged_clip_is_read_as_it_is_stored_though_it_is_turned() -> None:
    """1280x720 shown upright is 720x1280: both read as BT.709; 640x480 becomes 480x640: both BT.601; 720x576 must be told."""
    found = replace(inputs_of().clip, info=replace(info(ColourTags(), rotation_degrees=90), width=720, height=576))
    turned = as_ref_lies(found, replace(info(), width=576, height=720))
    assert turned.info.height == 720 and turned.info.colour.matrix == 6

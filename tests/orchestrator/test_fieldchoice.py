"""What is done about a source's fields, and what the user is told."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from orchestrator.fieldchoice import choose_filter, fields_notice, with_fields
from orchestrator.sections import DecodeConfig
from tasks.fieldplan import with_filter
from tasks.fields import Fields
from tasks.messages import Probe, Role
from tasks.probe import parse_source, probe
from tests.factories import inputs_of
from tests.fieldfilms import moving, pulled_down, woven, write
from vsalign.errors import InputError

INTERLACED = Fields("interlaced", True, "", 5, 6)
TELECINED = Fields("telecined", False, "", 6, 6)
PROGRESSIVE = Fields("progressive", True, "", 0, 6)
BWDIF, DETELECINE, KEPT = {"deinterlace": "bwdif"}, {"detelecine": True}, {"keep_interlaced": True}


@pytest.mark.parametrize(
    ("found", "settings", "role", "filter"),
    [
        (PROGRESSIVE, {}, "clip", ""),
        (PROGRESSIVE, BWDIF, "clip", ""),
        (Fields(), DETELECINE, "ref", ""),
        (INTERLACED, BWDIF, "ref", "bwdif"),
        (TELECINED, DETELECINE, "clip", "detelecine"),
        (INTERLACED, BWDIF, "fallback", "bwdif"),
        (INTERLACED, KEPT, "ref", ""),
        (TELECINED, KEPT, "ref", ""),
        (PROGRESSIVE, BWDIF | {"fields_of": "ref"}, "ref", "bwdif"),
        (PROGRESSIVE, BWDIF | {"fields_of": "both"}, "clip", "bwdif"),
        (TELECINED, BWDIF | {"fields_of": "both"}, "clip", "bwdif"),
        (INTERLACED, DETELECINE | {"fields_of": "clip"}, "clip", "detelecine"),
        (INTERLACED, BWDIF | {"fields_of": "clip"}, "ref", ""),
        (PROGRESSIVE, BWDIF | {"fields_of": "both"}, "fallback", ""),
    ],
)
def test_the_filter_follows_from_what_is_found_and_asked(
    found: Fields, settings: dict[str, Any], role: Role, filter: str
) -> None:
    assert choose_filter(role, found, DecodeConfig(**settings)) == filter


@pytest.mark.parametrize(
    ("found", "settings", "role", "line"),
    [
        (
            INTERLACED,
            {},
            "ref",
            "ref is interlaced (5 of 6 samples comb, top field first); --deinterlace bwdif makes frames of its fields, "
            "--keep-interlaced uses them woven",
        ),
        (
            TELECINED,
            {},
            "clip",
            "clip is telecined (3:2) (6 of 6 samples comb, bottom field first); --detelecine brings back the film's own "
            "frames, --keep-interlaced uses them woven",
        ),
        (
            TELECINED,
            BWDIF,
            "ref",
            "ref is telecined (3:2) (6 of 6 samples comb, bottom field first); --detelecine brings back the film's own "
            "frames, --fields-of ref has --deinterlace bwdif done all the same, --keep-interlaced uses them woven",
        ),
        (
            INTERLACED,
            DETELECINE,
            "fallback",
            "fallback is interlaced (5 of 6 samples comb, top field first); --deinterlace bwdif makes frames of its fields, "
            "--keep-interlaced uses them woven",
        ),
    ],
)
def test_fields_that_nobody_spoke_of_are_refused_with_the_ways_out(
    found: Fields, settings: dict[str, Any], role: Role, line: str
) -> None:
    with pytest.raises(InputError) as refused:
        choose_filter(role, found, DecodeConfig(**settings))
    assert str(refused.value) == line


def known(fields: Fields, field_order: str = "progressive") -> Probe:
    found = inputs_of().clip
    return replace(found, info=replace(found.info, fields=fields, field_order=field_order))


def test_what_is_done_is_told() -> None:
    plain = known(PROGRESSIVE)
    assert fields_notice("clip", plain) == "" == fields_notice("clip", known(PROGRESSIVE, "tt"))
    assert (
        fields_notice("ref", with_filter(plain, "bwdif", False)) == "ref's fields are made frames by bwdif (bottom field first)"
    )
    frames = len(plain.index)
    pulled = with_filter(plain, "detelecine", True)
    assert fields_notice("clip", pulled) == (
        f"clip's pull-down is undone: {frames} frames become {len(pulled.index)} (top field first)"
    )
    assert fields_notice("ref", known(INTERLACED)).endswith("its frames are used as they are, fields woven")
    assert fields_notice("clip", known(replace(PROGRESSIVE, combed_samples=1))) == (
        "clip combs in 1 of 6 samples: it is used as progressive; --deinterlace bwdif --fields-of clip filters it all the same"
    )
    assert "nothing moves enough to tell" in fields_notice("ref", known(Fields(), "tt"))


def test_a_probe_is_looked_at_and_filtered_at_once(tmp_path: Path) -> None:
    frames = moving(60)
    fields = probe(parse_source(str(write(tmp_path / "fields.mkv", woven(frames, False)))))
    found = with_fields("ref", fields, DecodeConfig(**BWDIF))
    assert (found.info.fields.filter, found.info.fields.top_field_first, found.coded) == ("bwdif", False, fields.index)
    forced = with_fields("clip", probe(parse_source(str(write(tmp_path / "plain.mkv", frames)))), DecodeConfig(**BWDIF))
    assert (forced.info.fields.filter, forced.info.fields.scan, forced.coded) == ("", "progressive", None)


def test_pixel_formats_that_the_filter_would_change_are_refused(tmp_path: Path) -> None:
    deep = probe(parse_source(str(write(tmp_path / "deep.mkv", pulled_down(moving(60)), pixel_format="yuv422p10le"))))
    with pytest.raises(InputError, match=r"clip: fieldmatch does not take yuv422p10le; accepted: 8 bit YUV .* or --keep-inter"):
        with_fields("clip", deep, DecodeConfig(**DETELECINE))

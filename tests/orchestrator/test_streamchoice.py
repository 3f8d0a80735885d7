"""Which streams go into the output: defaults, --map, and what is said of choices that nothing answers to."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest

from orchestrator.sections import OutputConfig
from orchestrator.streamchoice import choose, left_behind, parse_entry
from tasks.messages import MediaInfo, Source, StreamInfo
from tests.factories import probe_of
from vsalign.errors import InputError

MS = Fraction(1, 1000)


def stream(index: int, kind: str, codec: str = "x", language: str = "", **more: object) -> StreamInfo:
    return StreamInfo(index, kind, codec, language, MS, **more)  # type: ignore[arg-type]


REF = replace(
    probe_of("ref").info,
    source=Source("ref.mkv"),
    num_chapters=2,
    streams=(
        stream(0, "video", "h264"),
        stream(1, "audio", "aac", "eng"),
        stream(2, "audio", "ac3", "deu"),
        stream(3, "subtitle", "subrip", "eng"),
        stream(4, "subtitle", "ass", "ger"),
        stream(5, "subtitle", "", "fre"),
        stream(6, "attachment", "", filename="one.ttf"),
        stream(7, "video", "png", is_cover=True, filename="cover.png"),
        stream(8, "data", "klv"),
        stream(9, "data", "tmcd"),
    ),
)
CLIP = replace(
    probe_of("clip").info,
    source=Source("clip.mkv"),
    streams=(stream(0, "video", "h264"), stream(1, "subtitle", "subrip", "eng"), stream(2, "audio", "flac", "eng")),
)


def names(output: dict[str, object], clip: MediaInfo = CLIP) -> list[str]:
    return [each.name for each in choose(OutputConfig(**output), REF, clip).streams]  # type: ignore[arg-type]


ALL_OF_REF = ["ref:a:0", "ref:a:1", "ref:s:0", "ref:s:1", "ref:t:0", "ref:t:1"]


def test_all_of_ref_that_can_be_copied_is_the_default():
    choice = choose(OutputConfig(), REF, CLIP)
    assert [each.name for each in choice.streams] == ALL_OF_REF
    assert (choice.chapters, choice.tags, choice.sound_from) == ("ref", "ref", "ref")
    assert choose(OutputConfig(chapters="clip", tags="none"), REF, CLIP).chapters is None, "the clip has none"


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        ({"audio": "none", "attachments": "none"}, ["ref:s:0", "ref:s:1"]),
        ({"subtitles": "clip", "attachments": "none", "audio": "none"}, ["clip:s:0"]),
        ({"map": ("ref:a:1",)}, ["ref:a:1", "ref:s:0", "ref:s:1", "ref:t:0", "ref:t:1"]),
        (
            {"map": ("clip:a", "REF:a:ENG", "ref:a"), "subtitles": "none", "attachments": "none"},
            ["clip:a:0", "ref:a:0", "ref:a:1"],
        ),
        ({"map": ("-ref:s:ger", "-ref:t:0")}, ["ref:a:0", "ref:a:1", "ref:s:0", "ref:t:1"]),
        ({"map": ("ref:a", "-ref:a:ger"), "subtitles": "none", "attachments": "none"}, ["ref:a:0"]),
        ({"map": ("clip:s:eng",), "subtitles": "none", "audio": "none", "attachments": "none"}, ["clip:s:0"]),
    ],
)
def test_map_replaces_a_kinds_default_or_takes_away_from_it(output: dict[str, object], expected: list[str]):
    """The ger of --map is the deu of the file; each stream comes once."""
    assert names(output) == expected


@pytest.mark.parametrize(
    "text",
    ["", "ref", "ref:", "ref:a:", "ref:v:0", "a:0", "both:a", "ref:a:0:1", "ref:a:-1", "+ref:a", "ref:a:english", "ref:d"],
)
def test_an_entry_that_is_not_understood_is_told_with_what_is(text: str):
    with pytest.raises(InputError, match=r"--map .*; accepted: FILM:KIND, .*KIND a, s, t") as told:
        parse_entry(text)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("entry", "line"),
    [
        ("ref:a:2", r"no such stream in ref.mkv; accepted: ref:a:0 \(eng\), ref:a:1 \(deu\)$"),
        ("-ref:s:jpn", r"no such stream in ref.mkv; accepted: ref:s:0 \(eng\), ref:s:1 \(ger\), ref:s:2 \(fre\)$"),
        ("ref:t:5", r"accepted: ref:t:0 \(one.ttf\), ref:t:1 \(cover.png\)$"),
        ("clip:t", r"no such stream in clip.mkv; accepted: none of this kind"),
        ("ref:s:2", r"this FFmpeg has no codec for stream #5"),
    ],
)
def test_an_entry_that_no_stream_answers_to_is_told_with_those_that_are_there(entry: str, line: str):
    with pytest.raises(InputError, match=line):
        names({"map": (entry,)})


def test_taking_away_what_was_not_chosen_changes_nothing():
    assert names({"map": ("-clip:s:eng", "-ref:s:2")}) == ALL_OF_REF


def test_sound_of_a_clip_that_has_none_is_told():
    silent = replace(CLIP, streams=CLIP.streams[:1])
    with pytest.raises(InputError, match=r"--audio clip: clip.mkv has no audio; accepted: ref or none"):
        names({"audio": "clip"}, silent)
    assert names({"subtitles": "clip", "audio": "none", "attachments": "none"}, silent) == []


def test_what_no_output_can_have_is_named_with_the_reason():
    """A time code is not: it goes along as a tag."""
    assert list(left_behind(REF)) == [
        "stream #5 (fre), subtitle: this FFmpeg has no codec for it",
        "stream #8, data (klv): not copied, no output keeps it in time",
    ]
    (untold,) = {*left_behind(REF, takes_tags=False)} - {*left_behind(REF)}
    assert untold.endswith("time code: it would go along as a tag")


def test_what_is_taken_from_where_is_told_kind_by_kind():
    choice = choose(OutputConfig(map=("clip:a", "ref:a:eng"), tags="clip"), REF, CLIP)
    assert choice.sound_from == "clip, ref"
    assert choice.lines() == (
        "audio: clip #2 (eng) flac; ref #1 (eng) aac",
        "subtitles: ref #3 (eng) subrip, #4 (ger) ass",
        "attachments: ref #6 (one.ttf), #7 (cover.png) png",
        "chapters: ref, tags: clip",
    )

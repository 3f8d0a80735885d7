"""All that a film carries beside its picture, through the real render: ref's, by choice another's, or refused in time."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from orchestrator.cli import run
from tasks.contents import content_problems, label_problems
from tasks.messages import Source
from tasks.probe import probe
from tasks.streamcheck import contents_of
from tests.editlist import set_edits
from tests.extras import CHAPTERS, COVER, FONTS, PGS, with_extras
from tests.films import film, write_film
from tests.synth import packet_payloads

NUM = 96
#: Variable frame rate, in milliseconds.
PTS = np.concatenate([[0], np.cumsum(np.random.default_rng(3).integers(30, 55, NUM - 1))]).astype(np.int64)
FIXED = ("--pool", "local", "--no-warp", "--preset", "ultrafast", "--quiet")


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("films")
    frames = film(NUM, 64, 48)
    write_film(folder / "picture.mkv", frames, pts=PTS)
    write_film(folder / "clip-picture.mkv", frames)
    with_extras(folder / "picture.mkv", folder / "ref.mkv")
    with_extras(
        folder / "clip-picture.mkv", folder / "clip.mkv", audio=(("flac", "jpn"), ("aac", "eng")), tags={"title": "The clip"}
    )
    return folder


@pytest.fixture
def here(films: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for path in films.glob("*.mkv"):
        shutil.copy(path, tmp_path / path.name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def render(*arguments: str, ref: str = "ref.mkv", out: str = "out.mkv", rows: Sequence[int] | None = None) -> int:
    sync = ["--no-sync"]
    if rows is not None:
        lines = [f"{n},{row if row >= 0 else ''}" for n, row in enumerate(rows)]
        Path("map.csv").write_text("\n".join(["ref_frame,clip_frame", *lines]) + "\n")
        sync = ["--frame-map", "map.csv"]
    return run(["render", "clip.mkv", ref, "-o", out, *sync, *FIXED, *arguments])


def report() -> dict[str, Any]:
    return json.loads(Path("out.mkv.vsalign/report.json").read_text())


def told(*command: str) -> dict[str, Any]:
    """The JSON that a tool of the machine prints."""
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    return json.loads(subprocess.run(command, capture_output=True, check=True).stdout)


def languages(path: str, kind: str) -> list[str]:
    return [s.language for s in probe(Source(path)).info.streams if s.kind == kind]


@pytest.fixture(scope="module")
def finished(films: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The film of the bar, rendered once."""
    folder = tmp_path_factory.mktemp("finished")
    out = folder / "out.mkv"
    assert run(["render", str(films / "clip.mkv"), str(films / "ref.mkv"), "-o", str(out), "--no-sync", *FIXED]) == 0
    return out


# --- by default


def test_everything_of_ref_is_in_the_output_with_every_byte_and_every_time(films: Path, finished: Path):
    ref = films / "ref.mkv"
    for kind in ("audio", "subtitle"):
        assert packet_payloads(finished, kind) == packet_payloads(ref, kind)
    assert [len(packet_payloads(finished, kind)) for kind in ("audio", "subtitle")] == [2, 3]
    found, given = probe(Source(str(finished))), probe(Source(str(ref)))
    assert np.array_equal(found.index.pts, given.index.pts) and found.index.time_base == given.index.time_base
    assert np.array_equal(given.index.pts, PTS)
    assert contents_of(str(finished)) == contents_of(str(ref))
    assert [(s.kind, s.codec, s.language, s.title) for s in found.info.streams] == [
        (s.kind, s.codec, s.language, s.title) for s in given.info.streams
    ]


def test_ffprobe_finds_everything_of_ref(films: Path, finished: Path):
    wanted = ("-show_chapters", "-show_streams", "-show_format", "-show_packets", "-show_data_hash", "sha256", "-of", "json")
    found, given = (told("ffprobe", "-v", "error", *wanted, str(path)) for path in (finished, films / "ref.mkv"))
    assert found["chapters"] == given["chapters"] and len(found["chapters"]) == len(CHAPTERS)
    tags = [{name.lower(): value for name, value in each["format"]["tags"].items()} for each in (found, given)]
    assert {name: tags[0][name] for name in ("title", "director", "comment")} == {
        name: tags[1][name] for name in ("title", "director", "comment")
    }
    for mine, theirs in zip(found["streams"], given["streams"], strict=True):
        assert (mine["codec_type"], mine.get("codec_name"), mine["disposition"]) == (
            theirs["codec_type"],
            theirs.get("codec_name"),
            theirs["disposition"],
        )
        for tag in ("language", "title", "filename", "mimetype"):
            assert mine.get("tags", {}).get(tag) == theirs.get("tags", {}).get(tag)
    packets = [_packets_of(each) for each in (found, given)]
    assert packets[0] == packets[1] and len(packets[0]) == 6
    shown = [sorted(p["pts"] for p in each["packets"] if p["stream_index"] == 0) for each in (found, given)]
    assert shown[0] == shown[1]


def _packets_of(found: dict[str, Any]) -> dict[int, list[tuple[Any, ...]]]:
    """(hash, PTS, duration of an event) of every packet of sound, text and cover; the cover has no time."""
    rows: dict[int, list[tuple[Any, ...]]] = {}
    text = {stream["index"] for stream in found["streams"] if stream["codec_type"] == "subtitle"}
    for packet in found["packets"]:
        if (index := packet["stream_index"]) > 0:
            length = packet.get("duration") if index in text else None
            rows.setdefault(index, []).append((packet["data_hash"], packet.get("pts"), length))
    return rows


def test_mkvmerge_finds_everything_of_ref(films: Path, finished: Path):
    found, given = (told("mkvmerge", "-J", str(path)) for path in (finished, films / "ref.mkv"))
    assert found["errors"] == found["warnings"] == []
    kept = ("codec_id", "language", "track_name", "default_track", "forced_track", "flag_hearing_impaired", "uid")
    tracks = [
        [(t["type"], *(t["properties"].get(name) for name in kept[:-1])) for t in each["tracks"]] for each in (found, given)
    ]
    assert tracks[0] == tracks[1] and len(tracks[0]) == 6
    assert found["global_tags"] == [{"num_entries": 2}], "director and comment; the title is elsewhere"
    for part in ("attachments", "chapters"):
        assert [_without_ids(each) for each in found[part]] == [_without_ids(each) for each in given[part]]
    assert [each["file_name"] for each in found["attachments"]] == [*FONTS, "cover.png"]


def _without_ids(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in ("properties", "id")}


def test_fonts_and_cover_come_out_of_the_file_as_they_went_in(finished: Path):
    with av.open(str(finished)) as container:
        assert {s.name: s.data for s in container.streams.attachments} == {name: data for name, (_, data) in FONTS.items()}
        cover = next(s for s in container.streams.video if s.metadata.get("filename") == "cover.png")
        assert next(bytes(p) for p in container.demux(cover) if p.size) == COVER


@pytest.mark.parametrize(("ending", "sound"), [("mp4", "aac"), ("mov", "pcm_s16le")])
def test_an_mp4_or_mov_ref_gives_all_it_has_to_one_like_it(here: Path, ending: str, sound: str):
    ref = here / f"ref.{ending}"
    with_extras(here / "picture.mkv", ref, audio=(("aac", "eng"), (sound, "fre")), subtitles=("mov_text",), attached=False)
    assert render(ref=ref.name, out=f"out.{ending}") == 0
    out = here / f"out.{ending}"
    assert packet_payloads(out, "subtitle") == packet_payloads(ref, "subtitle") and len(packet_payloads(out, "subtitle")) == 1
    assert [b"".join(rows) for rows in packet_payloads(out)] == [b"".join(rows) for rows in packet_payloads(ref)]
    found, given = contents_of(str(out)), contents_of(str(ref))
    given = replace(given, chapters=(*given.chapters[:2], replace(given.chapters[2], title="Chapter 3")))
    assert [*content_problems(found, given), *label_problems(found, given)] == []
    shown = [probe(Source(str(path))) for path in (out, ref)]
    assert np.array_equal(*(each.index.pts * each.index.time_base for each in shown))


# --- by choice


def test_kinds_and_streams_are_chosen_from_both_films(here: Path):
    chosen = ("--map", "ref:s:fra", "--map", "clip:s:0", "--map", "ref:a:1", "--streams", "attachments=none")
    assert render(*chosen, "--streams", "chapters=none", "--streams", "tags=clip") == 0
    found = contents_of("out.mkv")
    assert [(s.kind, s.codec, s.language) for s in found.streams] == [
        ("audio", "flac", "ger"),
        ("subtitle", "subrip", "fre"),
        ("subtitle", "subrip", "fre"),
    ]
    assert (found.attachments, found.chapters, found.tags) == ((), (), (("title", "The clip"),))
    assert report()["streams"] == [
        "audio: ref #2 (ger) flac",
        "subtitles: ref #3 (fre) subrip; clip #3 (fre) subrip",
        "tags: clip",
    ]


def test_sound_of_both_films_goes_side_by_side(here: Path):
    assert render("--map", "clip:a:jpn", "--map", "ref:a:eng", "--streams", "subtitles=none") == 0
    assert languages("out.mkv", "audio") == ["jpn", "eng"] and languages("out.mkv", "subtitle") == []
    assert report()["audio"] == "clip, ref"
    assert packet_payloads(Path("out.mkv"))[1] == packet_payloads(Path("ref.mkv"))[0]


def test_subtitles_chapters_and_one_sound_of_the_clip_follow_its_cuts(here: Path):
    """Ref lacks the clip's frames 24 to 48, the second from 1.0 on."""
    rows = [n if n < 24 else n + 24 if n + 24 < NUM else -1 for n in range(NUM)]
    frames = film(NUM, 64, 48)
    write_film(here / "even.mkv", frames)
    assert render("--streams", "clip", "--map", "clip:a:jpn", ref="even.mkv", rows=rows) == 0
    found = contents_of("out.mkv")
    assert [(s.kind, s.language) for s in found.streams] == [
        ("audio", "jpn"),
        ("subtitle", "fre"),
        ("subtitle", "eng"),
        ("subtitle", "jpn"),
    ]
    with av.open("out.mkv") as container:
        shown = {"fre": [], "eng": [], "jpn": []}
        for packet in container.demux(*container.streams.subtitles):
            if packet.size:
                shown[packet.stream.language].append(float(packet.pts * packet.time_base))
    assert shown["fre"] == pytest.approx([0.5, 1.0, 2.0], abs=0.002)
    assert shown["eng"] == pytest.approx([0.5, 0.5, 1.5], abs=0.002)
    assert shown["jpn"] == pytest.approx([0.6, 1.0, 1.1, 1.7, 2.2, 2.7], abs=0.002)
    assert [(mark.title, mark.start_seconds) for mark in found.chapters] == [
        ("Anfang", 0.0),
        ("Mitte – ü", pytest.approx(1.0, abs=0.002)),
        ("", pytest.approx(2.0, abs=0.002)),
    ]
    assert [bytes_of for _, bytes_of in PGS] == packet_payloads(Path("out.mkv"), "subtitle")[2]
    assert report()["sound"].startswith("clip's audio: 2 pieces")


def test_subtitles_of_a_clip_that_starts_later_are_moved_all_alike(here: Path):
    rows = [n - 12 if n >= 12 else -1 for n in range(NUM)]
    write_film(here / "even.mkv", film(NUM, 64, 48))
    assert render("--streams", "clip", ref="even.mkv", rows=rows) == 0
    with av.open("out.mkv") as container:
        text = [float(p.pts * p.time_base) for p in container.demux(container.streams.subtitles[0]) if p.size]
    assert text == [1.0, 2.5, 3.5]
    assert [mark.start_seconds for mark in contents_of("out.mkv").chapters] == [0.5, 2.0, 3.5]


def test_another_choice_makes_only_the_joined_film_again(here: Path, capsys: pytest.CaptureFixture[str]):
    assert render() == 0
    chunks = {path.name: path.read_bytes() for path in Path("out.mkv.vsalign/seg").iterdir()}
    assert render("--overwrite", "--streams", "subtitles=none") == 0
    assert {path.name: path.read_bytes() for path in Path("out.mkv.vsalign/seg").iterdir()} == chunks
    stages = {stage["name"]: stage for stage in report()["stages"]}
    assert stages["render"]["reused_units"] == stages["render"]["units"] and stages["stitch"]["reused_units"] == 0
    assert languages("out.mkv", "subtitle") == [] and run(["verify", "out.mkv"]) == 0


def test_verify_finds_what_the_film_lost_later(here: Path, capsys: pytest.CaptureFixture[str]):
    assert render() == 0 and run(["verify", "out.mkv"]) == 0
    payload, data = packet_payloads(Path("out.mkv"))[1][10], bytearray(Path("out.mkv").read_bytes())
    data[data.find(payload) + len(payload) // 2] ^= 1
    Path("out.mkv").write_bytes(data)
    capsys.readouterr()
    assert run(["verify", "out.mkv"]) != 0
    assert "audio stream (ger, flac) has not the bytes that were copied" in "".join(capsys.readouterr())


# --- refusals


@pytest.mark.parametrize(
    ("out", "arguments", "line"),
    [
        (
            "out.mp4",
            (),
            r"mp4 cannot hold streams #3 \(fre\) subrip subtitles, #4 \(eng\) ass subtitles, #5 \(jpn\) hdmv_pgs_subtitle "
            r"subtitles, #6 \(attachment one.ttf\) and 1 more of .*ref.mkv; .mkv can; --streams subtitles=none --map -ref:t:0 "
            r"--map -ref:t:1 leaves them out",
        ),
        (
            "out.mov",
            ("--streams", "subtitles=none", "--streams", "attachments=none"),
            r"mov cannot hold stream #2 \(ger\) flac audio of .*ref.mkv; .mkv and .mp4 can; --map -ref:a:1 leaves it out",
        ),
        (
            "out.mp4",
            ("--map", "clip:s:jpn", "--map", "-ref:t"),
            r"stream #5 \(jpn\) hdmv_pgs_subtitle subtitles of .*clip.mkv; .mkv",
        ),
        ("out.mkv", ("--map", "ref:s:9"), r"no such stream in .*ref.mkv; accepted: ref:s:0 \(fre\), ref:s:1 \(eng\)"),
        ("out.mkv", ("--map", "everything"), r"--map 'everything'; accepted: FILM:KIND"),
    ],
)
def test_what_cannot_be_is_told_in_one_line_before_anything_is_written(
    here: Path, capsys: pytest.CaptureFixture[str], out: str, arguments: Sequence[str], line: str
):
    before = sorted(here.iterdir())
    assert render(*arguments, out=out) == 2
    said = capsys.readouterr().err.strip()
    assert "\n" not in said
    assert re.search(line, said), said
    assert sorted(here.iterdir()) == before


def test_the_way_out_that_is_named_is_one(here: Path):
    assert render("--streams", "subtitles=none", "--map", "-ref:t:0", "--map", "-ref:t:1", out="out.mp4") == 0
    found = contents_of("out.mp4")
    assert [s.codec for s in found.streams] == ["aac", "flac"]
    assert [(each.is_cover, each.sha256) for each in found.attachments] == [(True, hashlib.sha256(COVER).hexdigest())]
    for _ in range(2):
        lost = json.loads(Path("out.mp4.vsalign/report.json").read_text())["streams"][-1]
        assert lost == "left out: of the tags are lost: director 'N. N.'"
        assert run(["resume", "out.mp4.vsalign", "--quiet"]) == 0, "which writes the report again"


def test_streams_that_cannot_be_copied_are_named(here: Path, capsys: pytest.CaptureFixture[str]):
    with av.open("ref.mkv") as source, av.open("two.mkv", "w") as out:
        copies = [out.add_stream_from_template(source.streams.video[0], opaque=True) for _ in range(2)]
        for packet in source.demux(video=0):
            if packet.size:
                for copy in copies:
                    packet.stream, packet.time_base = copy, Fraction(1, 1000)
                    out.mux_one(packet)
    assert render(ref="two.mkv") == 0
    assert "left out of ref: video stream #1; the output has one picture" in "".join(report()["notices"])


def test_damage_in_refs_sound_is_in_the_report_with_stream_and_time(here: Path):
    """A damaged packet of AAC from a transport stream ends nothing."""
    with av.open("picture.mkv") as picture, av.open("ref.mkv") as source, av.open("ref.ts", "w") as out:
        copies = [out.add_stream_from_template(s, opaque=True) for s in (picture.streams.video[0], source.streams.audio[0])]
        rows = [
            (copy, p) for copy, film in zip(copies, (picture.demux(video=0), source.demux(audio=0)), strict=True) for p in film
        ]
        for copy, packet in sorted((row for row in rows if row[1].size), key=lambda row: row[1].dts * row[1].time_base):
            packet.stream = copy
            out.mux_one(packet)
    with av.open("ref.ts") as film:
        payload, at = [(bytes(p), float(p.pts * p.time_base)) for p in film.demux(audio=0) if p.size][50]
    data = bytearray(Path("ref.ts").read_bytes())
    data[data.find(payload[:64]) + 2] |= 0x3C
    Path("ref.ts").write_bytes(data)
    assert render(ref="ref.ts", out="out.mp4") == 0
    lost = json.loads(Path("out.mp4.vsalign/report.json").read_text())["streams"][-1]
    assert re.match(r"left out: ref stream #1 \(aac\): \d damaged packets left out, the first at 00:00:0\d", lost)
    assert timecode_near(lost, at)


def timecode_near(line: str, seconds: float) -> bool:
    whole, part = (float(each) for each in line.rpartition(":")[2].split("."))
    return abs(whole + part / 1000 - seconds) < 0.5


def test_sound_that_an_edit_list_cuts_is_refused_and_left_out_on_request(here: Path, capsys: pytest.CaptureFixture[str]):
    with av.open("picture.mkv") as picture, av.open("ref.mkv") as source, av.open("ref.mp4", "w") as out:
        copies = [out.add_stream_from_template(s, opaque=True) for s in (source.streams.audio[0], picture.streams.video[0])]
        for copy, film in zip(copies, (source.demux(audio=0), picture.demux(video=0)), strict=True):
            for packet in film:
                if packet.size:
                    packet.stream = copy
                    out.mux(packet)
    priming = 1024 / 48000
    set_edits(here / "ref.mp4", [(1.0, priming), (1.5, priming + 2)])
    assert render(ref="ref.mp4") == 2
    said = capsys.readouterr().err.strip()
    assert "\n" not in said and "ref.mp4: its edit list cuts stream #0 aac audio amid packets" in said
    assert said.endswith("--streams audio=none leaves the sound out") and not Path("out.mkv.vsalign").exists()
    assert render("--streams", "audio=none", ref="ref.mp4") == 0
    set_edits(here / "ref.mp4", [(3.0, priming)])
    assert render("--overwrite", ref="ref.mp4") == 0
    assert len(languages("out.mkv", "audio")) == 1

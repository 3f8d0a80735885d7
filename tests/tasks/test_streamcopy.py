"""What a film has beside its picture, through stitch: bytes, times, order, labels, and what verify finds."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.packet import Packet
from av.stream import Disposition

from tasks.contents import Contents
from tasks.copynotes import CopyNotes
from tasks.encode import SegmentWriter
from tasks.errors import StitchError
from tasks.joinplan import StitchResult
from tasks.messages import EncodeSettings, VideoFormat
from tasks.shiftcopy import readable
from tasks.soundplan import SoundPiece, SoundPlan
from tasks.stitch import SegmentPlan, stitch, verify
from tasks.streamcheck import contents_of, is_cover, stream_problems
from tasks.streamplan import Extras, Origin, Pick
from tests.editlist import Edit, set_edits
from tests.extras import COVER, FONTS, MILLISECOND, PGS, TAGS, timed, with_extras
from tests.synth import Audio, Video, make_film, painted
from vsalign.frames import FrameRange
from vsalign.picture import ColourTags

RATE, NUM = Fraction(24), 96
PTS = np.array([round(n * 1000 / RATE) for n in range(NUM)], np.int64)
ENDINGS = ("mkv", "mp4", "mov")


@pytest.fixture(scope="module")
def segment(tmp_path_factory: pytest.TempPathFactory) -> SegmentPlan:
    path = tmp_path_factory.mktemp("segment") / "s.mkv"
    video = VideoFormat(64, 48, RATE, Fraction(1), ColourTags(1, 1, 1, 1, 1))
    with SegmentWriter(str(path), video, EncodeSettings("libx264", preset="ultrafast"), "yuv420p") as writer:
        for n in range(NUM):
            writer.write(painted(n, 64, 48))
        writer.close()
    return SegmentPlan(str(path), FrameRange(0, NUM))


@pytest.fixture(scope="module")
def ref(segment: SegmentPlan, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return with_extras(Path(segment.path), tmp_path_factory.mktemp("ref") / "ref.mkv")


@pytest.fixture(scope="module")
def mp4(segment: SegmentPlan, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All that mp4 and mov can hold."""
    sounds = (("aac", "eng"), ("ac3", "fre"))
    path = tmp_path_factory.mktemp("mp4") / "ref.mp4"
    return with_extras(
        Path(segment.path), path, audio=sounds, subtitles=("mov_text",), attached=False, tags={"title": "A Film"}
    )


def all_of(path: Path, *, tags: bool = True, **origin: Any) -> Extras:
    """All streams of a file but its picture, its chapters and its tags."""
    picks = []
    with av.open(str(path)) as film:
        for stream in film.streams:
            if stream.type in ("audio", "subtitle", "attachment"):
                picks.append(Pick(0, stream.index, stream.type))
            elif is_cover(stream):
                picks.append(Pick(0, stream.index, "cover"))
    return Extras((Origin("ref", str(path), **origin),), tuple(picks), 0, 0 if tags else None, 0 if tags else None)


def only(extras: Extras, *kinds: Any) -> Extras:
    return replace(extras, picks=extras.of_kind(*kinds))


def joined(segment: SegmentPlan, out: Path, extras: Extras, first: int = 0) -> StitchResult:
    """Stitched with frame 0 at ``first`` milliseconds, and as it was planned."""
    made = stitch([segment], PTS + first, MILLISECOND, 42, str(out), extras)
    found = verify(str(out), PTS + first, MILLISECOND, made.contents)
    assert found.problems == ()
    return made


def packets(path: Path, kind: str) -> list[list[tuple[bytes, Fraction, Fraction]]]:
    """(bytes, when, how long) of every packet, stream by stream."""
    with av.open(str(path)) as film:
        rows: dict[int, list[tuple[bytes, Fraction, Fraction]]] = {s.index: [] for s in film.streams if s.type == kind}
        for packet in film.demux(*(film.streams[index] for index in rows)):
            if packet.size and bytes(packet) != b"\0\0":
                rows[packet.stream_index].append(
                    (bytes(packet), packet.pts * packet.time_base, (packet.duration or 0) * packet.time_base)
                )
    return list(rows.values())


def moved(path: Path, kind: str, seconds: Fraction) -> list[list[tuple[bytes, float, float]]]:
    return [
        [(data, round(float(at + seconds), 3), round(float(long), 3)) for data, at, long in rows]
        for rows in packets(path, kind)
    ]


# --- bytes and times


def test_everything_of_a_matroska_ref_is_there_with_every_byte(segment: SegmentPlan, ref: Path, tmp_path: Path):
    out = tmp_path / "out.mkv"
    made = joined(segment, out, all_of(ref))
    for kind in ("audio", "subtitle"):
        assert packets(out, kind) == packets(ref, kind) and len(packets(out, kind)) >= 2
    assert contents_of(str(out)) == contents_of(str(ref))
    assert not made.left_out and str(made.contents) == "2 audio, 3 subtitles, 1 cover, 2 attachments, 3 chapters, 3 tags"


@pytest.mark.parametrize("ending", ["mp4", "mov"])
def test_everything_of_an_mp4_ref_is_there_with_every_byte(segment: SegmentPlan, mp4: Path, tmp_path: Path, ending: str):
    out = tmp_path / f"out.{ending}"
    joined(segment, out, all_of(mp4))
    for kind in ("audio", "subtitle"):
        assert packets(out, kind) == packets(mp4, kind)
    found, given = contents_of(str(out)), contents_of(str(mp4))
    assert (found.chapters[:2], found.tags) == (given.chapters[:2], given.tags)
    assert [mark.title for mark in found.chapters] == ["Anfang", "Mitte – ü", "Chapter 3"]


@pytest.mark.parametrize("first", [700, -300, 0])
def test_all_streams_keep_their_distance_to_the_picture(segment: SegmentPlan, ref: Path, tmp_path: Path, first: int):
    """A ref before zero is moved to it, with everything; what is over before its first frame is gone."""
    late = with_extras(Path(segment.path), tmp_path / "late.mkv", later=300)
    out = tmp_path / "out.mkv"
    made = joined(segment, out, all_of(late), first)
    shift = Fraction(max(0, -first), 1000)
    assert moved(out, "subtitle", Fraction(0)) == moved(late, "subtitle", shift)
    assert moved(out, "audio", Fraction(0)) == moved(late, "audio", shift)
    assert [mark.start_seconds for mark in made.contents.chapters] == [float(s + Fraction(3, 10) + shift) for s in (0, 1.5, 3)]


def test_an_event_that_is_shown_when_the_film_begins_is_shown_from_then_on(segment: SegmentPlan, ref: Path, tmp_path: Path):
    out = tmp_path / "out.mkv"
    made = joined(segment, out, all_of(ref, shift_seconds=Fraction(-1)))
    srt, ass, pgs = packets(out, "subtitle")
    assert [(at, long) for _, at, long in srt] == [(0, Fraction(1, 5)), (1, Fraction(3, 5)), (2, Fraction(1, 2))]
    assert [(at, long) for _, at, long in ass] == [(0, Fraction(1, 2)), (Fraction(3, 2), Fraction(1, 2))], "one was over"
    assert len(pgs) == len(PGS) - 1 and made.left_out == {"ref subtitle events": 2}
    assert [mark.title for mark in made.contents.chapters] == ["Anfang", "Mitte – ü", ""]
    assert [mark.start_seconds for mark in made.contents.chapters] == [0, 0.5, 2]


def test_what_the_film_has_no_time_for_is_left_out_and_counted(segment: SegmentPlan, ref: Path, tmp_path: Path):
    made = joined(segment, tmp_path / "out.mkv", all_of(ref, shift_seconds=Fraction(1), stop_seconds=Fraction(4)))
    assert made.left_out == {"ref subtitle events": 3, "ref chapters": 1}


@pytest.mark.parametrize("ending", ENDINGS)
def test_aac_of_a_transport_stream_is_taken_out_of_its_own_wrapping_once(segment: SegmentPlan, tmp_path: Path, ending: str):
    source = make_film(tmp_path / "ref.ts", Video(num_frames=10), audio=[Audio(2)])
    out = tmp_path / f"out.{ending}"
    joined(segment, out, only(all_of(source, tags=False), "audio"))
    sent, got = packets(source, "audio")[0], packets(out, "audio")[0]
    assert [data for data, _, _ in got] == [data[7:] for data, _, _ in sent]
    with av.open(str(out)) as film:
        assert sum(frame.samples for frame in film.decode(audio=0)) >= 2 * 48000


@pytest.mark.parametrize(("codec", "ending"), [("libopus", "mkv"), ("libopus", "mp4"), ("ac3", "mov"), ("flac", "mp4")])
def test_other_codecs_keep_their_start(segment: SegmentPlan, tmp_path: Path, codec: str, ending: str):
    source = make_film(tmp_path / "ref.mkv", Video(num_frames=10), audio=[Audio(2, codec=codec)])
    out = tmp_path / f"out.{ending}"
    joined(segment, out, only(all_of(source, tags=False), "audio"))
    sent, got = packets(source, "audio")[0], packets(out, "audio")[0]
    assert [data for data, _, _ in got] == [data for data, _, _ in sent]
    assert abs(got[0][1] - sent[0][1]) <= Fraction(1, 1000)


# --- the clip's, by a frame map


#: The clip's second 1 to 2 is not in ref.
CUT = SoundPlan((SoundPiece(0.0, 1.0, 0.0, 1.0), SoundPiece(1.0, 3.0, 2.0, 1.0)), 0.0, 4.0)


def test_subtitles_of_a_film_that_was_cut_otherwise_follow_the_cut(segment: SegmentPlan, ref: Path, tmp_path: Path):
    out = tmp_path / "out.mkv"
    made = joined(segment, out, only(all_of(ref, tags=False, plan=CUT), "subtitle"))
    srt, ass, pgs = moved(out, "subtitle", Fraction(0))
    given = moved(ref, "subtitle", Fraction(0))
    assert srt == [(given[0][0][0], 0.5, 0.5), (given[0][1][0], 1.0, 0.6), (given[0][2][0], 2.0, 0.5)]
    assert [(at, long) for _, at, long in ass] == [(0.5, 0.5), (0.5, 0.5), (1.5, 0.5)]
    assert [(at, data == PGS[n][1]) for n, (data, at, _) in enumerate(pgs)] == [
        (0.6, True),
        (1.0, True),  # it would be cleared in what ref does not have
        (1.1, True),
        (1.7, True),
        (2.2, True),
        (2.7, True),
    ]
    assert made.left_out == {} and [mark.start_seconds for mark in made.contents.chapters] == [0.0, 1.0, 2.0]


def test_events_that_ref_does_not_have_are_counted_and_scenes_may_change_places(
    segment: SegmentPlan, ref: Path, tmp_path: Path
):
    swapped = SoundPlan((SoundPiece(0.0, 2.0, 2.0, 1.0), SoundPiece(2.0, 3.0, 0.0, 1.0)), 0.0, 4.0)
    made = joined(segment, tmp_path / "out.mkv", only(all_of(ref, tags=False, plan=swapped), "subtitle"))
    srt, ass, pgs = moved(tmp_path / "out.mkv", "subtitle", Fraction(0))
    given = moved(ref, "subtitle", Fraction(0))
    assert srt == [(given[0][1][0], 0.0, 0.6), (given[0][2][0], 1.0, 0.5), (given[0][0][0], 2.5, 0.5)]
    assert [at for _, at, _ in ass] == [0.5, 2.5, 2.5]
    assert [at for _, at, _ in pgs] == [0.1, 0.7, 1.2, 1.7, 2.6, 3.0]
    assert made.left_out == {}
    none = SoundPlan((SoundPiece(0.0, 0.4, 0.0, 1.0),), 0.0, 4.0)
    made = joined(segment, tmp_path / "none.mkv", only(all_of(ref, tags=False, plan=none), "subtitle"))
    assert made.left_out == {"ref subtitle events": 9, "ref chapters": 2}


# --- order in the file


@pytest.mark.parametrize("ending", ["mkv", "mp4"])
def test_who_seeks_finds_sound_and_subtitles_beside_the_picture(tmp_path: Path, ending: str):
    """Three minutes with an event a minute: near in time is near in the file, also behind a long silence of one stream."""
    video = VideoFormat(64, 48, Fraction(2), Fraction(1), ColourTags(1, 1, 1, 1, 1))
    path, num = tmp_path / "s.mkv", 360
    with SegmentWriter(str(path), video, EncodeSettings("libx264", preset="ultrafast"), "yuv420p") as writer:
        for n in range(num):
            writer.write(painted(n, 64, 48))
        writer.close()
    plan, text = SegmentPlan(str(path), FrameRange(0, num)), "mov_text" if ending == "mp4" else "subrip"
    source = make_film(tmp_path / "sound.mkv", Video(num_frames=2), audio=[Audio(180, codec="aac", rate=8000)])
    with av.open(str(tmp_path / f"text.{ending}"), "w") as made:
        stream = made.add_mux_stream(text, time_base=MILLISECOND)
        for minute in range(3):
            made.mux_one(timed(stream, b"\0\x02hi", 60_000 * minute + 30_000, 2000))
    extras = Extras(
        (Origin("ref", str(source)), Origin("ref", str(tmp_path / f"text.{ending}"))),
        (Pick(0, 1, "audio"), Pick(1, 0, "subtitle")),
    )
    out = tmp_path / f"out.{ending}"
    pts = np.arange(num, dtype=np.int64) * 500
    stitch([plan], pts, MILLISECOND, 500, str(out), extras)
    places: dict[str, list[tuple[float, int]]] = {"video": [], "audio": [], "subtitle": []}
    with av.open(str(out)) as film:
        for packet in film.demux():
            if packet.size > 2 and packet.pos is not None:
                places[packet.stream.type].append((float(packet.dts * packet.time_base), packet.pos))
    assert len(places["subtitle"]) == 3
    audio = np.array(places["audio"])
    for kind in ("video", "subtitle"):
        for seconds, pos in places[kind]:
            nearest = audio[np.abs(audio[:, 0] - seconds).argmin()]
            between = audio[(audio[:, 1] > min(pos, nearest[1])) & (audio[:, 1] < max(pos, nearest[1]))]
            assert not len(between) or np.abs(between[:, 0] - seconds).max() < 1.6


def test_streams_that_lie_apart_in_their_file_are_brought_together(segment: SegmentPlan, tmp_path: Path):
    """A file that interleaves its two sounds by two seconds: in the film they go side by side."""
    with av.open(str(tmp_path / "apart.mkv"), "w", container_options={"max_interleave_delta": "1"}) as made:
        streams = [made.add_mux_stream("pcm_s16le", rate=8000, time_base=MILLISECOND) for _ in range(2)]
        for start in range(0, 4000, 2000):
            for stream in streams:
                for at in range(start, start + 2000, 100):
                    made.mux_one(timed(stream, bytes(1600), at, 100))
    source = tmp_path / "apart.mkv"
    assert max(earlier - later for earlier, later in pairwise(_decode_times(source))) > 1.5
    extras = Extras((Origin("ref", str(source)),), (Pick(0, 0, "audio"), Pick(0, 1, "audio")))
    joined(segment, tmp_path / "out.mkv", extras)
    assert max(earlier - later for earlier, later in pairwise(_decode_times(tmp_path / "out.mkv"))) < 0.2


def _decode_times(path: Path) -> list[float]:
    with av.open(str(path)) as film:
        return [float(p.dts * p.time_base) for p in film.demux(*film.streams.audio) if p.size]


def test_a_stream_that_is_silent_for_long_holds_no_other_back_in_memory(segment: SegmentPlan, tmp_path: Path):
    """Its one event comes at the end: by then the rest is on the disk."""
    repeats, out, sizes = 16, tmp_path / "out.mkv", []
    plan = [SegmentPlan(segment.path, FrameRange(n * NUM, (n + 1) * NUM)) for n in range(repeats)]
    pts = np.arange(NUM * repeats, dtype=np.int64) * 42
    with av.open(str(tmp_path / "text.mkv"), "w") as made:
        made.mux_one(timed(made.add_mux_stream("subrip", time_base=MILLISECOND), b"end", int(pts[-1]) - 100, 90))
    extras = Extras((Origin("ref", str(tmp_path / "text.mkv")),), (Pick(0, 0, "subtitle"),))
    stitch(plan, pts, MILLISECOND, 42, str(out), extras, lambda done: sizes.append(out.stat().st_size))
    assert sizes[2] > 0.75 * sizes[-1]


# --- labels, covers, attachments


@pytest.mark.parametrize("ending", ENDINGS)
def test_titles_languages_flags_and_tags_go_along(segment: SegmentPlan, ref: Path, tmp_path: Path, ending: str):
    out = tmp_path / f"out.{ending}"
    kinds = {"mkv": ("audio", "subtitle", "cover", "attachment"), "mp4": ("cover",), "mov": ()}
    made = joined(segment, out, only(all_of(ref), *kinds[ending]))
    lost = verify(str(out), PTS, MILLISECOND, made.contents).lost
    with av.open(str(out)) as film:
        picture = film.streams.video[0]
        assert (picture.language, picture.metadata.get("title") or picture.metadata.get("name")) == ("dan", "Picture")
        assert {name.lower(): value for name, value in film.metadata.items()}["title"] == TAGS["title"]
        if ending == "mkv":
            labels = [
                (s.language, s.metadata.get("title"), s.disposition) for s in (*film.streams.audio, *film.streams.subtitles)
            ]
            assert labels == [
                ("eng", "Sound eng", Disposition.default),
                ("ger", "Sound ger", Disposition.hearing_impaired),
                ("fre", "Text srt", Disposition.forced),
                ("eng", "Text ass", Disposition(0)),
                ("jpn", None, Disposition(0)),
            ]
            assert {name: (mimetype, data) for name, (mimetype, data) in FONTS.items()} == {
                s.name: (s.mimetype, s.data) for s in film.streams.attachments
            }
        covers = [s for s in film.streams.video if s.disposition & Disposition.attached_pic]
        assert [bytes(p) for cover in covers for p in film.demux(cover) if p.size] == [COVER][: len(kinds[ending])]
    assert lost == (() if ending == "mkv" else ("of the tags are lost: director 'N. N.'",))


@pytest.mark.parametrize(("language", "written"), [("fra", "fra"), ("fre", "fra"), ("deu", "ger"), ("eng", "eng")])
def test_quicktime_has_one_code_for_each_language(segment: SegmentPlan, tmp_path: Path, language: str, written: str):
    source = make_film(tmp_path / "ref.mkv", Video(num_frames=3), audio=[Audio(1, language=language)])
    made = joined(segment, tmp_path / "out.mov", only(all_of(source), "audio"))
    with av.open(str(tmp_path / "out.mov")) as film:
        assert film.streams.audio[0].language == written
    assert verify(str(tmp_path / "out.mov"), PTS, MILLISECOND, made.contents).lost == ()


@pytest.mark.parametrize("shape", [Fraction(1), Fraction(4, 3)])
def test_the_pictures_title_does_not_cost_it_its_shape(tmp_path: Path, ref: Path, shape: Fraction):
    """The shape of FFV1's pixels is written into room that the title keeps."""
    video = VideoFormat(64, 48, RATE, shape, ColourTags(1, 1, 1, 1, 1))
    with SegmentWriter(str(tmp_path / "s.mkv"), video, EncodeSettings("ffv1"), "yuv420p") as writer:
        for n in range(NUM):
            writer.write(painted(n, 64, 48))
        writer.close()
    joined(SegmentPlan(str(tmp_path / "s.mkv"), FrameRange(0, NUM)), tmp_path / "out.mkv", all_of(ref))
    with av.open(str(tmp_path / "out.mkv")) as film:
        picture = film.streams.video[0]
        assert (picture.metadata["title"], picture.sample_aspect_ratio or 1) == ("Picture", shape)


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("timecode", ["01:00:00:00", "01:00:00:99", "no time"])
def test_a_time_code_goes_along_and_one_that_is_none_spoils_nothing(
    segment: SegmentPlan, tmp_path: Path, ending: str, timecode: str
):
    source = make_film(tmp_path / "plain.mkv", Video(num_frames=3))
    with av.open(str(source)) as film, av.open(str(tmp_path / "ref.mkv"), "w") as out:
        copy = out.add_stream_from_template(film.streams.video[0], opaque=True)
        copy.metadata["timecode"] = timecode
        for packet in film.demux(video=0):
            if packet.size:
                packet.stream = copy
                out.mux_one(packet)
    made = joined(segment, tmp_path / f"out.{ending}", all_of(tmp_path / "ref.mkv"))
    with av.open(str(tmp_path / f"out.{ending}")) as film:
        found = {name.lower(): value for name, value in film.streams.video[0].metadata.items()}.get("timecode")
    is_kept = ending == "mkv" or timecode == "01:00:00:00"
    assert found == (timecode if is_kept else None)
    said = (f"the time code '{timecode}', which {ending} cannot count on from in this film",)
    assert made.notes == (() if is_kept else said)


# --- verify


def remuxed(source: Path, target: Path, change: Callable[[Packet[Any], int], bool], attachments: bool = True) -> Path:
    """A copy without the packets of which ``change`` says False."""
    with av.open(str(source)) as film, av.open(str(target), "w") as out:
        copies = {}
        for stream in film.streams:
            if stream.type == "attachment":
                if attachments:
                    out.add_attachment(stream.name, stream.mimetype, stream.data)
            elif not is_cover(stream):
                copies[stream.index] = out.add_stream_from_template(stream, opaque=True)
                copies[stream.index].metadata.update(stream.metadata)
        counts = dict.fromkeys(copies, 0)
        for packet in film.demux(*(film.streams[index] for index in copies)):
            if packet.size and packet.dts is not None:
                counts[packet.stream_index] += 1
                if change(packet, counts[packet.stream_index]):
                    packet.stream = copies[packet.stream_index]
                    out.mux_one(packet)
    return target


def test_a_file_that_lost_something_is_told_line_by_line(segment: SegmentPlan, ref: Path, tmp_path: Path):
    out = tmp_path / "out.mkv"
    expected = joined(segment, out, all_of(ref)).contents
    assert stream_problems(str(out), expected) == []
    lost = remuxed(out, tmp_path / "lost.mkv", lambda packet, n: packet.stream.type != "subtitle" or n > 1, attachments=False)
    lines = stream_problems(str(lost), expected)
    assert any("(fre, subrip) has not the bytes that were copied: 2 packets, 3 were copied" in line for line in lines)
    assert any("attachment one.ttf is not there" in line for line in lines)
    assert any("cover cover.png is not there" in line for line in lines)
    assert any("0 chapters, 3 were planned" in line for line in lines)
    assert any("director 'N. N.'" in line for line in lines)
    assert not any("aac" in line and "bytes" in line for line in lines)
    fewer = replace(expected, streams=expected.streams[:-1], attachments=expected.attachments[1:])
    lines = stream_problems(str(out), fewer)
    assert any("is one that was not to be there" in line for line in lines) and "1 attachments too many" in lines
    assert "cannot be read" in stream_problems(str(tmp_path / "none.mkv"), expected)[0]


def test_one_flipped_byte_of_sound_is_found(segment: SegmentPlan, ref: Path, tmp_path: Path):
    out = tmp_path / "out.mkv"
    expected = joined(segment, out, only(all_of(ref), "audio")).contents
    payload, data = packets(out, "audio")[1][20][0], bytearray(out.read_bytes())
    at = data.find(payload)
    assert at > 0
    data[at + len(payload) // 2] ^= 1
    out.write_bytes(data)
    assert stream_problems(str(out), expected) == ["audio stream (ger, flac) has not the bytes that were copied"]


def test_sound_at_another_time_is_found(segment: SegmentPlan, ref: Path, tmp_path: Path):
    early = joined(segment, tmp_path / "early.mkv", only(all_of(ref), "audio")).contents
    joined(segment, tmp_path / "late.mkv", only(all_of(ref, shift_seconds=Fraction(1, 100)), "audio"))
    assert "begins at" in stream_problems(str(tmp_path / "late.mkv"), early)[0]


def test_what_a_film_holds_is_kept_as_text(segment: SegmentPlan, ref: Path, tmp_path: Path):
    contents = joined(segment, tmp_path / "out.mkv", all_of(ref)).contents
    assert Contents.from_json(contents.to_json()) == contents
    sums = contents.streams[0]
    sent = packets(ref, "audio")[0]
    assert sums.sha256 == hashlib.sha256(b"".join(data for data, _, _ in sent)).hexdigest() and sums.num_packets == len(sent)


@pytest.mark.parametrize("ending", ENDINGS)
def test_equal_inputs_give_equal_bytes(segment: SegmentPlan, ref: Path, mp4: Path, tmp_path: Path, ending: str):
    for name in ("one", "two"):
        joined(segment, tmp_path / f"{name}.{ending}", all_of(ref if ending == "mkv" else mp4))
    assert (tmp_path / f"one.{ending}").read_bytes() == (tmp_path / f"two.{ending}").read_bytes()


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("later", [21, 1200])
def test_a_first_chapter_that_begins_later_moves_no_other(segment: SegmentPlan, tmp_path: Path, ending: str, later: int):
    """FFmpeg's mp4 has no time before the first: one more takes it, or a moment is given away. All have titles there."""
    source = with_extras(Path(segment.path), tmp_path / "ref.mkv", later=later)
    extras = replace(all_of(source), picks=())
    joined(segment, tmp_path / f"out.{ending}", extras)
    found = [(mark.start_seconds, mark.title) for mark in contents_of(str(tmp_path / f"out.{ending}")).chapters]
    starts = [(round(start + later / 1000, 3), title) for start, title in ((0, "Anfang"), (1.5, "Mitte – ü"), (3, ""))]
    if ending != "mkv":
        starts = [(0.0, "Chapter 1"), *starts] if later > 500 else [(0.0, "Anfang"), *starts[1:]]
        starts[-1] = (starts[-1][0], f"Chapter {len(starts)}")
    assert found == starts


@pytest.mark.parametrize("ending", ["mp4", "mov"])
def test_a_last_packet_that_does_not_say_how_long_it_is_is_not_lost(segment: SegmentPlan, tmp_path: Path, ending: str):
    source = tmp_path / "alac.mkv"
    with av.open(str(source), "w") as made:
        stream = made.add_stream("alac", rate=48000, layout="mono", format="s16p")
        for at in range(0, 90_000, 4096):
            frame = av.AudioFrame.from_ndarray(np.arange(4096, dtype=np.int16)[None], format="s16p", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = 48000, at, Fraction(1, 48000)
            made.mux(stream.encode(frame))
        made.mux(stream.encode(None))
    out = tmp_path / f"out.{ending}"
    joined(segment, out, only(all_of(source), "audio"))
    assert [data for data, _, _ in packets(out, "audio")[0]] == [data for data, _, _ in packets(source, "audio")[0]]


def test_an_event_that_does_not_say_how_long_it_is_is_not_lost(segment: SegmentPlan, tmp_path: Path):
    source, out = tmp_path / "ref.mkv", tmp_path / "out.mp4"
    with av.open(str(source), "w") as made:
        stream = made.add_mux_stream("dvd_subtitle", time_base=MILLISECOND)
        for at in (500, 1500):
            made.mux_one(timed(stream, bytes([0, 20, 0, 10]) + bytes(16), at))
    joined(segment, out, only(all_of(source, tags=False), "subtitle"))
    assert [at for _, at, _ in packets(out, "subtitle")[0]] == [Fraction(1, 2), Fraction(3, 2)]


# --- what is damaged, or not as a container wants it


def tone(path: Path, codec: str, frames: int, start: int = 0, bit_rate: int = 0, layout: str = "mono") -> Path:
    """Noise of so many of the codec's own frames, alone in a file; ``start`` in samples."""
    dice = np.random.default_rng(1)
    with av.open(str(path), "w") as out:
        stream = out.add_stream(codec, rate=48000, layout=layout)
        assert isinstance(stream, av.AudioStream)
        if bit_rate:
            stream.codec_context.bit_rate = bit_rate
        stream.codec_context.open()
        size, channels = stream.codec_context.frame_size or 1024, stream.codec_context.layout.nb_channels
        for number in range(frames):
            samples = (0.2 * dice.standard_normal((channels, size))).astype(np.float32)
            frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout=layout)
            frame.sample_rate, frame.pts, frame.time_base = 48000, start + number * size, Fraction(1, 48000)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


def changed(source: Path, target: Path, change: Callable[[bytes, int], bytes]) -> Path:
    """A copy of a file of sound with the ``n``-th packet as ``change(bytes, n)`` has it."""
    with av.open(str(source)) as film, av.open(str(target), "w") as out:
        copy = out.add_stream_from_template(film.streams.audio[0], opaque=True)
        for number, packet in enumerate(p for p in film.demux(audio=0) if p.size):
            other = Packet(change(bytes(packet), number))
            other.pts, other.dts, other.duration, other.time_base = packet.pts, packet.dts, packet.duration, packet.time_base
            other.stream = copy
            out.mux_one(other)
    return target


def sound_of(path: Path) -> Extras:
    return Extras((Origin("ref", str(path)),), (Pick(0, 0, "audio"),))


@pytest.mark.parametrize("ending", ENDINGS)
def test_times_of_sound_that_do_not_rise_are_raised_no_further_than_needed(segment: SegmentPlan, tmp_path: Path, ending: str):
    """One time twice, and one that goes back behind two others: no packet is lost, and none after them comes late for it."""
    with av.open(str(tone(tmp_path / "whole.mkv", "aac", 60))) as film, av.open(str(tmp_path / "ref.mkv"), "w") as out:
        copy = out.add_stream_from_template(film.streams.audio[0], opaque=True)
        for number, packet in enumerate(p for p in film.demux(audio=0) if p.size):
            other = timed(copy, bytes(packet), 1000 + 20 * (number - (number == 10)), 20)
            out.mux_one(other)
    data = bytearray((tmp_path / "ref.mkv").read_bytes())
    sent = packets(tmp_path / "ref.mkv", "audio")[0]
    at = data.find(sent[30][0]) - 3
    data[at : at + 2] = (int.from_bytes(data[at : at + 2], "big") - 50).to_bytes(2, "big")
    (tmp_path / "ref.mkv").write_bytes(data)
    sent = packets(tmp_path / "ref.mkv", "audio")[0]
    assert sum(b[1] < a[1] for a, b in pairwise(sent)) == 1, "the source is as it was meant"
    made = joined(segment, tmp_path / f"out.{ending}", sound_of(tmp_path / "ref.mkv"))
    got = packets(tmp_path / f"out.{ending}", "audio")[0]
    assert [data for data, _, _ in got] == [data for data, _, _ in sent]
    is_off = [number for number, (mine, theirs) in enumerate(zip(got, sent, strict=True)) if mine[1] != theirs[1]]
    tick = Fraction(0) if ending == "mkv" else Fraction(1, 48000)
    assert is_off == ([30] if ending == "mkv" else [10, 30])
    assert got[30][1] == got[29][1] + tick and got[10][1] == got[9][1] + tick
    number, first = (1, "00:00:01.550") if ending == "mkv" else (2, "00:00:01.180")
    what = "packets whose times do not rise moved behind the one before"
    assert made.notes == (f"ref stream #0 (aac): {number} {what}, the first at {first}",)


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_time_that_goes_back_in_finer_ticks_than_the_outputs_fails_no_join(segment: SegmentPlan, tmp_path: Path, ending: str):
    source = make_film(tmp_path / "ref.ts", Video(num_frames=10), audio=[Audio(2, codec="mp2", rate=44100)])
    data, stamps = bytearray(source.read_bytes()), []
    for at in range(0, len(data), 188):
        begins = data[at + 1] & 0x40 and (data[at + 1] & 31) << 8 | data[at + 2] == 0x101
        head = at + 4 + (1 + data[at + 4] if data[at + 3] & 0x20 else 0)
        if begins and data[head : head + 4] == b"\0\0\1\xc0":
            stamps.append(head + 9)
    for number in range(3, 60, 7):
        back = number - 1 - number % 2
        data[stamps[number] : stamps[number] + 5] = data[stamps[back] : stamps[back] + 5]
    source.write_bytes(data)
    made = joined(segment, tmp_path / f"out.{ending}", only(all_of(source, tags=False), "audio"))
    sent, got = packets(source, "audio")[0], packets(tmp_path / f"out.{ending}", "audio")[0]
    assert [data for data, _, _ in got] == [data for data, _, _ in sent]
    times = [at for _, at, _ in got]
    assert all(a < b if ending != "mkv" else a <= b for a, b in pairwise(times))
    (line,) = made.notes
    assert "times do not rise" in line


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_damaged_packet_of_aac_is_left_out_and_told(segment: SegmentPlan, tmp_path: Path, ending: str):
    source = make_film(tmp_path / "ref.ts", Video(num_frames=10), audio=[Audio(2)])
    data = bytearray(source.read_bytes())
    with av.open(str(source)) as film:
        payloads = [(bytes(p), float(p.pts * p.time_base)) for p in film.demux(audio=0) if p.size]
    data[data.find(payloads[20][0][:64]) + 2] |= 0x3C  # no such rate
    source.write_bytes(data)
    made = joined(segment, tmp_path / f"out.{ending}", only(all_of(source, tags=False), "audio"))
    kept = [data for data, _, _ in packets(tmp_path / f"out.{ending}", "audio")[0]]
    sent = [data[7:] for data, _ in payloads]
    assert kept[:19] == sent[:19] and kept[-60:] == sent[-60:] and len(sent) - 4 <= len(kept) < len(sent)
    (line,) = made.notes
    assert line.startswith("ref stream #1 (aac): ") and "1 damaged packets left out, the first at 00:00:0" in line


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("codec", ["eac3", "ac3"])
def test_a_damaged_frame_of_dolby_digital_ends_no_film(segment: SegmentPlan, tmp_path: Path, codec: str, ending: str):
    sent = tone(tmp_path / "whole.mkv", codec, 30)
    source = changed(sent, tmp_path / "ref.mkv", lambda data, n: data if n not in (0, 7, 9) else b"\0\0" + data[2:])
    made = joined(segment, tmp_path / f"out.{ending}", sound_of(source))
    whole = [data for data, _, _ in packets(source, "audio")[0]]
    kept = [data for data, _, _ in packets(tmp_path / f"out.{ending}", "audio")[0]]
    if ending == "mkv":
        assert kept == whole and made.notes == ()
    else:
        assert kept == [data for number, data in enumerate(whole) if number not in (0, 7, 9)]
        assert made.notes == (f"ref stream #0 ({codec}): 3 damaged packets left out, the first at -00:00:00.005",)


@pytest.mark.parametrize("ending", ["mp4", "mov"])
def test_short_frames_of_dolby_digital_plus_are_gathered_to_the_last_whole_one(
    segment: SegmentPlan, tmp_path: Path, ending: str
):
    """The muxer makes one packet of three of these, and loses what is left: so it does not get it."""
    source = tone(tmp_path / "ref.mkv", "eac3", 20, bit_rate=3_024_000, layout="5.1")
    made = joined(segment, tmp_path / f"out.{ending}", sound_of(source))
    sent, got = packets(source, "audio")[0], packets(tmp_path / f"out.{ending}", "audio")[0]
    assert b"".join(data for data, _, _ in got) == b"".join(data for data, _, _ in sent[:18])
    assert all(abs(a - b) <= MILLISECOND for (_, a, _), (_, b, _) in zip(got, sent, strict=False))
    (line,) = made.notes
    assert "#0 (eac3): 2 last packets left out" in line


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("codec", ["aac", "ac3", "eac3", "pcm_s16le"])
def test_sound_that_is_declared_and_never_comes_is_left_out_where_it_has_no_place(
    segment: SegmentPlan, tmp_path: Path, codec: str, ending: str
):
    source = tmp_path / "ref.mkv"
    with av.open(str(source), "w") as out:
        out.add_stream(codec, rate=48000, layout="mono").codec_context.open()
        sound = out.add_mux_stream("mp3", rate=48000, time_base=MILLISECOND)
        with av.open(str(tone(tmp_path / "mp3.mkv", "mp3", 20))) as given:
            for packet in given.demux(audio=0):
                if packet.size:
                    out.mux_one(timed(sound, bytes(packet), packet.pts, 24))
    extras = Extras((Origin("ref", str(source)),), (Pick(0, 0, "audio"), Pick(0, 1, "audio")))
    made = joined(segment, tmp_path / f"out.{ending}", extras)
    assert verify(str(tmp_path / f"out.{ending}"), PTS, MILLISECOND, made.contents).lost == ()
    empty = (f"ref stream #0 ({codec}), of which the film has no packet",)
    assert [s.codec for s in made.contents.streams] == ([codec, "mp3"] if ending == "mkv" else ["mp3"])
    assert made.notes == (() if ending == "mkv" else empty)


def test_a_film_that_cannot_be_read_on_is_named_with_stream_and_time(tmp_path: Path):
    """The join would else blame its own output."""

    class Failing:
        def __init__(self, film: Any) -> None:
            self.streams, self._film = film.streams, film

        def demux(self, *streams: Any) -> Any:
            for number, packet in enumerate(self._film.demux(*streams)):
                if number == 40:
                    raise av.error.InvalidDataError(1094995529, "Invalid data")
                yield packet

    source = make_film(tmp_path / "ref.mkv", Video(num_frames=10), audio=[Audio(2, codec="ac3")])
    with (
        av.open(str(source)) as film,
        pytest.raises(StitchError, match=r"ref.mkv: cannot be read on .*: ref stream #1 \(ac3\) b"),
    ):
        list(readable(Failing(film), Origin("ref", str(source)), {1: "ref stream #1 (ac3)"}))


def test_what_is_met_again_and_again_is_said_once():
    notes = CopyNotes()
    for second in range(3, 9):
        notes.count("ref stream #1", "damaged packets left out", second)
    for _ in range(2):
        notes.say("a line")
    assert notes.lines() == ("a line", "ref stream #1: 6 damaged packets left out, the first at 00:00:03.000")


def edited(path: Path, edits: Sequence[Edit]) -> Path:
    return set_edits(tone(path, "aac", 188), edits)


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize(
    ("edits", "first"), [(((1, None), (2, 1.5)), 1.0), (((2, 1.5),), 0.0), (((1, None), (2, 1024 / 48000)), 1.0)]
)
def test_what_an_edit_list_takes_away_is_not_heard(
    segment: SegmentPlan, tmp_path: Path, edits: Sequence[Edit], first: float, ending: str
):
    """Before the film's start it may lie there for the decoder, and a codec's own priming anywhere."""
    source = edited(tmp_path / "ref.mp4", edits)
    joined(segment, tmp_path / f"out.{ending}", sound_of(source))
    with av.open(str(source)) as film:
        sent = [(bytes(p), p.pts * p.time_base) for p in film.demux(audio=0) if p.size and not p.is_discard]
    got = [row[:2] for row in packets(tmp_path / f"out.{ending}", "audio")[0]]
    lead = got[: -len(sent)]
    assert all(a == b and abs(s - t) <= MILLISECOND for (a, s), (b, t) in zip(got[-len(sent) :], sent, strict=True))
    assert all(first - 0.1 < at < first for _, at in lead)
    assert len(lead) == (4 if not first else 0 if edits[-1][1] == 1.5 else 1)


# --- names


@pytest.mark.parametrize(
    ("handler", "title"), [("SoundHandler", None), ("Core Media Audio", None), ("Commentary", "Commentary")]
)
def test_a_name_that_quicktime_keeps_elsewhere_is_a_title_and_a_programs_is_none(
    segment: SegmentPlan, tmp_path: Path, handler: str, title: str | None
):
    source = tone(tmp_path / "ref.mp4", "aac", 20)
    with av.open(str(source)) as film, av.open(str(tmp_path / "named.mp4"), "w") as out:
        copy = out.add_stream_from_template(film.streams.audio[0], opaque=True)
        copy.metadata["handler_name"] = handler
        for packet in film.demux(audio=0):
            if packet.size:
                packet.stream = copy
                out.mux_one(packet)
    for ending in ("mkv", "mp4"):
        made = joined(segment, tmp_path / f"out.{ending}", sound_of(tmp_path / "named.mp4"))
        assert dict(made.contents.labels[1]).get("title") == title
        assert dict(contents_of(str(tmp_path / f"out.{ending}")).labels[1]).get("title") == title


def test_the_picture_is_not_said_to_have_refs_alpha(segment: SegmentPlan, tmp_path: Path):
    alpha = Video(num_frames=3, codec="libvpx-vp9", pixel_format="yuv420p")
    plain, source = make_film(tmp_path / "plain.mkv", alpha), tmp_path / "ref.mkv"
    with av.open(str(plain)) as film, av.open(str(source), "w") as out:
        copy = out.add_stream_from_template(film.streams.video[0], opaque=True)
        copy.metadata["alpha_mode"] = "1"
        for packet in film.demux(video=0):
            if packet.size:
                packet.stream = copy
                out.mux_one(packet)
    with av.open(str(source)) as film:
        assert {name.lower() for name in film.streams.video[0].metadata} >= {"alpha_mode"}
    joined(segment, tmp_path / "out.mkv", all_of(source))
    with av.open(str(tmp_path / "out.mkv")) as film:
        assert "alpha_mode" not in {name.lower() for name in film.streams.video[0].metadata}


def test_what_else_is_said_of_a_chapter_goes_along(segment: SegmentPlan, tmp_path: Path):
    source = tone(tmp_path / "tone.mkv", "ac3", 20)
    with av.open(str(source)) as film, av.open(str(tmp_path / "ref.mkv"), "w") as out:
        copy = out.add_stream_from_template(film.streams.audio[0], opaque=True)
        chapter = {"id": 1, "start": 0, "end": 500, "time_base": MILLISECOND, "metadata": {"title": "One", "DIRECTOR": "N. N."}}
        out.set_chapters([chapter])
        for packet in film.demux(audio=0):
            if packet.size:
                packet.stream = copy
                out.mux_one(packet)
    extras = Extras((Origin("ref", str(tmp_path / "ref.mkv")),), (), 0)
    for ending in ENDINGS:
        joined(segment, tmp_path / f"out.{ending}", extras)
        with av.open(str(tmp_path / f"out.{ending}")) as film:
            said = [{name.lower(): value for name, value in each["metadata"].items()} for each in film.chapters()]
        assert said == [{"title": "One"} | ({"director": "N. N."} if ending == "mkv" else {})]


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_cover_without_a_picture_is_left_out_and_told(segment: SegmentPlan, tmp_path: Path, ending: str):
    source = tmp_path / "ref.mkv"
    with av.open(str(source), "w") as out:
        out.add_mux_stream("mjpeg", width=16, height=16, time_base=MILLISECOND)
        out.mux_one(timed(out.add_mux_stream("subrip", time_base=MILLISECOND), b"hi", 0, 500))
    made = joined(segment, tmp_path / f"out.{ending}", Extras((Origin("ref", str(source)),), (Pick(0, 0, "cover"),)))
    assert made.contents.attachments == () and made.notes == ("ref stream #0 (mjpeg), a cover without a picture",)


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("number", [0, 1])
def test_a_time_code_that_is_not_the_pictures_is_named(segment: SegmentPlan, tmp_path: Path, number: int, ending: str):
    """Of another picture, which is not copied."""
    source, other = make_film(tmp_path / "plain.mov", Video(num_frames=3, rate=Fraction(24))), tmp_path / "ref.mov"
    with av.open(str(source)) as film, av.open(str(other), "w") as out:
        copies = [out.add_stream_from_template(film.streams.video[0], opaque=True) for _ in range(2)]
        for hour, copy in enumerate(copies, 1):
            copy.metadata["timecode"] = f"0{hour}:00:00:00"
        for packet in film.demux(video=0):
            if packet.size:
                stamps = packet.pts, packet.dts, packet.time_base
                for copy in copies:
                    packet.stream, (packet.pts, packet.dts, packet.time_base) = copy, stamps
                    out.mux_one(packet)
    extras = replace(all_of(other), picture=number, chapters=None)
    made = joined(segment, tmp_path / f"out.{ending}", extras)
    with av.open(str(tmp_path / f"out.{ending}")) as film:
        said = {name.lower(): value for name, value in film.streams.video[0].metadata.items()}
        assert said["timecode"] == f"0{number + 1}:00:00:00"
    index, timecode = (3, "02:00:00:00") if number == 0 else (2, "01:00:00:00")
    assert made.notes == (f"ref stream #{index}, time code '{timecode}': it is not the picture's",)


@pytest.mark.parametrize("ending", ENDINGS)
def test_the_pictures_own_time_code_goes_before_the_films(segment: SegmentPlan, tmp_path: Path, ending: str):
    """Matroska keeps both; mp4 and mov have one."""
    source = make_film(tmp_path / "plain.mkv", Video(num_frames=3))
    with av.open(str(source)) as film, av.open(str(tmp_path / "ref.mkv"), "w") as out:
        copy = out.add_stream_from_template(film.streams.video[0], opaque=True)
        copy.metadata["timecode"], out.metadata["timecode"] = "01:00:00:00", "05:00:00:00"
        for packet in film.demux(video=0):
            if packet.size:
                packet.stream = copy
                out.mux_one(packet)
    made = joined(segment, tmp_path / f"out.{ending}", replace(all_of(tmp_path / "ref.mkv"), picture=0, chapters=None))
    with av.open(str(tmp_path / f"out.{ending}")) as film:
        said = {name.lower(): value for name, value in film.streams.video[0].metadata.items()}
    assert said["timecode"] == "01:00:00:00"
    assert made.notes == (() if ending == "mkv" else ("the film's time code '05:00:00:00'; the picture has its own",))

"""``vsalign verify``: each way in which a finished film may be spoilt is named, and a film that is whole is told as such."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import av
import pytest
from av.packet import Packet

import tasks.join
from orchestrator.cli import run
from tasks.errors import StitchError
from tests.films import film, write_film
from tests.synth import LOSSLESS_H264, Audio, Video, make_film

NUM, CHUNK = 60, 12
SRT = "1\n00:00:00,200 --> 00:00:01,000\nAn owl\n\n2\n00:00:01,200 --> 00:00:02,000\nlooks at a bear\n\n"
FIXED = ("--pool", "local", "--no-sync", "--no-warp", "--chunk-frames", str(CHUNK), "--quiet")

#: The packets to write in place of one; given its stream's kind and its rank among that stream's.
type Change = Callable[[str, int, Packet], Sequence[Packet]]


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clip, a ref with sound and subtitles, and what became of them."""
    folder = tmp_path_factory.mktemp("films")
    video = Video(NUM, 96, 64, options=LOSSLESS_H264)
    make_film(folder / "clip.mkv", video)
    make_film(folder / "plain.mkv", video, audio=[Audio(NUM / 25, "flac", language="eng")])
    (folder / "subs.srt").write_text(SRT)
    join_streams(folder / "ref.mkv", folder / "plain.mkv", folder / "subs.srt")
    for codec in ("ffv1", "libx264"):
        given = ["render", str(folder / "clip.mkv"), str(folder / "ref.mkv"), "-o", str(folder / f"{codec}.mkv")]
        assert run([*given, "--codec", codec, *FIXED]) == 0
    return folder


def join_streams(out: Path, *sources: Path, change: Change = lambda kind, rank, packet: [packet]) -> None:
    """All streams of all sources in one file, each packet through ``change``."""
    opened = [av.open(str(path)) for path in sources]
    with av.open(str(out), "w") as target:
        packets = []
        for source in opened:
            copies = {s.index: target.add_stream_from_template(s, opaque=True) for s in source.streams}
            for index, copy in copies.items():
                copy.metadata.update(source.streams[index].metadata)
                copy.disposition = source.streams[index].disposition
            ranks = dict.fromkeys(copies, 0)
            for packet in source.demux():
                if not packet.size:
                    continue
                kind, rank, index = packet.stream.type, ranks[packet.stream_index], packet.stream_index
                ranks[index] += 1
                for kept in change(kind, rank, packet):
                    packets.append((kept.pts * packet.time_base, kept, copies[index]))
        for _, packet, copy in sorted(packets, key=lambda each: each[0]):
            packet.stream = copy
            target.mux(packet)
    for source in opened:
        source.close()


def with_bytes(packet: Packet, data: bytes) -> Packet:
    made = Packet(data)
    made.pts, made.dts, made.duration, made.time_base = packet.pts, packet.dts, packet.duration, packet.time_base
    made.is_keyframe = packet.is_keyframe
    return made


def payloads(path: Path) -> list[bytes]:
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(video=0) if packet.size]


def told(films: Path, spoilt: Path, capsys: pytest.CaptureFixture[str], job: str = "ffv1.mkv") -> str:
    capsys.readouterr()
    assert run(["verify", str(spoilt), "--job", str(films / f"{job}.vsalign")]) == 1
    said = capsys.readouterr().err
    assert "its bytes are not those that were published" in said
    return said


def spoil(films: Path, tmp_path: Path, change: Change) -> Path:
    join_streams(tmp_path / "out.mkv", films / "ffv1.mkv", change=change)
    return tmp_path / "out.mkv"


def showing(films: Path, numbers: Sequence[int]) -> Change:
    """Frame n of the film has the bytes of frame ``numbers[n]``."""
    found = payloads(films / "ffv1.mkv")
    return lambda kind, rank, packet: [with_bytes(packet, found[numbers[rank]]) if kind == "video" else packet]


@pytest.mark.parametrize("codec", ["ffv1", "libx264"])
def test_a_whole_film_is_as_planned(films: Path, capsys: pytest.CaptureFixture[str], codec: str):
    assert run(["verify", str(films / f"{codec}.mkv")]) == 0
    said = capsys.readouterr()
    for clause in (
        "every byte",
        "60 frames and their times",
        "1 audio, 1 subtitle",
        "colour",
        "all picture packets",
        "4 seams",
    ):
        assert clause in said.out and not said.err


@pytest.mark.parametrize("codec", ["ffv1", "libx264"])
def test_a_film_copied_by_another_program_has_other_bytes_and_is_the_same_film(
    films: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], codec: str
):
    if shutil.which("mkvmerge") is None:
        pytest.skip("mkvmerge is not installed")
    subprocess.run(["mkvmerge", "-q", "-o", str(tmp_path / "out.mkv"), str(films / f"{codec}.mkv")], check=True)
    capsys.readouterr()
    assert run(["verify", str(tmp_path / "out.mkv"), "--job", str(films / f"{codec}.mkv.vsalign")]) == 1
    said = capsys.readouterr()
    assert said.err.count("\n") == 1 and "its bytes are not those" in said.err
    for clause in ("60 frames and their times", "1 audio, 1 subtitle", "colour", "all picture packets", "4 seams"):
        assert clause in said.out


def test_segments_in_another_order_are_named(films: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    order = [*range(12), *range(24, 36), *range(12, 24), *range(36, 60)]
    said = told(films, spoil(films, tmp_path, showing(films, order)), capsys)
    assert "the packets of frames [12, 24) are not those that were rendered; they are those of frames [24, 36)" in said
    assert "frame 12 is not the picture that was rendered; what is shown belongs to frame 24" in said
    assert "frame 35 is not the picture that was rendered; what is shown belongs to frame 23" in said


def test_a_frame_that_comes_twice_is_named(films: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    twice = [*range(12), 11, *range(13, 60)]
    said = told(films, spoil(films, tmp_path, showing(films, twice)), capsys)
    assert "the packets of frames [12, 24) are not those that were rendered" in said
    assert "frame 12 is not the picture that was rendered; what is shown belongs to frame 11" in said


def test_a_frame_that_is_missing_is_named(films: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    lost = spoil(films, tmp_path, lambda kind, rank, packet: [] if (kind, rank) == ("video", 24) else [packet])
    said = told(films, lost, capsys)
    assert "59 frames, 60 were planned" in said and "frames [24, 36) are 11 packets, 12 were planned" in said
    assert "frame 25 follows frame 23" in said


def test_a_picture_that_decodes_to_something_else_is_named(films: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """The packets of another film with the same headers."""
    write_film(tmp_path / "other.mkv", film(NUM), codec="ffv1", crf=None)
    other = payloads(tmp_path / "other.mkv")
    said = told(
        films,
        spoil(films, tmp_path, lambda kind, rank, p: [with_bytes(p, other[0]) if (kind, rank) == ("video", 59) else p]),
        capsys,
    )
    assert "frame 59 is not the picture that was rendered" in said and "frame 48 is not" not in said


def later(packet: Packet, seconds: float) -> Packet:
    ticks = round(seconds / packet.time_base)
    packet.pts, packet.dts = packet.pts + ticks, packet.dts + ticks
    return packet


def test_sound_two_milliseconds_late_is_named(films: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    late = spoil(films, tmp_path, lambda kind, rank, packet: [later(packet, 0.002) if kind == "audio" else packet])
    assert "audio stream (eng, flac) begins at 0.002 s, planned was 0.0 s" in told(films, late, capsys)


@pytest.mark.parametrize(("kind", "named"), [("subtitle", "subtitle stream (subrip)"), ("audio", "audio stream (eng, flac)")])
def test_a_flipped_byte_of_sound_or_subtitles_is_named(
    films: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str, named: str
):
    def flip(which: str, rank: int, packet: Packet) -> list[Packet]:
        data = bytearray(packet)
        data[-1] ^= (which, rank) == (kind, 1)
        return [with_bytes(packet, bytes(data))]

    assert f"{named} has not the bytes that were copied" in told(films, spoil(films, tmp_path, flip), capsys)


def test_another_picture_format_is_named(films: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path):
    write_film(tmp_path / "out.mkv", film(NUM))
    said = told(films, tmp_path / "out.mkv", capsys)
    assert "planned" in said and "audio stream (eng, flac) is missing" in said


def test_it_works_after_clean_and_for_a_film_that_was_moved_and_as_json(
    films: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    out = tmp_path / "out.mkv"
    assert run(["render", str(films / "clip.mkv"), str(films / "ref.mkv"), "-o", str(out), "--clean", *FIXED]) == 0
    assert not list((tmp_path / "out.mkv.vsalign" / "seg").iterdir())
    moved = out.rename(tmp_path / "moved.mkv")
    capsys.readouterr()
    assert run(["verify", str(moved), "--job", str(tmp_path / "out.mkv.vsalign"), "--json", "--full"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["problems"] == [] and said["left_out"] == [] and "pictures at start, end and 4 seams" in said["as_planned"]
    for note in (tmp_path / "out.mkv.vsalign" / "seams").iterdir():
        note.write_bytes(b"{")
    assert run(["verify", str(moved), "--job", str(tmp_path / "out.mkv.vsalign")]) == 0
    assert "not checked: pictures: an earlier version made this film" in capsys.readouterr().out


def test_the_old_film_is_known_until_another_one_is_published(
    films: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    """Stopped between the notes of a new film: the old one is still there, and is checked whole."""

    def stopped(*_: object) -> None:
        raise StitchError("stopped")

    out, job = tmp_path / "out.mkv", tmp_path / "out.mkv.vsalign"
    given = ["render", str(films / "clip.mkv"), str(films / "ref.mkv"), "-o", str(out), *FIXED]
    assert run(given) == 0
    with monkeypatch.context() as patch:
        patch.setattr(tasks.join, "write_final", stopped)
        assert run([*given, "--overwrite", "--crf", "30"]) == 1
    capsys.readouterr()
    assert len(list((job / "seams").iterdir())) == 2
    assert run(["verify", str(out)]) == 0 and "not checked" not in capsys.readouterr().out
    assert run(["resume", str(job), "--quiet"]) == 0 and len(list((job / "seams").iterdir())) == 1
    assert run(["verify", str(out)]) == 0 and "not checked" not in capsys.readouterr().out


def test_a_film_that_is_no_film_is_told(films: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "out.mkv").write_bytes(b"nothing")
    assert "cannot be read" in told(films, tmp_path / "out.mkv", capsys)

"""Damaged frames: found, told, and shown as others alike from wherever reading begins."""

from __future__ import annotations

import os
import pickle
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import av
import pytest
from av.packet import Packet

from tasks.damage import Replaced, damage_facts, damaged_frames, may_be_used, over_damage, shown_as_later
from tasks.decode import FrameReader
from tasks.decoder import ABSENT, Decoder
from tasks.errors import DamagedFrame, StorageError
from tasks.messages import AS_IT_IS, Probe, ReadSettings, Source
from tasks.openfilm import open_stream
from tasks.pictures import picture_of
from tasks.probe import probe, written_when
from tasks.seekplan import FILE_START, SeekPlan
from tests.synth import (
    ALT_REF_VPX,
    OPEN_GOP_H264,
    OPEN_GOP_HEVC,
    Video,
    make_film,
    picture_hash,
    remux,
    shown_number,
)
from vsalign.frames import FrameRange

REPEAT = ReadSettings(on_corrupt="repeat")
NUM = 48
MPEG2 = {"g": "12", "bf": "2"}
REFRESH = {"preset": "veryfast", "x264-params": "intra-refresh=1:keyint=12:bframes=0:scenecut=0:threads=1:ref=2"}
FFV1 = {"g": "1", "level": "3", "slicecrc": "1", "slices": "4", "coder": "1"}
FILMS = {
    "h264.mkv": Video(options=OPEN_GOP_H264),
    "refresh.mkv": Video(options=REFRESH),
    "hevc.mkv": Video(codec="libx265", options=OPEN_GOP_HEVC),
    "mpeg2.ts": Video(codec="mpeg2video", options=MPEG2),
    "mpeg4.mkv": Video(codec="mpeg4", options=MPEG2),
    "vp9.webm": Video(codec="libvpx-vp9", options=ALT_REF_VPX),
    "av1.mkv": Video(codec="libsvtav1", options={"preset": "12", "svtav1-params": "keyint=16:lp=1"}),
    "ffv1.mkv": Video(codec="ffv1", options=FFV1),
    "prores.mov": Video(codec="prores_ks", pixel_format="yuv422p10le"),
}


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("films")
    return {name: make_film(folder / name, video) for name, video in FILMS.items()}


def spoilt(source: Path, target: Path, ranks: Sequence[int], spoil: Callable[[bytes], bytes]) -> Path:
    """A copy whose packets of these ranks hold other bytes."""
    data = bytearray(source.read_bytes())
    with av.open(str(source)) as container:
        packets = [bytes(packet) for packet in container.demux(video=0) if packet.size]
    if all(data.count(packets[rank]) == 1 for rank in ranks):
        for rank in ranks:
            at = data.index(packets[rank])
            data[at : at + len(packets[rank])] = spoil(packets[rank])
        target.write_bytes(data)
        return target

    def change(rank: int, packet: Packet[Any]) -> list[Packet[Any]]:
        if rank not in ranks:
            return [packet]
        other = Packet(spoil(bytes(packet)))
        other.pts, other.dts, other.time_base, other.duration = packet.pts, packet.dts, packet.time_base, packet.duration
        other.is_keyframe = packet.is_keyframe
        return [other]

    return remux(source, target, change)


def noise(data: bytes) -> bytes:
    """Other bytes from the middle on; none is 0, so that no start code appears."""
    dice, half = random.Random(len(data)), len(data) // 2
    return data[:half] + bytes(dice.randrange(1, 256) for _ in range(len(data) - half))


def ones(data: bytes) -> bytes:
    """All but the first bytes set."""
    return data[:8] + b"\xff" * (len(data) - 8)


def headless(data: bytes) -> bytes:
    """What a picture begins with is gone."""
    return data[:4] + data[4:7] + b"\x11\x22\x33" + data[10:]


@dataclass
class Linear:
    """What decoding a file in one go gives, by frame number."""

    hashes: dict[int, str]
    flagged: set[int]


def linear(film: Path, found: Probe) -> Linear:
    number_of = {int(pts): n for n, pts in enumerate(found.index.pts)}
    result = Linear({}, set())
    reformatter = av.video.reformatter.VideoReformatter()
    with av.open(str(film)) as container:
        stream = container.streams.video[0]
        stream.thread_count = 1
        for packet in container.demux(stream):
            try:
                frames = packet.decode()
            except av.FFmpegError:
                continue
            for frame in frames:
                if frame.pts is not None and (number := number_of.get(frame.pts)) is not None:
                    result.hashes[number] = picture_hash(picture_of(frame, found.info.colour, reformatter))
                    result.flagged |= {number} if frame.is_corrupt else set()
    return result


def read(found: Probe, wanted: Sequence[int], threads: int = 1) -> tuple[dict[int, str], dict[int, int]]:
    with FrameReader(found, threads, read=REPEAT) as reader:
        hashes = {n: picture_hash(picture) for n, picture in reader.pictures(wanted)}
        return hashes, {n: each.shown for n, each in reader.replaced.items()}


# --- which frames, and what is shown


#: Entropy coding takes most bytes for pictures: these go unnoticed by every decoder, or upset the container.
UNNOTICED = {("h264.mkv", noise), ("refresh.mkv", noise), ("hevc.mkv", noise), ("hevc.mkv", ones), ("vp9.webm", noise)}
#: Of these decoders notice only some.
HALF_NOTICED = {("h264.mkv", headless), ("refresh.mkv", headless)}
UPSETTING = {("mpeg2.ts", ones), ("av1.mkv", noise)}
SPOILT = [(n, how) for n in FILMS for how in (noise, ones, headless) if (n, how) not in UNNOTICED | UPSETTING]


@pytest.mark.parametrize(("name", "spoil"), SPOILT)
def test_damage_is_the_same_from_wherever_reading_begins(
    films: dict[str, Path], tmp_path: Path, name: str, spoil: Callable[[bytes], bytes]
) -> None:
    dice = random.Random(name)
    film = spoilt(films[name], tmp_path / name, [dice.randrange(3, 20), 24, dice.randrange(26, NUM - 2)], spoil)
    found = Probe(probe(Source(str(film)), allow_truncated=True).info, probe(Source(str(films[name]))).index)
    hashes, shown = read(found, range(NUM))
    for n, other in shown.items():
        assert other == max(set(range(n)) - set(shown)), "the last whole frame before"
        assert hashes[n] == hashes[other]
    whole = linear(films[name], found).hashes
    wrong = [n for n in range(NUM) if n not in shown and hashes[n] != whole[n]]
    assert not wrong or (name, spoil) in HALF_NOTICED, "nothing wrong is passed off as whole"
    by_ffmpeg = linear(film, found)
    assert set(shown) >= by_ffmpeg.flagged | set(range(NUM)) - set(by_ffmpeg.hashes)
    starts = sorted({dice.randrange(NUM) for _ in range(6)} | set(list(shown)[:3]) | {max(shown) + 1} - {NUM})
    for start in starts:
        wanted = range(start, min(NUM, start + 8))
        some, replaced = read(found, wanted)
        assert some == {n: hashes[n] for n in wanted}
        assert replaced == {n: shown[n] for n in wanted if n in shown}


@pytest.mark.parametrize(
    ("name", "spoil"),
    [("h264.mkv", ones), ("mpeg2.ts", noise), ("ffv1.mkv", noise), ("prores.mov", headless), ("vp9.webm", ones)],
)
def test_damage_does_not_depend_on_threads(
    films: dict[str, Path], tmp_path: Path, name: str, spoil: Callable[[bytes], bytes]
) -> None:
    found = Probe(
        probe(Source(str(spoilt(films[name], tmp_path / name, [7, 24, 30], spoil)))).info, probe(Source(str(films[name]))).index
    )
    assert read(found, range(NUM), threads=3) == read(found, range(NUM))


def test_whole_frames_are_those_of_the_undamaged_film(films: dict[str, Path], tmp_path: Path) -> None:
    """Each frame stands alone here: all but the spoilt ones are as they were."""
    for name in ("ffv1.mkv", "prores.mov"):
        found = probe(Source(str(spoilt(films[name], tmp_path / name, [20, 21, 40], noise))))
        with FrameReader(found, read=REPEAT) as reader:
            numbers = [shown_number(picture) for _, picture in reader.pictures(range(NUM))]
        want = list(range(NUM))
        want[20] = want[21] = 19
        want[40] = 39
        assert numbers == want


def test_at_the_films_start_the_first_whole_frame_is_shown(films: dict[str, Path], tmp_path: Path) -> None:
    whole = probe(Source(str(films["prores.mov"])))
    film = spoilt(films["prores.mov"], tmp_path / "film.mov", [0, 1, 2], lambda data: data[:8] + bytes(len(data) - 8))
    found = Probe(probe(Source(str(film)), allow_truncated=True).info, whole.index)
    with FrameReader(found, read=REPEAT) as reader:
        assert [shown_number(picture) for _, picture in reader.pictures([1, 0, 5, 2])] == [3, 3, 5, 3]
        assert {n: each.shown for n, each in reader.replaced.items()} == {0: 3, 1: 3, 2: 3}


def test_thumbs_of_damaged_frames_are_those_of_the_shown_ones(films: dict[str, Path], tmp_path: Path) -> None:
    found = probe(Source(str(spoilt(films["mpeg2.ts"], tmp_path / "film.ts", [24], noise))))
    with FrameReader(found, only_thumbs=True, read=REPEAT) as reader:
        thumbs = dict(reader.thumbs(FrameRange(0, NUM), 32, 24))
        assert reader.replaced
        for n, each in reader.replaced.items():
            assert (thumbs[n] == thumbs[each.shown]).all()


def test_a_frame_that_silently_does_not_come_is_damaged_and_all_behind_it_in_doubt(tmp_path: Path) -> None:
    """An empty picture: nothing is said of it, and nothing comes."""
    whole = make_film(tmp_path / "whole.mkv", Video(codec="mpeg4", options={"g": "12"}))
    empty = b"\x00\x00\x01\xb6\x50\x00"
    film = spoilt(whole, tmp_path / "film.mkv", [20], lambda data: empty + bytes(len(data) - len(empty)))
    found = probe(Source(str(film)))
    assert read(found, range(NUM))[1] == {20: 19, 21: 19, 22: 19, 23: 19}
    decoder = Decoder(found, SeekPlan.of(found.index, "mpeg4"), 1, {})
    assert decoder.begin(FILE_START) and decoder.run_to(30) is not None
    assert decoder.damage == {20: ABSENT} and not decoder.hopeless and decoder.damaged_from == -1
    decoder.close()


def test_a_packet_that_fails_leaves_what_was_decoded_before_it_beyond_doubt(films: dict[str, Path], tmp_path: Path) -> None:
    found = probe(Source(str(spoilt(films["prores.mov"], tmp_path / "film.mov", [20], headless))))
    decoder = Decoder(found, SeekPlan.of(found.index, "prores"), 1, {})
    assert decoder.begin(0) and decoder.run_to(30) is not None
    assert list(decoder.damage) == [20] and decoder.hopeless == {20} and decoder.damaged_from == 20
    decoder.close()


def test_a_slice_that_is_left_out_of_a_picture_is_noticed(tmp_path: Path) -> None:
    """The picture comes, with a hole that only FFmpeg's log tells of."""
    options = {"preset": "ultrafast", "x265-params": "slices=4:keyint=12:log-level=error:pools=1:ctu=16:bframes=0"}
    whole = make_film(tmp_path / "whole.mkv", Video(codec="libx265", width=64, height=256, options=options))

    def without_a_header(data: bytes) -> bytes:
        second = 4 + int.from_bytes(data[:4], "big")
        return data[: second + 6] + b"\x00\x00\x00\x00" + data[second + 10 :]

    found = probe(Source(str(spoilt(whole, tmp_path / "film.mkv", [20], without_a_header))))
    assert read(found, range(NUM))[1] == {20: 19, 21: 19, 22: 19, 23: 19}


# --- what is said


def test_without_leave_to_repeat_the_frame_its_time_and_the_way_on_are_told(films: dict[str, Path], tmp_path: Path) -> None:
    found = probe(Source(str(spoilt(films["ffv1.mkv"], tmp_path / "film.mkv", [30], noise))))
    with FrameReader(found) as reader, pytest.raises(DamagedFrame) as caught:
        list(reader.pictures(range(NUM)))
    error = caught.value
    assert (error.frame, error.policy) == (30, "stop")
    assert str(error).startswith(f"{tmp_path}/film.mkv: frame 30 at 00:00:01.200 is damaged: ")
    assert "--on-corrupt repeat" in str(error) and "--on-corrupt skip-chunk" in str(error) and "\n" not in str(error)
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
    with FrameReader(found, read=ReadSettings(on_corrupt="skip-chunk")) as reader, pytest.raises(DamagedFrame) as caught:
        next(reader.pictures([30]))
    assert caught.value.policy == "skip-chunk" and "skip-chunk" not in str(caught.value)


def test_a_packet_that_the_container_calls_damaged_is_damage_in_the_middle(films: dict[str, Path], tmp_path: Path) -> None:
    """A hole in a transport stream, as bad reception leaves it."""
    data = films["mpeg2.ts"].read_bytes()
    packets = [data[at : at + 188] for at in range(0, len(data), 188)]
    video = [k for k, packet in enumerate(packets) if packet[1] & 0x1F == 1 and packet[2] == 0 and not packet[1] & 0x40]
    middle = video[len(video) // 2]
    (tmp_path / "film.ts").write_bytes(b"".join(packet for k, packet in enumerate(packets) if k != middle))
    found = probe(Source(f"{tmp_path}/film.ts"))
    assert len(found.index) == NUM and not found.info.truncated and "1 damaged packet" in found.info.damage
    _, shown = read(found, range(NUM))
    assert shown == {2: 1, **dict.fromkeys(range(4, 12), 3)}, "a B picture, and the P picture that all to the next I need"
    with FrameReader(found) as reader, pytest.raises(DamagedFrame, match="the container flags"):
        list(reader.pictures(shown))


def test_a_disk_that_fails_is_no_damage(films: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    found, true_open = probe(Source(str(films["ffv1.mkv"]))), open_stream

    class Failing:
        """A container that cannot be read on at its tenth packet."""

        def __init__(self, container: Any, errno: int) -> None:
            self._container, self._errno = container, errno

        def demux(self, stream: Any) -> Any:
            for k, packet in enumerate(self._container.demux(stream)):
                if k == 10:
                    av.error.err_check(-self._errno)
                yield packet

        def __getattr__(self, name: str) -> object:
            return getattr(self._container, name)

    for errno, kind in ((5, StorageError), (12, MemoryError)):
        monkeypatch.setattr(
            "tasks.decoder.open_stream",
            lambda *given, errno=errno: (Failing((both := true_open(*given))[0], errno), both[1]),
        )
        with FrameReader(found, read=REPEAT) as reader, pytest.raises(kind):
            list(reader.pictures(range(NUM)))


# --- what records say


def test_facts_name_every_frame_and_the_first_times(films: dict[str, Path]) -> None:
    index = probe(Source(str(films["ffv1.mkv"]))).index
    frames = [0, 3, 4, 5, *range(10, 40)]
    facts = damage_facts("clip", {n: Replaced(max(1, n - 1), "") for n in reversed(frames)}, index)
    assert facts["replaced_clip"] == 34 and facts["replaced_clip_frames"] == "0 3-5 10-39"
    times = str(facts["replaced_clip_times"]).split()
    assert len(times) == 20 and times[:2] == ["00:00:00.000", "00:00:00.120"]
    assert damaged_frames(facts, "clip") == set(frames) and damaged_frames(facts, "ref") == set()
    assert shown_as_later(facts, "clip") == {0} and shown_as_later({}, "clip") == set()
    assert damage_facts("clip", {}, index) == {}


def test_results_with_replaced_frames_serve_only_who_wants_them() -> None:
    facts: dict[str, float | int | str] = {"replaced_ref": 1, "replaced_ref_frames": "7"}
    skip = ReadSettings(on_corrupt="skip-chunk")
    assert may_be_used(facts, REPEAT) and not may_be_used(facts, AS_IT_IS) and not may_be_used(facts, skip)
    assert may_be_used(facts, over_damage(skip)) and not may_be_used(facts, over_damage(AS_IT_IS))
    assert may_be_used({"confidence": 0.5}, AS_IT_IS)


def test_what_was_repeated_is_made_again_when_the_film_was_written_again(films: dict[str, Path]) -> None:
    index = probe(Source(str(films["ffv1.mkv"]))).index
    facts = damage_facts("clip", {7: Replaced(6, "")}, index, "monday")
    assert may_be_used(facts, replace(REPEAT, written="monday")) and not may_be_used(facts, replace(REPEAT, written="tuesday"))
    assert may_be_used(facts, REPEAT), "not known when"
    unhurt = damage_facts("clip", {}, index, "monday")
    assert may_be_used(unhurt, replace(REPEAT, written="tuesday")), "no frame of it was damaged"


def test_a_film_that_is_written_again_is_told_by_its_time(tmp_path: Path) -> None:
    one, other = tmp_path / "a.mkv", tmp_path / "b.mkv"
    for path in (one, other):
        path.write_bytes(b"x")
        os.utime(path, ns=(10**18, 10**18))
    before = written_when([str(one), f"{other}#v:1"])
    assert written_when([str(one), f"{other}#v:1"]) == before == written_when([str(one), "s3://films/c.mkv", str(other)])
    os.utime(other, ns=(10**18, 10**18 + 1))
    assert written_when([str(one), f"{other}#v:1"]) != before
    other.unlink()
    assert written_when([str(one), str(other)]) not in ("", before)

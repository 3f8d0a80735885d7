"""When frames are shown: kept to the tick where the file says it, made where it provably follows, refused in doubt."""

from __future__ import annotations

import random
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.decode import FrameReader
from tasks.frametimes import filled
from tasks.messages import Probe, Source
from tasks.packets import NO_PTS, PacketTable, frame_index, packet_table
from tasks.probe import probe
from tasks.stitch import SegmentPlan, stitch
from tasks.timing import rounded_pts
from tests.editlist import Edit, set_edits
from tests.paff import field_film
from tests.synth import (
    OPEN_GOP_H264,
    OPEN_GOP_HEVC,
    Video,
    forget_timestamps,
    linear_hashes,
    make_film,
    remux,
    shown_number,
)
from vsalign.errors import InputError
from vsalign.frames import FrameRange

MPEG2 = {"g": "12", "bf": "2"}
FILM_RATE = Fraction(24000, 1001)
#: Of six frames the one before the last is decoded last.
B_AT_THE_END = {"x264-params": "bframes=2:b-adapt=0:keyint=60:scenecut=0:threads=1"}


def probed(path: Path) -> Probe:
    return probe(Source(str(path)))


def assert_numbers(found: Probe, expected: Sequence[int]) -> None:
    """Read in one go and from any start, the frames show the numbers expected."""
    with FrameReader(found) as reader:
        assert [shown_number(picture) for _, picture in reader.pictures(found.index.whole)] == list(expected)
    dice = random.Random(5)
    with FrameReader(found) as reader:
        wanted = [dice.randrange(len(expected)) for _ in range(8)]
        assert [shown_number(p) for _, p in reader.pictures(wanted)] == [expected[n] for n in wanted]


# --- files without timestamps, or with wrong ones


@pytest.mark.parametrize(
    ("name", "video", "step"),
    [
        ("film.h264", Video(num_frames=30, options=OPEN_GOP_H264), 48000),
        ("film.hevc", Video(30, 128, 96, "libx265", options=OPEN_GOP_HEVC, rate=FILM_RATE), 50050),
    ],
)
def test_frames_of_a_bare_stream_are_counted_in_the_order_they_are_shown(
    tmp_path: Path, name: str, video: Video, step: int
) -> None:
    found = probed(make_film(tmp_path / name, video))
    assert list(found.index.pts) == [step * n for n in range(30)], "exact in the time base, at the stream's own rate"
    assert found.index.duration[-1] == step
    assert found.info.average_rate == video.rate
    assert "frames are counted" in found.info.made_times
    assert_numbers(found, range(30))


@pytest.mark.parametrize("codec", ["libx264", "mpeg4", "mpeg2video"])
def test_an_avi_with_b_frames_is_timed_in_the_order_its_frames_are_shown(tmp_path: Path, codec: str) -> None:
    found = probed(
        make_film(
            tmp_path / "film.avi", Video(num_frames=30, codec=codec, options=OPEN_GOP_H264 if codec == "libx264" else MPEG2)
        )
    )
    assert set(np.diff(found.index.pts)) == {1} and found.index.time_base == Fraction(1, 25)
    assert bool(found.info.made_times) == (codec == "libx264"), "what is known from the file is not made"
    assert_numbers(found, range(30))


def test_a_bare_stream_with_damage_says_so(tmp_path: Path) -> None:
    film = make_film(tmp_path / "film.h264", Video(num_frames=30, options={"g": "10", "bf": "0"}))
    assert probed(film).info.damage == ""
    with av.open(str(film)) as container:
        payloads = [bytes(packet) for packet in container.demux(video=0) if packet.size]
    hurt = payloads[15][:40] + b"\x55" * (len(payloads[15]) - 40)
    film.write_bytes(film.read_bytes().replace(payloads[15], hurt))
    assert "1 frames had to be guessed in part" in probed(film).info.damage


def bare_table(pts: Sequence[int | None]) -> PacketTable:
    n = len(pts)
    return packet_table(pts, [1] * n, [True] * n, [100] * n, [True] * n)


@given(
    step=st.sampled_from([1, 2, 40, 3600, 3753.75, 1501.5]),
    first=st.integers(-(10**6), 10**9),
    known=st.sets(st.integers(0, 59), min_size=2),
    order=st.permutations(range(12)),
)
def test_missing_times_at_an_even_rate_come_back_within_rounding(
    step: float, first: int, known: set[int], order: list[int]
) -> None:
    true = [first + round(step * n) for n in range(60)]
    ranks = [12 * (n // 12) + order[n % 12] for n in range(60)]
    given_pts: list[int | None] = [None] * 60
    for n in known:
        given_pts[ranks[n]] = true[n]
    table = filled(bare_table(given_pts), ranks)
    assert (table is None) == (2 * max(min(known), 59 - max(known)) > max(known) - min(known)), "too little is known"
    if table is not None:
        made = [int(table.pts[rank]) for rank in ranks]
        assert [made[n] for n in known] == [true[n] for n in known], "known times stay"
        assert max(abs(a - b) for a, b in zip(made, true, strict=True)) <= 2


def test_missing_times_of_an_uneven_film_are_not_guessed() -> None:
    pts: list[int | None] = [0, 40, 120, 160, None, 360, 400, None, 480]
    assert filled(bare_table(pts), range(9)) is None
    assert filled(bare_table([None, 40, None]), range(3)) is None
    even = filled(bare_table([None, 40, None, 120, 160, None]), range(6))
    assert even is not None and list(even.pts) == [0, 40, 80, 120, 160, 200]


@pytest.mark.parametrize("options", [{"g": "10", "bf": "0"}, OPEN_GOP_H264], ids=["no-b-frames", "b-pyramid"])
def test_missing_times_are_filled_between_those_that_are_there(tmp_path: Path, options: dict[str, str]) -> None:
    whole = make_film(tmp_path / "whole.ts", Video(num_frames=30, options=options))
    film = tmp_path / "film.ts"
    film.write_bytes(whole.read_bytes())
    found = probed(forget_timestamps(film))
    assert list(found.index.pts) == list(probed(whole).index.pts)
    assert "20 frames without timestamp" in found.info.made_times
    assert_numbers(found, range(30))


def test_missing_times_of_an_uneven_film_are_refused(tmp_path: Path) -> None:
    pts = [n + (n > 11) + (n > 20) * 2 for n in range(30)]
    film = forget_timestamps(make_film(tmp_path / "film.ts", Video(num_frames=30, pts=pts, options={"g": "10", "bf": "0"})))
    with pytest.raises(InputError, match="frame 1 has no timestamp, and those around it leave it open"):
        probed(film)


# --- fields


FIELDS_LATER = range(25)


@pytest.mark.parametrize(
    ("name", "whole"),
    [
        *((name, whole) for name in ("film.mkv", "film.ts", "film.mp4", "film.h264") for whole in ((), (0, 1, 7, 20, 21))),
        ("film.ts", FIELDS_LATER),
        ("film.h264", FIELDS_LATER),
    ],
)
def test_fields_stored_one_by_one_are_frames_of_two(tmp_path: Path, name: str, whole: Sequence[int]) -> None:
    found = probed(field_film(tmp_path / name, 30, whole=whole))
    seconds = found.index.seconds()
    assert np.allclose(np.diff(seconds), 0.04) and len(seconds) == 30
    assert found.index.duration[-1] * found.index.time_base == Fraction(1, 25), "both fields of the last frame"
    assert found.info.average_rate == 25
    assert_numbers(found, range(30))


def test_frames_that_are_lost_are_not_taken_for_fields(tmp_path: Path) -> None:
    film = make_film(tmp_path / "film.mkv", Video(num_frames=30, options={"g": "30", "bf": "0"}))
    empty = remux(film, tmp_path / "lost.mkv", lambda rank, packet: [packet if rank % 2 == 0 else _garbage(packet)])
    with pytest.raises(InputError, match="show no frame"):
        probed(empty)


def _garbage(packet: av.Packet[Any]) -> av.Packet[Any]:
    made = av.Packet(b"\0\0\0\1\x6c" + b"\x55" * 20)
    made.pts, made.dts, made.time_base = packet.pts, packet.dts, packet.time_base
    return made


# --- clocks that jump, wrap, begin anywhere


def joined(path: Path, start: int, **changes: object) -> Path:
    """Two recordings of 60 frames in one transport stream, the second beginning at ``start`` (in frames)."""
    parts = [
        make_film(path.with_name(f"{n}.ts"), Video(num_frames=60, first_frame=60 * n, start=start * n, options=OPEN_GOP_H264))
        for n in range(2)
    ]
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    return path


@pytest.mark.parametrize(
    ("start", "said"),
    [
        (30, "timestamps jump back at frame 60, from 00:00:02.360 to 00:00:01.120"),
        (52, "timestamps jump back at frame 60, from 00:00:02.360 to 00:00:02.000"),
        (25 * 4000, "timestamps jump ahead at frame 60, from 00:00:02.440 to 01:06:40.000"),
    ],
)
def test_a_clock_that_was_set_anew_is_refused_with_place_and_way_out(tmp_path: Path, start: int, said: str) -> None:
    with pytest.raises(InputError) as caught:
        probed(joined(tmp_path / "film.ts", start))
    assert said in str(caught.value) and "ffmpeg -fflags +genpts" in str(caught.value)


def test_a_clock_set_back_far_is_refused_though_it_looks_like_one_run_over(tmp_path: Path) -> None:
    first, second = (make_film(tmp_path / f"{n}.ts", Video(num_frames=60, start=start)) for n, start in ((1, 2000), (2, 0)))
    film = tmp_path / "film.ts"
    film.write_bytes(first.read_bytes() + second.read_bytes())
    with pytest.raises(InputError, match="timestamps jump ahead at frame 60"):
        probed(film)


def test_a_gap_of_seconds_is_kept_and_told(tmp_path: Path) -> None:
    found = probed(joined(tmp_path / "film.ts", 250))
    assert found.index.pts[60] - found.index.pts[59] == 189 * 3600
    assert "the first behind frame 59" in found.info.damage


@pytest.mark.parametrize("name", ["film.ts", "film.vob"])
def test_a_clock_of_33_bits_may_run_over(tmp_path: Path, name: str) -> None:
    codec, options = ("mpeg2video", MPEG2) if name.endswith("vob") else ("libx264", OPEN_GOP_H264)
    found = probed(
        make_film(tmp_path / name, Video(num_frames=60, codec=codec, options=options, start=(2**33 - 90000) // 3600))
    )
    assert set(np.diff(found.index.pts)) == {3600}
    assert_numbers(found, range(60))


@pytest.mark.parametrize(
    ("edits", "numbers", "first"),
    [
        ([(1.0, None), (2.4, 0.08)], range(60), 1.0),
        ([(1.0, 0.08 + 0.4)], range(10, 35), 0.0),
        ([(0.8, 0.08), (0.8, 0.08)], [*range(20), *range(20)], 0.0),
    ],
    ids=["begins-later", "a-part", "twice"],
)
def test_an_edit_list_is_followed(tmp_path: Path, edits: list[Edit], numbers: Sequence[int], first: float) -> None:
    film = set_edits(make_film(tmp_path / "film.mp4", Video(num_frames=60, options={"g": "10", "bf": "2"})), edits)
    found = probed(film)
    assert [pts for pts, _ in linear_hashes(film)] == list(found.index.pts)
    assert found.index.seconds()[0] == first
    assert_numbers(found, numbers)


def test_the_last_frame_of_an_mp4_lasts_to_the_end_of_the_stream(tmp_path: Path) -> None:
    def with_a_long_end(rank: int, packet: av.Packet[Any]) -> Sequence[av.Packet[Any]]:
        packet.duration = 7 * 512 if rank == 27 else packet.duration
        return [packet]

    film = make_film(tmp_path / "film.mp4", Video(num_frames=28, options={"x264-params": "bframes=3:b-adapt=0:keyint=250"}))
    found = probed(remux(film, tmp_path / "long.mp4", with_a_long_end))
    changed = int(np.flatnonzero(found.index.packet == 27)[0])
    assert changed != 27, "the packet decoded last is not shown last"
    assert list(found.index.duration[-2:]) == [512, (changed + 7 - 27) * 512]


def test_times_beyond_reason_are_refused_with_their_value(tmp_path: Path) -> None:
    for pts in ([0, 1, 2**61], [2**61, 2**61 + 1, 2**61 + 2], [-(2**61), 0, 2**61]):
        with pytest.raises(InputError, match="accepted is a film of at most 30 days"):
            frame_index(bare_table(pts), Fraction(1, 90000), "film.mkv")
    assert NO_PTS not in frame_index(bare_table([0, 1, 2]), Fraction(1, 90000), "film.mkv").pts


# --- rounding, once


@given(
    time_base=st.sampled_from(
        [Fraction(1, 90000), Fraction(1, 24000), Fraction(1001, 30000), Fraction(1001, 24000), Fraction(1, 10**6)]
    ),
    to=st.sampled_from([Fraction(1, 1000), Fraction(1, 90000), Fraction(1, 24000), Fraction(1, 10**6)]),
    pts=st.lists(st.integers(-(10**9), 10**12), min_size=1, max_size=20),
)
def test_a_time_is_rounded_once_to_the_nearest_tick(time_base: Fraction, to: Fraction, pts: list[int]) -> None:
    found = rounded_pts(np.array(pts, np.int64), time_base, to)
    off = [abs(int(f) * to - p * time_base) for f, p in zip(found, pts, strict=True)]
    assert max(off) <= to / 2
    if (time_base / to).denominator == 1:
        assert max(off) == 0


@pytest.mark.parametrize("ending", ["mkv", "mp4", "mov"])
@pytest.mark.parametrize(
    ("time_base", "pts", "last"),
    [
        (Fraction(1, 1000), [0, 40, 80, 120, 160, 200], 777),
        (Fraction(1, 90000), [0, 3600, 9200, 10800], 12345),
        (Fraction(1, 24000), [0, 1001, 2002, 3003, 4004], 1001),
        (Fraction(1001, 30000), [0, 1, 2, 3, 4, 5, 6], 1),
        (Fraction(1, 10**6), [0, 33367, 66733, 100100, 133467], 33367),
    ],
)
def test_a_joined_film_has_ref_s_times_and_its_end(
    tmp_path: Path, ending: str, time_base: Fraction, pts: list[int], last: int
) -> None:
    segment = make_film(tmp_path / "segment.mkv", Video(num_frames=len(pts), options=B_AT_THE_END))
    film, times = tmp_path / f"film.{ending}", np.array(pts, np.int64)
    stitch([SegmentPlan(str(segment), FrameRange(0, len(pts)))], times, time_base, last, str(film))
    with av.open(str(film)) as container:
        stream = container.streams.video[0]
        assert stream.time_base is not None
        found = sorted(packet.pts * stream.time_base for packet in container.demux(stream) if packet.pts is not None)
        ends = Fraction(container.duration or 0, av.time_base)
    off = [abs(f - p * time_base) for f, p in zip(found, pts, strict=True)]
    assert max(off) <= (Fraction(1, 2000) if ending == "mkv" else 0)
    assert abs(ends - (pts[-1] + last) * time_base) <= (Fraction(1, 1000) if ending == "mkv" else Fraction(1, 10**5))

"""Frames made of fields: the same from wherever reading begins, and what the film made of them says of itself."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable, Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import pytest
from av.filter import Graph

from orchestrator.works import identity
from tasks import fieldfilter
from tasks.decode import FrameReader
from tasks.errors import DecodeError
from tasks.fieldfilter import bwdif, fieldmatch, takes
from tasks.fieldlook import look_at_fields
from tasks.fieldplan import Cycles, as_coded, with_filter
from tasks.fields import FieldFilter, Fields
from tasks.messages import FrameIndex, Probe, Source
from tasks.probe import probe
from tasks.probefile import load_probe, save_probe
from tasks.reading import open_reader
from tests.fieldfilms import (
    FFV1,
    MPEG2_FIELDS,
    NTSC,
    X264,
    X264_TFF,
    Frames,
    fields_of,
    moving,
    pulled_down,
    woven,
    write,
    write_packed,
)
from vsalign.frames import FrameRange


def probed(path: Path) -> Probe:
    return probe(Source(str(path)))


# --- filtered frames


def cut_film(num_frames: int = 96) -> Frames:
    """Shots of eleven frames: cuts fall everywhere in a cycle."""
    return moving(num_frames, 96, 64, shot=11)


def linear(film: Path, *filters: tuple[str, str]) -> list[str]:
    """Hashes of what libavfilter makes of the whole film in one run, begun at its first frame and ended behind its last."""
    found = []
    with av.open(str(film)) as container:
        stream = container.streams.video[0]
        graph = Graph()
        nodes = [graph.add_buffer(template=stream), *(graph.add(*named) for named in filters), graph.add("buffersink")]
        for one, two in pairwise(nodes):
            one.link_to(two)
        graph.configure()
        for frame in [*container.decode(stream), None]:
            graph.vpush(frame)
            found += [planes_hash(fieldfilter.samples(out, n) for n in range(3)) for out in fieldfilter._pulled(graph)]
    return found


def planes_hash(planes: Iterable[npt.NDArray[Any]]) -> str:
    return hashlib.sha256(b"".join(plane.tobytes() for plane in planes)).hexdigest()


def filtered(film: Path, wanted: FieldFilter, top_first: bool = True) -> Probe:
    return with_filter(probed(film), wanted, top_first)


def read(found: Probe, wanted: Iterable[int]) -> list[str]:
    with open_reader(found) as reader:
        return [planes_hash(picture.planes) for _, picture in reader.pictures(wanted)]


def thumbs(found: Probe, frames: FrameRange) -> list[bytes]:
    with open_reader(found, only_thumbs=True) as reader:
        return [thumb.tobytes() for _, thumb in reader.thumbs(frames, 32, 24)]


BWDIF_FILMS = {
    "x264 tff": ("libx264", X264_TFF, "yuv420p", True),
    "x264 open GOP bff": ("libx264", X264, "yuv420p", False),
    "mpeg2": ("mpeg2video", MPEG2_FIELDS, "yuv420p", True),
    "ffv1 10 bit": ("ffv1", FFV1, "yuv422p10le", False),
}


@pytest.mark.parametrize("name", BWDIF_FILMS)
def test_bwdif_from_anywhere_is_bwdif_of_the_whole_film(name: str, tmp_path: Path) -> None:
    codec, options, pixel_format, top_first = BWDIF_FILMS[name]
    film = write(tmp_path / "film.mkv", woven(cut_film(), top_first), codec, options, pixel_format=pixel_format)
    found, dice = filtered(film, "bwdif", top_first), random.Random(name)
    whole = linear(film, bwdif(top_first))
    assert len(whole) == len(found.index) == 48
    assert read(found, range(48)) == whole
    assert read(found, [0]) + read(found, [47]) == [whole[0], whole[47]], "the ends of the film"
    small = thumbs(found, found.index.whole)
    for _ in range(8):
        start = dice.randrange(47)
        wanted = range(start, min(48, start + dice.randrange(1, 9)))
        assert read(found, wanted) == whole[wanted.start : wanted.stop]
        assert thumbs(found, FrameRange(wanted.start, wanted.stop)) == small[wanted.start : wanted.stop]
    jumps = [30, 3, 3, 4, 6, 9, 47, 0, 46, 12, 11, 10]
    assert read(found, jumps) == [whole[n] for n in jumps]


def test_bwdif_leaves_times_and_the_first_fields_lines_alone(tmp_path: Path) -> None:
    frames = woven(cut_film(), False)
    film = write(tmp_path / "film.mkv", frames)
    found = filtered(film, "bwdif", False)
    assert found.index is found.coded and found.info.num_frames == 48 and found.info.average_rate == NTSC
    with open_reader(found) as reader:
        for n, picture in reader.pictures(range(48)):
            assert np.array_equal(picture.planes[0][1::2], frames[n, 1::2])
            assert not np.array_equal(picture.planes[0][0::2], frames[n, 0::2])


def test_matching_fields_from_anywhere_is_that_of_the_whole_film(tmp_path: Path) -> None:
    film = write(tmp_path / "film.mkv", pulled_down(cut_film()), "libx264", X264)
    whole, with_frames = linear(film, fieldmatch(True)), FrameReader(probed(film))
    for start in (0, 1, 7, 30, 31, 118):
        matched = fieldfilter.Filtered(with_frames.frame, 120, fieldmatch(True))
        for n in range(start, min(120, start + 6)):
            out = matched.frame(n)
            assert planes_hash(fieldfilter.samples(out, plane) for plane in range(3)) == whole[n]
    with_frames.close()


@pytest.mark.parametrize("phase", range(5))
@pytest.mark.parametrize("top_first", [True, False])
def test_detelecine_gives_back_the_film(phase: int, top_first: bool, tmp_path: Path) -> None:
    film = cut_film(64)
    shown = fields_of(len(film), phase)[: 2 * 5 * 15]
    path = write(tmp_path / "film.mkv", pulled_down(film, top_first, phase)[:75])
    original = read(probed(write(tmp_path / "original.mkv", film)), range(len(film)))
    found = filtered(path, "detelecine", top_first)
    assert len(found.index) == found.info.num_frames == 60
    made = [original.index(one) if one in original else -1 for one in read(found, range(60))]
    whole = set(np.flatnonzero(np.bincount(shown, minlength=len(film)) >= 2).tolist())
    assert made == sorted(set(made)) and set(made) >= whole - {shown[0], shown[0] + 1, shown[-1]}, "each picture once, in order"


def edited() -> Frames:
    """Phases that change in the middle of a cycle, and a field whose other half is gone."""
    film = cut_film(130)
    parts = [pulled_down(film[:41])[:43], pulled_down(film[50:80])[3:30], pulled_down(film[80:])[1:]]
    return np.concatenate(parts)


@pytest.mark.parametrize(("codec", "options"), [("ffv1", FFV1), ("libx264", X264), ("mpeg2video", MPEG2_FIELDS)])
def test_detelecine_from_anywhere_is_that_of_the_whole_film(codec: str, options: dict[str, str], tmp_path: Path) -> None:
    frames = edited()
    found, dice = filtered(write(tmp_path / "film.mkv", frames, codec, options), "detelecine"), random.Random(codec)
    cycles, rest = divmod(len(frames), 5)
    count = 4 * cycles + rest
    assert rest and len(found.index) == count
    whole, small = read(found, range(count)), thumbs(found, found.index.whole)
    for _ in range(12):
        start = dice.randrange(count - 1)
        wanted = range(start, min(count, start + dice.randrange(1, 12)))
        assert read(found, wanted) == whole[wanted.start : wanted.stop]
        assert thumbs(found, FrameRange(wanted.start, wanted.stop)) == small[wanted.start : wanted.stop]
    jumps = [50, 3, 3, 4, 6, 9, count - 1, 0, count - 2, 12, 11, 10, 13, 9]
    assert read(found, jumps) == [whole[n] for n in jumps]


def test_thumbs_show_the_frames_that_pictures_show(tmp_path: Path) -> None:
    """Which of five frames is a repetition is seen on frames decoded in full, for thumbs too."""
    found = filtered(write(tmp_path / "film.mkv", edited(), "libx264", X264), "detelecine")
    with open_reader(found) as reader:
        full = [thumb.tobytes() for _, thumb in reader.thumbs(found.index.whole, 32, 24)]
    assert thumbs(found, found.index.whole) == full


def orphaned() -> Frames:
    """Telecined, with two frames whose fields are of shots that are nowhere else."""
    frames = pulled_down(cut_film(64))
    strangers = moving(4, 96, 64, seed=9, shot=1)
    frames[23], frames[60] = woven(strangers)
    return frames


def test_a_field_without_its_other_half_does_not_comb(tmp_path: Path) -> None:
    found, frames = filtered(write(tmp_path / "film.mkv", orphaned()), "detelecine"), orphaned().astype(int)
    with open_reader(found) as reader:
        made = np.stack([picture.planes[0] for _, picture in reader.pictures(range(len(found.index)))]).astype(int)
    assert combing(frames[[23, 60]]).min() > 50
    assert combing(made).max() < 10
    whole = read(found, range(len(found.index)))
    assert [read(found, [n])[0] for n in (17, 18, 19, 48, 49)] == [whole[n] for n in (17, 18, 19, 48, 49)]


def combing(frames: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Mean second difference from line to line (N,)."""
    return np.asarray(np.abs(frames[:, :-2] - 2 * frames[:, 1:-1] + frames[:, 2:]).mean(axis=(1, 2)))


class Counting:
    """Counts the frames that a film's decoder is asked for, and the graphs that are begun."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.graphs = 0
        self.asked: list[int] = []
        begun, frame = fieldfilter.filter_graph, FrameReader.frame

        def counted_graph(*args: Any) -> Graph:
            self.graphs += 1
            return begun(*args)

        def counted_frame(reader: FrameReader, number: int) -> av.VideoFrame:
            self.asked.append(number)
            return frame(reader, number)

        monkeypatch.setattr(fieldfilter, "filter_graph", counted_graph)
        monkeypatch.setattr(FrameReader, "frame", counted_frame)


@pytest.mark.parametrize("wanted", ["bwdif", "detelecine"])
def test_reading_on_decodes_each_frame_once_in_one_graph(
    wanted: FieldFilter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = filtered(write(tmp_path / "film.mkv", pulled_down(cut_film(64))), wanted)
    count = Counting(monkeypatch)
    read(found, range(len(found.index)))
    assert count.asked == list(range(80))
    assert count.graphs == 1
    count.asked.clear()
    read(found, [40])
    assert len(count.asked) <= 9, "a jump costs a cycle and its neighbours"
    count.asked.clear()
    read(found, [0, 50])
    assert len(count.asked) <= 18, "within one reader too"


# --- what the filtered film says of itself


def index_of(pts: Sequence[int], time_base: Fraction = Fraction(1, 1000), last: int = 33) -> FrameIndex:
    times = np.array(pts, np.int64)
    number = np.arange(len(times))
    return FrameIndex(times, np.diff(times, append=times[-1] + last), number % 12 == 0, number, number + 1000, time_base)


def pulled_index(index: FrameIndex, tmp_path: Path) -> Probe:
    plain = probed(write(tmp_path / "film.mkv", cut_film(8)))
    info = replace(plain.info, num_frames=len(index), time_base=index.time_base)
    return with_filter(Probe(info, index), "detelecine", True)


def test_four_frames_share_five_frames_time_exactly(tmp_path: Path) -> None:
    found = pulled_index(index_of([n * 1001 for n in range(23)], Fraction(1, 30000), 1001), tmp_path)
    seconds = [int(pts) * found.index.time_base for pts in found.index.pts]
    step = Fraction(1001, 24000)
    assert seconds[:17] == [n * step for n in range(17)]
    assert seconds[16:] == [Fraction(1001, 30000) * n for n in (20, 21, 22)], "what is left over stays as it is"
    assert int(found.index.pts[-1] + found.index.duration[-1]) * found.index.time_base == 23 * Fraction(1001, 30000)
    assert (found.index.duration == np.diff(found.index.pts, append=found.index.pts[-1] + found.index.duration[-1])).all()
    assert (found.info.num_frames, found.info.average_rate) == (19, Fraction(24000, 1001))
    assert found.info.time_base == found.index.time_base
    assert found.coded is not None and found.index.packet_bytes.sum() == found.coded.packet_bytes.sum()
    assert as_coded(found).index is found.coded and as_coded(found).info.num_frames == 23


def test_milliseconds_stay_within_a_millisecond_and_rise(tmp_path: Path) -> None:
    found = pulled_index(index_of([round(n * 1001 / 30) for n in range(500)]), tmp_path)
    assert np.abs(found.index.seconds() - np.arange(400) * 1001 / 24000).max() < 1e-3
    assert (np.diff(found.index.pts) > 0).all()


def test_cycles_that_are_stretched_already_or_have_a_hole_keep_their_frames(tmp_path: Path) -> None:
    hard = [n * 33 for n in range(20)]
    soft = [hard[-1] + 33 + n * 83 // 2 for n in range(20)]
    hole = [soft[-1] + 42 + n * 33 + (2000 if n > 2 else 0) for n in range(10)]
    index = index_of(hard + soft + hole)
    assert Cycles.of(index).thinned.tolist() == [True] * 4 + [False] * 4 + [False, True]
    found = pulled_index(index, tmp_path)
    kept = [int(pts) * found.index.time_base for pts in found.index.pts]
    assert all(Fraction(pts, 1000) in kept for pts in soft + hole[:5])
    assert len(found.index) == 16 + 20 + 5 + 4


def test_a_filtered_probe_is_saved_whole_and_read_alike(tmp_path: Path) -> None:
    found = filtered(write(tmp_path / "film.mkv", pulled_down(cut_film(64)), "libx264", X264), "detelecine", True)
    again = load_probe(*save_probe(found))
    assert again.info == found.info and again.coded is not None and found.coded is not None
    assert np.array_equal(again.coded.pts, found.coded.pts) and np.array_equal(again.index.pts, found.index.pts)
    assert read(again, [3, 30]) == read(found, [3, 30])


def test_a_filter_is_part_of_the_fingerprint_and_its_absence_is_not(tmp_path: Path) -> None:
    plain = probed(write(tmp_path / "film.mkv", cut_film(20)))
    known = replace(plain.info, fields=Fields("progressive", True, "", 0, 6))
    assert identity(known) == identity(plain.info)
    filters: list[tuple[FieldFilter, bool]] = [("bwdif", True), ("bwdif", False), ("detelecine", True), ("detelecine", False)]
    assert len({identity(with_filter(plain, *one).info) for one in filters} | {identity(plain.info)}) == 5


# --- refusals


def test_pixel_formats_that_a_filter_would_change_are_known() -> None:
    assert [takes(bwdif(True), name) for name in ("yuv420p", "yuv422p10le", "gbrp", "gray", "gray10le")] == [True] * 4 + [False]
    assert [takes(fieldmatch(True), name) for name in ("yuv420p", "yuv444p", "yuv420p10le", "gray")] == [
        True,
        True,
        False,
        False,
    ]


def test_packed_frames_are_filtered_planar(tmp_path: Path) -> None:
    frames = woven(cut_film())
    packed = filtered(write_packed(tmp_path / "film.nut", frames), "bwdif")
    plain = filtered(write(tmp_path / "film.mkv", frames, pixel_format="yuv422p"), "bwdif")
    assert packed.info.pixel_format == "yuyv422" and look_at_fields(packed).scan == "interlaced"
    with open_reader(packed) as one, open_reader(plain) as other:
        for (_, mine), (_, theirs) in zip(one.pictures(range(5)), other.pictures(range(5)), strict=True):
            assert mine.format.name == "yuv422p" and np.array_equal(mine.planes[0], theirs.planes[0])


def test_numbers_outside_the_filtered_film_are_index_errors(tmp_path: Path) -> None:
    found = filtered(write(tmp_path / "film.mkv", pulled_down(cut_film(64))), "detelecine")
    with open_reader(found) as reader:
        with pytest.raises(IndexError, match=r"frame 64 is outside \[0, 64\)"):
            next(reader.pictures([64]))
        assert [n for n, _ in reader.pictures([63, -0])] == [63, 0]
    with open_reader(found, only_thumbs=True) as reader, pytest.raises(ValueError, match="thumbs alone"):
        next(reader.pictures([0]))


def test_a_size_that_changes_half_way_is_an_error_of_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = filtered(write(tmp_path / "film.mkv", woven(cut_film())), "bwdif")
    true = FrameReader.frame
    monkeypatch.setattr(FrameReader, "frame", lambda reader, n: av.VideoFrame(64, 48, "yuv420p") if n == 9 else true(reader, n))
    with (
        open_reader(found) as reader,
        pytest.raises(DecodeError, match="frame 9: it is 64x48 yuv420p, the stream began as 96x64"),
    ):
        list(reader.pictures(range(12)))

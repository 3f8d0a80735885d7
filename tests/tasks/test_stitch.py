"""Stitch: many segments become one film whose frames, times and sound are exactly those of the plan."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
import pytest

from tasks import stitch as stitching
from tasks.contents import Contents, StreamSums
from tasks.encode import SegmentWriter, choose_pixel_format
from tasks.errors import StitchError
from tasks.messages import EncodeSettings, Source, VideoFormat
from tasks.presets import container_options
from tasks.probe import probe
from tasks.stitch import SegmentPlan, stitch, verify
from tasks.streamcopy import all_sound
from tasks.streamplan import NO_EXTRAS
from tasks.timing import DecodeClock, MoreDelayNeeded, rank_in_window, rounded_pts
from tasks.trackroom import fill_room
from tests.synth import Audio, Video, linear_hashes, make_film, packet_payloads, painted, remux
from vsalign.frames import FrameRange
from vsalign.picture import ColourTags

NUM_FRAMES = 60
BOUNDS = (0, 1, 3, 20, 21, 45, 60)
FAST = {"libx264": "medium", "libx265": "medium", "libsvtav1": "12"}
VIDEO = VideoFormat(64, 64, Fraction(24000, 1001), Fraction(1), ColourTags(1, 1, 1, 1, 1))

Pts = npt.NDArray[np.int64]
CFR: Pts = np.arange(NUM_FRAMES, dtype=np.int64) * 1001
VFR: Pts = np.cumsum(np.random.default_rng(3).integers(300, 4000, NUM_FRAMES)).astype(np.int64)
TIME_BASE = Fraction(1, 24000)
CONTAINERS = {
    "libx264": ("mkv", "mp4", "mov"),
    "libx265": ("mkv", "mp4", "mov"),
    "libsvtav1": ("mkv", "mp4"),
    "ffv1": ("mkv",),
    "prores_ks": ("mkv", "mov"),
}
CASES = [(codec, container) for codec, containers in CONTAINERS.items() for container in containers]


def write_segment(path: Path, frames: FrameRange, codec: str, video: VideoFormat = VIDEO, **changes: str) -> SegmentPlan:
    name, _ = choose_pixel_format(codec, "yuv420p")
    options = tuple(changes.items())
    with SegmentWriter(str(path), video, EncodeSettings(codec, preset=FAST.get(codec, ""), options=options), name) as writer:
        for n in frames:
            writer.write(painted(n, video.width, video.height))
        writer.close()
    return SegmentPlan(str(path), frames)


@pytest.fixture(scope="module")
def plans(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], list[SegmentPlan]]:
    made: dict[str, list[SegmentPlan]] = {}

    def of(codec: str) -> list[SegmentPlan]:
        if codec not in made:
            folder = tmp_path_factory.mktemp(codec)
            spans = [FrameRange(a, b) for a, b in pairwise(BOUNDS)]
            made[codec] = [write_segment(folder / f"{span.start:03}.mkv", span, codec) for span in spans]
        return made[codec]

    return of


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two languages of AAC, one of them starting before zero as AAC does."""
    path = tmp_path_factory.mktemp("sound") / "sound.mp4"
    return make_film(path, Video(num_frames=10), audio=[Audio(3, language="eng"), Audio(2.5, language="fre", rate=44100)])


def decoded_segments(plan: Sequence[SegmentPlan]) -> list[str]:
    return [frame_hash for segment in plan for _, frame_hash in linear_hashes(Path(segment.path))]


def shown_times(path: Path) -> list[tuple[Fraction, str]]:
    with av.open(str(path)) as container:
        time_base = container.streams.video[0].time_base
    assert time_base is not None
    return [(pts * time_base, frame_hash) for pts, frame_hash in linear_hashes(path)]


# --- pictures and their times


@pytest.mark.parametrize(("codec", "container"), CASES)
@pytest.mark.parametrize("pts", [CFR, VFR], ids=["cfr", "vfr"])
def test_all_frames_come_out_in_order_at_their_planned_times(
    plans: Callable[[str], list[SegmentPlan]], tmp_path: Path, codec: str, container: str, pts: Pts
) -> None:
    out = tmp_path / f"film.{container}"
    result = stitch(plans(codec), pts, TIME_BASE, 1001, str(out), NO_EXTRAS)
    found = shown_times(out)
    assert result.num_frames == NUM_FRAMES
    assert [frame_hash for _, frame_hash in found] == decoded_segments(plans(codec))
    exact = [int(p) * TIME_BASE for p in pts]
    if container == "mkv":
        assert all(abs(have - want) <= Fraction(1, 2000) for (have, _), want in zip(found, exact, strict=True))
    else:
        assert [have for have, _ in found] == exact
    assert verify(str(out), pts, TIME_BASE, Contents()).problems == ()


@pytest.mark.parametrize(("codec", "container"), CASES)
def test_decode_times_rise_strictly_and_never_pass_their_own_picture(
    plans: Callable[[str], list[SegmentPlan]], tmp_path: Path, codec: str, container: str
) -> None:
    out = tmp_path / f"film.{container}"
    stitch(plans(codec), VFR, TIME_BASE, 1001, str(out), NO_EXTRAS)
    with av.open(str(out)) as film:
        times = [(p.dts, p.pts) for p in film.demux(video=0) if p.size and p.dts is not None]
    assert all(a < b for (a, _), (b, _) in pairwise(times))
    assert all(pts is not None and dts <= pts for dts, pts in times)


@pytest.mark.parametrize("container", ["mp4", "mov"])
def test_with_the_index_first_it_is_the_same_film_and_the_same_bytes_each_time(
    plans: Callable[[str], list[SegmentPlan]], tmp_path: Path, container: str
) -> None:
    films = [tmp_path / f"{name}.{container}" for name in ("usual", "first", "again")]
    options = container_options("web", container)
    for film, given in zip(films, ({}, options, options), strict=True):
        stitch(plans("libx264"), VFR, TIME_BASE, 1001, str(film), NO_EXTRAS, options=given)
    usual, first, again = (film.read_bytes() for film in films)
    assert usual.index(b"moov") > usual.index(b"mdat") and first.index(b"moov") < first.index(b"mdat")
    assert first == again and shown_times(films[1]) == shown_times(films[0])
    assert verify(str(films[1]), VFR, TIME_BASE, Contents()).problems == ()


@pytest.mark.parametrize("container", ["mkv", "mp4"])
@pytest.mark.parametrize("time_base", [Fraction(1, 1000), Fraction(1, 90000), Fraction(1001, 30000), Fraction(1, 12)])
def test_any_time_base_of_ref_is_kept(
    plans: Callable[[str], list[SegmentPlan]], tmp_path: Path, container: str, time_base: Fraction
) -> None:
    step = max(1, round(Fraction(1, 24) / time_base))
    pts = np.arange(NUM_FRAMES, dtype=np.int64) * step
    out = tmp_path / f"film.{container}"
    stitch(plans("libx264"), pts, time_base, step, str(out), NO_EXTRAS)
    tolerance = Fraction(1, 2000) if container == "mkv" else 0
    for n, (time, _) in enumerate(shown_times(out)):
        assert abs(time - n * step * time_base) <= tolerance


@pytest.mark.parametrize("container", ["mkv", "mp4"])
@pytest.mark.parametrize("codec", ["libx264", "ffv1"])
@pytest.mark.parametrize("first", [24000, 137, -3003], ids=["one second late", "a little late", "before zero"])
def test_a_first_time_that_is_not_zero_keeps_picture_and_sound_together(
    plans: Callable[[str], list[SegmentPlan]], tmp_path: Path, codec: str, container: str, first: int
) -> None:
    sound = make_film(tmp_path / "sound.mkv", Video(num_frames=2), audio=[Audio(1, codec="flac", start=48000)])
    out = tmp_path / f"film.{container}"
    stitch(plans(codec), CFR + first, TIME_BASE, 1001, str(out), all_sound(str(sound)))
    assert verify(str(out), CFR + first, TIME_BASE).problems == ()
    found = shown_times(out)
    assert len(found) == NUM_FRAMES, "no frame is hidden by an edit list"
    with av.open(str(out)) as film:
        stream = film.streams.audio[0]
        heard = next(p.pts for p in film.demux(stream) if p.size)
        assert heard is not None and stream.time_base is not None
        apart = heard * stream.time_base - found[0][0]
    assert abs(apart - (1 - first * TIME_BASE)) <= Fraction(1, 1000)


def test_two_frames_within_one_millisecond_are_refused_for_matroska(
    plans: Callable[[str], list[SegmentPlan]], tmp_path: Path
) -> None:
    pts = CFR.copy()
    pts[11] = pts[10] + 5
    with pytest.raises(StitchError, match=r"frames 10 and 11 .*millisecond"):
        stitch(plans("ffv1"), pts, TIME_BASE, 1001, str(tmp_path / "film.mkv"), NO_EXTRAS)


# --- sound


@pytest.mark.parametrize("container", ["mkv", "mp4", "mov"])
def test_every_audio_packet_of_every_stream_is_copied_untouched(
    plans: Callable[[str], list[SegmentPlan]], sound: Path, tmp_path: Path, container: str
) -> None:
    out = tmp_path / f"film.{container}"
    result = stitch(plans("libx264"), CFR, TIME_BASE, 1001, str(out), all_sound(str(sound)))
    sent, got = packet_payloads(sound), packet_payloads(out)
    assert got == sent and len(sent) == 2
    assert [each.num_packets for each in result.contents.streams] == [len(stream) for stream in sent]
    french = "fra" if container == "mov" else "fre"
    assert [s.language for s in probe(Source(str(out))).info.streams if s.kind == "audio"] == ["eng", french]
    assert verify(str(out), CFR, TIME_BASE).problems == ()


@pytest.mark.parametrize("container", ["mkv", "mp4"])
def test_sound_is_moved_by_the_shift(
    plans: Callable[[str], list[SegmentPlan]], sound: Path, tmp_path: Path, container: str
) -> None:
    starts = []
    for shift in (Fraction(1), Fraction(5, 2)):
        out = tmp_path / f"film{shift.numerator}.{container}"
        stitch(plans("libx264"), CFR, TIME_BASE, 1001, str(out), all_sound(str(sound), shift))
        with av.open(str(out)) as film:
            stream = film.streams.audio[0]
            packet = next(p for p in film.demux(stream) if p.size)
            starts.append(packet.pts * stream.time_base)
    assert abs(starts[1] - starts[0] - Fraction(3, 2)) <= Fraction(1, 1000)
    assert abs(starts[0] - 1 + Fraction(1024, 48000)) <= Fraction(1, 1000), "the priming comes before the shift"


def test_sound_and_picture_are_interleaved_by_time(plans: Callable[[str], list[SegmentPlan]], tmp_path: Path) -> None:
    sound = make_film(tmp_path / "sound.mkv", Video(num_frames=2), audio=[Audio(60, codec="mp2")])
    out, slow = tmp_path / "film.mkv", CFR // 1001 * 24000
    stitch(plans("libx264"), slow, TIME_BASE, 24000, str(out), all_sound(str(sound)))
    with av.open(str(out)) as film:
        packets = [(p.stream.type, p.pts * p.time_base) for p in film.demux() if p.size and p.pts is not None]
    latest = {"video": Fraction(0), "audio": Fraction(0)}
    for kind, time in packets:
        latest[kind] = max(latest[kind], time)
        assert abs(latest["video"] - latest["audio"]) < 6


# --- bytes


@pytest.mark.parametrize("container", ["mkv", "mp4"])
def test_the_same_segments_give_the_same_file(
    plans: Callable[[str], list[SegmentPlan]], sound: Path, tmp_path: Path, container: str
) -> None:
    made = []
    for name in ("one", "two"):
        out = tmp_path / f"{name}.{container}"
        stitch(plans("libx264"), VFR, TIME_BASE, 1001, str(out), all_sound(str(sound)))
        made.append(out.read_bytes())
    assert made[0] == made[1]


def test_colour_and_shape_survive_stitching(tmp_path: Path) -> None:
    video = VideoFormat(64, 64, Fraction(24), Fraction(4, 3), ColourTags(9, 16, 9, 1, 3))
    plan = [write_segment(tmp_path / "s.mkv", FrameRange(0, 5), "libx265", video)]
    for container in ("mkv", "mp4"):
        out = tmp_path / f"film.{container}"
        stitch(plan, CFR[:5], TIME_BASE, 1001, str(out), NO_EXTRAS)
        info = probe(Source(str(out))).info
        assert (info.colour, info.sample_aspect_ratio) == (video.colour, Fraction(4, 3))


@pytest.mark.parametrize(("codec", "container"), CASES)
@pytest.mark.parametrize("shape", [Fraction(4, 3), Fraction(64, 45), Fraction(8, 9), Fraction(1)])
def test_anamorphic_film_stays_anamorphic(tmp_path: Path, codec: str, container: str, shape: Fraction) -> None:
    video = VideoFormat(96, 64, Fraction(24), shape, ColourTags(1, 1, 1, 1, 1))
    plan = [write_segment(tmp_path / f"{n}.mkv", FrameRange(n, n + 1), codec, video) for n in range(3)]
    out = tmp_path / f"film.{container}"
    stitch(plan, CFR[:3], TIME_BASE, 1001, str(out), NO_EXTRAS)
    info = probe(Source(str(out))).info
    assert abs(info.sample_aspect_ratio / shape - 1) < Fraction(1, 10000)
    if container == "mkv":
        assert info.sample_aspect_ratio == shape
    assert (info.num_frames, info.colour, info.rotation_degrees) == (3, video.colour if container == "mkv" else info.colour, 0)
    with av.open(str(out)) as film:
        assert "title" not in film.streams.video[0].metadata
    assert verify(str(out), CFR[:3], TIME_BASE, Contents()).problems == ()


def test_progress_ends_with_all_frames(plans: Callable[[str], list[SegmentPlan]], tmp_path: Path) -> None:
    seen: list[int] = []
    stitch(plans("ffv1"), CFR, TIME_BASE, 1001, str(tmp_path / "film.mkv"), NO_EXTRAS, seen.append)
    assert seen[-1] == NUM_FRAMES and seen == sorted(seen)


def test_segments_are_open_one_at_a_time(
    plans: Callable[[str], list[SegmentPlan]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    live, most, true_open = [0], [0], av.open

    class Counted:
        def __init__(self, *args: object, **kwargs: object) -> None:
            self._container = true_open(*args, **kwargs)  # type: ignore[call-overload]

        def __enter__(self) -> object:
            live[0] += 1
            most[0] = max(most[0], live[0])
            return self._container.__enter__()

        def __exit__(self, *error: object) -> None:
            live[0] -= 1
            self._container.__exit__(*error)

    monkeypatch.setattr(stitching.av, "open", Counted)
    stitch(plans("ffv1"), CFR, TIME_BASE, 1001, str(tmp_path / "film.mkv"), NO_EXTRAS)
    assert most[0] == 2, "the output and one segment"


# --- segments that do not make the film


def test_segments_that_leave_a_gap_are_refused(plans: Callable[[str], list[SegmentPlan]], tmp_path: Path) -> None:
    plan, out = plans("ffv1"), str(tmp_path / "film.mkv")
    with pytest.raises(StitchError, match="begins at frame 20, expected 3"):
        stitch([*plan[:2], *plan[3:]], CFR, TIME_BASE, 1001, out, NO_EXTRAS)
    with pytest.raises(StitchError, match="cover 45 frames, the film has 60"):
        stitch(plan[:-1], CFR, TIME_BASE, 1001, out, NO_EXTRAS)
    with pytest.raises(StitchError, match="cover 0 frames"):
        stitch([], CFR, TIME_BASE, 1001, out, NO_EXTRAS)


@pytest.mark.parametrize("codec", ["ffv1", "libx264"])
@pytest.mark.parametrize("stop", [44, 46])
def test_a_segment_of_another_length_is_named(
    plans: Callable[[str], list[SegmentPlan]], tmp_path: Path, codec: str, stop: int
) -> None:
    wrong = write_segment(tmp_path / "wrong.mkv", FrameRange(21, stop), codec)
    plan = [*plans(codec)[:4], SegmentPlan(wrong.path, FrameRange(21, 45)), *plans(codec)[5:]]
    with pytest.raises(StitchError, match=rf"wrong\.mkv: segment has ({stop - 21}|more) frames"):
        stitch(plan, CFR, TIME_BASE, 1001, str(tmp_path / "film.mkv"), NO_EXTRAS)


def test_a_segment_with_another_header_is_named(plans: Callable[[str], list[SegmentPlan]], tmp_path: Path) -> None:
    plan = plans("libx264")
    odd = write_segment(tmp_path / "odd.mkv", FrameRange(20, 21), "libx264", profile="baseline")
    with pytest.raises(StitchError, match=r"odd\.mkv: codec header differs"):
        stitch([*plan[:3], odd, *plan[4:]], CFR, TIME_BASE, 1001, str(tmp_path / "film.mkv"), NO_EXTRAS)


def test_a_missing_or_broken_segment_is_named(plans: Callable[[str], list[SegmentPlan]], tmp_path: Path) -> None:
    plan, out = plans("ffv1"), str(tmp_path / "film.mkv")
    (tmp_path / "broken.mkv").write_bytes(b"nothing")
    for name in ("gone.mkv", "broken.mkv"):
        bad = SegmentPlan(str(tmp_path / name), plan[1].ref_frames)
        with pytest.raises(StitchError, match=name):
            stitch([plan[0], bad, *plan[2:]], CFR, TIME_BASE, 1001, out, NO_EXTRAS)


# --- verify


def test_verify_says_what_is_wrong(plans: Callable[[str], list[SegmentPlan]], tmp_path: Path) -> None:
    for container in ("mkv", "mp4"):
        out = tmp_path / f"film.{container}"
        stitch(plans("libx264"), CFR, TIME_BASE, 1001, str(out), NO_EXTRAS)
        late = CFR.copy()
        late[30:] += 100
        assert "frame 30 is shown at" in verify(str(out), late, TIME_BASE, Contents()).problems[0]
        assert "60 frames, 59 were planned" in verify(str(out), CFR[:-1], TIME_BASE, Contents()).problems[0]
        assert "frame 0 is shown at" in verify(str(out), CFR + 1001, TIME_BASE, Contents()).problems[0]
        heard = Contents((StreamSums("audio", "aac", "eng", 3, "", 0.0),))
        assert verify(str(out), CFR, TIME_BASE, heard).problems == ("audio stream (eng, aac) is missing, 1 of 1",)
    lost = remux(tmp_path / "film.mkv", tmp_path / "lost.mkv", lambda rank, packet: [packet] if rank > 3 else [])
    problems = verify(str(lost), CFR[4:], TIME_BASE, Contents()).problems
    assert any("not a key frame" in problem for problem in problems)
    assert "cannot be read" in verify(str(tmp_path / "none.mkv"), CFR, TIME_BASE, Contents()).problems[0]


def test_verify_does_not_count_frames_that_players_hide(tmp_path: Path) -> None:
    film = make_film(tmp_path / "film.mp4", Video(num_frames=30, start=-5))
    found = verify(str(film), np.arange(30, dtype=np.int64), Fraction(1, 25))
    assert found.problems == ("25 frames, 30 were planned",)


# --- the pure parts


def test_ranks_follow_presentation_while_packets_stream_by() -> None:
    dice = random.Random(5)
    decode_order: list[int] = []
    for at in range(0, 300, 5):
        group = list(range(at, at + 5))
        decode_order += [group[-1], *dice.sample(group[:-1], 4)]
    ranked = list(rank_in_window(((n * 40 + 7, n) for n in decode_order), 8, "s"))
    assert ranked == [(n, n) for n in decode_order]


def test_ranking_holds_back_no_more_than_its_window() -> None:
    taken = []

    def packets() -> object:
        for n in range(100):
            taken.append(n)
            yield n, n

    for rank, _ in rank_in_window(packets(), 8, "s"):  # type: ignore[arg-type]
        assert len(taken) <= rank + 9


@pytest.mark.parametrize("pts", [[0, 40, 40, 80], [*range(100, 120), 0]])
def test_times_that_cannot_be_ranked_are_refused(pts: list[int]) -> None:
    with pytest.raises(StitchError, match=r"s\.mkv"):
        list(rank_in_window(((p, None) for p in pts), 4, "s.mkv"))


def test_decode_times_are_the_sorted_pts_shifted_back() -> None:
    pts = np.array([100, 140, 150, 230, 300], dtype=np.int64)
    clock = DecodeClock(pts, 2)
    shown = [0, 4, 2, 1, 3]
    with pytest.raises(MoreDelayNeeded):
        DecodeClock(pts, 1).dts(3, 1)
    dts = [clock.dts(position, frame) for position, frame in enumerate(shown)]
    assert dts == [-50, -10, 100, 140, 150], "the first as early as frame 4, which is shown 150 ticks after frame 2"
    assert all(d <= pts[frame] for d, frame in zip(dts, shown, strict=True))


def test_a_header_that_promises_too_little_reordering_is_found_out(
    plans: Callable[[str], list[SegmentPlan]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest, out = tmp_path / "honest.mkv", tmp_path / "film.mkv"
    stitch(plans("libx264"), CFR, TIME_BASE, 1001, str(honest), NO_EXTRAS)
    monkeypatch.setattr(stitching, "_promised_delay", lambda path: 0)
    stitch(plans("libx264"), CFR, TIME_BASE, 1001, str(out), NO_EXTRAS)
    assert verify(str(out), CFR, TIME_BASE, Contents()).problems == ()


def test_rounding_happens_once_and_to_the_nearest() -> None:
    pts = np.array([0, 1001, 2002, -1001, 12, -12], dtype=np.int64)
    want = [round(Fraction(int(p), 24)) if p % 24 != 12 else (1 if p > 0 else -1) for p in pts]
    assert list(rounded_pts(pts, Fraction(1, 24000), Fraction(1, 1000))) == want
    assert list(rounded_pts(pts, Fraction(1001, 24000), Fraction(1, 24000))) == [p * 1001 for p in pts]


@pytest.mark.timeout(120)
def test_a_feature_of_many_frames_is_stitched_and_verified_in_seconds(tmp_path: Path) -> None:
    frames, copies = 600, 40
    segment = write_segment(tmp_path / "s.mkv", FrameRange(0, frames), "libx264")
    plan = [SegmentPlan(segment.path, FrameRange(n * frames, (n + 1) * frames)) for n in range(copies)]
    pts = np.arange(frames * copies, dtype=np.int64) * 1001
    out = str(tmp_path / "film.mkv")
    assert stitch(plan, pts, TIME_BASE, 1001, out, NO_EXTRAS).num_frames == 24000
    assert verify(out, pts, TIME_BASE, Contents()).problems == ()


def test_a_file_without_room_for_its_pixel_shape_is_an_error(tmp_path: Path) -> None:
    plan = write_segment(tmp_path / "s.mkv", FrameRange(0, 2), "ffv1")
    before = Path(plan.path).read_bytes()
    with pytest.raises(StitchError, match="no room"):
        fill_room(plan.path, 64, 64, Fraction(4, 3))
    assert Path(plan.path).read_bytes() == before


def test_the_priming_of_refs_sound_does_not_move_the_picture(
    plans: Callable[[str], list[SegmentPlan]], sound: Path, tmp_path: Path
) -> None:
    out = tmp_path / "film.mkv"
    stitch(plans("libx264"), CFR, TIME_BASE, 1001, str(out), all_sound(str(sound)))
    assert shown_times(out)[0][0] == 0
    with av.open(str(out)) as film:
        heard = next(p.pts for p in film.demux(audio=0) if p.size)
    assert heard == -21


@pytest.mark.parametrize("container", ["mkv", "mp4"])
def test_sound_from_before_the_film_is_left_out_and_the_rest_stays_in_its_place(
    plans: Callable[[str], list[SegmentPlan]], sound: Path, tmp_path: Path, container: str
) -> None:
    out = tmp_path / f"film.{container}"
    stitch(plans("libx264"), CFR, TIME_BASE, 1001, str(out), all_sound(str(sound), Fraction(-1)))
    assert verify(str(out), CFR, TIME_BASE).problems == ()
    with av.open(str(sound)) as source:
        sent = {bytes(p): p.pts * p.time_base for p in source.demux(audio=0) if p.size}
    with av.open(str(out)) as film:
        kept = [(bytes(p), p.pts * p.time_base) for p in film.demux(audio=0) if p.size and not p.is_discard]
    assert len(kept) < len(sent) - 30
    assert all(abs(sent[payload] - 1 - time) <= Fraction(1, 1000) for payload, time in kept)

"""The clip's sound on ref's time: every click where its frame went, silence where the clip has nothing."""

from __future__ import annotations

import tracemalloc
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
import pytest

from orchestrator.resume import find_results
from tasks.localstore import LocalStore
from tasks.run import perform
from tasks.sound import FADE_SECONDS, check_sound, conform
from tasks.soundplan import SoundPiece, SoundPlan, plan_sound
from tasks.work import Attempt, SoundWork
from tests.clicks import HUM, Track, click_track, heard, onsets
from tests.synth import Audio, Video, cut_file, make_film
from vsalign.errors import InputError
from vsalign.framemap import FrameMap

NUM = 120
N = np.arange(NUM)
#: Irregular, so that sound moved by a whole second shows, and among them the first frames on both sides of every border below.
CLICKS = np.array([0, 7, 19, 30, 40, 50, 61, 70, 79, 88, 100, 110, 121, 131, 140, 150])
MAPS = {
    "offset": N + 7,
    "cut": np.where(N < 50, N, np.where(N < 80, -1, N - 30)),
    "extra": N + 30 * (N >= 50),
    "late and early": np.where((N >= 30) & (N < 90), N - 30, -1),
    "back": np.where(N < 50, N + 70, N - 50),
}
CLIP = 160
Case = tuple[SoundPlan, npt.NDArray[np.float64], npt.NDArray[np.float64]]


def planned(name: str, clip_rate: float = 24.0, num_clip: int = CLIP) -> Case:
    """The plan, the clip's click times, and the times at which they must be heard."""
    clip, ref, rows = np.arange(num_clip) / clip_rate, N / 24, MAPS[name]
    plan = plan_sound(FrameMap.of_clip_frames(rows, num_clip), clip, ref, num_clip / clip_rate, NUM / 24)
    assert plan is not None
    return plan, clip[CLICKS], np.sort(ref[np.isin(rows, CLICKS)])


def check_clicks(path: Path, wanted: npt.NDArray[np.float64], number: int = 0) -> None:
    sound, rate = heard(path, number)
    for channel, samples in enumerate(sound):
        if len(sound) == 6 and channel == 3:
            continue  # the bass channel of 5.1: AAC keeps only its bass
        found = onsets(samples, rate)
        assert len(found) == len(wanted), f"channel {channel}: {found} for {wanted}"
        assert np.abs(found - wanted).max() < 0.003


CASES = [(name, rate, "mkv") for name in MAPS for rate in (24.0, 25.0, 24000 / 1001)]


@pytest.mark.parametrize(
    ("name", "clip_rate", "container"), [*CASES, *((name, 25.0, ending) for name in MAPS for ending in ("mp4", "mov"))]
)
def test_every_click_is_heard_when_its_frame_is_shown_and_no_other(tmp_path: Path, name: str, clip_rate: float, container: str):
    plan, clicks, wanted = planned(name, clip_rate)
    clip = click_track(tmp_path / "clip.mkv", CLIP / clip_rate, clicks)
    conform(str(clip), plan, str(tmp_path / f"out.{container}"))
    check_clicks(tmp_path / f"out.{container}", wanted)


@pytest.mark.parametrize("container", ["mkv", "mp4"])
@pytest.mark.parametrize("source", ["aac.mkv", "aac.mp4", "ac3.mkv", "mp2.mkv"])
def test_what_a_lossy_codec_needs_to_start_moves_no_click(tmp_path: Path, source: str, container: str):
    plan, clicks, wanted = planned("cut", 25.0)
    codec, _, ending = source.partition(".")
    clip = click_track(tmp_path / f"clip.{ending}", CLIP / 25, clicks, [Track(codec)])
    conform(str(clip), plan, str(tmp_path / f"out.{container}"))
    check_clicks(tmp_path / f"out.{container}", wanted)


@pytest.mark.parametrize("container", ["mkv", "mp4", "mov"])
@pytest.mark.parametrize("layout", ["mono", "stereo", "5.1", "5.1(side)"])
def test_channels_stay_what_they_are(tmp_path: Path, layout: str, container: str):
    plan, clicks, wanted = planned("extra", 25.0)
    clip = click_track(tmp_path / "clip.mkv", CLIP / 25, clicks, [Track(layout=layout)])
    conform(str(clip), plan, str(tmp_path / f"out.{container}"))
    check_clicks(tmp_path / f"out.{container}", wanted)
    sound, _ = heard(tmp_path / f"out.{container}")
    peaks = np.abs(sound).max(1)[[0, -1]]
    assert peaks[1] / peaks[0] == pytest.approx(1 - (len(sound) - 1) / 10, abs=0.06)


@pytest.mark.parametrize("container", ["mkv", "mp4"])
def test_all_streams_are_laid_and_keep_their_labels(tmp_path: Path, container: str):
    plan, clicks, wanted = planned("cut", 25.0)
    tracks = [Track(language="eng"), Track("aac", 44100, "mono", "fre"), Track(language="ger", start=2.5)]
    clip = click_track(tmp_path / "clip.mkv", CLIP / 25, clicks, tracks)
    out = tmp_path / f"out.{container}"
    conform(str(clip), plan, str(out))
    check_clicks(out, wanted, 0)
    check_clicks(out, wanted, 1)
    late = wanted[wanted > 2.5 * 25 / 24 + 30 / 24]
    check_clicks(out, late, 2)
    with av.open(str(out)) as film:
        streams = film.streams.audio
        assert [s.metadata["language"] for s in streams] == ["eng", "fre", "ger"]
        assert [(s.codec_context.sample_rate, s.channels) for s in streams] == [(48000, 2), (44100, 1), (48000, 2)]


def test_silence_is_silence_and_sound_at_refs_rate_is_copied_sample_for_sample(tmp_path: Path):
    plan, clicks, _ = planned("cut")
    clip = click_track(tmp_path / "clip.mkv", CLIP / 24, clicks)
    conform(str(clip), plan, str(tmp_path / "out.mkv"))
    (given, rate), (sound, _) = heard(clip), heard(tmp_path / "out.mkv")
    gap, end, fade = round(50 / 24 * rate), round(80 / 24 * rate), round(FADE_SECONDS * rate)
    assert not sound[:, gap : end - fade - 1].any()
    assert np.array_equal(sound[:, : gap - fade], given[:, : gap - fade])
    length = round(40 / 24 * rate)
    assert np.array_equal(sound[:, end : end + length], given[:, gap : gap + length])


def test_pieces_fade_into_each_other_without_a_dip_or_a_bump(tmp_path: Path):
    clip = click_track(tmp_path / "clip.mkv", 10.0, np.array([]))
    period = 1 / 220
    pieces = (SoundPiece(0.0, 3.0, 0.0, 1.0), SoundPiece(3.0, 6.0, 3.0 + 200 * period, 1.0))
    conform(str(clip), SoundPlan(pieces, 0.0, 6.0), str(tmp_path / "out.mkv"))
    sound, rate = heard(tmp_path / "out.mkv")
    swings = [np.abs(sound[0, at : at + round(rate * period)]).max() for at in range(0, round(5.9 * rate), rate // 500)]
    assert min(swings) > 0.98 * HUM and max(swings) < 1.02 * HUM


def test_equal_inputs_give_equal_bytes(tmp_path: Path):
    plan, clicks, _ = planned("cut", 25.0)
    clip = click_track(tmp_path / "clip.mkv", CLIP / 25, clicks)
    for container in ("mkv", "mp4", "mov"):
        for name in ("a", "b"):
            conform(str(clip), plan, str(tmp_path / f"{name}.{container}"))
        assert (tmp_path / f"a.{container}").read_bytes() == (tmp_path / f"b.{container}").read_bytes()


def test_more_than_16_bits_are_kept(tmp_path: Path):
    clip = click_track(tmp_path / "clip.mkv", 10.0, np.array([1.0]), [Track("pcm_s24le")])
    for container in ("mkv", "mov"):
        conform(str(clip), SoundPlan((SoundPiece(0.0, 9.0, 0.5, 1.0),), 0.0, 9.0), str(tmp_path / f"out.{container}"))
        sound, _ = heard(tmp_path / f"out.{container}")
        assert np.unique(np.rint(sound[0] * 2**23).astype(int) % 256).size == 256


def test_the_film_may_start_at_another_time(tmp_path: Path):
    clip = click_track(tmp_path / "clip.mkv", 10.0, np.array([4.0]))
    conform(str(clip), SoundPlan((SoundPiece(101.0, 106.0, 2.0, 0.96),), 100.0, 106.0), str(tmp_path / "out.mkv"))
    check_clicks(tmp_path / "out.mkv", np.array([1 + 2 / 0.96]))


@pytest.mark.parametrize("ending", ["mkv", "mp4"])
def test_a_truncated_clip_is_heard_as_far_as_it_goes(tmp_path: Path, ending: str):
    plan, clicks, wanted = planned("offset", 25.0)
    muxer = {"movflags": "+faststart"} if ending == "mp4" else {}
    clip = cut_file(click_track(tmp_path / f"clip.{ending}", CLIP / 25, clicks, [Track("aac")], muxer), 0.6)
    conform(str(clip), plan, str(tmp_path / "out.mkv"))
    sound, rate = heard(tmp_path / "out.mkv")
    found = onsets(sound[0], rate)
    assert 3 <= len(found) < len(wanted) and np.abs(found - wanted[: len(found)]).max() < 0.003
    assert sound.shape[1] >= 5 * rate and not sound[:, 4 * rate :].any()


def test_scenes_in_another_order_are_read_from_far_back(tmp_path: Path):
    tracks = [Track(rate=8000, layout="mono")] * 2
    clip = click_track(tmp_path / "clip.mkv", 40.0, np.array([3.0, 27.0, 35.0]), tracks)
    pieces = (SoundPiece(0.0, 6.0, 25.0, 1.0), SoundPiece(6.0, 10.0, 1.0, 0.96), SoundPiece(10.0, 15.0, 33.0, 1.0))
    conform(str(clip), SoundPlan(pieces, 0.0, 15.0), str(tmp_path / "out.mkv"))
    for number in (0, 1):
        check_clicks(tmp_path / "out.mkv", np.array([2.0, 6 + 2 / 0.96, 12.0]), number)


def test_memory_does_not_grow_with_the_film_nor_where_a_stream_begins_late(tmp_path: Path):
    peaks = []
    for seconds in (20, 40, 160):
        tracks = [Track(rate=8000, layout="mono"), Track(rate=8000, layout="mono", start=seconds - 5)]
        clip = click_track(tmp_path / f"{seconds}.mkv", seconds, np.array([]), tracks)
        half = seconds / 2
        pieces = (SoundPiece(0.0, half / 2, 0.0, 1.0), SoundPiece(half / 2, half, half, 0.96))
        tracemalloc.start()
        conform(str(clip), SoundPlan(pieces, 0.0, seconds), str(tmp_path / "out.mkv"))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[2] < 1.1 * peaks[1]  # the first run loads modules


def test_sound_without_a_decoder_is_refused_in_one_line(tmp_path: Path):
    film = make_film(tmp_path / "clip.mkv", Video(num_frames=10), audio=[Audio(1, codec="pcm_s16le")])
    check_sound(str(film), "out.mp4")
    film.write_bytes(film.read_bytes().replace(b"A_PCM/INT/LIT", b"A_UNKNOWN/XYZ"))
    with pytest.raises(InputError, match=r"clip.mkv: audio stream #1 cannot be decoded; --audio ref"):
        check_sound(str(film), "out.mkv")


def packed(path: Path) -> tuple[str, npt.NDArray[np.float64]]:
    """The layout and all samples (channels, n) of the first audio stream."""
    with av.open(str(path)) as container:
        stream, mixer = container.streams.audio[0], av.AudioResampler(format="flt")
        parts = [part for frame in container.decode(stream) for part in mixer.resample(frame)]
        layout = stream.codec_context.layout
    sound = np.concatenate([part.to_ndarray()[0] for part in parts]).astype(np.float64)
    return layout.name, sound.reshape(-1, layout.nb_channels).T


@pytest.mark.parametrize("container", ["mkv", "mp4", "mov"])
@pytest.mark.parametrize("source", ["flac", "aac"])
def test_eight_channels_are_read_and_written(tmp_path: Path, source: str, container: str):
    clip, plan = tmp_path / "clip.mkv", SoundPlan((SoundPiece(0.0, 4.0, 0.0, 1.0),), 0.0, 4.0)
    click_track(clip, 4.0, np.array([1.0]), [Track(layout="7.1")])
    if source == "aac":
        conform(str(clip), plan, str(tmp_path / "clip.mp4"))
        clip = tmp_path / "clip.mp4"
    check_sound(str(clip), f"out.{container}")
    conform(str(clip), plan, str(tmp_path / f"out.{container}"))
    layout, sound = packed(tmp_path / f"out.{container}")
    assert layout == "7.1" and sound.shape[1] == pytest.approx(4 * 48000, abs=2048)
    shares = np.abs(sound).max(1) / np.abs(sound[0]).max()
    for channel in (1, 2, 4, 5, 6, 7):  # the bass channel keeps only its bass in AAC
        assert shares[channel] == pytest.approx(1 - channel / 10, abs=0.06)
        assert onsets(sound[channel].astype(np.float32), 48000) == pytest.approx([1.0], abs=0.003)


def test_layouts_survive_mp4_or_are_refused_for_it(tmp_path: Path):
    plan = SoundPlan((SoundPiece(0.0, 1.0, 0.0, 1.0),), 0.0, 1.0)
    for layout, wanted in {"quad": "quad", "5.1(side)": "5.1", "5.0(side)": "5.0"}.items():
        clip = click_track(tmp_path / "clip.mkv", 1.0, np.array([]), [Track(layout=layout)])
        check_sound(str(clip), "out.mp4")
        conform(str(clip), plan, str(tmp_path / "out.mp4"))
        assert packed(tmp_path / "out.mp4")[0] == wanted
    clip = click_track(tmp_path / "clip.mkv", 1.0, np.array([]), [Track(layout="6.1")])
    check_sound(str(clip), "out.mkv")
    with pytest.raises(InputError, match=r"#0 \(6.1\) cannot be encoded for mp4 \(its AAC keeps the layouts mono.*--audio ref"):
        check_sound(str(clip), "out.mp4")


def stamped(path: Path, seconds: float, size: int, drift: float = 0.0, hole_at: int = 0, hole: int = 0) -> Path:
    """A 440 Hz tone in mono PCM, in packets of ``size`` samples whose times run ahead by ``drift``, and by ``hole``
    samples more from sample ``hole_at`` on."""
    wave = np.rint(16000 * np.sin(2 * np.pi * 440 * np.arange(round(seconds * 48000)) / 48000)).astype(np.int16)
    with av.open(str(path), "w") as out:
        stream = out.add_stream("pcm_s16le", rate=48000, layout="mono")
        for at in range(0, len(wave), size):
            frame = av.AudioFrame.from_ndarray(wave[None, at : at + size], format="s16", layout="mono")
            frame.sample_rate, frame.time_base = 48000, Fraction(1, 48000)
            frame.pts = round(at * (1 + drift)) + hole * (at >= hole_at)
            out.mux(stream.encode(frame))
    return path


@pytest.mark.parametrize("size", [96, 1024])
@pytest.mark.parametrize("drift", [0.002, -0.002])
def test_times_that_drift_against_the_samples_make_no_click_and_no_hole(tmp_path: Path, drift: float, size: int):
    clip = stamped(tmp_path / "clip.mkv", 30.0, size, drift)
    conform(str(clip), SoundPlan((SoundPiece(0.0, 29.0, 0.0, 1.0),), 0.0, 29.0), str(tmp_path / "out.mkv"))
    sound = packed(tmp_path / "out.mkv")[1][0] * 2**15
    assert np.abs(np.diff(sound)).max() < 1.1 * 16000 * 2 * np.pi * 440 / 48000
    loudness = [sound[at : at + 2400].std() for at in range(0, len(sound) - 2400, 1200)]
    assert min(loudness) > 0.85 * 16000 / np.sqrt(2)


@pytest.mark.parametrize("size", [96, 1024])
def test_a_hole_is_silent_and_sound_falls_and_rises_at_it(tmp_path: Path, size: int):
    hole_at, hole = 47950 // size * size, 24000
    clip = stamped(tmp_path / "clip.mkv", 4.0, size, hole_at=hole_at, hole=hole)
    conform(str(clip), SoundPlan((SoundPiece(0.0, 3.0, 0.0, 1.0),), 0.0, 3.0), str(tmp_path / "out.mkv"))
    sound = packed(tmp_path / "out.mkv")[1][0] * 2**15
    assert np.abs(np.diff(sound)).max() < 1.15 * 16000 * 2 * np.pi * 440 / 48000
    assert not sound[hole_at : hole_at + hole - 48].any() and sound[hole_at + hole :][:1000].any()  # times in milliseconds
    tone = 16000 * np.sin(2 * np.pi * 440 * np.arange(hole_at) / 48000)
    assert np.abs(sound[: hole_at - 241] - tone[: hole_at - 241]).max() <= 0.5


def test_conformed_sound_that_was_damaged_is_made_again(tmp_path: Path):
    clip, store = click_track(tmp_path / "clip.mkv", 2.0, np.array([1.0])), LocalStore(tmp_path / "job")
    store.replace("job.json", b"{}")
    plan = SoundPlan((SoundPiece(0.0, 2.0, 0.0, 1.0),), 0.0, 2.0)
    work = SoundWork(
        name="sound",
        job_dir=store.location,
        inputs={"clip": "a"},
        num_frames=48,
        path=str(clip),
        version="",
        streams=(),
        plan=plan,
        suffix=".mkv",
    )
    told: list[int] = []
    first = perform(work, Attempt(), lambda: told.append(1))
    assert len(told) == 48 and find_results(store, [work], lambda line: None).done == {"sound": first}
    blob = store.fetch(first.blob)
    blob.write_bytes(blob.read_bytes()[:-100] + bytes(100))
    assert find_results(store, [work], lambda line: None).num_damaged == 1
    again = perform(work, Attempt(), lambda: None)
    assert again.blob != first.blob and again.sha256 == first.sha256

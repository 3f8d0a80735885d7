"""The joined film where its segments meet: no frame twice or missing, decode times that rise, and any seek shows the right
frame. Frame numbers are painted into the picture."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest

from orchestrator.cli import run
from tasks.decode import picture_of
from tests.synth import LOSSLESS_H264, Audio, Video, make_film, shown_number
from vsalign.picture import ColourTags

NUM, CHUNK = 100, 12
TIME_BASE = Fraction(1, 90000)
#: From 11 to 90 ms apart.
PTS = np.cumsum(np.random.default_rng(8).integers(1000, 8100, NUM)) + 3003
CASES = [(codec, ending) for codec in ("libx264", "libx265", "libsvtav1", "ffv1") for ending in ("mkv", "mp4")]
QUICK = {"libx264": ("--crf", "18"), "libx265": ("--preset", "fast"), "libsvtav1": ("--preset", "10"), "ffv1": ()}


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Clip and ref show the same; the ref has frames of any length, begins late and has sound."""
    folder = tmp_path_factory.mktemp("films")
    look = {"width": 96, "height": 64, "options": LOSSLESS_H264}
    make_film(folder / "clip.mkv", Video(NUM, **look))
    seconds = float(PTS[-1] * TIME_BASE)
    make_film(
        folder / "ref.mp4",
        Video(NUM, pts=[int(p) for p in PTS], time_base=TIME_BASE, **look),
        audio=[Audio(seconds, "aac")],
        muxer={"video_track_timescale": "90000", "movie_timescale": "90000"},
    )
    return folder


@pytest.fixture(scope="module", params=CASES, ids="-".join)
def out(request: pytest.FixtureRequest, films: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    codec, ending = request.param
    made = tmp_path_factory.mktemp(codec) / f"out.{ending}"
    given = ["render", str(films / "clip.mkv"), str(films / "ref.mp4"), "-o", str(made), "--codec", codec, *QUICK[codec]]
    assert run([*given, "--pool", "local", "--no-sync", "--no-warp", "--chunk-frames", str(CHUNK), "--quiet"]) == 0
    return made


def number_of(frame: av.VideoFrame) -> int:
    return shown_number(picture_of(frame, ColourTags(), av.video.reformatter.VideoReformatter()))


def planned(ending: str) -> list[Fraction]:
    """When each frame is shown."""
    exact = [int(p) * TIME_BASE for p in PTS]
    return exact if ending == ".mp4" else [Fraction(int(time * 1000 + Fraction(1, 2)), 1000) for time in exact]


def played_from(container: av.container.InputContainer, seconds: Fraction) -> Iterator[av.VideoFrame]:
    """The frames that a player decodes when it is sent to ``seconds``."""
    stream = container.streams.video[0]
    container.seek(int(seconds / stream.time_base), stream=stream)
    yield from container.decode(stream)


def test_every_frame_comes_once_in_order_at_its_time(out: Path):
    with av.open(str(out)) as container:
        shown = [(number_of(frame), frame.pts * frame.time_base) for frame in container.decode(video=0)]
    assert shown == list(enumerate(planned(out.suffix)))


def test_decode_times_rise_in_each_stream_and_streams_are_interleaved(out: Path):
    with av.open(str(out)) as container:
        packets = [(p.stream_index, p.dts, p.dts * p.time_base) for p in container.demux() if p.size and p.dts is not None]
        num_streams = len(container.streams)
    assert num_streams == 2 and len(packets) > NUM
    for index in range(num_streams):
        assert all(a < b for a, b in pairwise(dts for stream, dts, _ in packets if stream == index))
    assert all(b - a > Fraction(-1, 500) for a, b in pairwise(time for _, _, time in packets))


def test_a_seek_to_any_time_shows_the_frame_of_that_time(out: Path):
    times = planned(out.suffix)
    dice = np.random.default_rng(50)
    aims = [Fraction(int(ms), 1000) for ms in dice.integers(int(times[0] * 1000) + 1, int(times[-1] * 1000), 50)]
    with av.open(str(out)) as container:
        for aim in aims:
            shown, wanted = -1, max(n for n, time in enumerate(times) if time <= aim)
            for frame in played_from(container, aim):
                if frame.pts * frame.time_base > aim:
                    break
                shown = number_of(frame)
            assert shown == wanted, f"at {float(aim)} s"


def test_verify_finds_it_as_planned(out: Path, capsys: pytest.CaptureFixture[str]):
    assert run(["verify", str(out)]) == 0
    told = capsys.readouterr()
    assert f"{NUM} frames and their times" in told.out and "and 8 seams" in told.out and not told.err

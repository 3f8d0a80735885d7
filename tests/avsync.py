"""Films whose sound clicks at known frames, and how far click and frame lie apart when the file is played."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
from av.video.reformatter import VideoReformatter

from tasks.decode import picture_of
from tests.clicks import Track, click_track, with_sound
from tests.synth import Video, make_film, shown_number
from vsalign.picture import ColourTags

RATE = Fraction(24000, 1001)
_FRAME_TICKS = 1001
_LOUD = 0.25
_FULL = {"s16": 2**15, "s32": 2**31}
_QUICK = {"preset": "ultrafast", "crf": "20", "x264-params": "threads=1:keyint=48"}


def make_pictures(path: Path, num_frames: int, start_frames: int = 0, bframes: int = 2) -> Path:
    """A film whose frames show their numbers; the first one is shown ``start_frames`` frames after zero."""
    options = {**_QUICK, "bf": str(bframes)}
    start, base = start_frames * _FRAME_TICKS, Fraction(1, 24000)
    video = Video(num_frames, 64, 64, rate=RATE, time_base=base, start=start, options=options)
    return make_film(path, video, muxer=_muxer(path))


def make_ref(
    path: Path, pictures: Path, num_frames: int, start_frames: int, clicks: Sequence[int], tracks: Sequence[Track]
) -> Path:
    """``pictures`` (of :func:`make_pictures`, with the same start) with a click at the moment of each frame of ``clicks``."""
    at = np.array([float((start_frames + frame) / RATE) for frame in clicks])
    sound = click_track(path.with_suffix(f".sound{path.suffix}"), float((start_frames + num_frames) / RATE), at, tracks)
    return with_sound(pictures, sound, path)


def apart(path: Path, clicks: Sequence[int]) -> npt.NDArray[np.float64]:
    """(audio streams, clicks) seconds from when each frame of ``clicks`` is shown to the click that belongs to it."""
    shown = shown_times(path)
    with av.open(str(path)) as container:
        heard = [click_times(path, number) for number in range(len(container.streams.audio))]
    assert {len(times) for times in heard} == {len(clicks)}, f"of {len(clicks)} clicks {[len(t) for t in heard]} are heard"
    return np.stack(heard) - np.array([shown[frame] for frame in clicks])


def shown_times(path: Path) -> dict[int, float]:
    """Seconds at which each painted frame number is shown."""
    reformatter, times = VideoReformatter(), {}
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            assert frame.pts is not None
            times[shown_number(picture_of(frame, ColourTags(), reformatter))] = float(frame.pts * frame.time_base)
    return times


def click_times(path: Path, number: int) -> npt.NDArray[np.float64]:
    """Seconds at which clicks begin in audio stream ``number``: loud samples after 50 ms without."""
    loud = [np.empty(0)]
    with av.open(str(path)) as container:
        for frame in container.decode(container.streams.audio[number]):
            assert frame.pts is not None
            data = frame.to_ndarray()
            data = data[0] if frame.format.is_planar else data[0, :: frame.layout.nb_channels]
            over = np.flatnonzero(np.abs(data) > _LOUD * _FULL.get(frame.format.name.rstrip("p"), 1))
            if over.size:
                loud.append(float(frame.pts * frame.time_base) + over / frame.sample_rate)
    times = np.concatenate(loud)
    return times[np.diff(times, prepend=-1.0) > 0.05]


def _muxer(path: Path) -> dict[str, str]:
    return {} if path.suffix == ".mkv" else {"video_track_timescale": "24000", "movie_timescale": "24000"}

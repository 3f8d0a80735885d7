"""Real film pairs whose answer is known, where they are at hand."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from orchestrator.cli import run
from tasks.decode import FrameReader
from tasks.probe import parse_source, probe
from vsalign.framemap import FrameMap
from vsalign.picture import luma

CLIPS = Path(__file__).parent.parent.parent.parent / "shared" / "clips"
pytestmark = [pytest.mark.film, pytest.mark.skipif(not CLIPS.is_dir(), reason="no real film clips in ../shared/clips")]


def solved(clip: str, ref: str, folder: Path) -> FrameMap:
    out = folder / "map.csv"
    assert run(["sync", str(CLIPS / clip), str(CLIPS / ref), "-o", str(out), "--quiet", "--pool", "local"]) == 0
    num_clip, num_ref = (len(probe(parse_source(str(CLIPS / name))).index) for name in (clip, ref))
    return FrameMap.from_csv(out.read_text(), num_ref, num_clip)


def test_two_encodes_of_one_film_are_two_frames_apart_from_end_to_end(tmp_path: Path):
    found = solved("bbb_720p24_vp8.webm", "bbb_480p24_h264.mp4", tmp_path)
    assert np.flatnonzero(~found.matched).tolist() == [0, 1]
    off = found.clip_frame[2:] - (np.arange(2, 720) - 2)
    assert np.abs(off).max() <= 1 and (off == 0).mean() >= 0.995


def test_a_squeezed_washed_out_copy_gets_the_films_picture_shape_and_moments(tmp_path: Path):
    clip, ref, out = CLIPS / "bbb_480p24_h264.mp4", CLIPS / "bbb_240p24_anamorphic.mp4", tmp_path / "out.mkv"
    command = ["render", str(clip), str(ref), "-o", str(out), "--quiet", "--pool", "local", "--precision", "1"]
    assert run([*command, "--preset", "veryfast"]) == 0
    made, wanted = probe(parse_source(str(out))), probe(parse_source(str(ref)))
    assert made.info.sample_aspect_ratio == wanted.info.sample_aspect_ratio == Fraction(4, 3)
    assert len(made.index) == len(wanted.index) and np.abs(made.index.seconds() - wanted.index.seconds()).max() < 0.0006
    found = FrameMap.from_csv((tmp_path / "out.mkv.vsalign" / "map.csv").read_text(), len(wanted.index), 720)
    assert (found.clip_frame[1:] == np.arange(len(wanted.index) - 1)).mean() > 0.97
    with FrameReader(made) as ours, FrameReader(wanted) as theirs:
        frames = list(range(60, 230, 40))
        pairs = zip(ours.pictures(frames), theirs.pictures(frames), strict=True)
        alike = [np.corrcoef(luma(a).ravel(), luma(b).ravel())[0, 1] for (_, a), (_, b) in pairs]
    assert min(alike) > 0.98

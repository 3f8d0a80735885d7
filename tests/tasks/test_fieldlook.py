"""What a film is found to be: progressive, interlaced or telecined."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from tasks.fieldlook import look_at_fields, runs_of
from tasks.fields import Fields
from tasks.messages import FrameIndex, Probe, Source
from tasks.probe import probe
from tasks.seekplan import SeekPlan
from tests.fieldfilms import (
    FFV1,
    MPEG2,
    MPEG2_FIELDS,
    NTSC,
    X264,
    X264_BFF,
    X264_TFF,
    Frames,
    moving,
    pulled_down,
    woven,
    write,
)
from tests.synth import CLIPS


def probed(path: Path) -> Probe:
    return probe(Source(str(path)))


def look(path: Path) -> Fields:
    return look_at_fields(probed(path))


@pytest.fixture(scope="module")
def pictures() -> Frames:
    return moving(120)


FILMS: dict[str, tuple[Callable[[Frames], Frames], str, dict[str, str], str, bool]] = {
    "tff, flagged so": (woven, "libx264", X264_TFF, "interlaced", True),
    "bff, flagged so": (lambda p: woven(p, False), "libx264", X264_BFF, "interlaced", False),
    "tff, flagged bff": (woven, "libx264", X264_BFF, "interlaced", True),
    "bff, flagged progressive": (lambda p: woven(p, False), "libx264", X264, "interlaced", False),
    "tff, MPEG-2 fields": (woven, "mpeg2video", MPEG2_FIELDS, "interlaced", True),
    "tff, MPEG-2 progressive": (woven, "mpeg2video", MPEG2, "interlaced", True),
    "telecine tff, flagged so": (pulled_down, "libx264", X264_TFF, "telecined", True),
    "telecine bff, phase 3": (lambda p: pulled_down(p, False, 3), "mpeg2video", MPEG2_FIELDS, "telecined", False),
    "telecine, flagged progressive": (pulled_down, "libx264", X264, "telecined", True),
    "telecine, cut between": (
        lambda p: np.concatenate([pulled_down(p[:43]), pulled_down(p[60:])[2:]]),
        *("ffv1", FFV1, "telecined", True),
    ),
    "telecine of drawings on twos": (lambda p: pulled_down(p[np.arange(160) // 2]), "libx264", X264_TFF, "telecined", True),
    "progressive": (lambda p: p, "libx264", X264, "progressive", True),
    "progressive, flagged tff": (lambda p: p, "libx264", X264_TFF, "progressive", True),
    "progressive, MPEG-2 fields": (lambda p: p, "mpeg2video", MPEG2_FIELDS, "progressive", False),
    "progressive, every fourth frame twice": (lambda p: p[np.arange(140) * 4 // 5], "libx264", X264, "progressive", True),
    "progressive, each frame three times": (lambda p: p[np.arange(140) // 3], "libx264", X264, "progressive", True),
    "still": (lambda p: np.repeat(p[:1], 40, axis=0), "mpeg2video", MPEG2_FIELDS, "unknown", False),
}


@pytest.mark.parametrize("name", FILMS)
def test_what_a_film_is_shows_in_its_pictures_whatever_its_flags_say(name: str, pictures: Frames, tmp_path: Path) -> None:
    made, codec, options, scan, top_first = FILMS[name]
    found = look(write(tmp_path / "film.mkv", made(pictures), codec, options))
    assert (found.scan, found.top_field_first) == (scan, top_first), found
    assert found.combed_samples <= found.moving_samples


def grainy(frames: Frames) -> Frames:
    grain = np.random.default_rng(1).normal(0, 12, frames.shape)
    return np.clip(frames + grain, 0, 255).astype(np.uint8)


def lines(num_frames: int, speed: float) -> Frames:
    """Sharp horizontal lines and bars that move up and down, by fractions of a line too."""
    rows = np.arange(128)[None, :, None] + speed * np.arange(num_frames)[:, None, None]
    thin = np.where(np.floor(rows) % 7 < 1, 220, 40) + np.where(np.floor(rows / 2) % 9 < 3, 30, 0)
    return np.broadcast_to(thin, (num_frames, 128, 160)).astype(np.uint8)


HARD: dict[str, Callable[[Frames], Frames]] = {
    "grain": grainy,
    "grain alone": lambda p: grainy(np.repeat(p[:1], 60, axis=0)),
    "noise": lambda p: np.random.default_rng(2).integers(0, 256, (60, 128, 160), np.uint8),
    "lines by one": lambda p: lines(60, 1),
    "lines by a half": lambda p: lines(60, 0.5),
    "lines by two thirds": lambda p: lines(60, -2 / 3),
    "a stripe on every second line": lambda p: np.where(np.arange(128)[:, None] % 2, p, p // 2).astype(np.uint8),
    "flicker": lambda p: (p * np.random.default_rng(3).uniform(0.7, 1, (len(p), 1, 1))).astype(np.uint8),
    "fade": lambda p: (p * np.linspace(0, 1, len(p))[:, None, None]).astype(np.uint8),
    "cross-fade": lambda p: (p[:45] + np.linspace(0, 1, 45)[:, None, None] * (p[45:] - 1.0 * p[:45])).astype(np.uint8),
    "a cut every third frame": lambda p: np.concatenate([p[n * 11 % 80 :][:3] for n in range(30)]),
}  # fmt: skip


@pytest.mark.parametrize("name", HARD)
def test_what_only_looks_like_combing_is_progressive(name: str, pictures: Frames, tmp_path: Path) -> None:
    frames = HARD[name](pictures[:90])
    for codec, options in (("ffv1", FFV1), ("libx264", X264_TFF)):
        found = look(write(tmp_path / "film.mkv", frames, codec, options))
        assert found.scan in ("progressive", "unknown"), found


def test_grain_does_not_hide_fields(pictures: Frames, tmp_path: Path) -> None:
    assert look(write(tmp_path / "film.mkv", woven(grainy(pictures)))).scan == "interlaced"
    assert look(write(tmp_path / "pulled.mkv", pulled_down(grainy(pictures)))).scan == "telecined"


def test_ten_bits_and_four_two_two_are_seen_alike(pictures: Frames, tmp_path: Path) -> None:
    assert look(write(tmp_path / "film.mkv", woven(pictures), pixel_format="yuv422p10le")).scan == "interlaced"
    assert look(write(tmp_path / "tele.mkv", pulled_down(pictures, False), pixel_format="yuv420p10le")) == Fields(
        "telecined", False, "", 6, 6
    )


def test_a_single_sample_that_combs_is_told_and_let_pass(tmp_path: Path) -> None:
    film = moving(300, shot=50)
    pieces = [woven(film[260:300])[:15] if n == 2 else film[n * 40 : n * 40 + 15] for n in range(6)]
    options = X264 | {"x264-params": "keyint=15:min-keyint=15:scenecut=0"}
    found = look(write(tmp_path / "film.mkv", np.concatenate(pieces), "libx264", options))
    assert (found.scan, found.combed_samples, found.moving_samples) == ("progressive", 1, 6)


def test_film_flagged_to_repeat_fields_is_progressive(pictures: Frames, tmp_path: Path) -> None:
    """Soft telecine: the frames are whole, the player is told to show some fields twice."""
    plain = write(tmp_path / "plain.m2v", pictures[:60], "mpeg2video", MPEG2_FIELDS, rate=NTSC)
    coded, film = bytearray(plain.read_bytes()), tmp_path / "film.m2v"
    at = 0
    for n in range(60):  # picture coding extension: repeat_first_field on every second frame, progressive_frame on all
        at = _extension(coded, at + 1)
        coded[at + 7] |= 0x02 * (n % 2)
        coded[at + 8] |= 0x80
    film.write_bytes(coded)
    assert look(film).scan == "progressive"


def _extension(coded: bytearray, start: int) -> int:
    at = coded.find(b"\x00\x00\x01\xb5", start)
    while coded[at + 4] >> 4 != 8:
        at = coded.find(b"\x00\x00\x01\xb5", at + 1)
    return at


@pytest.mark.film
@pytest.mark.skipif(not CLIPS.is_dir(), reason="real film clips are absent")
def test_real_film_is_progressive() -> None:
    for name in ("bbb_240p24_anamorphic.mp4", "bbb_480p24_h264.mp4", "chaplin_360p25.mp4", "mdn_rabbit_320x240_vp8.webm"):
        found = look(path := CLIPS / name)
        assert (found.scan in ("progressive", "unknown"), found.combed_samples) == (True, 0), path


def test_samples_begin_at_key_frames_and_lie_all_over_the_film() -> None:
    def runs(num_frames: int, keys: range) -> list[tuple[int, int]]:
        numbers = np.arange(num_frames)
        index = FrameIndex(numbers, np.ones_like(numbers), np.isin(numbers, keys), numbers, numbers, Fraction(1, 25))
        return [(run.first, run.key) for run in runs_of(SeekPlan.of(index, "h264"))]

    long = runs(100_000, range(0, 100_000, 250))
    assert len(long) == 12 and all(first == 250 * key for first, key in long)
    assert max(np.diff(sorted([0, *(first for first, _ in long[:6]), 100_000]))) < 30_000, "the first six are spread too"
    intra = sorted(runs(300, range(300)))
    assert all(second - first >= 15 for (first, _), (second, _) in pairwise(intra))
    assert sorted(runs(1000, range(1))) == [(15 * n, 0) for n in range(12)], "one key frame: one pass"
    assert runs(3, range(3)) == []

"""One pair: what the warp does to a picture, and what happens where pictures tell nothing or something else."""

from __future__ import annotations

import sys
from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from tasks.align import Aligned, lay, observe_pair, settled_warp
from tasks.gather import Pair
from tasks.messages import AlignSettings, VideoFormat
from tasks.work import SAME_PICTURE
from tests.films import GRAY, texture
from vsalign.picture import ColourTags, Picture

WIDTH, HEIGHT = 128, 96
VIDEO = VideoFormat(WIDTH, HEIGHT, Fraction(24), Fraction(1), ColourTags())
#: Four pixels to the right, two down, of 128 x 96, in units of half the picture.
MOVED = (1.0, 0.0, 4 * 2 / WIDTH, 0.0, 1.0, 2 * 2 / HEIGHT)


def picture(samples: np.ndarray) -> Picture:
    return Picture((np.ascontiguousarray(samples, np.uint8),), GRAY)


def align_pair(
    clip: Picture, ref: Picture | None, settings: AlignSettings, geometry: tuple[float, ...] = SAME_PICTURE, mask=None
) -> Aligned:
    """One pair alone."""
    seen = observe_pair(Pair(0, clip, ref, mask), settings)
    warp = None if seen is None else settled_warp([seen], 0, geometry, clip, VIDEO)
    return lay(clip, ref, warp, VIDEO, settings)


@pytest.fixture
def scene() -> np.ndarray:
    return texture(3, WIDTH + 8, HEIGHT + 8)


def test_a_moved_clip_comes_to_lie_on_its_ref(scene: np.ndarray):
    clip, ref = picture(scene[2 : 2 + HEIGHT, 4 : 4 + WIDTH]), picture(scene[:HEIGHT, :WIDTH])
    aligned = align_pair(clip, ref, AlignSettings())
    inner = (slice(12, -12), slice(12, -12))
    difference = aligned.picture.planes[0][inner].astype(float) - ref.planes[0][inner]
    assert np.abs(difference).mean() < 1.5 and aligned.confidence > 0.5


def test_a_pair_that_tells_nothing_gets_the_films_geometry(scene: np.ndarray):
    clip, black = picture(scene[:HEIGHT, :WIDTH]), picture(np.full((HEIGHT, WIDTH), 16))
    aligned = align_pair(clip, black, AlignSettings(), MOVED)
    assert aligned.confidence == 0.0
    assert np.array_equal(aligned.picture.planes[0][:-2, :-4], clip.planes[0][2:, 4:])


def test_a_pair_that_tells_something_does_not_need_the_films_geometry(scene: np.ndarray):
    clip, ref = picture(scene[2 : 2 + HEIGHT, 4 : 4 + WIDTH]), picture(scene[:HEIGHT, :WIDTH])
    plain = align_pair(clip, ref, AlignSettings()).picture
    told = align_pair(clip, ref, AlignSettings(), MOVED).picture
    assert np.array_equal(plain.planes[0], told.planes[0])


def test_without_warp_the_clip_is_only_scaled(scene: np.ndarray):
    clip = picture(scene[:HEIGHT, :WIDTH])
    same = align_pair(clip, None, AlignSettings(warp=False), MOVED)
    assert np.array_equal(same.picture.planes[0], clip.planes[0]) and same.confidence == 1.0


def test_every_setting_reaches_the_library(scene: np.ndarray, monkeypatch: pytest.MonkeyPatch):
    asked = []
    monkeypatch.setattr("tasks.align.observe", lambda clip, ref, settings, mask: asked.append((settings, mask)))
    clip, mask = picture(scene[:HEIGHT, :WIDTH]), torch.ones(1, 1, 4, 4)
    settings = AlignSettings(
        precision=4, engine="rife", weights="w", wide_search=True, lq_input=True, iterations=3, exact_peer=True
    )
    observe_pair(Pair(0, clip, clip, mask), settings)
    (got, got_mask) = asked[0]
    wanted = {"precision": 4, "engine": "rife", "weights": "w", "iterations": 3}
    assert {name: getattr(got, name) for name in wanted} == wanted
    assert got.wide_search and got.lq_input and got.exact_peer and got_mask is mask


@pytest.mark.parametrize("show", ["keep", "ref", "black", "white"])
def test_what_mismatches_is_shown_as_asked_and_counted(scene: np.ndarray, show: str, monkeypatch: pytest.MonkeyPatch):
    clip, ref = picture(scene[:HEIGHT, :WIDTH]), picture(np.full((HEIGHT, WIDTH), 77))
    differs = torch.zeros(1, 1, HEIGHT, WIDTH)
    differs[..., :24, :64] = 0.9
    differs[..., 60:, :] = 0.4
    monkeypatch.setitem(sys.modules, "vsalign.likeness", SimpleNamespace(mismatch=lambda *_: differs))
    aligned = align_pair(clip, ref, AlignSettings(mismatch=show))
    shown = aligned.picture.planes[0]
    kept = align_pair(clip, ref, AlignSettings()).picture.planes[0]
    assert np.array_equal(shown[40:], kept[40:])
    if show == "keep":
        assert np.array_equal(shown, kept) and aligned.mismatched == 0.0
    else:
        assert (shown[:24, :64] == {"ref": 77, "black": 16, "white": 235}[show]).all()
        assert aligned.mismatched == pytest.approx(24 * 64 / (HEIGHT * WIDTH))


def test_a_picture_without_mismatch_is_kept_to_the_last_bit(scene: np.ndarray, monkeypatch: pytest.MonkeyPatch):
    clip, ref = picture(scene[2 : 2 + HEIGHT, 4 : 4 + WIDTH]), picture(scene[:HEIGHT, :WIDTH])
    none = SimpleNamespace(mismatch=lambda *_: torch.zeros(1, 1, HEIGHT, WIDTH))
    monkeypatch.setitem(sys.modules, "vsalign.likeness", none)
    shown = align_pair(clip, ref, AlignSettings(mismatch="ref")).picture
    assert np.array_equal(shown.planes[0], align_pair(clip, ref, AlignSettings()).picture.planes[0])

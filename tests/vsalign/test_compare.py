"""Comparing frames by their signatures: correlation in whole numbers, blocks and order without any effect."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

import vsalign.band
from tests.vsalign.movies import film, signed, worn
from vsalign.band import cost_band, moved_band
from vsalign.compare import UNITS, Seen, View, unlike
from vsalign.geometry import Geometry
from vsalign.signature import DETAIL_BYTES, detail, sign
from vsalign.thumb import SIGNATURE_BYTES, THUMB_HEIGHT, THUMB_WIDTH

Floats = npt.NDArray[np.float32]
IDENTITY = View.of(Geometry.identity())
#: No multiple of a pixel, so that every pixel is mixed of four.
BENT = View.of(Geometry.of_affine(np.array([[0.97, 0.01, 0.03], [0.0, 1.02, -0.02]])))


def compared(ref: Seen, clip: Seen) -> Floats:
    """1 - correlation of all pairs (A,B)."""
    out = np.empty((len(ref.scale), len(clip.scale)), np.float32)
    unlike(ref, clip, np.zeros(len(out), np.int64), out)
    return out


def test_a_frame_is_not_unlike_itself_and_its_negative_is_as_unlike_as_can_be() -> None:
    seen = IDENTITY.of_ref(signed(6, shot=2))
    assert np.diag(compared(seen, IDENTITY.of_clip(signed(6, shot=2)))) == pytest.approx(0, abs=1e-6)
    negative = IDENTITY.of_clip(sign(255 - film(6, shot=2)))
    assert np.diag(compared(seen, negative)).min() > 1.99


def test_ref_and_clip_may_be_exchanged() -> None:
    ours, theirs = signed(6, shot=2), sign(worn(film(6, shot=2)))
    one = compared(IDENTITY.of_ref(ours), IDENTITY.of_clip(theirs))
    other = compared(IDENTITY.of_ref(theirs), IDENTITY.of_clip(ours))
    assert np.abs(one.T - other).max() < 1e-6


def test_it_is_the_correlation_of_the_details_away_from_the_edges() -> None:
    ours, theirs = signed(5, shot=2), sign(worn(film(5, shot=2)))
    inner = [detail(s)[:, 4:-4, 4:-4].reshape(5, -1).astype(np.float64) for s in (ours, theirs)]
    a, b = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in inner)
    assert compared(IDENTITY.of_ref(ours), IDENTITY.of_clip(theirs)) == pytest.approx(1 - a @ b.T, abs=1e-5)


@pytest.mark.parametrize("view", [IDENTITY, BENT], ids=["as it is", "bent"])
def test_the_greatest_details_do_not_overflow(view: View) -> None:
    """Any steps from -7 to 7, and frames that are 7 everywhere."""
    packed = np.random.default_rng(0).integers(1, 16, (2, 3, DETAIL_BYTES), np.uint8)
    signatures = np.zeros((4, SIGNATURE_BYTES), np.uint8)
    signatures[:3, :DETAIL_BYTES], signatures[3] = packed[0] | packed[1] << 4, 0xFF
    inner = detail(signatures)[:, 4:-4, 4:-4].reshape(4, -1).astype(np.float64)
    unit = inner / np.linalg.norm(inner, axis=1, keepdims=True)
    found = compared(IDENTITY.of_ref(signatures), IDENTITY.of_clip(signatures))
    assert found == pytest.approx(1 - unit @ unit.T, abs=1e-5)
    assert np.diag(compared(view.of_clip(signatures), view.of_clip(signatures))) == pytest.approx(0, abs=1e-6)
    assert (view.of_clip(signatures[3:]).pixels == 7 * UNITS).all()


def test_a_black_frame_is_like_nothing_and_has_no_texture() -> None:
    black = IDENTITY.of_ref(sign(np.zeros((1, THUMB_HEIGHT, THUMB_WIDTH), np.uint8)))
    assert black.texture[0] == 0 and black.scale[0] == 0
    both = Seen(
        *(np.concatenate([getattr(s, f) for s in (black, IDENTITY.of_clip(signed(2)))]) for f in ("pixels", "scale", "texture"))
    )
    assert (compared(black, both) == 1).all()


def test_dust_on_a_black_frame_is_no_texture() -> None:
    dusty = sign(np.zeros((1, THUMB_HEIGHT, THUMB_WIDTH), np.uint8))
    dusty[0, 1001:1004] = 0x99  # six pixels, one step each
    assert IDENTITY.of_ref(dusty).scale[0] == 0


def test_frames_beyond_the_clip_are_as_unlike_as_strangers() -> None:
    seen = IDENTITY.of_ref(signed(2))
    out = np.zeros((2, 6), np.float32)
    unlike(seen, IDENTITY.of_clip(signed(2)), np.array([-2, -1]), out)
    assert (out[0, [0, 1, 4, 5]] == 1).all() and (out[1, [0, 3, 4, 5]] == 1).all()
    assert out[0, 2] < 1e-6 and out[1, 2] < 1e-6


def test_a_clip_that_lies_elsewhere_is_seen_where_the_geometry_puts_it() -> None:
    """The clip shows at (x, y) what the ref shows at 0.96 (x, y) + (0.05, -0.04)."""
    clip, ref = sign(film(4, shot=1, scale=(0.96, 0.96), shift=(0.05, -0.04))), signed(4, shot=1)
    there = Geometry.of_affine(np.array([[1 / 0.96, 0, -0.05 / 0.96], [0, 1 / 0.96, 0.04 / 0.96]]))
    view = View.of(there)
    assert np.diag(compared(view.of_ref(ref), view.of_clip(clip))).max() < 0.05
    assert np.diag(compared(IDENTITY.of_ref(ref), IDENTITY.of_clip(clip))).min() > 0.3


def test_pixels_are_mixed_in_shares_whose_sums_are_exact_in_any_order() -> None:
    assert np.array_equal(BENT.share * 4096, np.rint(BENT.share * 4096))
    assert BENT.share.sum(0) == pytest.approx(1, abs=1e-3)


def test_pixels_that_only_one_film_has_do_not_count() -> None:
    """The clip shows the right half of the ref: its own right half may hold anything, as may the ref's left half."""
    half = View.of(Geometry.of_affine(np.array([[1.0, 0, -1.0], [0, 1.0, 0]])))
    ref, clip = film(3, shot=1).copy(), np.roll(film(3, shot=1), -THUMB_WIDTH // 2, axis=2)
    ref[:, :, : THUMB_WIDTH // 2 - 16] = film(3, seed=4)[:, :, : THUMB_WIDTH // 2 - 16]
    clip[:, :, THUMB_WIDTH // 2 + 16 :] = film(3, seed=5)[:, :, : THUMB_WIDTH // 2 - 16]
    assert np.diag(compared(half.of_ref(sign(ref)), half.of_clip(sign(clip)))).max() < 0.15
    nowhere = View.of(Geometry.of_affine(np.array([[1.0, 0, 5.0], [0, 1.0, 0]])))
    assert (compared(nowhere.of_ref(signed(2)), nowhere.of_clip(signed(2))) == 1).all()


@pytest.mark.parametrize("view", [IDENTITY, BENT], ids=["as it is", "bent"])
def test_a_band_is_the_same_bit_for_bit_however_its_rows_are_blocked(view: View, monkeypatch: pytest.MonkeyPatch) -> None:
    ref, clip = signed(60, shot=20), sign(worn(film(60, shot=20)))
    first = np.arange(60, dtype=np.int64) - 6
    first[30:] += 9
    whole = cost_band(ref, clip, view, first, 13)
    every = compared(view.of_ref(ref), view.of_clip(clip))
    for i, k in [(0, 6), (20, 3), (29, 12), (30, 0), (59, 2)]:
        j = first[i] + k
        assert whole.unlike[i, k] == (every[i, j] if 0 <= j < 60 else 1)
    for size, span in ((1, 1500), (7, 1500), (384, 17)):
        monkeypatch.setattr(vsalign.band, "BLOCK", size)
        monkeypatch.setattr(vsalign.band, "MOST_SPAN", span)
        again = cost_band(ref, clip, view, first, 13)
        assert np.array_equal(again.unlike, whole.unlike) and np.array_equal(again.texture, whole.texture)


def test_a_moved_band_equals_one_made_anew() -> None:
    ref, clip = signed(50, shot=20), sign(worn(film(50, shot=20)))
    first = np.arange(50, dtype=np.int64) - 5
    other = first.copy()
    other[10:13] += 4
    other[40:] -= 7
    moved = moved_band(cost_band(ref, clip, IDENTITY, first, 11), ref, clip, IDENTITY, other)
    anew = cost_band(ref, clip, IDENTITY, other, 11)
    assert np.array_equal(moved.unlike, anew.unlike) and np.array_equal(moved.first, other)
    assert np.array_equal(moved.texture, anew.texture)

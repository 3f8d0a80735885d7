from __future__ import annotations

from dataclasses import replace

import av
import cv2
import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor

from tests.synth import CLIPS
from vsalign.homography import move
from vsalign.wide import WideMatch, agreement, find_homography, is_possible, is_sure, level_positions

Image = npt.NDArray[np.float32]
Array = npt.NDArray[np.float64]
SIZE = (270, 480)


def scene(height: int = 540, width: int = 960, seed: int = 0) -> Image:
    """Random blots of every size with hard edges, in [0, 1]."""
    random, total = np.random.default_rng(seed), np.zeros((height, width), np.float32)
    for cell in (6, 12, 24, 48, 96):
        noise = random.standard_normal((height // cell + 3, width // cell + 3)).astype(np.float32)
        blots = cv2.resize(noise, (width + cell, height + cell), interpolation=cv2.INTER_CUBIC)[:height, :width]
        total += np.tanh(3 * blots) * cell**0.3
    return cv2.GaussianBlur((total - total.min()) / np.ptp(total), (0, 0), 1)


def shown(source: Image, source_from_picture: Array, size: tuple[int, int] = SIZE) -> Image:
    """``source`` through a homography; every pixel is the mean of 4 x 4 samples around its centre."""
    fine = source_from_picture @ np.array([[0.25, 0, -0.375], [0, 0.25, -0.375], [0, 0, 1]])
    large = cv2.warpPerspective(source, fine, (size[1] * 4, size[0] * 4), flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP)
    return cv2.resize(large, (size[1], size[0]), interpolation=cv2.INTER_AREA).clip(0, 1)


def view(scale: float, middle: tuple[float, float] = (480, 270), size: tuple[int, int] = SIZE, turn: float = 0) -> Array:
    """Scene pixel from picture pixel: a picture whose middle shows ``middle``, with ``scale`` scene pixels per pixel."""
    c, s = scale * np.cos(np.deg2rad(turn)), scale * np.sin(np.deg2rad(turn))
    to_middle = np.array([[1, 0, -(size[1] - 1) / 2], [0, 1, -(size[0] - 1) / 2], [0, 0, 1]])
    return np.array([[c, -s, middle[0] - 0.5], [s, c, middle[1] - 0.5], [0, 0, 1]]) @ to_middle


def luma(image: npt.NDArray[np.floating]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(image, dtype=np.float32))[None, None]


def search(clip: Image, ref: Image, mask: npt.NDArray[np.bool_] | None = None) -> WideMatch | None:
    return find_homography(luma(clip), luma(ref), None if mask is None else torch.from_numpy(mask)[None, None])


def errors(found: WideMatch | None, truth: Array, ref_size: tuple[int, int] = SIZE, clip_size: tuple[int, int] = SIZE) -> Array:
    """Distances in clip pixels at the ref's pixels that lie on the clip."""
    assert found is not None and found.clip_from_ref[2, 2] == 1
    y, x = np.mgrid[0 : ref_size[0] : 4, 0 : ref_size[1] : 4]
    points = np.stack([x, y], -1).reshape(-1, 2).astype(float)
    true = move(truth, points)
    on_clip = ((true >= 0) & (true < [clip_size[1], clip_size[0]])).all(1)
    return np.asarray(np.linalg.norm(move(found.clip_from_ref, points) - true, axis=1)[on_clip])


def test_a_picture_lies_exactly_on_itself() -> None:
    picture = shown(scene(), view(1.9))
    found = search(picture, picture)
    assert errors(found, np.eye(3)).max() < 0.05
    assert found is not None and found.clip_from_ref.dtype == np.float64
    assert found.overlap == 1 and found.inlier_share > 0.9 and found.agreement > 0.95 and found.doubt_px < 0.5


@pytest.mark.parametrize("large", ["clip", "ref"])
def test_half_the_size_is_half_the_coordinates_counted_from_the_edge(large: str) -> None:
    big = shown(scene(), view(1), (540, 960))
    small = cv2.resize(big, (480, 270), interpolation=cv2.INTER_AREA)
    clip, ref = (big, small) if large == "clip" else (small, big)
    factor = clip.shape[0] / ref.shape[0]
    truth = np.array([[factor, 0, factor / 2 - 0.5], [0, factor, factor / 2 - 0.5], [0, 0, 1]])
    found = search(clip, ref)
    assert errors(found, truth, ref.shape, clip.shape).max() < 0.15 * max(1, factor)
    assert found is not None
    middle = np.array([[(ref.shape[1] - 1) / 2, (ref.shape[0] - 1) / 2]])
    assert np.abs(move(found.clip_from_ref, middle) - move(truth, middle)).max() < 0.05 * max(1, factor)


@pytest.mark.parametrize(
    ("scale", "turn"), [(0.4, 0), (2.5, 0), (0.5, 45), (2.0, -45), (1.0, 45), (1.0, -30), (0.4, -40), (2.5, 20), (1.3, 10)]
)
def test_scale_and_rotation_are_found_with_shear_and_perspective(scale: float, turn: float) -> None:
    bent = np.array([[1, 0.15, 0], [0, 1, 0], [5e-5, -5e-5, 1]])
    wide, close = (1.9, 1.9 * scale) if scale < 1 else (1.9 / scale, 1.9)
    from_clip, from_ref = view(wide, (500, 260), turn=turn) @ bent, view(close)
    found = search(shown(scene(), from_clip), shown(scene(), from_ref))
    assert errors(found, np.linalg.inv(from_clip) @ from_ref).mean() < 0.5


@pytest.mark.parametrize(
    ("clip_size", "ref_size"), [((270, 360), (270, 480)), ((270, 480), (360, 480)), ((288, 352), (200, 480))]
)
def test_other_crops_and_shapes_are_found(clip_size: tuple[int, int], ref_size: tuple[int, int]) -> None:
    from_clip, from_ref = view(1.2, (520, 260), clip_size), view(1.0, (470, 280), ref_size)
    from_clip = from_clip @ np.diag([1.2, 1, 1])
    found = search(shown(scene(), from_clip, clip_size), shown(scene(), from_ref, ref_size))
    assert errors(found, np.linalg.inv(from_clip) @ from_ref, ref_size, clip_size).mean() < 0.3


def test_crushed_contrast_gamma_and_noise_cost_little() -> None:
    from_clip, from_ref = view(1.0, (520, 260), turn=12), view(1.3)
    noise = np.random.default_rng(1).normal(0, 0.001, SIZE).astype(np.float32)
    clip = shown(scene(), from_clip) ** 1.8 * 0.04 + 0.1 + noise
    assert errors(search(clip, shown(scene(), from_ref)), np.linalg.inv(from_clip) @ from_ref).mean() < 0.4


def test_flat_tiny_and_broken_pictures_are_refused() -> None:
    picture, flat = shown(scene(), view(1.9)), np.full(SIZE, 0.5, np.float32)
    assert search(flat, picture) is None and search(picture, flat) is None and search(flat, flat) is None
    assert search(picture, picture * 0.01 + 0.5) is None
    assert search(picture, np.full(SIZE, np.nan, np.float32)) is None
    for size in ((8, 8), (1, 1), (3, 500), (16, 16)):
        small = cv2.resize(picture, (size[1], size[0]), interpolation=cv2.INTER_AREA)
        assert search(small, picture) is None
        assert search(small, small) is None


@pytest.mark.parametrize("seed", range(4))
def test_noise_and_unrelated_pictures_are_refused(seed: int) -> None:
    random = np.random.default_rng(seed)
    noise = random.random((2, *SIZE)).astype(np.float32)
    assert search(noise[0], noise[1]) is None
    assert search(shown(scene(seed=seed), view(1.9)), shown(scene(seed=seed + 50), view(1.9))) is None


def test_a_mirrored_picture_is_refused() -> None:
    picture = shown(scene(), view(1.9))
    assert search(picture[:, ::-1], picture) is None
    assert search(picture[::-1], picture) is None


@pytest.mark.parametrize("moved", [False, True])
def test_a_logo_that_unrelated_pictures_share_is_no_match(moved: bool) -> None:
    clip, ref = shown(scene(seed=1), view(1.9)), shown(scene(seed=2), view(1.9))
    logo = shown(scene(seed=3), view(2.5, size=(100, 130)), (100, 130))
    clip[20:120, 30:160] = logo
    y, x = (140, 60) if moved else (20, 30)
    ref[y : y + 100, x : x + 130] = logo
    assert search(clip, ref) is None


def test_pixels_must_agree_even_where_many_features_do() -> None:
    clip, ref = shown(scene(seed=1), view(1.9)), shown(scene(seed=2), view(1.9))
    same = np.zeros(SIZE, bool)
    # Scattered all over, so that features alone would hold the homography fast.
    for y in range(0, 240, 80):
        for x in range(0, 440, 80):
            same[y : y + 48, x : x + 48] = True
    assert search(clip, np.where(same, clip, ref)) is None


def test_what_only_a_corner_holds_fast_is_refused() -> None:
    picture = np.full(SIZE, 0.5, np.float32)
    picture[20:100, 20:100] = shown(scene(), view(1.5, size=(80, 80)), (80, 80))
    noise = np.random.default_rng(0).normal(0, 0.02, SIZE).astype(np.float32)
    assert search(picture + noise, picture) is None


@pytest.mark.parametrize(("shift", "found"), [(300, True), (420, False)])
def test_a_narrow_strip_in_common_is_refused(shift: int, found: bool) -> None:
    clip, ref = shown(scene(), view(1, (270, 270))), shown(scene(), view(1, (270 + shift, 270)))
    assert (search(clip, ref) is not None) == found


def test_the_mask_decides_which_of_two_answers_is_found() -> None:
    whole, from_clip = scene(), view(1.9)
    clip = shown(whole, from_clip)
    from_left, from_right = view(1.0, (420, 330), turn=20), view(1.2, (500, 250), turn=-15)
    left = np.zeros(SIZE, bool)
    left[:, :240] = True
    ref = np.where(left, shown(whole, from_left), shown(whole, from_right))
    for mask, from_ref in ((~left, from_left), (left, from_right)):
        assert errors(search(clip, ref, mask), np.linalg.inv(from_clip) @ from_ref).mean() < 1
    assert search(clip, ref) is None
    assert search(clip, ref, np.ones(SIZE, bool)) is None


def test_equal_input_gives_equal_output_on_any_number_of_threads() -> None:
    clip, ref = shown(scene(), view(1.5, turn=20)), shown(scene(), view(1.2))
    before, answers = (torch.get_num_threads(), cv2.getNumThreads()), []
    try:
        for threads in (1, 4, 1):
            torch.set_num_threads(threads)
            cv2.setNumThreads(threads)
            answers.append(search(clip, ref))
    finally:
        torch.set_num_threads(before[0])
        cv2.setNumThreads(before[1])
    first = answers[0]
    assert first is not None
    for other in answers[1:]:
        assert other is not None and other.clip_from_ref.tobytes() == first.clip_from_ref.tobytes()
        assert (other.num_inliers, other.log10_chance, other.doubt_px) == (
            first.num_inliers,
            first.log10_chance,
            first.doubt_px,
        )


def test_shapes_that_do_not_fit_are_named() -> None:
    with pytest.raises(ValueError, match=r"clip has shape \(1, 3, 8, 8\)"):
        find_homography(torch.zeros(1, 3, 8, 8), torch.zeros(1, 1, 8, 8), None)
    with pytest.raises(ValueError, match=r"mask has shape \(1, 1, 8, 9\)"):
        find_homography(torch.zeros(1, 1, 8, 8), torch.zeros(1, 1, 8, 8), torch.zeros(1, 1, 8, 9, dtype=torch.bool))


IMPOSSIBLE = {
    "mirrored": [[-1, 0, 479], [0, 1, 0], [0, 0, 1]],
    "horizon": [[1, 0, 0], [0, 1, 0], [-1 / 300, 0, 1]],
    "behind": [[1, 0, 0], [0, 1, 0], [0, -1 / 100, 1]],
    "tilted": [[1, 0, 0], [0, 1, 0], [-1 / 900, 0, 1]],
    "tiny": [[0.2, 0, 100], [0, 0.2, 100], [0, 0, 1]],
    "huge": [[5, 0, -1000], [0, 5, -500], [0, 0, 1]],
    "squeezed": [[1.6, 0, -100], [0, 0.5, 50], [0, 0, 1]],
    "elsewhere": [[1, 0, 450], [0, 1, 0], [0, 0, 1]],
    "broken": [[np.nan, 0, 0], [0, 1, 0], [0, 0, 1]],
    "flat": [[1, 1, 0], [1, 1, 0], [0, 0, 1]],
}


@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_what_two_versions_of_a_frame_cannot_be_is_impossible(name: str) -> None:
    assert not is_possible(np.array(IMPOSSIBLE[name], float), SIZE, SIZE)


def test_size_limits_count_in_pictures_not_pixels() -> None:
    assert is_possible(np.eye(3), SIZE, SIZE)
    assert is_possible(np.diag([8.0, 8, 1]), SIZE, (270 * 8, 480 * 8))
    assert not is_possible(np.diag([8.0, 8, 1]), SIZE, SIZE)


@pytest.mark.parametrize("spoilt", [{"log10_chance": -2.0}, {"doubt_px": 9.0}, {"agreement": 0.4}, {"doubt_px": np.inf}])
def test_one_bad_number_is_enough_to_refuse(spoilt: dict[str, float]) -> None:
    sure = WideMatch(np.eye(3), 40, 0.5, log10_chance=-20.0, doubt_px=1.0, overlap=0.5, agreement=0.9)
    assert is_sure(sure, SIZE)
    assert not is_sure(replace(sure, **spoilt), SIZE)


def test_a_pixel_of_a_coarser_level_lies_in_the_middle_of_those_it_covers() -> None:
    positions = level_positions(np.diag([2.0, 2, 1]), (3, 4), 2)
    assert positions[0, :, 0, 0].tolist() == [3, 3] and positions[0, :, 2, 3].tolist() == [27, 19]


def test_pixels_agree_at_the_true_place_only() -> None:
    from_clip, from_ref = view(0.9, turn=30), view(1.7)
    clip, ref = luma(shown(scene(), from_clip)), luma(shown(scene(), from_ref))
    truth = np.linalg.inv(from_clip) @ from_ref
    assert agreement(truth, clip, ref, None) > 0.9
    assert agreement(np.array([[1, 0, 20], [0, 1, 0], [0, 0, 1]]) @ truth, clip, ref, None) < 0.3


def film_frame(name: str, index: int) -> Image:
    if not (CLIPS / name).exists():
        pytest.skip(f"{name} is not in {CLIPS}")
    with av.open(str(CLIPS / name)) as container:
        for number, frame in enumerate(container.decode(video=0)):
            if number == index:
                return frame.to_ndarray(format="gray").astype(np.float32) / 255
    raise IndexError(index)


@pytest.mark.film
def test_two_releases_of_a_film_lie_on_each_other() -> None:
    clip, ref = film_frame("bbb_720p24_vp8.webm", 98), film_frame("bbb_480p24_h264.mp4", 100)
    x, y = clip.shape[1] / ref.shape[1], clip.shape[0] / ref.shape[0]
    truth = np.array([[x, 0, x / 2 - 0.5], [0, y, y / 2 - 0.5], [0, 0, 1]])
    assert errors(search(clip, ref), truth, ref.shape, clip.shape).mean() < 1.5


@pytest.mark.film
def test_a_squeezed_crop_of_live_action_is_found() -> None:
    clip, ref = film_frame("mdn_rabbit_720x480_h264.mp4", 60), film_frame("mdn_rabbit_320x240_vp8.webm", 60)
    # Known: with the clip at 320x240, x = 160 + 0.9778 (x_ref - 160) - 0.27.
    truth = np.array([[2.25, 0, 0.625], [0, 2, 0.5], [0, 0, 1]]) @ np.array(
        [[0.9778, 0, 160 * 0.0222 - 0.27], [0, 1, 0], [0, 0, 1]]
    )
    assert errors(search(clip, ref), truth, ref.shape, clip.shape).mean() < 1


@pytest.mark.film
def test_different_scenes_of_films_are_refused() -> None:
    pictures = [
        film_frame("chaplin_360p25.mp4", 40),
        film_frame("mdn_elf_h264.mp4", 30),
        film_frame("bbb_480p24_h264.mp4", 120),
    ]
    for clip in pictures:
        assert [search(clip, ref) is None for ref in pictures].count(False) == 1

import cv2
import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor

from tests.films import texture
from vsalign.likeness import mismatch
from vsalign.warp import Warp, scale_positions

HEIGHT, WIDTH = 144, 192
Image = npt.NDArray[np.float32]


def still(height: int = HEIGHT, width: int = WIDTH) -> Warp:
    positions = scale_positions((height, width), (height, width))
    return Warp(positions, torch.ones_like(positions[:, :1]))


def scene(seed: int = 0) -> Image:
    """Texture on the right, a soft sky on the left."""
    ground = texture(seed, WIDTH, HEIGHT) / 255 * 0.7 + 0.1
    sky = np.tile(np.linspace(0.4, 0.6, HEIGHT, dtype=np.float32)[:, None], (1, WIDTH))
    share = np.clip((np.arange(WIDTH, dtype=np.float32) - 70) / 20, 0, 1)
    return np.asarray(ground * share + sky * (1 - share), dtype=np.float32)


def tensor(image: Image) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(image))[None, None]


LOOKS = {
    "clean": lambda a, noise: a,
    "graded": lambda a, noise: a**1.5 * 0.8 + 0.05 + 0.02 * noise,
    "soft": lambda a, noise: cv2.GaussianBlur(a, (0, 0), 1.0) * 1.05,
    "grainy": lambda a, noise: (
        (cv2.GaussianBlur(a, (0, 0), 1.2) - 0.1) / 0.75 + 0.06 * cv2.GaussianBlur(noise, (0, 0), 0.7) / 0.4
    ),
}


def look(name: str, image: Image, seed: int = 5) -> Image:
    noise = np.random.default_rng(seed).standard_normal(image.shape).astype(np.float32)
    return np.asarray(np.clip(LOOKS[name](image, noise), 0, 1), dtype=np.float32)


def title(image: Image) -> tuple[Image, npt.NDArray[np.bool_]]:
    """White lettering with a black border over sky and ground, and where it is."""
    out, drawn = image, np.zeros(image.shape, np.bool_)
    for thickness, value in ((6, 0.0), (2, 1.0)):
        ink = np.zeros(image.shape, np.uint8)
        cv2.putText(ink, "Two films", (12, 110), cv2.FONT_HERSHEY_DUPLEX, 1.0, 255, thickness, cv2.LINE_AA)
        out = np.where(ink > 127, np.float32(value), out)
        drawn |= ink > 127
    return out, drawn


def patch(image: Image) -> tuple[Image, npt.NDArray[np.bool_]]:
    """A part of the ground painted over with its mean."""
    out, drawn = image.copy(), np.zeros(image.shape, np.bool_)
    drawn[30:80, 110:170] = True
    out[drawn] = image[drawn].mean()
    return out, drawn


def far_from(drawn: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    return cv2.dilate(drawn.astype(np.uint8), np.ones((9, 9), np.uint8)) == 0


@pytest.mark.parametrize("name", LOOKS)
def test_the_same_picture_in_another_look_is_no_mismatch(name: str) -> None:
    out = mismatch(tensor(look(name, scene())), tensor(scene()), still())
    assert out.shape == (1, 1, HEIGHT, WIDTH)
    assert 0 <= float(out.min()) <= float(out.max()) <= 1
    assert float((out > 0.5).float().mean()) < 0.02


@pytest.mark.parametrize("name", LOOKS)
@pytest.mark.parametrize("on_clip", [True, False])
@pytest.mark.parametrize("draw", [title, patch])
def test_what_only_one_side_shows_is_found_and_nothing_else(name: str, on_clip: bool, draw) -> None:  # type: ignore[no-untyped-def]
    marked, drawn = draw(scene())
    clip, ref = (look(name, marked), scene()) if on_clip else (look(name, scene()), marked)
    out = mismatch(tensor(clip), tensor(ref), still())[0, 0].numpy()
    clear = drawn & (cv2.blur(np.abs(marked - scene()), (9, 9)) > 0.1)
    assert (out[clear] > 0.5).mean() > 0.9
    assert (out[far_from(drawn)] > 0.5).mean() < (0.03 if name == "clean" else 0.06)


def test_flat_pictures_are_the_same_whatever_their_level() -> None:
    dark, light = torch.full((1, 1, 60, 80), 0.1), torch.full((1, 1, 60, 80), 0.8)
    assert float(mismatch(dark, light, still(60, 80)).max()) < 0.05


def test_grain_alone_does_not_count_and_neither_does_its_lack() -> None:
    flat = np.full((HEIGHT, WIDTH), 0.5, np.float32)
    for clip, ref in (
        (look("grainy", flat), flat),
        (flat, look("grainy", flat)),
        (look("grainy", flat), look("grainy", flat, 6)),
    ):
        assert float((mismatch(tensor(clip), tensor(ref), still()) > 0.5).float().mean()) < 0.01


def test_another_picture_or_none_is_a_mismatch_where_either_shows_something() -> None:
    ground = np.s_[..., 100:]
    for other in (scene(3), np.zeros_like(scene())):
        for clip, ref in ((other, scene()), (scene(), other)):
            assert float((mismatch(tensor(clip), tensor(ref), still())[ground] > 0.5).float().mean()) > 0.7


def test_outside_the_clip_is_1() -> None:
    positions = scale_positions((HEIGHT, WIDTH), (HEIGHT, WIDTH)) - torch.tensor([20.0, 0]).view(1, 2, 1, 1)
    moved = np.roll(scene(), 20, axis=1)
    out = mismatch(tensor(scene()), tensor(moved), Warp(positions, torch.ones(1, 1, HEIGHT, WIDTH)))
    assert (out[..., :19] == 1).all()
    assert float((out[..., 26:] > 0.5).float().mean()) < 0.01


def test_nothing_inside_is_all_1_and_odd_and_tiny_sizes_work() -> None:
    for height, width in ((7, 5), (1, 1), (31, 47)):
        plain = still(height, width)
        picture = torch.rand(1, 1, height, width)
        assert mismatch(picture, picture, plain).shape == (1, 1, height, width)
        away = Warp(plain.clip_from_ref + 1000, plain.confidence)
        assert (mismatch(picture, picture, away) == 1).all()


def test_colour_is_weighed_to_luma_and_every_pair_stands_alone() -> None:
    a, b = title(scene())[0], scene()
    gray = mismatch(tensor(a), tensor(b), still())
    both = Warp(still().clip_from_ref.repeat(2, 1, 1, 1), still().confidence.repeat(2, 1, 1, 1))
    clips, refs = (torch.cat([tensor(x), tensor(y)]).repeat(1, 3, 1, 1) for x, y in ((a, b), (b, b)))
    out = mismatch(clips, refs, both)
    assert torch.allclose(out[:1], gray, atol=1e-3)
    assert float(out[1:].max()) < 0.01


def test_shapes_that_do_not_belong_together_are_refused() -> None:
    with pytest.raises(ValueError, match="do not belong together"):
        mismatch(torch.rand(1, 1, 20, 20), torch.rand(1, 1, 30, 30), still(20, 20))
    with pytest.raises(ValueError, match="do not belong together"):
        mismatch(torch.rand(1, 3, 20, 20), torch.rand(1, 1, 20, 20), still(20, 20))


def test_fine_detail_that_differs_is_not_taken_for_noise() -> None:
    random = np.random.default_rng(8)
    a, b = (np.kron(random.integers(0, 2, (60, 80)), np.ones((2, 2))).astype(np.float32) for _ in range(2))
    assert float((mismatch(tensor(a), tensor(b), still(120, 160)) > 0.5).float().mean()) > 0.8

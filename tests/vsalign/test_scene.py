import pytest
import torch
from torch import Tensor

from tests.synth import CLIPS
from tests.vsalign.film import film_frame
from tests.vsalign.pictures import grainy, texture
from vsalign.scene import same_scene, scene_thumb


def same(a: Tensor, b: Tensor) -> bool:
    answers = {same_scene(scene_thumb(a), scene_thumb(b)), same_scene(scene_thumb(b), scene_thumb(a))}
    assert len(answers) == 1
    return answers.pop()


def slow_texture(seed: int = 0) -> Tensor:
    """As a film frame: mostly large detail."""
    return torch.nn.functional.avg_pool2d(texture(480, 720, seed), 3)


def test_thumbs_have_one_size_and_no_slow_shading() -> None:
    for size in ((240, 320), (9, 700), (1, 1)):
        assert scene_thumb(torch.rand(2, 1, *size)).shape == (2, 1, 36, 64)
    picture = slow_texture()
    shade = torch.linspace(0, 0.4, 240).expand(1, 1, 160, 240)
    assert (scene_thumb(picture + shade) - scene_thumb(picture))[..., 8:-8, 8:-8].abs().max() < 0.01
    assert scene_thumb(picture + 0.2).mean().abs() < 0.01


def test_grain_grading_flicker_and_a_slow_pan_are_no_cut() -> None:
    picture = slow_texture()
    assert same(picture, picture)
    assert same(grainy(picture, 1, 0.1), grainy(picture, 2, 0.1))
    assert same(picture, picture**1.6 * 0.6 + 0.2)
    assert same(picture, picture * 0.4)
    assert same(picture[..., :-4], picture[..., 4:])


def test_another_picture_is_a_cut_even_a_negative_or_a_mirrored_one() -> None:
    picture = slow_texture()
    assert not any(same(picture, slow_texture(seed)) for seed in range(1, 12))
    assert not same(picture, 1 - picture)
    assert not same(picture, picture.flip(-1))
    assert not same(picture, torch.roll(picture, 80, -1))


def test_a_picture_without_detail_belongs_to_every_scene() -> None:
    picture, black = slow_texture(), torch.zeros(1, 1, 160, 240)
    shade = torch.linspace(0.2, 0.8, 240).expand(1, 1, 160, 240)
    for blank in (black, black + 1, grainy(black + 0.5, 1, 0.01), shade):
        assert same(picture, blank)
    assert same(black, black)
    assert not same(slow_texture() * 0.15, slow_texture(1) * 0.15), "a dark scene has detail still"


@pytest.mark.film
@pytest.mark.parametrize("name", ["bbb_480p24_h264.mp4", "chaplin_360p25.mp4", "sam2_juggle_720p24.mp4"])
def test_neighbouring_frames_of_a_film_are_of_one_scene_and_films_are_not(name: str) -> None:
    assert CLIPS is not None
    assert same(film_frame(name, 40), film_frame(name, 41))
    other = "mdn_elf_h264.mp4"
    assert not same(film_frame(name, 40), film_frame(other, 30))

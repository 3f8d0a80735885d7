"""The rough map between rasters and its inverse."""

import math

import pytest
import torch
from torch.testing import assert_close

from tests.vsalign.pictures import SIZE, constant, curved, texture
from vsalign import wide
from vsalign.basemap import BaseMap
from vsalign.pyramid import from_cells, to_cells
from vsalign.warp import scale_positions

Rows = tuple[tuple[float, float, float], ...]
CLIP_SIZE = (90, 260)


def turned(degrees: float, scale: float = 1.0, x: float = 0.0, y: float = 0.0, tilt: float = 0.0) -> Rows:
    c, s = scale * math.cos(math.radians(degrees)), scale * math.sin(math.radians(degrees))
    return ((c, -s, x), (s, c, y), (tilt, -tilt / 2, 1.0))


TILTED = turned(20, 1.3, 12, -30, 4e-4)
MAPS = {
    "the same size": BaseMap(SIZE, SIZE),
    "another size": BaseMap(CLIP_SIZE, SIZE),
    "a homography": BaseMap(CLIP_SIZE, SIZE, TILTED, searched_wide=True),
    "none found": BaseMap(CLIP_SIZE, SIZE, None, searched_wide=True),
}


def slow() -> torch.Tensor:
    return curved() - scale_positions(SIZE, SIZE)


@pytest.mark.parametrize("base", MAPS.values(), ids=MAPS)
def test_positions_and_displacement_undo_each_other(base: BaseMap) -> None:
    displacement = slow()
    positions = base.positions(displacement)
    assert positions.shape == (1, 2, *SIZE) and positions.dtype == torch.float32
    assert_close(base.displacement(positions), displacement, atol=2e-4, rtol=0)


def test_no_displacement_between_equal_sizes_is_the_identity_to_the_bit() -> None:
    base, nothing = BaseMap(SIZE, SIZE), torch.zeros(1, 2, *SIZE)
    assert torch.equal(base.positions(nothing), scale_positions(SIZE, SIZE))
    assert torch.equal(base.displacement(scale_positions(SIZE, SIZE)), nothing)
    assert base.is_scaling and not base.scales


def test_a_displacement_counts_in_ref_pixels_along_each_axis() -> None:
    base = BaseMap.scaling(torch.zeros(2, 3, *CLIP_SIZE), torch.zeros(2, 3, *SIZE))
    assert base.sizes == (CLIP_SIZE, SIZE) and base.scales and base.is_scaling
    moved = base.positions(constant(4.0, -2.0).expand(1, 2, *SIZE)) - scale_positions(CLIP_SIZE, SIZE)
    # 260 / 208 and 90 / 144 clip pixels per ref pixel.
    assert_close(moved, constant(5.0, -1.25).expand_as(moved), atol=1e-4, rtol=0)


def test_the_displacement_comes_before_the_homography() -> None:
    base = BaseMap(CLIP_SIZE, SIZE, TILTED, searched_wide=True)
    positions, (x, y) = base.positions(constant(3.0, 2.0).expand(1, 2, *SIZE)), (50 + 3.0, 20 + 2.0)
    (a, b, c), (d, e, f), (g, h, i) = TILTED
    w = g * x + h * y + i
    assert positions[0, 0, 20, 50] == pytest.approx((a * x + b * y + c) / w, abs=1e-3)
    assert positions[0, 1, 20, 50] == pytest.approx((d * x + e * y + f) / w, abs=1e-3)
    assert not base.is_scaling


@pytest.mark.parametrize("cell", [1, 4, 8])
def test_displacement_of_another_map_leads_to_the_same_clip_positions(cell: int) -> None:
    one = BaseMap(CLIP_SIZE, SIZE, turned(20, 1.3, 12, -30, 4e-4), searched_wide=True)
    other = BaseMap(CLIP_SIZE, SIZE, turned(20.5, 1.28, 10, -28, 3e-4), searched_wide=True)
    for mine, theirs in ((one, other), (other, one), (BaseMap(CLIP_SIZE, SIZE), BaseMap(CLIP_SIZE, SIZE))):
        field = to_cells(slow(), cell)
        as_mine = mine.displacement_of(theirs, field, cell)
        assert as_mine.shape == field.shape
        inner = (..., slice(8, -8), slice(8, -8))
        gap = mine.positions(from_cells(as_mine, SIZE, cell)) - theirs.positions(from_cells(field, SIZE, cell))
        assert gap[inner].abs().max() < (2e-3 if cell == 1 else 0.05)


def test_inside_is_the_clips_picture() -> None:
    positions = torch.tensor([[-0.6, -0.4, 259.4, 259.6, 100.0, 100.0], [5.0, 5.0, 5.0, 5.0, 89.4, 89.6]]).view(1, 2, 1, 6)
    assert BaseMap(CLIP_SIZE, SIZE).inside(positions).flatten().tolist() == [0, 1, 1, 0, 1, 0]


def test_the_report_tells_found_from_not_found_from_not_looked_for() -> None:
    assert MAPS["another size"].report() is None
    nothing, found = MAPS["none found"].report(), MAPS["a homography"].report()
    assert nothing is not None and nothing.shape == (1, 3, 3) and nothing.dtype == torch.float64 and nothing.isnan().all()
    assert found is not None and torch.equal(found, torch.tensor([TILTED], dtype=torch.float64))


def test_a_search_keeps_the_sizes_and_says_that_it_was_made(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(wide, "find_homography", lambda *pictures: asked.append(pictures))
    clip, ref, distrust = texture(), texture(seed=1), torch.zeros(1, 1, *SIZE, dtype=torch.bool)
    base = BaseMap.scaling(clip, ref).searched(clip, ref, distrust)
    assert base == BaseMap(SIZE, SIZE, None, searched_wide=True)
    assert [x is y for x, y in zip(asked[0], (clip, ref, distrust), strict=True)] == [True] * 3

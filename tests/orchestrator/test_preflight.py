"""What inputs ask of the output's format."""

from __future__ import annotations

from dataclasses import replace

import pytest

from orchestrator.preflight import _with_matrix
from tasks.messages import Probe
from tests.factories import inputs_of
from vsalign.picture import MATRIX_BT601, MATRIX_BT709, MATRIX_UNSPECIFIED, ColourTags


def film_of(height: int, matrix: int = MATRIX_UNSPECIFIED, pixel_format: str = "yuv420p") -> Probe:
    probe = inputs_of().clip
    info = replace(probe.info, height=height, colour=ColourTags(matrix=matrix), pixel_format=pixel_format)
    return replace(probe, info=info)


@pytest.mark.parametrize(
    ("height", "out_lines", "matrix"),
    [
        (720, 480, MATRIX_BT709),
        (1080, 576, MATRIX_BT709),
        (480, 1080, MATRIX_BT601),
        (1080, 720, MATRIX_UNSPECIFIED),
        (480, 576, MATRIX_UNSPECIFIED),
    ],
)
def test_an_untagged_film_keeps_its_colours_when_its_size_changes_how_players_read_it(height: int, out_lines: int, matrix: int):
    assert _with_matrix(film_of(height), out_lines).info.colour.matrix == matrix


def test_a_tag_and_a_picture_without_matrix_are_left_alone():
    assert _with_matrix(film_of(1080, matrix=9), 480).info.colour.matrix == 9
    assert _with_matrix(film_of(1080, pixel_format="gbrp"), 480).info.colour.matrix == MATRIX_UNSPECIFIED

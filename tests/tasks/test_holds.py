"""Which streams a container can hold, asked of the muxers themselves."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks.holds import holders, not_held
from tests.extras import with_extras
from tests.synth import Audio, Video, make_film


@pytest.fixture(scope="module")
def ref(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ref")
    return with_extras(make_film(folder / "picture.mkv", Video(num_frames=3)), folder / "ref.mkv", chapters=())


def test_text_bitmaps_fonts_and_covers_go_where_the_container_has_a_place_for_them(ref: Path):
    """Streams 1 and 2 are AAC and FLAC, 3 to 5 subtitles, 6 and 7 fonts, 8 the cover."""
    everything = range(1, 9)
    assert not_held(str(ref), "", everything, "matroska") == ()
    assert not_held(str(ref), "", everything, "mp4") == (3, 4, 5, 6, 7)
    assert not_held(str(ref), "", everything, "mov") == (2, 3, 4, 5, 6, 7, 8)
    assert holders(str(ref), "", everything) == (".mkv",) and holders(str(ref), "", [1]) == (".mkv", ".mp4", ".mov")


@pytest.mark.parametrize(("codec", "refused"), [("libopus", "mov"), ("flac", "mov")])
def test_sound_that_a_muxer_refuses_only_with_its_header_is_found(tmp_path: Path, codec: str, refused: str):
    film = make_film(tmp_path / "film.mkv", Video(num_frames=3), audio=[Audio(1, codec=codec)])
    assert not_held(str(film), "", [1], refused) == (1,) and not_held(str(film), "", [1], "matroska") == ()


def test_text_of_mp4_has_no_place_in_matroska(tmp_path: Path):
    picture = make_film(tmp_path / "picture.mkv", Video(num_frames=3))
    film = with_extras(
        picture, tmp_path / "ref.mp4", audio=(("aac", "eng"),), subtitles=("mov_text",), attached=False, seconds=1
    )
    assert not_held(str(film), "", [2], "matroska") == (2,) and holders(str(film), "", [2]) == (".mp4", ".mov")

"""What inputs ask of the output's format."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.config import JobConfig, job_config
from orchestrator.inputs import Inputs
from orchestrator.outpicture import with_matrix
from orchestrator.preflight import load_frame_map, look_at_sources
from tasks.messages import Probe, Source
from tasks.remote import bytes_fetched, source_size, source_version
from tasks.sources import find_probe, write_probe
from tasks.store import file_sha256, open_store
from tests.factories import inputs_of
from tests.s3 import S3Bucket
from tests.synth import Video, cut_file, make_film
from vsalign.errors import InputError
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
    assert with_matrix(film_of(height), height, out_lines).info.colour.matrix == matrix


def test_a_tag_and_a_picture_without_matrix_are_left_alone():
    assert with_matrix(film_of(1080, matrix=9), 1080, 480).info.colour.matrix == 9
    assert with_matrix(film_of(1080, pixel_format="gbrp"), 1080, 480).info.colour.matrix == MATRIX_UNSPECIFIED


# --- sources in an object store


@pytest.fixture
def bucket(s3: S3Bucket) -> str:
    return s3.name


def put(bucket: str, local: Path, name: str = "") -> str:
    from tasks.objectclients import file_system

    file_system("s3").pipe_file(f"{bucket}/{name or local.name}", local.read_bytes())
    return f"s3://{bucket}/{name or local.name}"


def job_of(folder: Path, clip: str, ref: str, **sections: dict[str, object]) -> JobConfig:
    return job_config({"clip": clip, "ref": ref, "out": str(folder / "out.mkv"), **sections}, "test")


def begin(config: JobConfig, inputs: Inputs) -> None:
    """Leave in the job directory what opening the job leaves there."""
    store = open_store(config.job_location)
    write_probe(store, "clip", inputs.clip)
    write_probe(store, "ref", inputs.ref)
    store.replace("job.json", b"{}")


def fetched_by(look: Callable[[], Inputs]) -> tuple[Inputs, int]:
    before = bytes_fetched()
    return look(), bytes_fetched() - before


def test_a_job_reads_a_remote_film_once(bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    films = [make_film(tmp_path / name, Video(first_frame=n)) for n, name in enumerate(("clip.mkv", "ref.mkv"))]
    config = job_of(tmp_path, *(put(bucket, film) for film in films))
    first, cost = fetched_by(lambda: look_at_sources(config))
    assert cost > 1000 and first.clip.info.version
    local = look_at_sources(job_of(tmp_path, *map(str, films)))
    assert (first.clip.info.identity, first.ref.info.identity) == (local.clip.info.identity, local.ref.info.identity)
    begin(config, first)
    monkeypatch.setenv("VSALIGN_CACHE", str(tmp_path / "another machine"))
    again, cost = fetched_by(lambda: look_at_sources(config))
    assert cost == 0 and again.clip.info == first.clip.info and (again.ref.index.pts == first.ref.index.pts).all()


def test_a_remote_film_that_another_of_its_length_replaced_is_noticed(bucket: str, tmp_path: Path) -> None:
    lossless = {"qp": "0", "preset": "ultrafast"}
    clip, other = (make_film(tmp_path / f"{n}.mkv", Video(first_frame=n, options=lossless)) for n in (0, 9))
    size = max(clip.stat().st_size, other.stat().st_size) + 10
    for film in (clip, other):  # a Void element of Matroska fills up
        with film.open("ab") as file:
            room = size - film.stat().st_size
            file.write(b"\xec" + bytes([0x80 | (room - 2)]) + bytes(room - 2))
    config = job_of(tmp_path, put(bucket, clip, "clip.mkv"), str(clip))
    first = look_at_sources(config)
    begin(config, first)
    put(bucket, other, "clip.mkv")
    again, cost = fetched_by(lambda: look_at_sources(config))
    assert cost > 1000 and again.clip.info.size_bytes == first.clip.info.size_bytes
    assert again.clip.info.identity != first.clip.info.identity


def test_a_saved_probe_counts_only_for_a_job_that_began_and_takes_cut_films(bucket: str, tmp_path: Path) -> None:
    whole = make_film(tmp_path / "whole.mkv", Video(num_frames=60))
    config = job_of(tmp_path, put(bucket, cut_file(whole, 0.6), "clip.mkv"), str(whole), run={"allow_truncated": True})
    begin(config, look_at_sources(config))
    with pytest.raises(InputError, match="--allow-truncated"):
        look_at_sources(job_of(tmp_path, config.clip, config.ref))
    store, film = open_store(config.job_location), Source(config.clip)
    version, size = source_version(config.clip), source_size(config.clip)
    assert find_probe(store, "clip", film, version, size)
    for other in ((Source(config.clip, 1), version, size), (film, "x", size), (film, version, size + 1), (film, "", size)):
        assert find_probe(store, "clip", *other) is None
    store.remove(["job.json"])
    assert find_probe(store, "clip", film, version, size) is None


def test_mask_and_frame_map_may_be_remote(bucket: str, tmp_path: Path) -> None:
    film = make_film(tmp_path / "film.mkv", Video(num_frames=4))
    mask = make_film(tmp_path / "mask.png", Video(num_frames=1, codec="png", pixel_format="rgb24"), format="image2")
    (tmp_path / "map.csv").write_text("ref_frame,clip_frame\n" + "".join(f"{n},{n}\n" for n in range(4)))
    sections = {"align": {"mask": put(bucket, mask)}, "sync": {"mode": "map", "frame_map": put(bucket, tmp_path / "map.csv")}}
    config = job_of(tmp_path, str(film), str(film), **sections)
    assert look_at_sources(config).mask_sha256 == file_sha256(mask)
    assert list(load_frame_map(config, 4, 4).clip_frame) == [0, 1, 2, 3]
    missing = job_of(tmp_path, str(film), str(film), sync={"mode": "map", "frame_map": f"s3://{bucket}/no.csv"})
    with pytest.raises(InputError, match=r"no\.csv: can't be read"):
        load_frame_map(missing, 4, 4)


def test_what_cannot_be_had_of_a_store_is_one_line(bucket: str, tmp_path: Path) -> None:
    film = str(make_film(tmp_path / "film.mkv", Video(num_frames=4)))
    for sections, said in (
        ({"clip": f"s3://{bucket}/no.mkv"}, f"s3://{bucket}/no.mkv: no such file"),
        ({"align": {"mask": f"s3://{bucket}/no.png"}}, f"--mask s3://{bucket}/no.png: no such file"),
        (
            {"align": {"engine": "rife", "weights": f"s3://{bucket}/no.pkl"}},
            "accepted is the path of a file that every machine",
        ),
    ):
        config = job_config({"clip": film, "ref": film, "out": str(tmp_path / "out.mkv"), **sections}, "test")
        with pytest.raises(InputError, match=said) as caught:
            look_at_sources(config)
        assert "\n" not in str(caught.value)

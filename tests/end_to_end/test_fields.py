"""Interlaced and telecined sources from end to end: refused, or filtered alike in every chunk."""

from __future__ import annotations

import hashlib
import json
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from orchestrator.cli import run
from tasks.probe import parse_source, probe
from tests.fieldfilms import FFV1, X264_TFF, pulled_down, woven, write
from tests.films import film, graded

FILM = Fraction(24000, 1001)


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A film of 60 frames, telecined and not; and one of 120 half frames, interlaced and every second of them whole."""
    folder = tmp_path_factory.mktemp("films")
    frames = film(60, shot=12)  # drifts in many directions: none looks like the clip being shifted
    write(folder / "film.mkv", frames, "libx264", {"preset": "ultrafast", "crf": "12"}, rate=FILM)
    write(folder / "telecined.mkv", pulled_down(graded(frames)), "libx264", X264_TFF)
    fast = film(120, shot=24)
    write(folder / "whole.mkv", fast[::2], rate=Fraction(25))
    write(folder / "fields.mkv", woven(graded(fast)), "ffv1", FFV1, rate=Fraction(25))
    return folder


def render(clip: str, ref: str, *arguments: str, out: str = "out.mkv", status: int = 0) -> None:
    given = [clip, ref, "-o", out, "--pool", "local", "--quiet", "--no-warp", "--codec", "ffv1", *arguments]
    assert run(["render", *given]) == status


def frames_of(path: str) -> list[str]:
    with av.open(path) as container:
        return [hashlib.sha256(frame.to_ndarray().tobytes()).hexdigest() for frame in container.decode(video=0)]


def mapped(folder: str = "out.mkv.vsalign") -> list[str]:
    return [line.split(",")[1] for line in Path(folder, "map.csv").read_text().splitlines()[1:]]


def scans(folder: str = "out.mkv.vsalign") -> set[str]:
    return {path.name for path in Path(folder, "done").glob("scan-*")}


@pytest.mark.parametrize("command", ["render", "plan", "sync"])
def test_fields_are_refused_before_anything_is_written(command: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(here.iterdir())
    out = {"render": ["-o", "out.mkv", "--pool", "local"], "plan": [], "sync": ["-o", "map.csv", "--pool", "local"]}[command]
    assert run([command, "telecined.mkv", "film.mkv", *out]) == 2
    assert "clip is telecined (3:2)" in (told := capsys.readouterr().err) and "--detelecine" in told
    assert run([command, "whole.mkv", "fields.mkv", *out, "--detelecine"]) == 2
    assert "ref is interlaced" in (told := capsys.readouterr().err) and "--deinterlace bwdif" in told
    assert sorted(here.iterdir()) == before


def test_a_telecined_clip_is_the_film_again_frame_by_frame(here: Path) -> None:
    render("telecined.mkv", "film.mkv", "--detelecine", "--chunk-frames", "60")
    assert mapped() == [str(n) for n in range(60)]
    render("telecined.mkv", "film.mkv", "--detelecine", "--chunk-frames", "17", out="many.mkv")
    assert frames_of("many.mkv") == frames_of("out.mkv")


def test_an_interlaced_clip_gives_a_frame_for_each_of_its_frames(here: Path) -> None:
    render("fields.mkv", "whole.mkv", "--deinterlace", "bwdif", "--chunk-frames", "60")
    assert mapped() == [str(n) for n in range(60)]
    render("fields.mkv", "whole.mkv", "--deinterlace", "bwdif", "--chunk-frames", "13", out="many.mkv")
    assert frames_of("many.mkv") == frames_of("out.mkv")


def test_a_telecined_ref_gives_the_output_the_films_times(here: Path) -> None:
    render("film.mkv", "telecined.mkv", "--detelecine")
    assert mapped() == [str(n) for n in range(60)]
    out = probe(parse_source("out.mkv"))
    assert len(out.index) == 60 and out.info.field_order in ("progressive", "unknown")
    assert np.abs(out.index.seconds() - np.arange(60) * 1001 / 24000).max() < 1e-3


def test_another_field_setting_makes_only_that_sources_work_stale(here: Path) -> None:
    render("fields.mkv", "whole.mkv", "--keep-interlaced")
    before = scans()
    render("fields.mkv", "whole.mkv", "--deinterlace", "bwdif", "--overwrite")
    assert {name.split("-")[1] for name in scans() - before} == {"clip"}, "ref's are used again"
    report = json.loads(Path("out.mkv.vsalign/report.json").read_text())
    assert any("made frames by bwdif (top field first)" in line for line in report["notices"])

"""What ``vsalign sync`` says and draws about a film that was cut, and a map that its user corrected."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from orchestrator.cli import run
from tests.films import film, graded, write_film

#: The clip starts 5 frames into the ref, lacks 12 of its frames, and ends as it does.
LATE, CUT = 5, (70, 82)
TOLD = [
    "clip starts 0.21 s later (ref's first 5 frames are not in the clip)",
    "12 frames missing from the clip at 00:00:02.917 (ref frames [70, 82))",
]


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("films")
    frames = film(140)
    write_film(folder / "ref.mkv", frames)
    write_film(folder / "clip.mkv", graded(np.concatenate([frames[LATE : CUT[0]], frames[CUT[1] :]])))
    return folder


def sync(*arguments: str, status: int = 0) -> None:
    assert run(["sync", "clip.mkv", "ref.mkv", *arguments]) == status


def test_the_cut_is_told_and_drawn_and_nothing_else_is_left(here: Path, capsys: pytest.CaptureFixture[str]):
    sync("-o", "map.csv", "--edits", "--plot", "map.png")
    summary, *told = capsys.readouterr().out.splitlines()
    assert summary.startswith("map.csv: 12") and " of 140 ref frames matched; score " in summary and told == TOLD
    assert cv2.imread("map.png") is not None
    assert sorted(path.name for path in here.iterdir()) == ["clip.mkv", "map.csv", "map.png", "ref.mkv"]


def test_quiet_leaves_what_was_asked_for(here: Path, capsys: pytest.CaptureFixture[str]):
    sync("-o", "map.csv", "--offset", "-5", "--quiet", "--edits")
    assert capsys.readouterr().out.splitlines()[0] == TOLD[0]
    sync("-o", "again.csv", "--offset", "-5", "--quiet")
    assert capsys.readouterr().out == ""


def test_a_map_is_described_as_its_user_left_it_and_stays_as_it_is(here: Path, capsys: pytest.CaptureFixture[str]):
    rows = [f"{n},{n - 5 if 5 <= n < 128 else ''}" for n in range(140)]
    Path("mine.csv").write_text("\n".join(["ref_frame,clip_frame", *rows]))
    before = Path("mine.csv").read_bytes()
    sync("--frame-map", "mine.csv", "--edits", "--plot", "mine.svg")
    assert capsys.readouterr().out.splitlines() == [
        "mine.csv: 123 of 140 ref frames matched",
        TOLD[0],
        "clip ends 0.50 s earlier (ref's last 12 frames are not in the clip)",
    ]
    assert Path("mine.csv").read_bytes() == before and Path("mine.svg").read_text().startswith("<?xml")
    assert not list(here.glob("*.vsalign"))
    sync("--frame-map", "mine.csv", "-o", "whole.csv")
    assert Path("whole.csv").read_text().splitlines()[6] == "5,0,0.0,1.0,edited"
    assert Path("mine.csv").read_bytes() == before


def test_a_film_against_itself_has_no_edits(here: Path, capsys: pytest.CaptureFixture[str]):
    assert run(["sync", "ref.mkv", "ref.mkv", "-o", "map.csv", "--offset", "0", "-q", "--edits"]) == 0
    assert capsys.readouterr().out == "no edits: both films show the same frames in the same order\n"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["-o", "map.csv", "--plot", "map.jpg"], "--plot map.jpg: accepted is a path that ends in .png or .svg"),
        (["-o", "map.csv", "--plot", "no/map.png"], "no/map.png: the folder no does not exist"),
        (["-o", "map.csv", "--plot", "there.png"], "there.png exists; --overwrite replaces it"),
        (["-o", "map.png", "--plot", "map.png"], "--plot map.png is OUT itself"),
        (["--frame-map", "no.csv", "--edits"], "--frame-map no.csv: can't be read"),
        (["--frame-map", "short.csv", "--edits"], "--frame-map short.csv: frame map line 2: the end"),
        (["--frame-map", "short.csv", "--offset", "3"], "exclude each other"),
        (["--edits"], "-o MAP is missing; wanted: the CSV to write, or --frame-map MAP"),
    ],
)
def test_what_cannot_be_done_is_one_line_before_any_work(
    here: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], told: str
):
    Path("there.png").write_bytes(b"mine")
    Path("short.csv").write_text("ref_frame,clip_frame\n0,0\n")
    names = sorted(path.name for path in here.iterdir())
    sync(*arguments, status=2)
    error = capsys.readouterr().err.splitlines()
    assert len(error) == 1 and told in error[0]
    assert sorted(path.name for path in here.iterdir()) == names and Path("there.png").read_bytes() == b"mine"


def test_overwrite_replaces_the_picture_too(here: Path):
    Path("map.png").write_bytes(b"old")
    Path("map.csv").write_bytes(b"old")
    sync("-o", "map.csv", "--offset", "-5", "--plot", "map.png", "--overwrite", "-q")
    assert cv2.imread("map.png") is not None and Path("map.csv").read_bytes() != b"old"


def test_the_report_of_a_render_lists_the_edits(here: Path, capsys: pytest.CaptureFixture[str]):
    arguments = ["--offset", "-5", "--no-warp", "--audio", "none", "--pool", "local"]
    assert run(["render", "clip.mkv", "ref.mkv", "-o", "out.mkv", *arguments]) == 0
    report = json.loads(Path("out.mkv.vsalign/report.json").read_text())
    kinds = [(edit["kind"], edit["ref_frames"], edit["clip_frames"]) for edit in report["edits"]]
    assert kinds == [("start", [0, 5], [0, 0]), ("end", [128, 140], [123, 123])]
    lines = capsys.readouterr().out.splitlines()
    at = lines.index(f"edits     {TOLD[0]}")
    assert lines[at + 1] == "          clip ends 0.50 s earlier (ref's last 12 frames are not in the clip)"

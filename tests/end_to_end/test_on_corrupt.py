"""Damaged films from the command line: stop, repeat or skip-chunk, each told in plain words and with nothing lost."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import pytest

from orchestrator.cli import run
from tasks.decode import FrameReader
from tasks.probe import parse_source, probe
from tasks.work import Record
from tests.films import film, graded, write_film, write_pair
from tests.synth import linear_hashes
from tests.tasks.test_format_matrix import still_of
from tests.tasks.test_read_damage import noise, spoilt

NUM, CHUNK = 60, 20
COMMON = ["--pool", "local", "--quiet", "--chunk-frames", str(CHUNK), "--no-warp"]
JOB = Path("out.mkv.vsalign")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A pair in whose clip frames 25 and 26 are damaged; each frame stands alone there."""
    monkeypatch.chdir(tmp_path)
    write_pair(tmp_path, NUM, 0)
    whole = write_film(tmp_path / "whole.mkv", graded(film(NUM)), codec="ffv1", crf=None)
    spoilt(whole, tmp_path / "clip.mkv", [25, 26], noise)
    return tmp_path


def spoil_ref() -> None:
    """Its frame 50 too, which no chunk looks at: nothing is warped."""
    Path("ref.mkv").unlink()
    spoilt(write_film(Path("whole_ref.mkv"), film(NUM), codec="ffv1", crf=None, sound=True), Path("ref.mkv"), [50], noise)


def render(*options: str) -> int:
    return run(["render", "clip.mkv", "ref.mkv", "-o", "out.mkv", *COMMON, *options])


def records(kind: str) -> list[Record]:
    return [Record.from_json(path.read_bytes()) for path in sorted((JOB / "done").glob(f"{kind}-*.json"))]


def test_the_first_stage_that_meets_damage_stops_the_run_at_once(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert render() == 1
    error = capsys.readouterr().err
    line = f"{here}/clip.mkv: frame 25 at 00:00:01.042 is damaged: "
    assert error.count(line) == 1 and "--on-corrupt repeat" in error and "Traceback" not in error
    assert not Path("out.mkv").exists() and not records("render")
    assert [path.name for path in (JOB / "logs").glob("scan-clip*-2*")] == [], "it was not tried again"


def test_damaged_frames_are_repeated_and_told_and_what_was_whole_is_reused(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spoil_ref()
    assert render() == 1
    assert render("--on-corrupt", "repeat") == 0
    chunks = records("render")
    assert [record.facts.get("replaced_clip_frames") for record in chunks] == [None, "25-26", None]
    assert chunks[1].facts["replaced_clip"] == 2 and chunks[1].facts["replaced_clip_times"] == "00:00:01.042 00:00:01.083"
    report = json.loads((JOB / "report.json").read_bytes())
    told = {"count": 2, "frames": "25-26", "times": ["00:00:01.042", "00:00:01.083"], "as_later": 0}
    assert report["damage"] == {"clip": told, "ref": {"count": 1, "frames": "50", "times": ["00:00:02.083"], "as_later": 0}}
    text = (JOB / "report.txt").read_text()
    assert "damage    clip: 2 damaged frames shown as the last whole one before, at 00:00:01.042, 00:00:01.083\n" in text
    assert "damage    ref: 1 damaged frame shown" in text

    # A chunk with repeated frames serves nobody who wants none; the others do.
    Path("out.mkv").unlink()
    assert render() == 1
    error = capsys.readouterr().err
    assert "frame 25 at 00:00:01.042 is damaged" in error
    assert render("--on-corrupt", "repeat") == 0
    assert Path("out.mkv").exists()


def test_chunks_that_need_a_damaged_frame_are_left_out_and_all_others_done(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert render("--on-corrupt", "skip-chunk") == 1
    assert "frame 25 at 00:00:01.042 is damaged" in (JOB / "report.txt").read_text()
    report = json.loads((JOB / "report.json").read_bytes())
    assert len(report["parked"]) == 1 and report["run"]["failures"] == {"damage": 1}
    assert [record.inputs["frames"] for record in records("render")] == ["[0, 20)", "[40, 60)"]
    assert not Path("out.mkv").exists()
    capsys.readouterr()
    assert render("--on-corrupt", "repeat") == 0
    report = json.loads((JOB / "report.json").read_bytes())
    assert report["complete"] and {stage["name"]: stage["reused_units"] for stage in report["stages"]}["render"] == 2


def test_a_job_whose_films_are_whole_does_not_depend_on_the_policy(here: Path) -> None:
    Path("whole.mkv").replace("clip.mkv")
    assert render() == 0
    once = Path("out.mkv").read_bytes()
    Path("out.mkv").unlink()
    assert render("--on-corrupt", "repeat") == 0
    assert Path("out.mkv").read_bytes() == once
    assert json.loads((JOB / "report.json").read_bytes())["damage"] == {}


def test_a_film_repaired_in_its_middle_is_done_anew_where_it_was_damaged(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing that tells one file from another changes with it: of a long film its ends and its table of packets do."""
    monkeypatch.setattr("tasks.packets._MIB", 1 << 10)
    assert render("--on-corrupt", "repeat") == 0
    repeated, damaged = linear_hashes(Path("out.mkv")), probe(parse_source("clip.mkv")).info.identity
    Path("whole.mkv").replace("clip.mkv")
    assert probe(parse_source("clip.mkv")).info.identity == damaged
    assert render("--overwrite") == 0
    solves = records("solve")
    assert len(solves) == 2 and solves[0].inputs["scans"] != solves[1].inputs["scans"]
    assert not any(record.facts.get("replaced_clip") for record in records("render"))
    repaired = linear_hashes(Path("out.mkv"))
    assert {25, 26} <= {n for n in range(NUM) if repaired[n] != repeated[n]} <= set(range(CHUNK, 2 * CHUNK))
    assert render("--overwrite") == 0
    stages = [stage["name"] for stage in json.loads((JOB / "report.json").read_bytes())["stages"]]
    assert stages == ["scan", "solve", "render"], "finished already: nothing to join"


def test_an_image_sequence_is_rendered_as_the_film_it_is(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = probe(parse_source("whole.mkv"))
    with FrameReader(found) as reader:
        for n, picture in reader.pictures(range(NUM)):
            Path(f"shot_{n + 1001:04d}.png").write_bytes(still_of(picture, "png", "gray"))
    assert run(["render", "shot_%04d.png#fps:24", "ref.mkv", "-o", "out.mkv", *COMMON]) == 0
    assert len(probe(parse_source("out.mkv")).index) == NUM
    film_of_its_own = linear_hashes(Path("out.mkv"))
    Path("out.mkv").unlink()
    Path("whole.mkv").replace("clip.mkv")
    assert run(["render", "clip.mkv", "ref.mkv", "-o", "out.mkv", "--job", "other", *COMMON]) == 0
    assert [pts for pts, _ in linear_hashes(Path("out.mkv"))] == [pts for pts, _ in film_of_its_own]
    Path("out.mkv").unlink()
    Path("shot_1030.png").unlink()
    capsys.readouterr()
    assert run(["resume", str(JOB)]) == 2
    assert "1 of the numbers from 1001 to 1060 have no file, the first is shot_1030.png" in capsys.readouterr().err


def test_an_image_sequence_serves_as_ref(here: Path) -> None:
    Path("whole.mkv").replace("clip.mkv")
    with FrameReader(probe(parse_source("ref.mkv"))) as reader:
        for n, picture in reader.pictures(range(NUM)):
            Path(f"ref_{n + 1001:04d}.png").write_bytes(still_of(picture, "png", "rgb24"))
    assert run(["render", "clip.mkv", "ref_%04d.png#fps:24000/1001", "-o", "out.mp4", *COMMON]) == 0
    index = probe(parse_source("out.mp4")).index
    assert [pts * index.time_base for pts in index.pts.tolist()] == [n * Fraction(1001, 24000) for n in range(NUM)]

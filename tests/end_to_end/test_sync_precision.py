"""Frames matched by whole pictures, in jobs: what comes out, what is reused, what survives a kill, what is refused."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

import tasks.metrics
from orchestrator.cli import run
from tasks.decode import FrameReader
from tasks.metrics import find_metric
from tasks.probe import parse_source, probe
from tests.films import film, graded, write_film
from tests.vsalign.randomnet import random_weights
from vsalign import pluginmetric, topiq
from vsalign.published import TOPIQ_FR

ROOT = Path(__file__).parent.parent.parent
NUM_FRAMES = 120
#: The clip starts 4 frames into the ref, lacks these of its frames, and holds one for three.
LATE, CUT, HELD = 4, (60, 69), 95


def edited(frames: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The clip's frames, and the ref frame that each shows."""
    shows = np.r_[LATE : CUT[0], CUT[1] : HELD, HELD, HELD, HELD:NUM_FRAMES]
    return frames[shows], shows


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("films")
    frames = film(NUM_FRAMES)
    write_film(folder / "ref.mkv", frames)
    clip, _ = edited(frames)
    write_film(folder / "clip.mkv", clip)
    write_film(folder / "larger.mkv", enlarged(clip), pixel_format="yuv422p10le")
    write_film(folder / "graded.mkv", enlarged(graded(clip, (0, 0))), pixel_format="yuv422p10le")
    return folder


def enlarged(frames: np.ndarray) -> np.ndarray:
    """The films' inner part, 180 x 120 instead of 90 x 60."""
    return np.stack([cv2.resize(f[2:62, 3:93], (180, 120), interpolation=cv2.INTER_CUBIC) for f in frames])


def sync(*arguments: str, clip: str = "clip.mkv", out: str = "map.csv", status: int = 0) -> None:
    assert run(["sync", clip, "ref.mkv", "-o", out, "--quiet", *arguments]) == status


def rows(path: str = "map.csv") -> tuple[np.ndarray, np.ndarray]:
    """Clip frame, -1 for none, and cost of every ref frame."""
    cells = [line.split(",") for line in Path(path).read_text().splitlines()[1:]]
    return np.array([int(c[1] or -1) for c in cells]), np.array([float(c[2]) for c in cells])


def assert_edits_are_found(path: str = "map.csv") -> None:
    """Every ref frame that the clip shows has a clip frame that shows it; all others have none."""
    found, (_, shows) = rows(path)[0], edited(np.zeros(NUM_FRAMES))
    there = np.isin(np.arange(NUM_FRAMES), shows)
    assert np.array_equal(found >= 0, there)
    assert np.array_equal(shows[found[there]], np.flatnonzero(there))


@pytest.mark.parametrize("select", ["path", "argmin"])
def test_whole_pictures_find_the_edits_of_a_real_film(here: Path, select: str):
    sync("--precision", "1", "--select", select)
    assert_edits_are_found()
    matched = rows()[0] >= 0
    assert rows()[1][matched].max() < 0.02, "costs are those of the pictures"
    assert sorted(path.name for path in here.iterdir()) == ["clip.mkv", "graded.mkv", "larger.mkv", "map.csv", "ref.mkv"]


@pytest.mark.parametrize("select", ["path", "argmin"])
def test_a_clip_of_another_size_crop_and_format_is_compared_where_both_show_the_same(here: Path, select: str):
    sync("--precision", "1", "--select", select, clip="larger.mkv")
    assert_edits_are_found()


def test_the_plugins_metric_finds_them_too(here: Path):
    try:
        find_metric(2, "cpu")
    except ValueError:
        pytest.skip("no plugin is installed")
    sync("--precision", "2", clip="graded.mkv")
    assert_edits_are_found()


def test_the_network_compares_with_the_weights_of_the_users_folder(here: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("VSALIGN_WEIGHTS", str(here / "weights"))
    (here / "weights").mkdir()
    path = here / "weights" / TOPIQ_FR.file_name
    torch.save({"params": random_weights()}, path)
    published = replace(TOPIQ_FR, sha256=hashlib.sha256(path.read_bytes()).hexdigest())
    for module in (topiq, tasks.metrics):
        monkeypatch.setattr(module, "TOPIQ_FR", published)
    for name in ("clip", "ref"):
        write_film(here / f"{name}.mkv", film(30))
    sync("--precision", "3", "--tr", "2", "--select", "argmin", "--device", "cpu", "--job", "job")
    units = [json.loads(path.read_text()) for path in Path("job/done").glob("compare-*")]
    assert [unit["inputs"]["metric"] for unit in units] == [f"TOPIQ {published.sha256}"]
    # Which frames weights that learned nothing prefer does not matter; that they look at the frames of the same moment does.
    assert np.abs(rows()[0] - np.arange(30)).max() <= 2
    metric, frame = topiq.Topiq(half_storage=True), int(rows()[0][12])
    with FrameReader(probe(parse_source("clip.mkv"))) as clip, FrameReader(probe(parse_source("ref.mkv"))) as ref:
        pair = metric.features(next(ref.pictures([12]))[1]), metric.features(next(clip.pictures([frame]))[1])
    assert rows()[1][12] == pytest.approx(max(float(metric.costs([pair])[0]), 0), abs=1e-5)


def render(*arguments: str, status: int = 0) -> None:
    still = ["--no-warp", "--audio", "none", "--pool", "local", "--overwrite", "--chunk-frames", "15"]
    assert run(["render", "clip.mkv", "ref.mkv", "-o", "out.mkv", *still, *arguments]) == status


def test_a_render_uses_the_map_and_does_again_only_what_a_setting_changes(here: Path, capsys: pytest.CaptureFixture[str]):
    render("--sync-precision", "1")
    assert_edits_are_found("out.mkv.vsalign/map.csv")
    said = capsys.readouterr()
    assert "compare: 120/120 frames" in said.err and "choose: " in said.err
    assert "frames compared by PlaneStats (path)" in said.out and "compare   120 frames" in said.out
    assert run(["status", "out.mkv.vsalign"]) == 0 and "compared: 8" in capsys.readouterr().out
    path_map = Path("out.mkv.vsalign/map.csv").read_bytes()

    render("--sync-precision", "1", "--sync-select", "argmin")
    assert "compare: reused 0 chunks, stale 8 (sync.select path -> argmin), missing 0" in capsys.readouterr().err
    render("--sync-precision", "1", "--sync-select", "path")
    said = capsys.readouterr().err
    assert "compare: reused 8 chunks, missing 0" in said and "choose: reused 1 maps, missing 0" in said
    assert Path("out.mkv.vsalign/map.csv").read_bytes() == path_map
    render("--sync-precision", "1", "--tr", "12")
    assert "compare: reused 0 chunks, stale 8 (sync.tr 20 -> 12), missing 0" in capsys.readouterr().err
    assert run(["resume", "out.mkv.vsalign", "--quiet"]) == 0

    sync("--precision", "1", out="whole.csv")
    assert Path("whole.csv").read_bytes() == path_map, "one chunk gives what eight gave"


def test_a_job_killed_while_it_compares_goes_on_from_there(here: Path, capsys: pytest.CaptureFixture[str]):
    command = ["render", "clip.mkv", "ref.mkv", "-o", "out.mkv", "--no-warp", "--audio", "none", "--pool", "local"]
    command += ["--chunk-frames", "4", "--sync-precision", "1"]
    job, environment = here / "out.mkv.vsalign", {**os.environ, "PYTHONPATH": str(ROOT)}
    victim = subprocess.Popen([sys.executable, "-m", "orchestrator.cli", *command, "--quiet"], cwd=here, env=environment)
    deadline = time.monotonic() + 120
    while len(list((job / "done").glob("compare-*"))) < 3:
        assert victim.poll() is None and time.monotonic() < deadline
        time.sleep(0.005)
    os.kill(victim.pid, signal.SIGKILL)
    victim.wait()
    kept = len(list((job / "done").glob("compare-*")))
    assert 3 <= kept < 30
    assert run(["resume", str(job)]) == 0
    said = capsys.readouterr().err
    assert "solve: reused 1 maps" in said and f"compare: reused {kept} chunks, missing {30 - kept}" in said
    assert_edits_are_found("out.mkv.vsalign/map.csv")
    events = [json.loads(line) for line in (job / "journal.jsonl").read_text().splitlines()]
    done = [event["item"] for event in events if event["what"] == "done" and event["stage"] == "compare"]
    assert len(done) == len(set(done))


def no_plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pluginmetric.vs, "core", object())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--precision", "9"], ("sync.precision", "9", "1 PlaneStats")),
        (["--precision", "0"], ("sync.precision", "0", "4 signatures")),
        (["--precision", "best"], ("sync.precision", "best", "4 signatures")),
        (["--select", "best"], ("sync.select", "best", "argmin")),
        (["--select", "argmin"], ("sync.select", "argmin", "sync.precision 4", "path")),
        (["--precision", "2"], ("sync.precision is 2", "vszip", "metrics")),
        (["--precision", "2", "--device", "cuda"], ("sync.precision is 2", "Vship", "--device cpu")),
        (["--precision", "3"], ("sync.precision is 3", "vsalign weights get topiq")),
        (["--precision", "1", "--offset", "3"], ("sync.precision is 1", "offset", "auto")),
    ],
)
def test_what_cannot_be_done_is_one_line_before_any_work(
    here: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    words: tuple[str, ...],
):
    no_plugins(monkeypatch)
    monkeypatch.setenv("VSALIGN_WEIGHTS", str(here))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setattr("orchestrator.pools._check_device", lambda wanted: None)
    names = sorted(path.name for path in here.iterdir())
    sync(*arguments, status=2)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and all(word in lines[0] for word in words), lines
    assert sorted(path.name for path in here.iterdir()) == names


def test_weights_of_another_network_are_refused_before_any_work(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("VSALIGN_WEIGHTS", str(here))
    (here / TOPIQ_FR.file_name).write_bytes(b"other")
    sync("--precision", "3", status=2)
    assert "sync.precision is 3: weights file" in (line := capsys.readouterr().err) and "SHA-256" in line
    assert not list(here.glob("*.vsalign"))


def test_a_job_file_and_the_plan_know_the_precision(here: Path, capsys: pytest.CaptureFixture[str]):
    sources = 'clip = "clip.mkv"\nref = "ref.mkv"\nout = "out.mkv"\n'
    Path("JOB.toml").write_text(sources + '[sync]\nprecision = 1\nselect = "argmin"\n[run]\npool = "local"\n')
    assert run(["plan", "JOB.toml", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["compare"]["metric"] == "PlaneStats 1"
    assert run(["plan", "JOB.toml"]) == 0 and "PlaneStats compares" in capsys.readouterr().out
    assert run(["plan", "JOB.toml", "--sync-precision", "4", "--sync-select", "path", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["compare"] is None

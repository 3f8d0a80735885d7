"""A disk that fills up in the middle and a job folder that turns read-only: one clear line, nothing lost, resume finishes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.films import write_film

NUM, CHUNK = 60, 12
COMMON = ["--pool", "local", "--quiet", "--chunk-frames", str(CHUNK), "--no-warp", "--no-sync", "--codec", "ffv1"]

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}


def mount(folder: Path, *options: str) -> bool:
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", ",".join(options), "tmpfs", str(folder)], capture_output=True)
    return done.returncode == 0


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pair of noise, which no codec makes small: 14 kB a frame; and the film that calm rendering makes of it."""
    folder = tmp_path_factory.mktemp("films")
    frames = np.random.default_rng(1).integers(16, 235, (NUM, 96, 128)).astype(np.uint8)
    for name in ("clip.mkv", "ref.mkv"):
        write_film(folder / name, frames, codec="ffv1", crf=None)
    assert vsalign(folder, "render", "clip.mkv", "ref.mkv", "-o", "calm.mkv", *COMMON).returncode == 0
    return folder


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """An empty disk of 8 MB of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if not mount(folder, "size=8m"):
        pytest.skip("mounting a disk needs root")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def vsalign(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "import sys; from orchestrator.cli import run; sys.exit(run(sys.argv[1:]))", *arguments]
    return subprocess.run(command, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, check=False)


def only_line(done: subprocess.CompletedProcess[str]) -> str:
    """What a run that failed said last, which is no traceback."""
    assert done.returncode not in (0, 130), done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr.strip().splitlines()[-1]


def segments(job: Path) -> set[str]:
    return {path.name for path in (job / "seg").glob("*.mkv")}


def test_a_disk_that_fills_up_while_rendering(films: Path, disk: Path):
    """Room for some of the chunks, not for all; the check before work is passed by filling the disk during it."""
    job, filler = disk / "job", disk / "filler"
    started = subprocess.Popen(
        [
            sys.executable,
            "-c",
            _FILLS_UP,
            str(filler),
            "render",
            "clip.mkv",
            "ref.mkv",
            "-o",
            str(disk / "out.mkv"),
            "--job",
            str(job),
            *COMMON,
        ],
        cwd=films,
        env=ENVIRONMENT,
        stderr=subprocess.PIPE,
        text=True,
    )
    _, stderr = started.communicate()
    line = stderr.strip().splitlines()[-1]
    assert started.returncode not in (0, 130) and "Traceback" not in stderr
    assert "no space left" in line and str(disk) in line
    kept = segments(job)
    assert len(kept) == 2 and len(list((job / "done").glob("render-*"))) == 2 and not (disk / "out.mkv").exists()
    filler.unlink()
    assert vsalign(films, "resume", str(job), "--quiet").returncode == 0
    assert kept < segments(job) and not list(disk.glob(".out.part*"))
    assert (disk / "out.mkv").read_bytes() == (films / "calm.mkv").read_bytes()


#: Runs vsalign, and fills the disk up to its last 100 kB once two chunks are done.
_FILLS_UP = """
import shutil, sys
from pathlib import Path
import tasks.run
from orchestrator.cli import run
filler, done, real = Path(sys.argv[1]), [], tasks.run.commit
def commit(store, work, *rest, **facts):
    made = real(store, work, *rest, **facts)
    done.append(work.name)
    if sum(name.startswith("render") for name in done) == 2:
        with filler.open("wb") as file:
            file.write(bytes(shutil.disk_usage(filler.parent).free - 100_000))
    return made
tasks.run.commit = commit
sys.exit(run(sys.argv[2:]))
"""


def test_a_disk_that_is_too_full_for_the_film(films: Path, disk: Path):
    """All chunks fit, the joined film does not."""
    out, job = disk / "out.mkv", films.parent / "roomy"
    filler = disk / "filler"
    program = _FILLS_UP.replace("== 2", f"== {NUM // CHUNK}")
    arguments = ["render", "clip.mkv", "ref.mkv", "-o", str(out), "--job", str(job), *COMMON]
    done = subprocess.run(
        [sys.executable, "-c", program, str(filler), *arguments],
        cwd=films,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "no space left" in only_line(done) and str(disk) in only_line(done)
    assert not out.exists() and not list(disk.glob(".out*")) and len(segments(job)) == NUM // CHUNK
    filler.unlink()
    before = segments(job)
    assert vsalign(films, "resume", str(job), "--quiet").returncode == 0
    assert segments(job) == before and out.read_bytes() == (films / "calm.mkv").read_bytes()


def test_a_job_folder_that_turns_read_only(films: Path, disk: Path):
    job, out = disk / "job", films.parent / "ro.mkv"
    program = _FILLS_UP.replace(
        'with filler.open("wb") as file:\n            file.write(bytes(shutil.disk_usage(filler.parent).free - 100_000))',
        'import subprocess; subprocess.run(["mount", "-o", "remount,ro", str(filler.parent)], check=True)',
    )
    arguments = ["render", "clip.mkv", "ref.mkv", "-o", str(out), "--job", str(job), *COMMON]
    done = subprocess.run(
        [sys.executable, "-c", program, str(disk / "x"), *arguments],
        cwd=films,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "access refused" in only_line(done) and str(job) in only_line(done)
    again = vsalign(films, "resume", str(job), "--quiet")
    assert "ead-only" in only_line(again) or "refused" in only_line(again)
    assert str(job) in only_line(again)
    subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
    assert len(list((job / "done").glob("render-*"))) == 2
    assert vsalign(films, "resume", str(job), "--quiet").returncode == 0
    assert out.read_bytes() == (films / "calm.mkv").read_bytes()

"""``status`` says published of a job whose last run published its film, and of no other."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

import tasks.render
from orchestrator.cli import run
from tests.films import write_pair

JOB = "out.mkv.vsalign"


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("films")
    write_pair(folder, 60)
    return folder


def render(*arguments: str) -> int:
    told = ["--pool", "local", "--quiet", "--overwrite", "--no-sync", "--chunk-frames", "20"]
    return run(["render", "clip.mkv", "ref.mkv", "-o", "out.mkv", *told, *arguments])


def standing(capsys: pytest.CaptureFixture[str]) -> tuple[str, int]:
    """The state as ``status`` tells it, and how a watch ends."""
    capsys.readouterr()
    assert run(["status", JOB, "--json"]) == 0
    status = json.loads(capsys.readouterr().out)
    assert status["out_exists"] == (status["state"] == "published")
    return status["state"], run(["status", JOB, "--watch"])


def interrupt() -> None:
    """What Ctrl-C does: the chunk that runs is the last one."""
    os.kill(os.getpid(), signal.SIGINT)


def poison() -> None:
    raise ValueError("poison")


def at_second_chunk(monkeypatch: pytest.MonkeyPatch, act: Callable[[], None]) -> Callable[[], None]:
    """``act`` is done at the second chunk from now on; calling what is returned ends that."""
    real = tasks.render.render_chunk

    def render_chunk(work, *rest):
        if work.name == "render-00001":
            act()
        return real(work, *rest)

    monkeypatch.setattr(tasks.render, "render_chunk", render_chunk)
    return lambda: monkeypatch.setattr(tasks.render, "render_chunk", real)


def test_a_job_is_published_from_the_end_of_its_run_until_the_next_one_begins(here: Path, capsys, monkeypatch):
    repair = at_second_chunk(monkeypatch, interrupt)
    assert render() == 130 and standing(capsys) == ("stopped", 1)
    repair()
    assert render() == 0 and standing(capsys) == ("published", 0)
    assert run(["resume", JOB, "--quiet"]) == 0 and standing(capsys) == ("published", 0), "finished already"
    Path("out.mkv").write_bytes(b"cut")
    assert standing(capsys) == ("stopped", 1), "OUT is not what was published"


@pytest.mark.parametrize(("act", "status"), [(interrupt, 130), (poison, 1)])
def test_a_film_of_an_earlier_run_does_not_count_for_one_that_came_to_nothing(here: Path, capsys, monkeypatch, act, status):
    assert render() == 0
    repair = at_second_chunk(monkeypatch, act)
    assert render("--crf", "30") == status and Path("out.mkv").is_file()
    assert standing(capsys) == ("stopped", 1)
    repair()
    assert run(["resume", JOB, "--quiet"]) == 0 and standing(capsys) == ("published", 0)
    first = Path("out.mkv").read_bytes()
    assert render() == 0 and standing(capsys) == ("published", 0) and Path("out.mkv").read_bytes() != first

"""What a film has no time for is told, by every run that ends with that film."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from orchestrator.cli import run
from tests.end_to_end.test_verify import join_streams
from tests.synth import LOSSLESS_H264, Video, make_film

SRT = "1\n00:00:00,200 --> 00:00:01,000\nAn owl\n\n2\n00:00:05,000 --> 00:00:06,000\nafter the end\n\n"


def told() -> list[str]:
    report = json.loads(Path("out.mkv.vsalign/report.json").read_text())
    return [line for line in report["streams"] if "left out" in line]


def test_what_was_left_out_is_told_by_runs_that_find_the_film_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    make_film(Path("ref.mkv"), Video(30, 96, 64, options=LOSSLESS_H264))
    Path("subs.srt").write_text(SRT)
    join_streams(Path("clip.mkv"), Path("ref.mkv"), Path("subs.srt"))
    given = ["render", "clip.mkv", "ref.mkv", "-o", "out.mkv", "--streams", "subtitles=clip", "--pool", "local", "--no-sync"]
    assert run([*given, "--no-warp", "--quiet"]) == 0
    first, job = told(), Path("out.mkv.vsalign")
    assert len(first) == 1 and "1 clip subtitle events" in first[0]

    (job / "report.json").unlink()
    assert run(["resume", str(job), "--quiet"]) == 0 and told() == first, "finished already"

    note = json.loads((job / "final.json").read_text())
    (job / "final.json").write_text(json.dumps({**note, "fingerprint": "killed before it was settled", "left_out": ""}))
    assert run(["resume", str(job), "--quiet"]) == 0 and told() == first, "joined already"
    report = json.loads((job / "report.json").read_text())
    assert {stage["name"]: stage["reused_units"] for stage in report["stages"]}["stitch"] == 1

"""Job directory and output in a bucket: every command works from there, and nothing of it holds a secret."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.cli import run
from tasks.store import open_store
from tests.films import write_pair
from tests.s3 import KEY_ID, SECRET, S3Bucket


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("films")
    write_pair(folder, 30, 0)
    return folder


def render(out: str, *flags: str) -> int:
    plain = ("--no-sync", "--no-warp", "--pool", "local", "--chunk-frames", "10", "--quiet")
    return run(["render", "clip.mkv", "ref.mkv", "-o", out, *plain, *flags])


def test_a_job_in_a_bucket_gives_the_file_of_a_local_one_and_every_command_knows_it(
    here: Path, s3: S3Bucket, capsys: pytest.CaptureFixture[str]
):
    out = f"{s3.address}/films/out.mkv"
    assert render("out.mkv") == 0 and render(out) == 0
    folder, job = open_store(f"{s3.address}/films"), open_store(f"{out}.vsalign")
    assert folder.entries() == {"out.mkv", "out.mkv.vsalign"}
    assert folder.read("out.mkv") == (here / "out.mkv").read_bytes()
    for command in (["verify", out], ["report", job.location], ["status", job.location], ["resume", job.location]):
        assert run(command) == 0, command
    capsys.readouterr()
    folder.replace("out.mkv", b"another film")
    assert run(["verify", out]) == 1
    told = capsys.readouterr().err
    assert f"{out}: its bytes are not those that were published" in told and "node-cache" not in told
    content = b"".join(job.read(name) or b"" for top in ("", *job.entries()) for name in job.names(top))
    assert len(content) > 10_000 and SECRET.encode() not in content and KEY_ID.encode() not in content
    assert {path.name for path in here.iterdir() if "part" in path.name} == set()


def test_a_store_that_refuses_is_one_line_and_nothing_is_begun(here: Path, s3: S3Bucket, capsys: pytest.CaptureFixture[str]):
    s3.server.spoil = lambda environ: 403 if environ["REQUEST_METHOD"] == "PUT" else None
    assert render(f"{s3.address}/out.mkv") == 2
    s3.server.spoil = None
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and "access refused" in lines[0] and SECRET not in lines[0]
    assert open_store(s3.address).entries() == set()
    assert render("s3://no-such-bucket-here/out.mkv") == 2
    assert "no such bucket" in capsys.readouterr().err

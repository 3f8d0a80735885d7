"""What the README tells people to type works, on small films under the names that it uses."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest

from orchestrator.cli import run
from tests.films import write_pair

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def commands(text: str) -> list[list[str]]:
    """Arguments of every ``vsalign ...`` line of the indented blocks, comments left out."""
    lines = re.findall(r"^    (?:\$ )?(?:\.venv/bin/)?vsalign (.+)$", text, flags=re.MULTILINE)
    return [shlex.split(line.partition("#")[0]) for line in lines]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    clip, ref = write_pair(tmp_path, 60)
    for name in ("CLIP", "bbb_720p24_vp8.webm", "dvd.mkv"):
        shutil.copy(clip, name)
    for name in ("REF", "bbb_480p24_h264.mp4", "bluray.mkv"):
        shutil.copy(ref, name)
    job = (ROOT / "examples" / "JOB.toml").read_text(encoding="utf-8")
    Path("JOB.toml").write_text(job)
    return tmp_path


def test_every_command_of_the_readme_runs_in_its_order(here: Path):
    found = commands(README)
    assert len(found) >= 7
    for arguments in found:
        local = ["--pool", "local"] if arguments[0] == "render" else []
        if arguments[-1] != "--help":
            assert run([*arguments, *local]) == 0, arguments


@pytest.mark.parametrize("page", ["using.md", "media.md", "jobs.md"])
def test_every_option_that_the_docs_name_exists(page: str, capsys: pytest.CaptureFixture[str]):
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    help_text = ""
    for command in ("render", "plan", "sync", "resume", "status", "report", "verify", "weights get"):
        run([*command.split(), "--help"])
        help_text += capsys.readouterr().out
    named = set(re.findall(r"(--[a-z][a-z-]+)", text))
    assert named and not {option for option in named if option not in help_text}


def test_the_make_targets_that_the_readme_names_exist():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"^    make (\w+)", README, flags=re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE)


def test_every_link_of_the_readme_leads_somewhere():
    for link in re.findall(r"\]\(([^)]+)\)", README):
        assert (ROOT / link).exists(), link

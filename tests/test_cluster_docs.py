"""Every command in docs/cluster.md: run where this machine can, else its options are held against the program's own."""

from __future__ import annotations

import json
import os
import re
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import click
import pytest
import typer.main

from orchestrator.cli import app, run
from tests.fakecloud import kill_all
from tests.films import write_pair

ROOT = Path(__file__).parent.parent
DOC = (ROOT / "docs" / "cluster.md").read_text(encoding="utf-8")
FORMULAS = ("hours of machine time =", "cost =")
#: Programs and subcommands that need what no test machine has; of Ray's and ours the options are checked all the same.
CANNOT_RUN = {
    "docker": "a Docker engine",
    "kubectl": "a Kubernetes cluster",
    "ray up": "a cloud account",
    "ray attach": "a cloud account",
    "ray exec": "a cloud account",
    "ray down": "a cloud account",
    "ray stop": "it would stop every Ray on this machine, those of other tests too",
}
DASHBOARD = ("aiohttp", "aiohttp_cors", "opencensus", "prometheus_client", "virtualenv")


def indented() -> list[str]:
    lines = [line.strip() for line in DOC.splitlines() if line.startswith("    ")]
    return [line for line in lines if line and not line.startswith(FORMULAS)]


def inline() -> list[str]:
    return [found for found in re.findall(r"`((?:ray|vsalign) [^`]+)`", DOC) if not found.endswith(" =")]


def command_of(words: list[str]) -> tuple[click.Command, list[str]]:
    """The command behind ``words``, and the words that are its own."""
    from ray.scripts.scripts import cli

    found: click.Command = cli if words[0] == "ray" else typer.main.get_command(app)
    rest = words[1:]
    # typer brings a click of its own, so the class of a group is no guide.
    while hasattr(found, "commands") and rest and rest[0] in found.commands:
        found, rest = found.commands[rest[0]], rest[1:]
    return found, rest


@pytest.mark.ray
@pytest.mark.parametrize("line", dict.fromkeys([*indented(), *inline()]))
def test_a_command_exists_with_its_options(line: str):
    words = shlex.split(line)
    if words[0] in ("docker", "kubectl", "echo"):
        return
    assert words[0] in ("ray", "vsalign"), line
    command, rest = command_of(words)
    assert not hasattr(command, "commands"), f"{line}: no such subcommand"
    known = {name for parameter in command.params for name in [*parameter.opts, *parameter.secondary_opts]}
    own = rest[: rest.index("--")] if "--" in rest else rest
    assert {word.partition("=")[0] for word in own if word.startswith("-")} <= known, line
    if "--" in rest:
        test_a_command_exists_with_its_options(shlex.join(rest[rest.index("--") + 1 :]))


def test_files_that_commands_name_are_there():
    named = {word for line in indented() for word in shlex.split(line) if word.endswith(".yaml")}
    assert named and all((ROOT / name).is_file() for name in named)


@pytest.fixture
def by_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """What the docs' own names are on this machine; ends every process of the cluster that a test started."""
    folder = Path("/tmp") / f"vsd{os.getpid()}"
    folder.mkdir()
    films = tmp_path / "films"
    films.mkdir()
    clip, ref = write_pair(films, 48)
    clip.rename(films / "dvd.mkv")
    ref.rename(films / "bluray.mkv")
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port = held.getsockname()[1]
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}:{os.environ.get('PYTHONPATH', '')}")
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    for name, module in (("vsalign", "orchestrator.cli"), ("ray", "ray.scripts.scripts")):
        (bin_folder / name).write_text(f'#!/bin/sh\nexec {sys.executable} -m {module} "$@"\n')
        (bin_folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{bin_folder}:{os.environ['PATH']}")
    # One core for the worker: two machines of the docs share this one.
    worker = "--object-store-memory=268435456"
    yield {
        "/films": str(films),
        "HEAD:6379": f"127.0.0.1:{port}",
        "--head --port=6379": f"--head --port={port} --temp-dir={folder} --include-dashboard=false --node-ip-address=127.0.0.1",
        f"start --address=127.0.0.1:{port} {worker}": f"start --address=127.0.0.1:{port} --num-cpus=2 {worker}",
        "268435456": "80000000",
        "/tmp/drain": str(tmp_path / "drain"),
    }
    kill_all(str(folder))
    subprocess.run(["rm", "-rf", str(folder)], check=True)


def shell(line: str, names: dict[str, str], timeout_s: float = 120) -> str:
    """Run a line of the docs, with this machine's names in place of the docs'; its standard output."""
    assert line in indented(), f"docs/cluster.md does not say: {line}"
    for theirs, ours in names.items():
        line = line.replace(theirs, ours)
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=timeout_s)
    assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.mark.ray
def test_a_cluster_by_hand(by_hand: dict[str, str]):
    shell("ray start --head --port=6379 --num-cpus=0 --object-store-memory=268435456", by_hand)
    shell("ray start --address=HEAD:6379 --object-store-memory=268435456", by_hand)
    deadline = time.monotonic() + 90  # both nodes have to be reported first; before that it says so
    while "0.0/2.0 CPU" not in (told := shell("ray status --address=HEAD:6379", by_hand)):
        assert time.monotonic() < deadline, told
        time.sleep(1)
    render = "vsalign render /films/dvd.mkv /films/bluray.mkv -o /films/out.mkv --address HEAD:6379"
    assert "verified" in shell(render, by_hand)
    assert shell("vsalign status /films/out.mkv.vsalign", by_hand)
    assert json.loads(shell("vsalign status /films/out.mkv.vsalign --json", by_hand))
    assert "verified" in shell("vsalign resume /films/out.mkv.vsalign", by_hand)
    watcher = "vsalign spot-watch --file /tmp/drain"
    on_one_machine = by_hand | {watcher.replace("/tmp/drain", by_hand["/tmp/drain"]): _watch_of_worker(by_hand)}
    shell("echo 120 > /tmp/drain", by_hand)
    assert "drained" in shell(watcher, on_one_machine)


def _watch_of_worker(names: dict[str, str]) -> str:
    """The docs' watcher finds the one Ray of its machine; here there are two, so it is told which."""
    from ray._raylet import GcsClient

    nodes = GcsClient(address=names["HEAD:6379"]).get_all_node_info().values()
    worker = next(node.node_id.hex() for node in nodes if not node.is_head_node)
    return f"vsalign spot-watch --file {names['/tmp/drain']} --node-id {worker} --address {names['HEAD:6379']}"


@pytest.mark.ray
def test_a_token_is_made_where_the_docs_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    assert "ray get-auth-token --generate" in indented()
    script = [sys.executable, "-m", "ray.scripts.scripts", "get-auth-token", "--generate"]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("RAY_AUTH")} | {"HOME": str(tmp_path)}
    subprocess.run(script, env=environment, check=True, capture_output=True)
    assert (tmp_path / ".ray" / "auth_token").read_text().strip()


def test_a_plan_as_the_docs_ask_for_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert "vsalign plan /films/dvd.mkv /films/bluray.mkv" in indented()
    clip, ref = write_pair(tmp_path, 48)
    assert run(["plan", str(clip), str(ref), "--pool", "local"]) == 0
    assert "chunk" in capsys.readouterr().out


@pytest.mark.ray
@pytest.mark.skipif(not all(find_spec(name) for name in DASHBOARD), reason="ray job submit needs ray[default]")
def test_a_film_as_a_ray_job(by_hand: dict[str, str], monkeypatch: pytest.MonkeyPatch):
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port = held.getsockname()[1]
    monkeypatch.setenv("RAY_JOB_STOP_WAIT_TIME_S", "60")
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", f"http://127.0.0.1:{port}")
    names = (
        by_hand
        | {"--include-dashboard=false": f"--dashboard-port={port}", "--num-cpus=0": "--num-cpus=2"}
        | {"--device cuda": "--device cpu"}
    )
    shell("ray start --head --port=6379 --num-cpus=0 --object-store-memory=268435456", names)
    submit = next(line for line in indented() if line.startswith("ray job submit"))
    shell(submit, names)
    with pytest.raises(AssertionError, match="already exists"):
        shell(submit, names)
    until = time.monotonic() + 90
    while "RUNNING" in (said := shell("ray job status render-out", names)) or "PENDING" in said:
        assert time.monotonic() < until
        time.sleep(1)
    assert "succeeded" in said, shell("ray job logs render-out --follow", names)
    assert (Path(by_hand["/films"]) / "out.mkv").is_file()


def test_what_cannot_run_is_named_with_its_reason():
    tested = {"ray start", "ray status", "ray get-auth-token", "ray job", "vsalign", "echo"}
    for line in indented():
        words = line.split()
        kinds = {words[0], " ".join(words[:2])}
        assert kinds & (tested | set(CANNOT_RUN)), f"{line}: neither run nor named as what can't run"

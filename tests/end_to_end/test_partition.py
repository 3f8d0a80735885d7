"""Two nodes in network namespaces of their own, one cut off for a minute in the middle of a job: it ends, all bytes right."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.films import film, graded, write_film

ROOT = Path(__file__).parent.parent.parent
HEAD, WORKER = "vsalign-head", "vsalign-far"
HEAD_IP, WORKER_IP, PORT = "10.213.77.1", "10.213.77.2", 6399
CUT_S = 60
NUM_CHUNKS, CHUNK_FRAMES = 24, 12
RAY = str(Path(sys.executable).with_name("ray"))


def can_make_namespaces() -> bool:
    if os.geteuid() != 0 or shutil.which("ip") is None:
        return False
    made = subprocess.run(["ip", "netns", "add", "vsalign-try"], capture_output=True)
    subprocess.run(["ip", "netns", "del", "vsalign-try"], capture_output=True)
    return made.returncode == 0


pytestmark = [
    pytest.mark.ray,
    pytest.mark.chaos,
    pytest.mark.timeout(500),
    pytest.mark.skipif(not can_make_namespaces(), reason="network namespaces need root and ip(8)"),
]


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


def inside(namespace: str, *command: str) -> list[str]:
    # gRPC would ask a proxy of this environment for the way to the other node; a token of this machine is not for here.
    proxies = [f"--unset={name}" for name in os.environ if name.lower().endswith("_proxy")]
    return ["ip", "netns", "exec", namespace, "env", "RAY_AUTH_MODE=disabled", *proxies, *command]


@pytest.fixture
def two_machines(tmp_path: Path) -> Iterator[str]:
    """A head with one core and a far node with one, each in a namespace, joined by a cable; the head's address."""
    session = Path("/tmp") / f"vsp-{os.getpid()}"
    try:
        for namespace in (HEAD, WORKER):
            ip("netns", "add", namespace)
            ip("-n", namespace, "link", "set", "lo", "up")
        ip("link", "add", "near", "netns", HEAD, "type", "veth", "peer", "name", "far", "netns", WORKER)
        for namespace, end, address in ((HEAD, "near", HEAD_IP), (WORKER, "far", WORKER_IP)):
            ip("-n", namespace, "addr", "add", f"{address}/24", "dev", end)
            ip("-n", namespace, "link", "set", end, "up")
        common = ["--num-cpus=1", "--object-store-memory=83886080", "--disable-usage-stats"]
        start_head = [RAY, "start", "--head", f"--node-ip-address={HEAD_IP}", f"--port={PORT}", "--include-dashboard=false"]
        run(inside(HEAD, *start_head, f"--temp-dir={session}", *common))
        run(inside(WORKER, RAY, "start", f"--address={HEAD_IP}:{PORT}", f"--node-ip-address={WORKER_IP}", *common))
        yield f"{HEAD_IP}:{PORT}"
    finally:
        for namespace in (HEAD, WORKER):
            listed = subprocess.run(["ip", "netns", "pids", namespace], capture_output=True, text=True).stdout.split()
            subprocess.run(["kill", "-9", *listed], capture_output=True)
            subprocess.run(["ip", "netns", "del", namespace], capture_output=True)
        shutil.rmtree(session, ignore_errors=True)


def run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


def render(films: Path, out: Path, *more: str) -> list[str]:
    arguments = [str(films / "clip.mkv"), str(films / "ref.mkv"), "-o", str(out), "--no-sync", "--quiet"]
    settings = ["--precision", "4", "--smooth-time", "2", "--chunk-frames", str(CHUNK_FRAMES)]
    return [sys.executable, "-m", "orchestrator.cli", "render", *arguments, *settings, *more]


def events(job: Path) -> list[dict]:
    lines = (job / "journal.jsonl").read_text().splitlines() if (job / "journal.jsonl").exists() else []
    return [json.loads(line) for line in lines]


def test_a_node_that_is_cut_off_for_a_minute_costs_nothing_but_time(two_machines: str, tmp_path: Path):
    frames = film(NUM_CHUNKS * CHUNK_FRAMES, 320, 180)
    write_film(tmp_path / "ref.mkv", frames)
    write_film(tmp_path / "clip.mkv", graded(frames))
    calm, out, job = tmp_path / "calm.mkv", tmp_path / "out.mkv", tmp_path / "out.mkv.vsalign"
    run(render(tmp_path, calm, "--pool", "local"))

    driver = subprocess.Popen(
        inside(HEAD, *render(tmp_path, out, "--address", two_machines)), cwd=ROOT, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 120
    while len({event["node"] for event in events(job) if event["what"] == "done"}) < 2:
        assert driver.poll() is None, driver.communicate()[1]
        assert time.monotonic() < deadline, "both nodes should have done something by now"
        time.sleep(0.1)
    ip("-n", WORKER, "link", "set", "far", "down")
    cut = time.monotonic()
    while time.monotonic() < cut + CUT_S and driver.poll() is None:
        time.sleep(0.2)
    ip("-n", WORKER, "link", "set", "far", "up")
    _, said = driver.communicate(timeout=250)
    assert driver.returncode == 0, said
    assert out.read_bytes() == calm.read_bytes()
    done = [event["item"] for event in events(job) if event["what"] == "done" and event["item"].startswith("render-")]
    assert sorted(done) == [f"render-{index:05d}" for index in range(NUM_CHUNKS)]
    failed = [event for event in events(job) if event["what"] == "failed"]
    assert all(event["cause"] == "infra" for event in failed) and len(failed) <= 2

"""The same job on real Ray actors: equal frames, and nothing lost when everything is killed in the middle."""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest

from tests.films import film, graded, write_film

pytestmark = pytest.mark.ray
ROOT = Path(__file__).parent.parent.parent
CHUNK_FRAMES = 20


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("films")
    frames = film(240, 320, 180)
    write_film(folder / "ref.mkv", frames, sound=True)
    write_film(folder / "clip.mkv", graded(frames[2:]))
    return folder


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """One Ray cluster of two nodes for the whole module; its address."""
    from ray.cluster_utils import Cluster

    small = {"num_cpus": 1, "object_store_memory": 80 * 1024 * 1024}
    made = Cluster(initialize_head=True, head_node_args={**small, "include_dashboard": False})
    made.add_node(**small)
    yield made.address
    made.shutdown()


def command(films: Path, out: Path, *arguments: str) -> list[str]:
    films_and_out = [str(films / "clip.mkv"), str(films / "ref.mkv"), "-o", str(out)]
    return [sys.executable, "-m", "orchestrator.cli", "render", *films_and_out, "--chunk-frames", str(CHUNK_FRAMES), *arguments]


def render(films: Path, out: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(command(films, out, *arguments), cwd=ROOT, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    return done


@pytest.fixture(scope="module")
def calm(films: Path) -> Path:
    """The output of an undisturbed run in one process."""
    out = films / "calm.mkv"
    render(films, out, "--pool", "local", "--quiet")
    return out


def frames_of(path: Path) -> list[str]:
    with av.open(str(path)) as container:
        return [hashlib.sha256(frame.to_ndarray().tobytes()).hexdigest() for frame in container.decode(video=0)]


def done_renders(job: Path) -> set[str]:
    return {path.name for path in (job / "done").glob("render-*")} if (job / "done").is_dir() else set()


def journal(job: Path) -> list[dict]:
    return [json.loads(line) for line in (job / "journal.jsonl").read_text().splitlines()]


def test_a_cluster_gives_the_same_file_as_one_process(films: Path, calm: Path, cluster: str, tmp_path: Path):
    out = tmp_path / "out.mkv"
    done = render(films, out, "--address", cluster)
    assert out.read_bytes() == calm.read_bytes()
    assert "render: " in done.stderr and "frames/s" in done.stderr


def test_lossless_frames_do_not_depend_on_pool_or_chunks(films: Path, cluster: str, tmp_path: Path):
    lossless = ("--codec", "ffv1", "--quiet")
    render(films, tmp_path / "ray.mkv", *lossless, "--address", cluster, "--chunk-frames", "55")
    render(films, tmp_path / "local.mkv", *lossless, "--pool", "local", "--chunk-frames", "240")
    assert frames_of(tmp_path / "ray.mkv") == frames_of(tmp_path / "local.mkv")


@pytest.mark.parametrize(
    ("wish", "words"),
    [
        (("--workers", "9"), ("9", "room for 2")),
        (("--cores-per-worker", "64"), ("64 CPU", "1 CPU")),
        (("--device", "cuda"), ("GPU",)),
    ],
)
def test_workers_that_cannot_be_had_are_an_error_within_seconds(films: Path, cluster: str, tmp_path: Path, wish, words):
    started = time.monotonic()
    wanted = command(films, tmp_path / "out.mkv", "--address", cluster, *wish)
    done = subprocess.run(wanted, cwd=ROOT, capture_output=True, text=True, timeout=100)
    assert done.returncode == 2 and time.monotonic() - started < 40
    assert len(done.stderr.strip().splitlines()) == 1 and all(word in done.stderr for word in words), done.stderr
    assert not list(tmp_path.iterdir())


def test_an_address_without_a_cluster_is_an_error(films: Path, tmp_path: Path):
    wanted = command(films, tmp_path / "out.mkv", "--address", "127.0.0.1:1")
    done = subprocess.run(wanted, cwd=ROOT, capture_output=True, text=True, timeout=100)
    assert done.returncode == 2 and "127.0.0.1:1" in done.stderr and not list(tmp_path.iterdir())


def test_killing_everything_in_the_middle_costs_only_the_chunks_in_flight(films: Path, calm: Path, tmp_path: Path):
    out, job = tmp_path / "out.mkv", tmp_path / "out.mkv.vsalign"
    victim = subprocess.Popen(command(films, out), cwd=ROOT, start_new_session=True, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while len(done_renders(job)) < 3 and time.monotonic() < deadline:
        assert victim.poll() is None, "it finished before it could be killed"
        time.sleep(0.02)
    os.killpg(victim.pid, signal.SIGKILL)
    victim.wait()
    time.sleep(1)
    kept, noted = done_renders(job), len(journal(job))
    assert 3 <= len(kept) < 12 and not out.exists()

    resumed = subprocess.run(
        [sys.executable, "-m", "orchestrator.cli", "resume", str(job)], cwd=ROOT, capture_output=True, text=True, timeout=200
    )
    assert resumed.returncode == 0, resumed.stderr
    # A worker may outlive the kill for a moment and still commit what it had in flight; that counts as kept.
    reused = int(re.search(r"render: reused (\d+) chunks", resumed.stderr)[1])
    submitted = {event["item"] for event in journal(job)[noted:] if event["what"] == "submitted"}
    rendered = submitted - {"stitch"}
    assert len(kept) <= reused <= len(kept) + 2 and len(rendered) == 12 - reused
    assert not {name for name in rendered if any(record.startswith(name) for record in kept)}
    assert out.read_bytes() == calm.read_bytes()
    assert np.array_equal(frames_of(out), frames_of(calm))


def test_a_worker_that_is_killed_costs_its_chunk_one_retry(films: Path, calm: Path, cluster: str, tmp_path: Path):
    out, job = tmp_path / "out.mkv", tmp_path / "out.mkv.vsalign"
    running = subprocess.Popen(command(films, out, "--address", cluster, "--quiet"), cwd=ROOT)
    deadline = time.monotonic() + 120
    while len(done_renders(job)) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    # A worker bears this name only while it runs a chunk.
    victims: list[str] = []
    while not victims and time.monotonic() < deadline:
        victims = subprocess.run(["pgrep", "-f", "ray::SpatialWorker.run"], capture_output=True, text=True).stdout.split()
    os.kill(int(victims[0]), signal.SIGKILL)
    assert running.wait(timeout=120) == 0
    failures = [event for event in journal(job) if event["what"] == "failed"]
    assert [event["cause"] for event in failures] == ["crash"] and not failures[0]["parked"]
    assert out.read_bytes() == calm.read_bytes()


@pytest.mark.parametrize("pool", ["local", "ray"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_one_signal_lets_running_chunks_finish_and_ends_resumable(
    films: Path, cluster: str, tmp_path: Path, pool: str, number: int
):
    out, job = tmp_path / "out.mkv", tmp_path / "out.mkv.vsalign"
    wanted = command(films, out, *(("--pool", "local") if pool == "local" else ("--address", cluster)))
    running = subprocess.Popen(wanted, cwd=ROOT, stderr=subprocess.PIPE, text=True, start_new_session=True)
    deadline = time.monotonic() + 120
    while len(done_renders(job)) < 1 and time.monotonic() < deadline:
        time.sleep(0.02)
    running.send_signal(number)
    _, said = running.communicate(timeout=60)
    assert running.returncode == 130 and "interrupted during render" in said
    events = journal(job)
    submitted = {event["item"] for event in events if event["what"] == "submitted"}
    assert submitted == {event["item"] for event in events if event["what"] == "done"}, "a running chunk was thrown away"
    assert len(submitted) < 12


def test_a_second_ctrl_c_does_not_wait_for_what_runs(films: Path, tmp_path: Path):
    out, job = tmp_path / "out.mkv", tmp_path / "out.mkv.vsalign"
    wanted = [*command(films, out, "--pool", "local", "--quiet", "--precision", "4"), "--chunk-frames", "240"]
    running = subprocess.Popen(wanted, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not (job / "journal.jsonl").exists() or '"render-00000"' not in (job / "journal.jsonl").read_text():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    time.sleep(1)
    for _ in range(2):
        running.send_signal(signal.SIGINT)
        time.sleep(0.6)
    _, said = running.communicate(timeout=8)
    assert running.returncode == 130 and "interrupted during render" in said
    assert not done_renders(job)

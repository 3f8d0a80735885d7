"""A job with everything in a bucket of a real S3 interface: killed, resumed, the local job's bytes; little read in vain."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest

from orchestrator.plan import Bounds, ranges_of
from tasks.messages import Probe
from tasks.seekplan import SeekPlan
from tasks.sources import read_probe
from tasks.store import JobStore, open_store
from tests.films import film, graded, write_film
from tests.s3 import SECRET, Environ, S3Bucket
from vsalign.frames import FrameRange

# Most of it is processes that start: on a machine with other things to do that takes minutes.
pytestmark = [pytest.mark.ray, pytest.mark.timeout(900)]
ROOT = Path(__file__).parent.parent.parent
NUM_FRAMES, CHUNK_FRAMES, SMOOTH = 300, 50, 2
#: Chunks whose records reach the bucket before the kill.
LET_THROUGH = 2


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve seconds of some Mbit/s; the local job's output beside them."""
    folder = tmp_path_factory.mktemp("films")
    frames = film(NUM_FRAMES, 256, 144)
    write_film(folder / "ref.mkv", frames, crf=2.0, sound=True)
    write_film(folder / "clip.mkv", graded(frames), crf=2.0)
    done = run(["render", *job_of(folder.as_posix(), str(folder / "calm.mkv")), "--pool", "local"])
    assert done.returncode == 0, done.stderr
    return folder


def job_of(folder: str, out: str) -> list[str]:
    settings = ["--no-sync", "--precision", "1", "--smooth-time", str(SMOOTH), "--chunk-frames", str(CHUNK_FRAMES)]
    return [f"{folder}/clip.mkv", f"{folder}/ref.mkv", "-o", out, *settings, "--quiet"]


def run(arguments: list[str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "orchestrator.cli", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)


@pytest.fixture
def bucket(films: Path, s3: S3Bucket) -> JobStore:
    """The films in a bucket of their own."""
    store = open_store(s3.address)
    for name in ("clip.mkv", "ref.mkv"):
        shutil.copy(films / name, films / f"copy-{name}")
        store.publish(films / f"copy-{name}", name)
    return store


class Gate:
    """In the way of chunks' records: the first ``open_for`` pass, all others wait until ``killed`` and are refused then."""

    def __init__(self, open_for: int) -> None:
        self._left, self._lock = open_for, threading.Lock()
        self.reached, self.killed = threading.Event(), threading.Event()

    def __call__(self, environ: Environ) -> int | None:
        if environ["REQUEST_METHOD"] != "PUT" or "/done/render-" not in environ["PATH_INFO"]:
            return None
        with self._lock:
            self._left -= 1
            if self._left >= 0:
                return None
        self.reached.set()
        self.killed.wait(60)
        return 503


def kill_all(victim: subprocess.Popen[str]) -> None:
    """The process and all that it started, as when a machine goes, and wait until they are gone: a worker left behind would go
    on and write what it has."""
    doomed = {victim.pid} | below(victim.pid)
    for pid in doomed:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    victim.communicate()
    deadline = time.monotonic() + 60
    while alive := {pid for pid in doomed if (Path("/proc") / str(pid) / "exe").exists()}:
        assert time.monotonic() < deadline, alive
        time.sleep(0.05)


def below(pid: int) -> set[int]:
    """Process numbers of all descendants."""
    listed = subprocess.run(["ps", "-eo", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    parents = {int(child): int(parent) for child, parent in map(str.split, listed.splitlines())}
    found, todo = set[int](), [pid]
    while todo:
        parent = todo.pop()
        children = {child for child, of in parents.items() if of == parent}
        found |= children
        todo += children
    return found


def records(bucket: JobStore) -> list[dict]:
    job = open_store(f"{bucket.location}/out.mkv.vsalign")
    return [json.loads(job.read(name) or b"") for name in job.names("done")]


def needed_bytes(probe: Probe, frames: FrameRange) -> int:
    """Packets from the key frame that decoding starts at to the last of ``frames``."""
    plan, index = SeekPlan.of(probe.index, probe.info.codec), probe.index
    key = plan.start_key(frames.start)
    first = plan.key_ranks[key] if key >= 0 else 0
    wanted = (index.packet >= first) & (index.packet <= index.packet[frames.start : frames.stop].max())
    return int(index.packet_bytes[wanted].sum())


def needs_of_chunks(bucket: JobStore) -> dict[str, int]:
    job = open_store(f"{bucket.location}/out.mkv.vsalign")
    bounds = Bounds(**{key: tuple(value) for key, value in json.loads(job.read("plan.json") or b"")["bounds"].items()})
    clip, ref = read_probe(job, "clip"), read_probe(job, "ref")
    needs = {}
    for index, frames in enumerate(ranges_of(bounds.chunks)):
        seen = frames.dilate(SMOOTH, within=ref.index.whole)
        needs[f"render-{index:05d}"] = needed_bytes(clip, seen) + needed_bytes(ref, seen)
    return needs


def test_killed_in_the_middle_and_resumed_it_is_the_local_jobs_file(films: Path, bucket: JobStore, s3: S3Bucket):
    job = f"{s3.address}/out.mkv.vsalign"
    command = [
        sys.executable,
        "-m",
        "orchestrator.cli",
        "render",
        *job_of(s3.address, f"{s3.address}/out.mkv"),
        "--workers",
        "2",
    ]
    s3.server.spoil = gate = Gate(LET_THROUGH)
    victim = subprocess.Popen(command, cwd=ROOT, start_new_session=True, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 400
    while not gate.reached.wait(0.2):
        assert victim.poll() is None, victim.communicate()[1]
        assert time.monotonic() < deadline
    kill_all(victim)
    gate.killed.set()
    s3.server.spoil = None
    kept = [record["work"] for record in records(bucket)]
    assert bucket.size("out.mkv") is None and len(kept) == LET_THROUGH

    seen = run(["status", job])
    assert seen.returncode == 0 and "not published" in seen.stdout, seen.stderr
    resumed = run(["resume", job, "--workers", "2"])
    assert resumed.returncode == 0, resumed.stderr
    assert bucket.read("out.mkv") == (films / "calm.mkv").read_bytes()
    assert run(["verify", f"{s3.address}/out.mkv"]).returncode == 0
    lines = open_store(job).read_log("journal.jsonl").splitlines()
    done = Counter(event["item"] for event in map(json.loads, lines) if event["what"] == "done")
    assert set(done) >= {f"render-{index:05d}" for index in range(6)} - set(kept) and max(done.values()) == 1


def test_workers_read_little_more_than_their_chunks_need_and_tell_no_secrets(
    bucket: JobStore, s3: S3Bucket, monkeypatch: pytest.MonkeyPatch
):
    # Without it the worker would find here what the probe has read; on a cluster that was another machine.
    monkeypatch.setenv("VSALIGN_CACHE_GB", "0")
    done = run(["render", *job_of(s3.address, f"{s3.address}/out.mkv"), "--pool", "local"])
    assert done.returncode == 0, done.stderr
    needs = needs_of_chunks(bucket)
    fetched = {record["work"]: record["facts"]["fetched_bytes"] for record in records(bucket) if record["work"] in needs}
    assert fetched.keys() == needs.keys()
    assert 0 < sum(fetched.values()) < 1.3 * sum(needs.values()), (fetched, needs)
    job = open_store(f"{s3.address}/out.mkv.vsalign")
    folders = ("", *sorted(job.entries()))
    everything = b"".join(job.read(name) or b"" for folder in folders for name in job.names(folder) if "seg/" not in name)
    assert b"schema_version" in everything and SECRET.encode() not in everything and SECRET not in done.stderr

"""Everything that can be killed, killed at every point where it could hurt: after at most one ``resume`` the file is the calm
run's, byte for byte, and no chunk was rendered more often than the fault explains.

CI runs a short list; ``make chaos`` runs the whole matrix.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.films import film, graded, write_film

ROOT = Path(__file__).parent.parent.parent
POINTS = ("before segment", "mid-write", "before record", "before reply", "stitch", "publish")
TARGETS = ("worker", "raylet", "driver", "gcs")
#: One case for each point and for each target, in CI.
SHORT = {
    ("before segment", "raylet"),
    ("mid-write", "worker"),
    ("before record", "driver"),
    ("before reply", "raylet"),
    ("stitch", "worker"),
    ("publish", "driver"),
    ("before record", "gcs"),
}
NUM_NODES, NUM_CHUNKS, CHUNK_FRAMES = 3, 8, 12
#: Chunks that may be rendered again: those in flight on what was killed.
EXPLAINED = {"worker": 1, "raylet": 1, "driver": NUM_NODES, "gcs": NUM_NODES}
QUICK = {
    "health_check_initial_delay_ms": 0,
    "health_check_period_ms": 300,
    "health_check_timeout_ms": 5000,
    "health_check_failure_threshold": 3,
    "gcs_rpc_server_reconnect_timeout_s": 6,
}

pytestmark = [pytest.mark.ray, pytest.mark.timeout(900)]


def case(point: str, target: str) -> Any:
    marks = [] if (point, target) in SHORT else [pytest.mark.chaos]
    return pytest.param(point, target, marks=marks, id=f"{target} at {point}")


class Chaos:
    """A cluster of three GPU nodes that is put up again where a fault has broken it, and the folder that arms a fault."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._cluster: Any = None

    @property
    def address(self) -> str:
        from ray.cluster_utils import Cluster

        small = {"object_store_memory": 80 * 1024 * 1024}
        if self._cluster is None:
            head = {"num_cpus": 0, "include_dashboard": False, "_system_config": QUICK, **small}
            self._cluster = Cluster(initialize_head=True, head_node_args=head)
        for node in [n for n in self._cluster.worker_nodes if raylet_of(n).poll() is not None]:
            self._cluster.remove_node(node, allow_graceful=False)
        while len(self._cluster.worker_nodes) < NUM_NODES:
            self._cluster.add_node(num_cpus=1, num_gpus=1, **small)
        return str(self._cluster.address)

    def arm(self, point: str) -> None:
        for name in ("reached", "reached.part", "go", "rendered", "poison", "frozen"):
            (self.folder / name).unlink(missing_ok=True)
        (self.folder / "armed").write_text(point)

    def reached(self, running: subprocess.Popen[str]) -> tuple[int, int]:
        """Process number of what stopped at the armed point, and of its raylet."""
        deadline = time.monotonic() + 300
        while not (self.folder / "reached").exists():
            assert running.poll() is None, f"it ended before the point was reached: {running.communicate()[1]}"
            assert time.monotonic() < deadline, "the point was never reached"
            time.sleep(0.02)
        worker, raylet = (self.folder / "reached").read_text().split()
        return int(worker), int(raylet)

    def strike(self, target: str, worker: int, raylet: int, driver: subprocess.Popen[str]) -> None:
        if target == "gcs":
            self._cluster.head_node.kill_gcs_server(check_alive=False)
            (self.folder / "go").touch()
            return
        os.kill({"worker": worker, "raylet": raylet, "driver": driver.pid}[target], signal.SIGKILL)
        if target == "driver":
            driver.wait()
        (self.folder / "go").touch()

    def rendered(self) -> Counter[str]:
        return Counter(line.split()[0] for line in (self.folder / "rendered").read_text().splitlines())

    def close(self) -> None:
        if self._cluster is not None:
            self._cluster.shutdown()
            self._cluster = None


def raylet_of(node: Any) -> subprocess.Popen[bytes]:
    return node.all_processes["raylet"][0].process


@pytest.fixture(scope="module")
def chaos(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chaos]:
    folder = tmp_path_factory.mktemp("faults")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VSALIGN_FAULTS", str(folder))
        patch.setenv(
            "PYTHONPATH", os.pathsep.join([str(Path(__file__).parent / "faultpoints"), os.environ.get("PYTHONPATH", "")])
        )
        made = Chaos(folder)
        yield made
        made.close()


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("films")
    frames = film(NUM_CHUNKS * CHUNK_FRAMES, 160, 96)
    write_film(folder / "ref.mkv", frames, sound=True)
    write_film(folder / "clip.mkv", graded(frames))
    return folder


def run(films: Path, out: Path, *more: str) -> subprocess.Popen[str]:
    arguments = ["render", str(films / "clip.mkv"), str(films / "ref.mkv"), "-o", str(out), "--no-sync", "--precision", "1"]
    arguments += ["--smooth-time", "2", "--chunk-frames", str(CHUNK_FRAMES), "--quiet", *more]
    return start(arguments)


def start(arguments: list[str]) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "orchestrator.cli", *arguments]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.fixture(scope="module")
def calm(films: Path, chaos: Chaos) -> bytes:
    out = films / "calm.mkv"
    chaos.arm("")
    done = run(films, out, "--pool", "local")
    assert done.wait(timeout=400) == 0, done.communicate()[1]
    assert chaos.rendered() == Counter(f"render-{index:05d}" for index in range(NUM_CHUNKS))
    return out.read_bytes()


@pytest.mark.parametrize(("point", "target"), [case(point, target) for target in TARGETS for point in POINTS])
def test_a_kill_costs_no_more_than_what_it_hit(chaos: Chaos, films: Path, calm: bytes, tmp_path: Path, point: str, target: str):
    out = tmp_path / "out.mkv"
    address = chaos.address
    chaos.arm(point)
    driver = run(films, out, "--address", address)
    worker, raylet = chaos.reached(driver)
    kept = {path.name[:12] for path in (tmp_path / "out.mkv.vsalign" / "done").glob("render-*")}
    chaos.strike(target, worker, raylet, driver)
    _, said = driver.communicate(timeout=400)
    if driver.returncode:
        assert target in {"driver", "gcs"}, said
        if target == "gcs":
            chaos.close()
        resumed = start(["resume", str(tmp_path / "out.mkv.vsalign"), "--quiet", "--address", chaos.address])
        _, said = resumed.communicate(timeout=400)
        assert resumed.returncode == 0, said
    elif target == "gcs":
        chaos.close()
    assert out.read_bytes() == calm
    assert [path.name for path in tmp_path.iterdir() if path.name != "out.mkv.vsalign"] == ["out.mkv"]
    rendered = chaos.rendered()
    assert not {name for name in kept if rendered[name] > 1}, "a chunk that was done has been rendered again"
    assert rendered.total() - NUM_CHUNKS <= (EXPLAINED[target] if point in POINTS[:4] else 0)


def test_chunks_whose_worker_always_dies_are_parked_and_all_others_done(chaos: Chaos, films: Path, calm: bytes, tmp_path: Path):
    out, job = tmp_path / "out.mkv", tmp_path / "out.mkv.vsalign"
    chaos.arm("")
    (chaos.folder / "poison").write_text("render-00002 render-00005")
    done = run(films, out, "--workers", "2")
    said, complained = done.communicate(timeout=400)
    assert done.returncode == 1 and not out.exists(), complained
    assert "render-00002 (ref frames [24, 36))" in said and "render-00005" in said
    assert {path.name[:12] for path in (job / "done").glob("render-*")} == {f"render-{n:05d}" for n in (0, 1, 3, 4, 6, 7)}
    assert chaos.rendered() == Counter({f"render-{n:05d}": 3 if n in (2, 5) else 1 for n in range(NUM_CHUNKS)})
    parked = [json.loads(path.read_text()) for path in (job / "fail").glob("render-*-3.json")]
    assert [fail["cause"] for fail in parked] == ["crash", "crash"] and all(
        fail["parked"] and fail["log_tail"] for fail in parked
    )

    (chaos.folder / "poison").unlink()
    resumed = start(["resume", str(job), "--quiet"])
    assert resumed.wait(timeout=400) == 0 and out.read_bytes() == calm


def test_a_worker_that_stands_still_is_killed_and_its_chunk_made_elsewhere(
    chaos: Chaos, films: Path, calm: bytes, tmp_path: Path
):
    out = tmp_path / "out.mkv"
    chaos.arm("")
    (chaos.folder / "frozen").write_text("render-00001")
    done = run(films, out, "--workers", "2", "--stall-seconds", "15")
    _, said = done.communicate(timeout=400)
    assert done.returncode == 0 and out.read_bytes() == calm, said
    events = [json.loads(line) for line in (tmp_path / "out.mkv.vsalign" / "journal.jsonl").read_text().splitlines()]
    assert [(event["item"], event["cause"]) for event in events if event["what"] == "failed"] == [("render-00001", "stall")]
    # Stopped processes don't die of their parent's end: no worker may be left behind.
    assert not workers_left()


def test_a_run_that_is_taken_over_ends_and_the_other_one_finishes(chaos: Chaos, films: Path, calm: bytes, tmp_path: Path):
    out, job = tmp_path / "out.mkv", tmp_path / "out.mkv.vsalign"
    chaos.arm("mid-write")
    first = run(films, out, "--workers", "2")
    chaos.reached(first)
    refused = start(["resume", str(job), "--quiet"])
    _, said = refused.communicate(timeout=200)
    assert refused.returncode == 2 and f"pid {first.pid}" in said and "--steal" in said
    second = start(["resume", str(job), "--quiet", "--steal"])
    _, said = first.communicate(timeout=400)
    assert first.returncode == 1 and "taken this job over" in said
    (chaos.folder / "go").touch()
    assert second.wait(timeout=400) == 0, second.communicate()[1]
    assert out.read_bytes() == calm and not workers_left()


def workers_left(patience_s: float = 60.0) -> list[str]:
    """Command lines of chunk workers that are there still after some seconds."""
    deadline = time.monotonic() + patience_s
    while True:
        found = subprocess.run(["pgrep", "-af", "ray::SpatialWorker"], capture_output=True, text=True).stdout.splitlines()
        if not found or time.monotonic() > deadline:
            return found
        time.sleep(0.5)

"""A job on a cluster that has no worker when it begins: they come, the film is rendered, they go."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.fakecloud import fake_cloud
from tests.films import write_pair

pytestmark = pytest.mark.ray

ROOT = Path(__file__).parent.parent.parent
CPU_MACHINE = {"cpu": {"resources": {"CPU": 1, "object_store_memory": 80 * 1024 * 1024}}}


def test_a_job_gets_its_machines_and_leaves_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for name, value in (("RAY_AUTH_MODE", "disabled"), ("OMP_NUM_THREADS", "1"), ("PYTHONPATH", str(ROOT))):
        monkeypatch.setenv(name, value)
    clip, ref = write_pair(tmp_path, 36)
    out = tmp_path / "out.mkv"
    with fake_cloud(CPU_MACHINE, v2=True) as address:
        command = [sys.executable, "-m", "orchestrator.cli", "render", str(clip), str(ref), "-o", str(out)]
        command += ["--offset", "0", "--chunk-frames", "18", "--address", address]
        done = subprocess.run(command, capture_output=True, text=True, timeout=150)
        assert done.returncode == 0, done.stderr
        assert "36 frames in 2 chunks" in done.stdout and "verified" in done.stdout
        assert _nodes_that_came(address) >= 1


def _nodes_that_came(address: str) -> int:
    """How many machines the job had; fails unless they are gone within half a minute."""
    import ray

    ray.init(address=address, logging_level="ERROR", log_to_driver=False)
    try:
        until = time.monotonic() + 30
        while sum(node["Alive"] for node in ray.nodes()) > 1:
            assert time.monotonic() < until, "machines stay after the job"
            time.sleep(0.2)
        return len(ray.nodes()) - 1
    finally:
        ray.shutdown()

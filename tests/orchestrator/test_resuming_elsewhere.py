"""Where ``resume`` works: as before, or as it is told now; never with another outcome."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from orchestrator import commands
from orchestrator.cli import run
from orchestrator.config import JobConfig
from tasks.store import open_store
from tests.factories import config_of
from tests.orchestrator.jobs import make_job

ON_A_CLUSTER = {"address": "10.0.0.1:6379", "workers": 40, "device": "cuda"}


@pytest.fixture
def resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The job that ``vsalign resume JOB ARGUMENTS`` goes on with, of one that was begun on a cluster."""
    store = make_job(open_store(str(tmp_path / "out.mkv.vsalign")), str(tmp_path / "out.mkv"))
    saved = json.loads(store.read("job.json") or b"")
    saved["config"]["run"] |= ON_A_CLUSTER
    store.replace("job.json", json.dumps(saved).encode())
    jobs: list[JobConfig] = []
    monkeypatch.setattr(commands, "render", lambda config, resuming=False: jobs.append(config) or 0)

    def resume(*arguments: str) -> dict[str, Any]:
        assert run(["resume", store.location, *arguments]) == 0
        return jobs[-1].run.model_dump()

    return resume


@pytest.mark.parametrize("arguments", [(), ("--pool", "ray")])
def test_a_job_begun_on_a_cluster_goes_on_there(resumed, arguments):
    assert resumed(*arguments).items() >= {"pool": "ray", **ON_A_CLUSTER}.items()


def test_a_job_begun_on_a_cluster_goes_on_on_this_machine(resumed):
    now = resumed("--address", "local", "--workers", "2", "--device", "cpu")
    assert (now["pool"], now["address"], now["workers"], now["device"]) == ("ray", None, 2, "cpu")


def test_how_the_work_is_done_may_change(resumed):
    now = resumed("--stall-seconds", "900", "--gpu-fraction", "0.5", "--cores-per-worker", "4", "--start-timeout", "60")
    assert (now["stall_seconds"], now["gpu_fraction"], now["cores_per_worker"], now["start_timeout"]) == (900, 0.5, 4, 60)
    assert now["address"] == ON_A_CLUSTER["address"]


def test_local_is_no_address_wherever_it_is_given():
    assert config_of(run={"address": "local"}).run.address is None

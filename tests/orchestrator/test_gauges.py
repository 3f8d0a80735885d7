"""What Prometheus reads of a run, from the port on which a real Ray node serves it."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from orchestrator.nodes import Census, Slot
from orchestrator.state import AttemptFailed, Cause
from tasks.work import Attempt
from tests.factories import record, work

AGENT = ("opentelemetry.exporter.prometheus", "prometheus_client", "aiohttp")
OUR_TAGS = {"stage", "result", "cause", "accelerator", "state"}
GPU, CPU = Slot(0, "node", "T4", accelerator="T4"), Slot(1, "node", "AMD EPYC")


@contextmanager
def ray_cluster_reporting_often(patch: pytest.MonkeyPatch) -> Iterator[None]:
    from orchestrator.raycluster import ray_cluster

    patch.setenv("RAY_metrics_report_interval_ms", "1000")  # 10 s by default
    with ray_cluster(None, 1):
        yield


@pytest.fixture(scope="module")
def metrics_url() -> Iterator[str]:
    """A Ray of one node, and where it serves metrics."""
    missing = [name for name in AGENT if importlib.util.find_spec(name.partition(".")[0]) is None]
    if missing:
        pytest.skip(f"Ray's metrics agent is not installed ({', '.join(missing)}): pip install 'ray[default]'")
    import ray

    with pytest.MonkeyPatch.context() as patch, ray_cluster_reporting_often(patch):
        node = ray.nodes()[0]
        yield f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics"


def served(url: str) -> dict[str, float]:
    """Values of our metrics by name and our own tags; empty while nothing is served yet."""
    try:
        text = urllib.request.urlopen(url, timeout=5).read().decode()
    except OSError:
        return {}
    values = {}
    for name, tags, value in re.findall(r"^ray_(vsalign_\w+)\{(.*?)\} (\S+)$", text, re.MULTILINE):
        ours = [
            tag for tag in re.findall(r'(\w+)="(.*?)"', tags) if tag[0] in {"stage", "result", "cause", "accelerator", "state"}
        ]
        if "bucket" not in name:
            values[name + "".join(f" {value}" for _, value in sorted(ours))] = float(value)
    return values


@pytest.mark.ray
def test_a_node_serves_the_numbers_of_a_run(metrics_url: str):
    from orchestrator.gauges import MetricsListener, metrics_listener

    assert isinstance(metrics_listener("render", [work()], []), MetricsListener)
    now = [100.0]
    listener = MetricsListener("render", 5, lambda: now[0])
    other = MetricsListener("scan", 1, lambda: now[0])
    a, b, c = work("a"), work("b"), work("c")
    for unit, slot in ((a, GPU), (b, GPU), (c, CPU)):
        listener.unit_started(unit, Attempt(), slot)
    now[0] += 30
    listener.unit_done(a, record(of=a, seconds=2.5))
    listener.unit_failed(b, AttemptFailed("b", 1, Cause.PREEMPTED, "gone"), parked=False)
    listener.unit_failed(c, AttemptFailed("c", 1, Cause.CODE, "x"), parked=True)
    listener.unit_started(b, Attempt(2), CPU)
    listener.tick(3, Census(busy=1, idle=2))
    again = MetricsListener("render", 1, lambda: now[0])
    again.unit_done(c, record(of=c, seconds=2.5))
    other.unit_done(a, record(of=a))
    expected = {
        "vsalign_chunks_total done render": 2,
        "vsalign_chunks_total failed render": 1,
        "vsalign_chunks_total parked render": 1,
        "vsalign_chunks_total done scan": 1,
        "vsalign_frames_total render": 20,
        "vsalign_frames_total scan": 10,
        "vsalign_frame_seconds_count render": 2,
        "vsalign_queue_units render": 2,
        "vsalign_retries_total preempted": 1,
        "vsalign_retries_total code": 1,
        "vsalign_gpu_seconds_total T4": 60,
        "vsalign_spot_lost_seconds_total": 30,
        "vsalign_workers busy": 1,
        "vsalign_workers idle": 2,
    }
    deadline = time.monotonic() + 40
    while not expected.items() <= (found := served(metrics_url)).items():
        assert time.monotonic() < deadline, f"expected {expected}, served {found}"
        now[0] += 2  # a gauge that is not set again is served only once
        listener.tick(3, Census(busy=1, idle=2))
        time.sleep(0.5)
    assert [name for name in found if name.startswith("vsalign_gpu_seconds")] == ["vsalign_gpu_seconds_total T4"]
    ended = {"vsalign_workers busy": 0, "vsalign_queue_units render": 0}
    while not ended.items() <= (found := served(metrics_url)).items():
        assert time.monotonic() < deadline + 30, found
        listener.close()
        time.sleep(0.5)
    assert not re.search(r'"(a|b|c)"', urllib.request.urlopen(metrics_url).read().decode()), "no unit's name is a tag"


def test_a_run_without_ray_has_no_metrics_and_does_not_load_it():
    code = (
        "import sys; from orchestrator.listeners import stage_listeners; from orchestrator.gauges import metrics_listener; "
        "assert metrics_listener('scan', [], []) is None; print('ray' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2]
    )
    assert done.stdout.strip() == "False"

"""A cluster that grows from nothing and shrinks again: both of Ray's autoscalers, over a made-up cloud with real raylets."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

pytestmark = pytest.mark.ray

GPU_MACHINE = {"gpu": {"resources": {"CPU": 1, "GPU": 1, "object_store_memory": 80 * 1024 * 1024}}}
BUNDLE = {"CPU": 1.0, "GPU": 1.0}


def wait_until(seen: Callable[[], bool], seconds: float) -> bool:
    until = time.monotonic() + seconds
    while not (found := seen()) and time.monotonic() < until:
        time.sleep(0.1)
    return found


@pytest.mark.parametrize("v2", [False, True], ids=["first", "second"])
def test_machines_come_when_asked_for_and_go_when_released(v2: bool, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    import ray

    from orchestrator import autoscale
    from tests.fakecloud import fake_cloud

    def workers() -> int:
        return sum(node["Alive"] for node in ray.nodes()) - 1

    with fake_cloud(GPU_MACHINE, v2=v2) as address:
        ray.init(address=address, logging_level="ERROR", log_to_driver=False)
        try:
            assert wait_until(autoscale.can_grow, 20) and workers() == 0
            assert wait_until(lambda: autoscale.unmet_demand() == "", 10)
            assert autoscale.ask_for([BUNDLE] * 2)
            assert wait_until(lambda: "gpu starting" in autoscale.unmet_demand(), 15)
            assert wait_until(lambda: workers() == 2, 30)
            time.sleep(5)
            assert workers() == 2, "a request holds idle machines"
            assert autoscale.ask_for([])
            assert wait_until(lambda: workers() == 0, 30)
        finally:
            ray.shutdown()


def test_without_ray_nothing_is_known_and_nothing_breaks():
    import ray

    from orchestrator import autoscale

    assert not ray.is_initialized()
    answers = (autoscale.can_grow(), autoscale.ask_for([BUNDLE]), autoscale.draining_seconds_left(), autoscale.unmet_demand())
    assert answers == (False, False, {}, "")


NAMELESS = {"node_10dd53f089d9d3420bc69b2a1bd9300b858cc9c6707394ae754fca76": 1}


@pytest.mark.parametrize(
    ("status", "grows"),
    [
        ({}, False),
        ({"load_metrics_report": {}}, False),
        ({"autoscaler_report": {"active_nodes": NAMELESS}}, False),
        ({"autoscaler_report": {"active_nodes": {}}}, True),
        ({"autoscaler_report": {"active_nodes": {"head": 1, "node_pool": 2}}}, True),
    ],
)
def test_a_cluster_whose_nodes_have_no_types_has_no_autoscaler(status, grows):
    from orchestrator.autoscale import _grows_v1

    assert _grows_v1(status) is grows


def test_what_the_first_autoscaler_reports_becomes_one_line():
    from orchestrator.autoscale import _unmet_v1

    refused = {"category": "NoCapacity", "description": "none of\nthis kind"}
    report = {
        "pending_launches": {"gpu": 2},
        "pending_nodes": [["10.0.0.5", "gpu", "setting-up"]],
        "failed_nodes": [["10.0.0.6", "cpu"]],
        "node_availability_summary": {
            "node_availabilities": {
                "gpu": {"is_available": False, "unavailable_node_information": refused},
                "cpu": {"is_available": True, "unavailable_node_information": None},
            }
        },
    }
    line = _unmet_v1({"autoscaler_report": report, "load_metrics_report": {"resource_demand": [[{"GPU": 1, "CPU": 2}, 3]]}})
    assert line == ("no room for 2 CPU and 1 GPU x3; 3 gpu starting; gpu refused: NoCapacity none of this kind; 1 cpu lost")

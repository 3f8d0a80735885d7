"""The pool on a real Ray cluster whose nodes come, go, are drained and die; its workers do as the test says."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from orchestrator.errors import PoolError
from orchestrator.nodes import PoolLimits, WorkerShape
from orchestrator.state import AttemptFailed, AttemptSucceeded, Cause, Event
from tasks.work import Attempt, Work
from tests.scripted_worker import scripted, scripted_actor

pytestmark = pytest.mark.ray
SMALL = {"object_store_memory": 80 * 1024 * 1024}
#: Deaths of nodes are noticed within a second or two, by calls that are refused; one that only takes long says nothing on a
#: machine with other things to do.
QUICK = {
    "health_check_initial_delay_ms": 0,
    "health_check_period_ms": 300,
    "health_check_timeout_ms": 5000,
    "health_check_failure_threshold": 3,
}
CPU = WorkerShape("temporal", num_cpus=1)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A head without room for workers; tests add the nodes they want."""
    import ray
    from ray.cluster_utils import Cluster

    head = {"num_cpus": 0, "include_dashboard": False, "_system_config": QUICK, **SMALL}
    made = Cluster(initialize_head=True, head_node_args=head)
    ray.init(address=made.address, logging_level="ERROR", log_to_driver=False)
    yield made
    ray.shutdown()
    made.shutdown()


@pytest.fixture
def nodes(cluster: Any) -> Iterator[Callable[..., Any]]:
    """Adds a node; all of them are gone after the test."""
    added = []

    def add(**has: Any) -> Any:
        added.append(cluster.add_node(**{"num_cpus": 1, **has}, **SMALL))
        return added[-1]

    yield add
    for node in added:
        if node in cluster.worker_nodes:
            cluster.remove_node(node, allow_graceful=False)


@pytest.fixture
def make_pool(cluster: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Any]]:
    from orchestrator import pool as module
    from orchestrator.nodewatch import NodeWatch

    monkeypatch.setattr("orchestrator.worker.actor_class", scripted_actor)
    pools, watches = [], []

    def make(shape: WorkerShape = CPU, most: int | None = None, start_timeout_s: float = 120.0, **more: Any) -> Any:
        watches.append(NodeWatch(every_s=0.5))
        pools.append(module.RayPool(shape, PoolLimits(most, start_timeout_s, start_timeout_s), watches[-1], **more))
        return pools[-1]

    yield make
    for made in pools:
        made.close(kill=True)
    for watch in watches:
        watch.close()


def drive(pool: Any, units: list[Work], until: Callable[[list[Event]], bool], timeout_s: float = 200.0) -> list[Event]:
    """Submit ``units`` as workers get free, until what was heard is enough."""
    todo, heard = list(units), []
    deadline = time.monotonic() + timeout_s
    while not until(heard):
        assert time.monotonic() < deadline, heard
        pool.want(len(todo))
        for slot in pool.slots():
            if todo:
                pool.submit(slot, todo.pop(0), Attempt())
        heard += pool.wait(0.1)
    return heard


def count(number: int) -> Callable[[list[Event]], bool]:
    return lambda heard: len(heard) >= number


def wait_until(true: Callable[[], bool], pool: Any, timeout_s: float = 150.0) -> None:
    """What is heard meanwhile is dropped."""
    deadline = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < deadline
        pool.wait(0.1)


def test_the_pool_grows_onto_a_node_that_joins_and_shrinks_when_little_is_left(nodes, make_pool):
    nodes()
    pool = make_pool()
    units = [scripted(f"u{n}", "sleep 0.5") for n in range(40)]
    heard = drive(pool, units[:3], count(2))
    assert all(isinstance(event, AttemptSucceeded) for event in heard)
    nodes(num_cpus=2)
    pool.want(20)
    wait_until(lambda: len(pool.slots()) == 3, pool)
    assert len({slot.node for slot in pool.slots()}) == 2
    pool.want(0)
    wait_until(lambda: not pool.slots(), pool)


def test_a_node_that_dies_is_nobodys_fault_and_its_unit_can_run_elsewhere(cluster, nodes, make_pool):
    first, second = nodes(), nodes()
    pool = make_pool()
    pool.want(2)
    wait_until(lambda: len(pool.slots()) == 2, pool)
    doomed = next(slot for slot in pool.slots() if slot.node == second.node_id)
    pool.submit(doomed, scripted("lost", "sleep 60"), Attempt())
    cluster.remove_node(second, allow_graceful=False)
    heard = drive(pool, [], count(1))
    assert [(event.item, event.cause, event.node) for event in heard] == [("lost", Cause.INFRA, second.node_id)]
    assert isinstance(drive(pool, [scripted("lost", "sleep 0")], count(1))[0], AttemptSucceeded)
    assert {node.id for node in pool.census().nodes if node.cpus} == {first.node_id}


def test_a_crash_on_a_living_node_an_exception_and_a_frozen_worker_are_told_apart(nodes, make_pool):
    nodes()
    nodes()
    pool = make_pool()
    heard = drive(pool, [scripted("crash", "crash"), scripted("raise", "raise")], count(2))
    causes = {event.item: event.cause for event in heard if isinstance(event, AttemptFailed)}
    assert causes == {"crash": Cause.CRASH, "raise": Cause.CODE}
    assert "scripted fault" in next(event.message for event in heard if event.item == "raise")

    drive(pool, [scripted("freeze", "freeze")], lambda heard: bool(pool.census().busy))
    pool.stop("freeze", Cause.STALL, "no frame came")
    heard = pool.wait(0.1)
    assert [(event.item, event.cause) for event in heard] == [("freeze", Cause.STALL)]
    # Its place is free again: as many workers as before come up.
    pool.want(2)
    wait_until(lambda: len(pool.slots()) == 2, pool)


def test_frames_are_heard_of_while_a_unit_runs(nodes, make_pool):
    nodes()
    pool = make_pool()
    seen: list[int] = []

    def enough(heard: list[Event]) -> bool:
        seen.append(pool.progress().get("slow", 0))
        return bool(heard)

    drive(pool, [scripted("slow", "frames 40")], enough)
    assert 0 < max(seen) <= 40 and seen[:-1] == sorted(seen[:-1])


def test_a_node_about_to_go_is_announced_and_gets_no_new_worker(nodes, make_pool):
    from orchestrator.autoscale import drain

    node = nodes()
    pool = make_pool()
    pool.want(1)
    wait_until(lambda: bool(pool.slots()), pool)
    drain(node.node_id, 90, "taken away")
    wait_until(lambda: pool.slots()[0].seconds_left is not None, pool)
    assert 60 < pool.slots()[0].seconds_left <= 90
    pool.want(0)
    wait_until(lambda: not pool.slots(), pool)
    pool.want(1)
    for _ in range(30):
        pool.wait(0.1)
    assert pool.census().starting == 0 and not pool.slots()


def test_an_idle_worker_on_a_node_that_dies_or_goes_makes_room_for_one_elsewhere(cluster, nodes, make_pool):
    from orchestrator.autoscale import drain

    dying, going, last = nodes(), nodes(), nodes()
    pool = make_pool(most=2)
    pool.want(2)
    wait_until(lambda: len(pool.slots()) == 2, pool)
    cluster.remove_node(dying, allow_graceful=False)
    drain(going.node_id, 600, "taken away")
    wait_until(lambda: [slot.node for slot in pool.slots()] == [last.node_id], pool)


def test_a_unit_that_failed_is_tried_on_another_node_though_it_is_the_last(nodes, make_pool):
    nodes()
    nodes()
    pool = make_pool()
    failed = drive(pool, [scripted("u", "raise")], count(1))[0]
    pool.want(1)
    wait_until(lambda: bool(pool.slots()), pool)
    assert [slot.node for slot in pool.slots()] != [failed.node]


def test_two_workers_share_a_gpu_and_cpu_work_keeps_off_gpu_nodes(nodes, make_pool):
    gpu, cpu = nodes(num_cpus=4, num_gpus=1), nodes(num_cpus=4)
    halves = make_pool(WorkerShape("spatial", num_cpus=1, num_gpus=0.5))
    halves.want(9)
    wait_until(lambda: len(halves.slots()) == 2, halves)
    assert {(slot.node, slot.accelerator) for slot in halves.slots()} == {(gpu.node_id, "test device")}
    thin = make_pool()
    thin.want(3)
    wait_until(lambda: len(thin.slots()) == 3, thin)
    assert {(slot.node, slot.accelerator) for slot in thin.slots()} == {(cpu.node_id, "")}


def test_a_node_that_does_not_see_the_job_is_not_used_and_told_of(nodes, make_pool):
    good, blind = nodes(), nodes()
    told: list[str] = []
    pool = make_pool(sight=blind.node_id, say=told.append)
    pool.want(2)
    wait_until(lambda: bool(pool.slots()) and bool(told), pool)
    assert [slot.node for slot in pool.slots()] == [good.node_id]
    assert told == [f"a node is not used: {blind.node_id} lacks something"]
    assert pool.census().blocked == (blind.node_id,)


def test_a_shunned_node_is_left_alone(nodes, make_pool):
    nodes()
    bad = nodes()
    pool = make_pool()
    pool.want(2)
    wait_until(lambda: len(pool.slots()) == 2, pool)
    pool.shun(bad.node_id)
    for _ in range(40):
        pool.wait(0.1)
    assert {slot.node for slot in pool.slots()}.isdisjoint({bad.node_id}) and pool.census().blocked == (bad.node_id,)
    assert pool.census().usable == 1, "the head has no room for a worker"


def test_a_worker_that_comes_back_to_a_shunned_node_gets_nothing_more(nodes, make_pool):
    bad = nodes()
    pool = make_pool()
    drive(pool, [scripted("u", "sleep 2")], lambda heard: bool(pool.census().busy))
    pool.shun(bad.node_id)
    heard = drive(pool, [], count(1))
    assert isinstance(heard[0], AttemptSucceeded) and not pool.slots() and pool.census().idle == 0


def test_no_room_is_an_error_that_says_what_was_wanted_and_what_there_is(nodes, make_pool):
    nodes()
    holder = make_pool()
    holder.want(1)
    wait_until(lambda: bool(holder.slots()), holder)
    starved = make_pool(start_timeout_s=3.0)
    starved.want(1)
    with pytest.raises(PoolError, match=r"no temporal worker \(1 CPU\).*1 CPU \(0 and 0 free\)"):
        wait_until(lambda: bool(starved.slots()), starved)


def test_workers_that_fail_to_start_everywhere_end_the_wait_at_once(nodes, make_pool, tmp_path, monkeypatch):
    broken = tmp_path / "broken"
    broken.touch()
    monkeypatch.setenv("SCRIPTED_STARTS_FAIL", str(broken))
    nodes()
    monkeypatch.delenv("SCRIPTED_STARTS_FAIL")
    pool = make_pool()
    pool.want(1)
    with pytest.raises(PoolError, match=r"this node has no driver|died"):
        wait_until(lambda: False, pool, timeout_s=60)

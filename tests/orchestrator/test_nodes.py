"""Where workers go, and which node is not to be trusted."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.nodes import NodeTrust, NodeView, WorkerShape, describe_nodes, nodes_to_start_on, room_on


def node(name: str, cpus: float = 8, gpus: float = 0, **changes: float | None) -> NodeView:
    return replace(NodeView(name, f"host-{name}", cpus, gpus, cpus, gpus), **changes)  # type: ignore[arg-type]


CPU = WorkerShape("scan", num_cpus=2)
GPU = WorkerShape("render", num_cpus=1, num_gpus=1)


@pytest.mark.parametrize(
    ("shape", "cpus", "gpus", "fits"),
    [
        (CPU, 8, 0, 4),
        (CPU, 7.5, 4, 3),
        (GPU, 8, 2, 2),
        (GPU, 1, 4, 1),
        (GPU, 8, 0, 0),
        (WorkerShape("render", 1, 0.5), 8, 2, 4),
        (WorkerShape("render", 1, 0.4), 8, 2, 4),  # 2 a GPU: a share never spans two
        (WorkerShape("render", 1, 0.4), 8, 0.9, 2),
        (WorkerShape("render", 1, 1 / 3), 8, 1, 3),
        (WorkerShape("render", 1, 0.2), 8, 1, 5),  # whatever floating point makes of 1 / 0.2
        (WorkerShape("render", 1, 0.05), 99, 1, 20),
        (WorkerShape("render", 1, 2), 8, 5, 2),
        (WorkerShape("render", 0, 0.25), 0, 1, 4),
    ],
)
def test_how_many_workers_a_node_holds(shape: WorkerShape, cpus: float, gpus: float, fits: int):
    assert shape.fits(cpus, gpus) == fits


def test_what_others_have_booked_is_not_ours_to_use():
    assert room_on(CPU, node("a", free_cpus=3.0), ours=0, unseen=0) == 1
    assert room_on(CPU, node("a", free_cpus=3.0), ours=2, unseen=0) == 1
    assert room_on(CPU, node("a", free_cpus=0.0), ours=4, unseen=0) == 0


def test_what_was_started_since_the_last_look_takes_room_already():
    assert room_on(CPU, node("a", free_cpus=4.0), ours=2, unseen=2) == 0
    assert room_on(CPU, node("a", free_cpus=8.0), ours=1, unseen=1) == 3


def test_a_node_that_goes_gets_no_worker():
    assert room_on(CPU, node("a", seconds_left=500.0), ours=0, unseen=0) == 0
    assert nodes_to_start_on(CPU, [node("a", seconds_left=500.0), node("b")], {}, 2) == ["b", "b"]


def test_workers_are_spread_evenly():
    nodes = [node("a"), node("b"), node("c")]
    assert Counter(nodes_to_start_on(CPU, nodes, {}, 6)) == {"a": 2, "b": 2, "c": 2}
    assert Counter(nodes_to_start_on(CPU, nodes, {"a": 2}, 6)) == {"b": 2, "c": 2}


def test_workers_without_a_gpu_leave_gpu_nodes_to_those_who_need_them():
    nodes = [node("gpu", gpus=1), node("plain")]
    assert nodes_to_start_on(CPU, nodes, {}, 5) == ["plain"] * 4 + ["gpu"]
    assert nodes_to_start_on(GPU, nodes, {}, 5) == ["gpu"]


def test_a_node_where_something_failed_lately_comes_last():
    assert nodes_to_start_on(CPU, [node("a"), node("b", gpus=1)], {}, 1, soured={"a"}) == ["b"]
    assert nodes_to_start_on(CPU, [node("a")], {}, 1, soured={"a"}) == ["a"]


_NODES = st.lists(st.tuples(st.integers(0, 16), st.integers(0, 4), st.none() | st.floats(0, 100)), min_size=1, max_size=6).map(
    lambda rows: [node(f"n{i}", cpus, gpus, seconds_left=left) for i, (cpus, gpus, left) in enumerate(rows)]
)


@given(_NODES, st.sampled_from([CPU, GPU, WorkerShape("x", 1, 0.5)]), st.integers(0, 30), st.data())
def test_never_more_than_wanted_nor_than_a_node_holds(
    nodes: list[NodeView], shape: WorkerShape, wanted: int, data: st.DataObject
):
    ours = {n.id: data.draw(st.integers(0, shape.fits(n.cpus, n.gpus))) for n in nodes}
    starts = Counter(nodes_to_start_on(shape, nodes, ours, wanted))
    assert sum(starts.values()) <= max(wanted - sum(ours.values()), 0)
    for n in nodes:
        assert n.id not in starts or starts[n.id] <= room_on(shape, n, ours[n.id], 0)
    room = sum(max(room_on(shape, n, ours[n.id], 0), 0) for n in nodes)
    assert sum(starts.values()) == min(room, max(wanted - sum(ours.values()), 0))


def test_nodes_are_told_in_one_line():
    assert describe_nodes([]) == "the cluster has no living node"
    assert describe_nodes([node("a", gpus=2, free_gpus=1.0)]) == "the cluster has: host-a: 8 CPU and 2 GPU (8 and 1 free)"
    assert describe_nodes([node(str(i)) for i in range(9)]).endswith("; and 3 more")


def test_a_node_where_three_units_fail_in_a_row_is_to_blame():
    trust = NodeTrust()
    assert [trust.blames("a", unit, 4) for unit in ("u1", "u2", "u3")] == [False, False, True]


def test_one_unit_that_fails_again_and_again_blames_no_node():
    trust = NodeTrust()
    assert not any(trust.blames("a", "u1", 4) for _ in range(9))


def test_a_success_clears_a_node():
    trust = NodeTrust()
    trust.blames("a", "u1", 4)
    trust.blames("a", "u2", 4)
    assert trust.doubted == {"a"}
    trust.succeeded("a")
    assert not trust.doubted and not trust.blames("a", "u3", 4)


def test_the_only_node_is_never_given_up():
    trust = NodeTrust()
    assert not any(trust.blames("a", f"u{i}", 1) for i in range(9))

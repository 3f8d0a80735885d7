"""The cluster's nodes, looked at every few seconds by a thread: who asks a head that is gone waits for minutes."""

from __future__ import annotations

import threading
import time
from typing import Any

import ray
from ray._private.state import available_resources_per_node

from orchestrator.autoscale import can_grow, draining_seconds_left
from orchestrator.nodes import NodeView

LOOK_EVERY_S = 2.0
#: Ray's label for the type of a node's GPU, as a resource of the node.
_ACCELERATOR = "accelerator_type:"


class NodeWatch:
    """What the living nodes have and have left, as last heard. Needs a connected Ray; ``close`` before it is left."""

    def __init__(self, every_s: float = LOOK_EVERY_S) -> None:
        self._every_s = every_s
        self._nodes = look_at_nodes()
        self._can_grow = can_grow()
        self._heard = time.monotonic()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True, name="node-watch")
        self._thread.start()

    def nodes(self) -> tuple[NodeView, ...]:
        """Living nodes, those that are about to go included."""
        return self._nodes

    @property
    def can_grow(self) -> bool:
        """An autoscaler may add nodes."""
        return self._can_grow

    @property
    def heard(self) -> float:
        """When it was (by the monotonic clock) that the nodes were last looked at."""
        return self._heard

    @property
    def silent_s(self) -> float:
        """Seconds since the cluster last answered."""
        return time.monotonic() - self._heard

    def close(self) -> None:
        """Stop looking; does not wait for a question that is under way."""
        self._closed.set()

    def _watch(self) -> None:
        while not self._closed.wait(self._every_s):
            try:
                asked = time.monotonic()
                self._nodes = look_at_nodes()
                self._heard = asked
                self._can_grow = self._can_grow or can_grow()
            except Exception:
                continue  # ``silent_s`` tells; the next look may be answered


def look_at_nodes() -> tuple[NodeView, ...]:
    """The living nodes of the connected cluster, asked for now."""
    nodes: list[dict[str, Any]] = [node for node in ray.nodes() if node["Alive"]]
    free, going = available_resources_per_node(), draining_seconds_left()
    return tuple(_view(node, free.get(node["NodeID"], {}), going.get(node["NodeID"])) for node in nodes)


def _view(node: dict[str, Any], free: dict[str, float], seconds_left: float | None) -> NodeView:
    has = node["Resources"]
    accelerators = [name.removeprefix(_ACCELERATOR) for name in has if name.startswith(_ACCELERATOR)]
    return NodeView(
        id=node["NodeID"],
        host=node.get("NodeManagerHostname") or node.get("NodeManagerAddress", ""),
        cpus=has.get("CPU", 0.0),
        gpus=has.get("GPU", 0.0),
        free_cpus=free.get("CPU", 0.0),
        free_gpus=free.get("GPU", 0.0),
        accelerator=accelerators[0] if accelerators else "",
        seconds_left=seconds_left,
    )

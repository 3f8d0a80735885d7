"""PURE: the nodes of a cluster as the supervisor sees them: where workers go, and which node is not to be trusted."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from types import MappingProxyType

#: So many different units failing on a node, one after the other and none succeeding, tell that the node is at fault.
MOST_FAILED_UNITS = 3


@dataclass(frozen=True, slots=True)
class NodeView:
    """A node as last heard of. ``free_cpus`` and ``free_gpus``: what nobody has booked. ``accelerator``: its GPU, ""
    none or unknown. ``seconds_left``: until the machine is taken away; None: nothing was announced."""

    id: str
    host: str
    cpus: float
    gpus: float
    free_cpus: float
    free_gpus: float
    accelerator: str = ""
    seconds_left: float | None = None

    def __str__(self) -> str:
        gpus = f" and {self.gpus:g} GPU" if self.gpus else ""
        return f"{self.host}: {self.cpus:g} CPU{gpus} ({self.free_cpus:g} and {self.free_gpus:g} free)"


@dataclass(frozen=True, slots=True)
class WorkerShape:
    """What one worker asks of a node, and the torch threads that it pins. A worker's share of a GPU never spans two."""

    kind: str
    num_cpus: float = 1
    num_gpus: float = 0
    torch_threads: int = 1

    def __str__(self) -> str:
        return f"{self.num_cpus:g} CPU" + (f" and {self.num_gpus:g} GPU" if self.num_gpus else "")

    def fits(self, cpus: float, gpus: float) -> int:
        """How many workers so much of a node can hold."""
        by_cpu = cpus // self.num_cpus if self.num_cpus else float("inf")
        return int(min(by_cpu, _gpu_shares(gpus, self.num_gpus) if self.num_gpus else float("inf")))


def _gpu_shares(gpus: float, share: float) -> float:
    """Workers with ``share`` of a GPU each: fractions on each whole GPU, and on what is left of a partly booked one."""
    if share >= 1:
        return gpus // share
    whole, rest = divmod(gpus + 1e-9, 1)
    return whole * _times(1, share) + _times(rest, share)


def _times(amount: float, share: float) -> int:
    """1 / 0.2 is 5, whatever floating point makes of it."""
    return math.floor(amount / share + 1e-6)


@dataclass(frozen=True, slots=True)
class Slot:
    """A free worker. ``speed_class``: workers of one class are taken to be equally fast. ``accelerator``: its GPU, ""
    for a worker without."""

    id: int
    node: str
    speed_class: str
    seconds_left: float | None = None
    accelerator: str = ""


@dataclass(frozen=True, slots=True)
class Census:
    """Who works now; ``wanted``: workers that the pool would have if it could; ``blocked``: nodes that are used no more;
    ``usable``: how many others there are that can hold a worker."""

    nodes: tuple[NodeView, ...] = ()
    busy: int = 0
    idle: int = 0
    starting: int = 0
    wanted: int = 0
    blocked: tuple[str, ...] = ()
    usable: int = 1


@dataclass(frozen=True, slots=True)
class PoolLimits:
    """``most_workers``: None for as many as the cluster has room for. ``grow_timeout_s`` is waited for nodes that an autoscaler
    adds, ``start_timeout_s`` for a worker on a node that is there."""

    most_workers: int | None = None
    start_timeout_s: float = 120.0
    grow_timeout_s: float = 900.0


def room_on(shape: WorkerShape, node: NodeView, ours: int, unseen: int) -> int:
    """How many more workers of ``shape`` the node can hold beside ``ours``, none if it is about to go.

    What is free was looked up before ``unseen`` of ours were started there.
    """
    if node.seconds_left is not None:
        return 0
    free = shape.fits(node.free_cpus, node.free_gpus) - unseen
    return min(shape.fits(node.cpus, node.gpus) - ours, free)


def nodes_to_start_on(
    shape: WorkerShape,
    nodes: Sequence[NodeView],
    ours: Mapping[str, int],
    wanted: int,
    unseen: Mapping[str, int] = MappingProxyType({}),
    soured: Set[str] = frozenset(),
) -> list[str]:
    """A node id for each worker that is missing to ``wanted``, evenly spread; ``ours``: workers by node, starting ones too.

    Nodes where something failed lately (``soured``) come last. Workers without a GPU go to nodes without one first, so that GPU
    nodes are kept for what needs them.
    """
    room = {node.id: room_on(shape, node, ours.get(node.id, 0), unseen.get(node.id, 0)) for node in nodes}
    has_gpu = {node.id: not shape.num_gpus and node.gpus > 0 for node in nodes}
    used = dict(ours)
    starts: list[str] = []
    for _ in range(wanted - sum(ours.values())):
        open_nodes = [name for name, free in room.items() if free > 0]
        if not open_nodes:
            break
        node = min(open_nodes, key=lambda name: (name in soured, has_gpu[name], used.get(name, 0)))
        starts.append(node)
        room[node] -= 1
        used[node] = used.get(node, 0) + 1
    return starts


def describe_nodes(nodes: Sequence[NodeView], most: int = 6) -> str:
    """What there is, node by node, for an error message."""
    if not nodes:
        return "the cluster has no living node"
    more = f"; and {len(nodes) - most} more" if len(nodes) > most else ""
    return "the cluster has: " + "; ".join(map(str, nodes[:most])) + more


@dataclass(slots=True)
class NodeTrust:
    """Tells nodes at fault from work at fault: a node where one unit after the other fails, while it is not the only one."""

    failed: dict[str, set[str]] = field(default_factory=dict)

    @property
    def doubted(self) -> Set[str]:
        """Nodes where something failed and nothing succeeded since."""
        return self.failed.keys()

    def succeeded(self, node: str) -> None:
        self.failed.pop(node, None)

    def blames(self, node: str, item: str, num_nodes: int) -> bool:
        """Count a failure of ``item``; True when the node should not be used any more."""
        units = self.failed.setdefault(node, set())
        units.add(item)
        return num_nodes > 1 and len(units) >= MOST_FAILED_UNITS

"""What a cluster's autoscaler and its drains say, and what is asked of them: a door of its own for calls that Ray may rename.

Ray offers two autoscalers. The first writes what it sees into the GCS's key-value store, the second answers a request; both
name the type of each node. A cluster without an autoscaler runs the same monitor over nodes whose types are made of their ids.
"""

from __future__ import annotations

import json
import logging
import math
import re
import socket
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import ray
from ray._private import services
from ray._private.authentication.authentication_token_setup import logger as authentication_logger
from ray._private.authentication.authentication_token_setup import maybe_enable_token_auth_if_token_available
from ray._private.state import state as cluster_state
from ray._raylet import GcsClient  # type: ignore[attr-defined]
from ray.autoscaler.sdk import request_resources
from ray.autoscaler.v2.sdk import get_cluster_status
from ray.autoscaler.v2.utils import is_autoscaler_v2
from ray.core.generated.autoscaler_pb2 import DrainNodeReason
from ray.experimental.internal_kv import _internal_kv_get

from orchestrator.errors import PoolError
from orchestrator.raycluster import first_line

#: Where the first autoscaler's monitor leaves its state.
STATUS_KEY = "__autoscaling_status"
#: Type names that a cluster without autoscaler gives its nodes.
NAMELESS_TYPE = re.compile(r"node_[0-9a-f]{20,}")
#: A request to the GCS that takes longer is given up; it is tried again by whoever asks next.
GCS_TIMEOUT_S = 10.0
CONNECT_TIMEOUT_S = 3.0


def can_grow() -> bool:
    """Whether this cluster has an autoscaler that may add nodes; False without Ray, and until the autoscaler's first look.

    That look is some 5 seconds after the head's start, so ask again rather than once.
    """
    try:
        return _grows_v2() if _is_v2() else _grows_v1(_status_v1())
    except Exception:
        # Whatever Ray's internals raise, the answer is that growth can't be counted on.
        return False


def ask_for(bundles: Sequence[Mapping[str, float]]) -> bool:
    """Ask for room for all ``bundles`` ({"CPU": 1, "GPU": 1} each) at once; [] takes the request back. True when Ray took it.

    A request stays until the next one, after the job's end too; it counts what the cluster already has, busy or not. Without an
    autoscaler nothing happens.
    """
    try:
        request_resources(bundles=[{name: _whole(amount) for name, amount in bundle.items() if amount} for bundle in bundles])
    except Exception:
        return False
    return True


def ask_in_time(bundles: Sequence[Mapping[str, float]], timeout_s: float) -> None:
    """``ask_for``, given up after ``timeout_s``: a head that is gone never answers."""
    asking = threading.Thread(target=ask_for, args=(bundles,), daemon=True)
    asking.start()
    asking.join(timeout_s)


def draining_seconds_left() -> dict[str, float]:
    """Node id -> seconds until its machine is taken away, for nodes that were told to drain; inf where no time was given.

    The deadline is an instant by the clock of the draining machine: clocks apart by a second put it wrong by one.
    """
    if not ray.is_initialized():
        return {}
    deadlines: dict[str, int] = cluster_state.get_draining_nodes()
    now_ms = time.time() * 1000
    return {node: max(ms - now_ms, 0.0) / 1000 if ms else float("inf") for node, ms in deadlines.items()}


def unmet_demand() -> str:
    """One line of what was asked for and is not there yet, and why; "" when nothing is missing, or nobody knows."""
    try:
        return _unmet_v2() if _is_v2() else _unmet_v1(_status_v1())
    except Exception:
        return ""


def drain(node_id: str, seconds: float, why: str, gcs_address: str | None = None) -> None:
    """Tell the cluster that ``node_id``'s machine is taken away in ``seconds``: nothing new starts there, what runs goes on.

    An idle node leaves the cluster at once, a busy one when its last actor is gone; the latest call's deadline counts. Works
    without ``ray.init``, from any process that reaches the GCS. Raises PoolError when the cluster refuses or is silent.
    """
    # 0 stands for no deadline.
    deadline_ms = round((time.time() + max(seconds, 0.0)) * 1000) if math.isfinite(seconds) else 0
    reason = DrainNodeReason.Value("DRAIN_NODE_REASON_PREEMPTION")
    gcs = _gcs(gcs_address)
    # Ray takes a request for a node that it never saw without a word.
    if node_id not in _alive(gcs):
        raise PoolError(f"node {node_id[:12]} is not among the cluster's living nodes")
    try:
        taken, refusal = gcs.drain_node(node_id, reason, why, deadline_ms)
    except Exception as error:
        raise PoolError(f"node {node_id[:12]} can't be drained: {first_line(error)}") from error
    if not taken:
        raise PoolError(f"node {node_id[:12]} can't be drained: {refusal or 'refused'}")


def use_token() -> None:
    """Let this process show the token in the user's home, if there is one and RAY_AUTH_MODE does not say otherwise.

    A cluster whose head found such a token refuses everybody without it, and Ray looks for it by itself only for the address
    "auto". A cluster without tokens does not mind.
    """
    with _quiet(authentication_logger):
        maybe_enable_token_auth_if_token_available(warn_if_disabled=False)


@contextmanager
def _quiet(logger: logging.Logger) -> Iterator[None]:
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


def own_node(gcs_address: str | None = None) -> str:
    """Id of the living node on this machine. Raises PoolError when there is none, or more than one."""
    here = {services.get_node_ip_address(), "127.0.0.1"}
    found = [node for node, address in _alive(_gcs(gcs_address)).items() if address in here]
    if len(found) != 1:
        raise PoolError(f"{len(found) or 'no'} living Ray nodes on this machine ({' or '.join(sorted(here))})")
    return found[0]


def _alive(gcs: Any) -> dict[str, str]:
    """Node id -> address of all living nodes."""
    try:
        nodes = gcs.get_all_node_info(timeout=GCS_TIMEOUT_S)
    except Exception as error:
        raise PoolError(f"the Ray cluster does not answer: {first_line(error)}") from error
    return {info.node_id.hex(): info.node_manager_address for info in nodes.values() if info.state == info.ALIVE}


def _gcs(given: str | None) -> Any:
    """A client of the GCS at ``given``, else of the cluster that this process or this machine belongs to."""
    address = given
    if given in (None, "auto"):
        address = ray.get_runtime_context().gcs_address if ray.is_initialized() else _local_gcs()
    use_token()
    host, _, port = str(address).rpartition(":")
    try:
        # Ray's client tries a silent address for 40 seconds.
        socket.create_connection((host, int(port)), timeout=CONNECT_TIMEOUT_S).close()
    except (OSError, ValueError) as error:
        raise PoolError(f"no Ray cluster answers at {address}: {error}") from error
    return GcsClient(address=address)


def _local_gcs() -> str:
    """Where the raylet of this machine finds its GCS."""
    try:
        found: str = services.canonicalize_bootstrap_address_or_die("auto")
    except Exception as error:
        raise PoolError(f"no Ray cluster runs on this machine: {first_line(error)}") from error
    return found


def _is_v2() -> bool:
    return bool(is_autoscaler_v2(fetch_from_server=True))


def _grows_v1(status: Mapping[str, Any]) -> bool:
    """Pure. The head of a real autoscaler's cluster may be missing among its nodes, so an empty list is no evidence."""
    report = status.get("autoscaler_report")
    return report is not None and not any(NAMELESS_TYPE.fullmatch(name) for name in report.get("active_nodes", {}))


def _grows_v2() -> bool:
    status = get_cluster_status(ray.get_runtime_context().gcs_address, timeout=round(GCS_TIMEOUT_S))
    names = [node.ray_node_type_name or "" for node in [*status.active_nodes, *status.idle_nodes]]
    return any(name and not NAMELESS_TYPE.fullmatch(name) for name in names)


def _status_v1() -> dict[str, Any]:
    raw = _internal_kv_get(STATUS_KEY) if ray.is_initialized() else None
    return dict(json.loads(raw)) if raw else {}


def _unmet_v1(status: Mapping[str, Any]) -> str:
    """Pure: ``status`` is what the first autoscaler's monitor wrote."""
    report, load = status.get("autoscaler_report", {}), status.get("load_metrics_report", {})
    parts = [f"no room for {_bundle(shape)} x{count}" for shape, count in load.get("resource_demand", [])]
    starting = dict(report.get("pending_launches", {}))
    for _ip, name, _stage in report.get("pending_nodes", []):
        starting[name] = starting.get(name, 0) + 1
    parts += [f"{count} {name} starting" for name, count in starting.items() if count]
    records = report.get("node_availability_summary", {}).get("node_availabilities", {})
    for name, record in records.items():
        why = record.get("unavailable_node_information") or {}
        if not record.get("is_available", True):
            parts.append(f"{name} refused: {why.get('category', '')} {why.get('description', '')}".rstrip())
    parts += [f"{count} {name} lost" for name, count in _counted(name for _ip, name in report.get("failed_nodes", []))]
    return " ".join("; ".join(parts).split())


def _unmet_v2() -> str:
    status = get_cluster_status(ray.get_runtime_context().gcs_address, timeout=round(GCS_TIMEOUT_S))
    demands = status.resource_demands.ray_task_actor_demand
    parts = [f"no room for {_bundle(by.bundle)} x{by.count}" for demand in demands for by in demand.bundles_by_count]
    launched = (launch.ray_node_type_name for launch in status.pending_launches for _ in range(launch.count))
    starting = _counted([*launched, *(node.ray_node_type_name for node in status.pending_nodes)])
    parts += [f"{count} {name} starting" for name, count in starting]
    parts += [
        f"{launch.ray_node_type_name} refused: {launch.details or 'no reason given'}" for launch in status.failed_launches
    ]
    return " ".join("; ".join(parts).split())


def _counted(names: Iterable[str]) -> Iterable[tuple[str, int]]:
    counts: dict[str, int] = {}
    for name in names:
        counts[name] = counts.get(name, 0) + 1
    return counts.items()


def _bundle(shape: Mapping[str, float]) -> str:
    return " and ".join(f"{amount:g} {name}" for name, amount in sorted(shape.items()))


def _whole(amount: float) -> float:
    """The autoscaler compares whole numbers of GPUs best; 1.0 is written as 1."""
    return int(amount) if float(amount).is_integer() else amount

"""A Ray head with a real autoscaler over a made-up cloud, whose machines are raylets on this one; both of Ray's autoscalers."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import rmtree
from typing import Any

PROVIDER = "ray.autoscaler._private.fake_multi_node.node_provider.FakeMultiNodeProvider"
HEAD = "f" * 51 + "00000"
STORE_BYTES = 80 * 1024 * 1024


@contextmanager
def fake_cloud(
    worker_types: dict[str, dict[str, Any]], *, max_workers: int = 2, idle_s: float = 3.0, v2: bool = False
) -> Iterator[str]:
    """Address of a head without CPUs that may start machines of ``worker_types``; an idle one goes after ``idle_s``."""
    folder = Path(tempfile.mkdtemp(prefix="vsa", dir="/tmp"))
    port = _free_port()
    config = folder / "cluster.json"
    config.write_text(json.dumps(_config(worker_types, f"127.0.0.1:{port}", max_workers, idle_s, v2)), encoding="utf-8")
    extra = {"AUTOSCALER_UPDATE_INTERVAL_S": "1", "RAY_FAKE_CLUSTER": "1", "RAY_USAGE_STATS_ENABLED": "0"}
    extra["RAY_AUTH_MODE"] = "disabled"
    if v2:
        extra |= {"RAY_enable_autoscaler_v2": "1", "RAY_CLOUD_INSTANCE_ID": HEAD, "RAY_OVERRIDE_NODE_ID_FOR_TESTING": HEAD}
        extra |= {"RAY_NODE_TYPE_NAME": "ray.head.default"}
    ray = [
        str(Path(sys.executable).parent / "ray"),
        "start",
        "--head",
        "--block",
        f"--port={port}",
        "--node-ip-address=127.0.0.1",
    ]
    ray += ["--num-cpus=0", "--num-gpus=0", f"--object-store-memory={STORE_BYTES}", "--include-dashboard=false"]
    ray += [f"--temp-dir={folder}", f"--autoscaling-config={config}"]
    with (folder / "head.log").open("w", encoding="utf-8") as log:
        head = subprocess.Popen(ray, env=os.environ | extra, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
    try:
        _wait_for_port(port, head)
        yield f"127.0.0.1:{port}"
    finally:
        head.terminate()
        kill_all(str(folder))
        head.wait(20)
        rmtree(folder, ignore_errors=True)


def _config(worker_types: dict[str, dict[str, Any]], address: str, max_workers: int, idle_s: float, v2: bool) -> dict[str, Any]:
    provider: dict[str, Any] = {"type": "external", "module": PROVIDER, "gcs_address": address, "use_node_id_as_ip": True}
    if v2:
        provider |= {"launch_multiple": True, "head_node_id": HEAD}
    head = {"ray.head.default": {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0}}
    workers = {
        name: {"node_config": {}, "min_workers": 0, "max_workers": max_workers, **kind} for name, kind in worker_types.items()
    }
    empty_lists = ("initialization_commands", "setup_commands", "head_setup_commands", "worker_setup_commands")
    empty_lists += (
        "head_start_ray_commands",
        "worker_start_ray_commands",
        "cluster_synced_files",
        "rsync_exclude",
        "rsync_filter",
    )
    return {
        "cluster_name": "fake",
        "max_workers": max_workers,
        "upscaling_speed": 10.0,
        "idle_timeout_minutes": idle_s / 60,
        "provider": provider,
        "auth": {},
        "available_node_types": head | workers,
        "head_node_type": "ray.head.default",
        "docker": {},
        "file_mounts": {},
        "file_mounts_sync_continuously": False,
    } | {name: [] for name in empty_lists}


def _free_port() -> int:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return int(held.getsockname()[1])


def _wait_for_port(port: int, head: subprocess.Popen[bytes], seconds: float = 30) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until and head.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.2)
    raise RuntimeError("the head did not start")


def kill_all(mark: str) -> None:
    """Kill every process whose command line names ``mark``: raylets of a made-up cloud outlive the head that started them."""
    for _ in range(3):
        for line in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                if mark.encode() in line.read_bytes() and int(line.parent.name) != os.getpid():
                    os.kill(int(line.parent.name), signal.SIGKILL)
            except OSError:
                continue
        time.sleep(0.3)

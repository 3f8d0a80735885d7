"""Waits on a machine that may be taken away, and tells the cluster when it will be: Ray itself asks no cloud.

Three places are looked at: the metadata service of AWS (version 2, with a token), that of GCP, and a file for anything else.
A cloud that does not answer is left alone for a minute, so the same command serves on every machine.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import ProxyHandler, Request, build_opener

from orchestrator.errors import PoolError
from orchestrator.spotnotice import Notice, notice_of_aws, notice_of_file, notice_of_gcp

AWS_METADATA = "http://169.254.169.254"
GCP_METADATA = "http://metadata.google.internal"
REQUEST_TIMEOUT_S = 1.0
SILENT_PAUSE_S = 60.0
TOKEN_TTL_S = 21600
NOT_FOUND, UNAUTHORISED = 404, 401
#: A machine that outlives its notice by this much was not taken; the watch ends, having failed.
OVERTIME_S = 60.0
RETRY_S = 1.0


@dataclass(frozen=True, slots=True)
class WatchPlan:
    """Where to look, how often, and whom to tell."""

    file: Path | None = None
    aws: str = AWS_METADATA
    gcp: str = GCP_METADATA
    every_s: float = 2.0
    drain_on_rebalance: bool = False
    node_id: str | None = None
    gcs_address: str | None = None


class Places:
    """Looks at all places in turn; remembers the token, and which clouds are silent."""

    def __init__(self, plan: WatchPlan, say: Callable[[str], None]) -> None:
        self._plan, self._say = plan, say
        self._token = ""
        self._silent_until = {"aws": 0.0, "gcp": 0.0}
        self._told_rebalance = False
        # A proxy in the environment must not see these requests.
        self._opener = build_opener(ProxyHandler({}))

    def look(self) -> Notice | None:
        """The first notice found, or None."""
        return self._look_at_file() or self._ask("aws", self._look_at_aws) or self._ask("gcp", self._look_at_gcp)

    def _look_at_file(self) -> Notice | None:
        if self._plan.file is None:
            return None
        try:
            return notice_of_file(self._plan.file.read_text(encoding="utf-8"), time.time() - self._plan.file.stat().st_mtime)
        except (OSError, UnicodeDecodeError):
            return None

    def _ask(self, cloud: str, look: Callable[[], Notice | None]) -> Notice | None:
        if time.monotonic() < self._silent_until[cloud]:
            return None
        try:
            return look()
        except OSError:
            self._silent_until[cloud] = time.monotonic() + SILENT_PAUSE_S
            return None

    def _look_at_aws(self) -> Notice | None:
        action = self._aws("spot/instance-action")
        if action is not None:
            return notice_of_aws(action, datetime.now(UTC))
        if not self._told_rebalance and self._aws("events/recommendations/rebalance") is not None:
            self._told_rebalance = True
            if self._plan.drain_on_rebalance:
                return Notice("aws", float("inf"), "rebalance recommendation")
            self._say("aws recommends to rebalance; a notice may follow")
        return None

    def _aws(self, path: str) -> str | None:
        """The text at ``path``; None where there is nothing. A token that ran out is renewed once."""
        for _ in range(2):
            if not self._token:
                ttl = {"X-aws-ec2-metadata-token-ttl-seconds": str(TOKEN_TTL_S)}
                self._token = self._request(f"{self._plan.aws}/latest/api/token", ttl, "PUT")
            try:
                headers = {"X-aws-ec2-metadata-token": self._token}
                return self._request(f"{self._plan.aws}/latest/meta-data/{path}", headers)
            except HTTPError as error:
                if error.code == NOT_FOUND:
                    return None
                if error.code != UNAUTHORISED:
                    raise
                self._token = ""
        return None

    def _look_at_gcp(self) -> Notice | None:
        url = f"{self._plan.gcp}/computeMetadata/v1/instance/preempted"
        return notice_of_gcp(self._request(url, {"Metadata-Flavor": "Google"}))

    def _request(self, url: str, headers: dict[str, str], method: str = "GET") -> str:
        with self._opener.open(Request(url, headers=headers, method=method), timeout=REQUEST_TIMEOUT_S) as answer:
            text: bytes = answer.read(65536)
        return text.decode("utf-8", "replace")


def watch(plan: WatchPlan, say: Callable[[str], None]) -> int:
    """Wait for a notice, drain this machine's node; 0 when the cluster took it, 1 when the time passed without."""
    places = Places(plan, say)
    say(f"watching for a notice every {plan.every_s:g} s" + (f", and for {plan.file}" if plan.file else ""))
    while (notice := places.look()) is None:
        time.sleep(plan.every_s)
    return _drain(plan, notice, say)


def _drain(plan: WatchPlan, notice: Notice, say: Callable[[str], None]) -> int:
    """Tell the cluster, again and again: a GCS that restarts must not cost the notice."""
    # Ray takes a second and 100 MB to import, which a machine at work need not spend before.
    from orchestrator import autoscale

    noticed, last = time.monotonic(), ""
    while True:
        passed = time.monotonic() - noticed
        try:
            node = plan.node_id or autoscale.own_node(plan.gcs_address)
            autoscale.drain(node, notice.seconds - passed, f"spot notice ({notice})", plan.gcs_address)
        except PoolError as error:
            if str(error) != last:
                last = str(error)
                say(f"{notice}; not drained yet: {last}")
            if passed > notice.seconds + OVERTIME_S:
                say(f"{notice}; given up")
                return 1
            time.sleep(RETRY_S)
            continue
        say(f"{notice}; node {node[:12]} drained")
        return 0

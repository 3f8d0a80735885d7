"""A spot notice is understood, found wherever it appears, and told to the cluster until the cluster has it."""

from __future__ import annotations

import math
import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from orchestrator import spotwatch
from orchestrator.cli import run
from orchestrator.spotnotice import notice_of_aws, notice_of_file, notice_of_gcp
from orchestrator.spotwatch import Places, WatchPlan
from tests.metadata import Cloud, metadata_service

NOW = datetime(2026, 1, 31, 8, 20, 0, tzinfo=UTC)
ACTION = "/latest/meta-data/spot/instance-action"
REBALANCE = "/latest/meta-data/events/recommendations/rebalance"
PREEMPTED = "/computeMetadata/v1/instance/preempted"
NOWHERE = "http://127.0.0.1:9"


def aws_text(seconds: float, now: datetime | None = None) -> str:
    at = (now or datetime.now(UTC)) + timedelta(seconds=seconds)
    return f'{{"action": "terminate", "time": "{at:%Y-%m-%dT%H:%M:%SZ}"}}'


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ('{"action": "terminate", "time": "2026-01-31T08:21:30Z"}', 90.0),
        ('{"action": "stop", "time": "2026-01-31T08:21:30"}', 90.0),
        ('{"action": "terminate", "time": "2026-01-31T08:00:00Z"}', 0.0),
        ('{"action": "hibernate", "time": "2026-01-31T08:21:30Z"}', 0.0),
        ("", 120.0),
        ('{"action": "terminate"}', 120.0),
        ('["terminate"]', 120.0),
        ('{"action": "terminate", "time": 5}', 120.0),
    ],
)
def test_seconds_that_aws_leaves(text, seconds):
    assert notice_of_aws(text, NOW).seconds == seconds


@pytest.mark.parametrize(("text", "seconds"), [("TRUE", 30.0), ("true\n", 30.0), ("FALSE", None), ("", None), ("<html>", None)])
def test_only_true_is_a_notice_of_gcp(text, seconds):
    notice = notice_of_gcp(text)
    assert (notice.seconds if notice else None) == seconds


@pytest.mark.parametrize(
    ("text", "age", "seconds"),
    [("90", 10, 80), ("90 maintenance", 0, 90), ("", 5, 25), ("soon", 0, 30), ("10", 60, 0), ("nan", 0, 30), ("5", -100, 5)],
)
def test_a_drain_file_counts_from_when_it_was_written(text, age, seconds):
    assert notice_of_file(text, age).seconds == seconds


def places(cloud: Cloud, said: list[str], **plan: object) -> Places:
    return Places(WatchPlan(aws=cloud.url, gcp=cloud.url, **plan), said.append)


def test_aws_is_asked_with_a_token_until_it_says_something():
    with metadata_service(Cloud()) as cloud:
        looking = places(cloud, [])
        assert looking.look() is None
        cloud.answers[ACTION] = aws_text(120)
        notice = looking.look()
    assert notice is not None and notice.source == "aws" and 110 < notice.seconds <= 120
    assert cloud.asked.count("/latest/api/token") == 1


def test_a_token_that_ran_out_is_renewed():
    with metadata_service(Cloud()) as cloud:
        looking = places(cloud, [])
        looking.look()
        cloud.token, cloud.answers[ACTION] = "second-token", aws_text(60)
        assert looking.look() is not None


def test_gcp_is_asked_where_aws_is_not():
    with metadata_service(Cloud({PREEMPTED: "FALSE"}, aws=False)) as cloud:
        looking = places(cloud, [])
        assert looking.look() is None
        cloud.answers[PREEMPTED] = "TRUE"
        notice = looking.look()
    assert notice is not None and notice.source == "gcp"
    assert cloud.asked.count("/latest/api/token") == 1, "a silent cloud is left alone for a while"


def test_a_recommendation_is_told_once_and_drains_only_on_request():
    with metadata_service(Cloud({REBALANCE: '{"noticeTime": "2026-01-31T08:20:00Z"}'})) as cloud:
        said: list[str] = []
        looking = places(cloud, said)
        assert (looking.look(), looking.look()) == (None, None) and len(said) == 1
        notice = places(cloud, said, drain_on_rebalance=True).look()
    assert notice is not None and math.isinf(notice.seconds)


def test_a_file_is_enough(tmp_path: Path):
    file = tmp_path / "drain"
    looking = Places(WatchPlan(file, NOWHERE, NOWHERE), print)
    assert looking.look() is None
    file.write_text("45")
    os.utime(file, (time.time() - 5, time.time() - 5))
    notice = looking.look()
    assert notice is not None and 39 < notice.seconds <= 40


def test_a_file_left_from_a_drain_that_the_machine_has_outlived_is_no_notice(tmp_path: Path):
    file = tmp_path / "drain"
    looking = Places(WatchPlan(file, NOWHERE, NOWHERE), print)
    file.write_text("120")
    os.utime(file, (time.time() - 200, time.time() - 200))
    assert looking.look() is None
    file.write_text("120")
    assert looking.look() is not None, "written again, it counts"


def test_a_proxy_in_the_environment_is_not_asked(monkeypatch):
    monkeypatch.setenv("http_proxy", NOWHERE)
    with metadata_service(Cloud({ACTION: aws_text(60)})) as cloud:
        assert places(cloud, []).look() is not None


def test_a_watch_that_reaches_no_cluster_says_so_and_gives_up(tmp_path: Path, monkeypatch, capsys):
    monkeypatch.setattr(spotwatch, "OVERTIME_S", 0.5)
    monkeypatch.setattr(spotwatch, "RETRY_S", 0.1)
    (tmp_path / "drain").write_text("0")
    arguments = ["--file", str(tmp_path / "drain"), "--aws", NOWHERE, "--gcp", NOWHERE, "--address", "127.0.0.1:9"]
    assert run(["spot-watch", *arguments]) == 1
    said = capsys.readouterr().out
    assert said.count("not drained yet") == 1 and "127.0.0.1:9" in said and "given up" in said


@pytest.mark.ray
def test_a_notice_drains_the_node_with_its_deadline(capsys):
    import ray
    from ray.cluster_utils import Cluster
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    from orchestrator import autoscale

    node = {"num_cpus": 1, "object_store_memory": 80 * 1024 * 1024, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=node)
    try:
        spot = cluster.add_node(**node)
        ray.init(address=cluster.address, logging_level="ERROR", log_to_driver=False)

        @ray.remote(num_cpus=1, scheduling_strategy=NodeAffinitySchedulingStrategy(spot.node_id, soft=False))
        class Worker:
            def here(self) -> bool:
                return True

        worker = Worker.remote()
        assert ray.get(worker.here.remote()) and not autoscale.can_grow() and autoscale.draining_seconds_left() == {}
        with metadata_service(Cloud({ACTION: aws_text(90)})) as cloud:
            arguments = ["--aws", cloud.url, "--gcp", cloud.url, "--address", cluster.address]
            assert run(["spot-watch", *arguments, "--node-id", spot.node_id]) == 0
        until = time.monotonic() + 5
        while not (left := autoscale.draining_seconds_left()) and time.monotonic() < until:
            time.sleep(0.1)
        assert list(left) == [spot.node_id] and 75 < left[spot.node_id] <= 90
        assert ray.get(worker.here.remote()), "what runs goes on"
        _refusals(autoscale, cluster.address)
    finally:
        ray.shutdown()
        cluster.shutdown()
    assert "drained" in capsys.readouterr().out


def _refusals(autoscale, address: str) -> None:
    from orchestrator.errors import PoolError

    with pytest.raises(PoolError, match="not among"):
        autoscale.drain("ab" * 28, 30, "test", address)
    with pytest.raises(PoolError, match="2 living Ray nodes"):
        autoscale.own_node(address)
    with pytest.raises(PoolError, match="no Ray cluster answers"):
        autoscale.own_node("127.0.0.1:9")

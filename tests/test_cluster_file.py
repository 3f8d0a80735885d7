"""cluster.yaml is what Ray's cluster launcher takes, and asks for what the docs promise."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

CLUSTER = yaml.safe_load((Path(__file__).parent.parent / "cluster.yaml").read_text(encoding="utf-8"))

pytestmark = pytest.mark.ray


def test_the_cluster_file_passes_rays_own_schema():
    from ray.autoscaler._private.util import prepare_config, validate_config

    validate_config(prepare_config(CLUSTER))


def test_the_head_books_no_gpu_and_workers_are_there_when_a_job_begins():
    types = CLUSTER["available_node_types"]
    head, worker = types[CLUSTER["head_node_type"]], types["gpu"]
    assert not head["resources"].get("GPU") and worker["resources"]["GPU"] == 1 and worker["min_workers"] >= 1
    assert worker["node_config"]["InstanceMarketOptions"]["MarketType"] == "spot"

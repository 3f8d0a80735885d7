"""The files for clusters are what their readers take, and ask for what the docs promise: Ray's launcher, KubeRay, Docker."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

from orchestrator.cli import run

ROOT = Path(__file__).parent.parent
LAUNCHER_FILES = ("cluster.yaml", "examples/cluster-gcp.yaml")
KUBERAY_FILE = "examples/kuberay-job.yaml"
SPOT = {
    "cluster.yaml": ("InstanceMarketOptions", {"MarketType": "spot"}),
    "examples/cluster-gcp.yaml": ("scheduling", {"provisioningModel": "SPOT"}),
}
#: Fields of KubeRay's RayJob (ray.io/v1) that the example uses, and their types; Kubernetes' own parts are looked at apart.
RAY_JOB = {
    "entrypoint": str,
    "entrypointNumCpus": (int, float),
    "submissionMode": str,
    "backoffLimit": int,
    "shutdownAfterJobFinishes": bool,
    "ttlSecondsAfterFinished": int,
    "rayClusterSpec": dict,
}
RAY_CLUSTER = {
    "rayVersion": str,
    "enableInTreeAutoscaling": bool,
    "autoscalerOptions": dict,
    "headGroupSpec": dict,
    "workerGroupSpecs": list,
}
WORKER_GROUP = {
    "groupName": str,
    "replicas": int,
    "minReplicas": int,
    "maxReplicas": int,
    "rayStartParams": dict,
    "template": dict,
}
POD = {"restartPolicy", "serviceAccountName", "terminationGracePeriodSeconds", "nodeSelector", "tolerations", "containers"}
CONTAINER = {"name", "image", "env", "resources", "lifecycle"}
QUANTITY = re.compile(r"[0-9]+(\.[0-9]+)?(m|[KMGT]i?)?")


def load(name: str) -> Any:
    return yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))


@pytest.fixture(params=LAUNCHER_FILES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.ray
def test_a_launcher_file_passes_rays_own_schema(name):
    from ray.autoscaler._private.util import prepare_config, validate_config

    validate_config(prepare_config(load(name)))


@pytest.mark.ray
def test_the_second_autoscaler_reads_it_too(name):
    from ray.autoscaler.v2.instance_manager.config import AutoscalingConfig

    read = AutoscalingConfig(load(name), skip_content_hash=True)
    limits = {kind: (config.min_worker_nodes, config.max_worker_nodes) for kind, config in read.get_node_type_configs().items()}
    limits.pop("head")
    assert limits == {"gpu": (0, 8), "cpu": (0, 1)} and read.get_max_num_worker_nodes() == 9


def test_nothing_but_the_head_costs_money_between_jobs(name):
    cluster = load(name)
    kinds = cluster["available_node_types"]
    head = kinds.pop(cluster["head_node_type"])
    assert head["resources"] == {"CPU": 0}, "the head supervises, and runs nothing else"
    assert {kind: (spec["min_workers"], spec["max_workers"]) for kind, spec in kinds.items()} == {"gpu": (0, 8), "cpu": (0, 1)}
    assert cluster["max_workers"] == 9 and cluster["idle_timeout_minutes"] <= 10


def test_only_the_machines_with_a_gpu_are_spot(name):
    field, wanted = SPOT[name]
    for kind, spec in load(name)["available_node_types"].items():
        found = spec["node_config"].get(field, {})
        assert (wanted.items() <= found.items()) == (kind == "gpu"), kind
        assert ("GPU" in spec["resources"]) == (kind == "gpu")


def test_workers_start_a_watcher_that_exists(name):
    commands = [
        line for line in load(name)["worker_start_ray_commands"] if "vsalign spot-watch" in line and "pkill" not in line
    ]
    words = shlex.split(commands[0].partition("<")[0])
    options = [word for word in words[words.index("spot-watch") :] if word.startswith("--")]
    assert len(commands) == 1 and commands[0].endswith("&") and options == ["--file"]


def test_a_machine_that_starts_again_forgets_its_last_drain(name):
    commands = load(name)["worker_start_ray_commands"]
    watch = next(n for n, line in enumerate(commands) if "vsalign spot-watch" in line and "pkill" not in line)
    file = shlex.split(commands[watch].partition("<")[0])[-1]
    assert f"rm -f {file}" in commands[:watch]


def test_every_machine_has_room_for_torch_and_aws_heads_may_start_the_others():
    for kind, spec in load("cluster.yaml")["available_node_types"].items():
        config = spec["node_config"]
        assert config["BlockDeviceMappings"][0]["Ebs"]["VolumeSize"] >= 50, kind
        assert config["IamInstanceProfile"]["Name"].startswith("YOUR_"), kind
    types = load("cluster.yaml")["available_node_types"]
    assert types["head"]["node_config"]["IamInstanceProfile"] != types["gpu"]["node_config"]["IamInstanceProfile"]
    for kind, spec in load("examples/cluster-gcp.yaml")["available_node_types"].items():
        assert spec["node_config"]["disks"][0]["initializeParams"]["diskSizeGb"] >= 50, kind


def test_a_cluster_that_begins_without_a_gpu_is_asked_for_one():
    assert "--device cuda" in load(KUBERAY_FILE)["spec"]["entrypoint"]
    for file in (*LAUNCHER_FILES, "docs/cluster.md"):
        text = (ROOT / file).read_text(encoding="utf-8")
        assert all("--device cuda" in line for line in text.splitlines() if "render" in line and "--address auto" in line)
        assert "--device cuda" in text


def test_the_object_store_is_small_on_every_machine(name):
    cluster = load(name)
    starts = [line for part in ("head", "worker") for line in cluster[f"{part}_start_ray_commands"] if "ray start" in line]
    sizes = [int(found) for line in starts for found in re.findall(r"--object-store-memory=(\d+)", line)]
    assert len(sizes) == len(starts) == 2 and max(sizes) <= 512 * 1024 * 1024


@pytest.mark.parametrize("file", [*LAUNCHER_FILES, KUBERAY_FILE, "Dockerfile"])
def test_no_file_holds_a_secret_and_what_is_to_be_replaced_stands_out(file):
    text = (ROOT / file).read_text(encoding="utf-8")
    assert not re.search(r"(?i)(secret_access_key|access_key_id|password\s*[:=]|AKIA[0-9A-Z]{16}|private_key)", text)
    assert not re.search(r"(?<!YOUR_)\b(?:TODO|FIXME|CHANGEME|XXX)\b", text)
    assert "YOUR_" in text


def fields(values: dict[str, Any], kinds: dict[str, Any], where: str) -> None:
    assert set(values) <= set(kinds), f"{where}: unknown {set(values) - set(kinds)}"
    for key, value in values.items():
        wanted = kinds[key]
        # A YAML 1 is no True, and the other way round.
        assert isinstance(value, wanted) and (not isinstance(value, bool) or wanted is bool), f"{where}.{key}: {value!r}"


def test_the_kubernetes_job_has_the_fields_that_kuberay_knows():
    job = load(KUBERAY_FILE)
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob") and set(job) == {
        "apiVersion",
        "kind",
        "metadata",
        "spec",
    }
    fields(job["spec"], RAY_JOB, "spec")
    cluster = job["spec"]["rayClusterSpec"]
    fields(cluster, RAY_CLUSTER, "rayClusterSpec")
    assert set(cluster["headGroupSpec"]) == {"rayStartParams", "template"}
    pods = [cluster["headGroupSpec"]]
    for group in cluster["workerGroupSpecs"]:
        fields(group, WORKER_GROUP, group["groupName"])
        pods.append(group)
    for pod in pods:
        assert all(isinstance(value, str) for value in pod["rayStartParams"].values()), "Kubernetes wants strings here"
        spec = pod["template"]["spec"]
        assert set(spec) <= POD and spec["restartPolicy"] == "Never"
        for container in spec["containers"]:
            assert set(container) <= CONTAINER
            amounts = [str(v) for part in container["resources"].values() for v in part.values()]
            assert all(QUANTITY.fullmatch(amount) for amount in amounts)


def test_the_kubernetes_job_comes_back_and_scales_from_nothing():
    spec = load(KUBERAY_FILE)["spec"]
    cluster = spec["rayClusterSpec"]
    assert spec["backoffLimit"] >= 2 and spec["entrypointNumCpus"] == 0 and cluster["enableInTreeAutoscaling"]
    assert cluster["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    for group in cluster["workerGroupSpecs"]:
        assert group["replicas"] == group["minReplicas"] == 0 < group["maxReplicas"]
    gpu = cluster["workerGroupSpecs"][0]["template"]["spec"]
    assert gpu["nodeSelector"] and gpu["tolerations"] and gpu["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == "1"
    told = gpu["containers"][0]["lifecycle"]["preStop"]["exec"]["command"][-1]
    seconds = int(re.findall(r"echo (\d+) >", told)[0])
    assert seconds < gpu["terminationGracePeriodSeconds"], "Kubernetes would kill before the drain's own deadline"


def test_the_kubernetes_job_runs_in_the_ray_of_the_image():
    version = load(KUBERAY_FILE)["spec"]["rayClusterSpec"]["rayVersion"]
    pinned = re.search(r"^ray==(.+)$", (ROOT / "constraints.txt").read_text(encoding="utf-8"), re.MULTILINE)
    assert pinned is None or pinned[1] == version


def test_the_kubernetes_job_submits_a_command_that_vsalign_takes(capsys):
    """Bad films are the first thing that it refuses, so its options were all understood."""
    words = shlex.split(load(KUBERAY_FILE)["spec"]["entrypoint"])
    assert words[0] == "vsalign" and "--overwrite" in words, "a second try finds the first one's OUT"
    local = [re.sub(r"s3://YOUR_BUCKET", "/nonexistent", word) for word in words[1:]]
    assert run(local) == 2
    assert "/nonexistent" in capsys.readouterr().err


def test_the_image_holds_what_it_copies_and_runs_as_a_user():
    lines = (ROOT / "Dockerfile").read_text(encoding="utf-8").splitlines()
    copied = [word for line in lines if line.startswith("COPY") for word in shlex.split(line)[1:-1]]
    assert {"orchestrator", "tasks", "vsalign", "pyproject.toml"} <= set(copied) and all(
        (ROOT / name).exists() for name in copied
    )
    kinds = [line.split()[0] for line in lines if line and not line.startswith("#")]
    assert kinds.index("USER") > kinds.index("RUN") and "root" not in [line for line in lines if line.startswith("USER")][-1]
    assert any(".[s3,gcs]" in line for line in lines)

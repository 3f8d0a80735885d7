"""The job directory as a whole: whose job it is, its settings, its cuts; opened once per run."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from orchestrator.config import JOB_SCHEMA, JobConfig, job_config, path_fields
from orchestrator.inputs import Inputs
from orchestrator.plan import Bounds, choose_bounds
from tasks.messages import Probe, Role
from tasks.sources import write_probe
from tasks.store import JobStore, open_store
from vsalign.errors import InputError


@dataclass(frozen=True, slots=True)
class JobDir:
    """An opened job directory; ``made_here`` when this run created the folder."""

    path: Path
    store: JobStore
    made_here: bool


def check_job_dir(config: JobConfig, inputs: Inputs) -> None:
    """The job directory is absent, empty, or of this very job. Raises InputError; writes nothing."""
    path = config.job_dir
    if _is_fresh(path):
        return
    job = _read_job(path)
    for what, found, ours in (
        ("clip", job["clip"], inputs.clip.info.identity),
        ("ref", job["ref"], inputs.ref.info.identity),
        ("output", job["config"]["out"], _absolute(config)["out"]),
    ):
        if found != ours:
            raise InputError(f"{path} is the job directory of another job (its {what} differs); --job names another directory")


@contextmanager
def open_job(config: JobConfig, inputs: Inputs) -> Iterator[JobDir]:
    """Create or reopen the job directory, with the job as submitted and the probes of its sources in it.

    It is ours until the block is left. Raises InputError when another process on this machine works on it.
    """
    check_job_dir(config, inputs)
    path = config.job_dir
    made_here = not path.exists()
    path.mkdir(parents=True, exist_ok=True)
    with _locked(path):
        yield _prepare(path, made_here, config, inputs)


def _prepare(path: Path, made_here: bool, config: JobConfig, inputs: Inputs) -> JobDir:
    store = open_store(str(path.absolute()))
    store.clear_scratch()
    probes: tuple[tuple[Role, Probe | None], ...] = (
        ("clip", inputs.clip),
        ("ref", inputs.ref),
        ("fallback", inputs.fallback),
        ("mask", inputs.mask),
    )
    for role, probe in probes:
        if probe is not None:
            write_probe(store, role, probe)
    job = {
        "schema_version": JOB_SCHEMA,
        "clip": inputs.clip.info.identity,
        "ref": inputs.ref.info.identity,
        "config": _absolute(config),
    }
    store.replace("job.json", _json(job))
    return JobDir(path, store, made_here)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """A lock that the kernel drops with the process, however it ends. Records keep two runs correct; this saves the work."""
    with (path / "lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(f"{path}: another vsalign is at work on this job") from None
        except OSError:
            pass  # a mount without locks: records keep two runs correct all the same
        yield


def _is_fresh(path: Path) -> bool:
    """Nothing is there, or only what a job killed while it began has left."""
    if not path.exists():
        return True
    names = {entry.name for entry in path.iterdir()} if path.is_dir() else {"not a folder"}
    return not {name for name in names if not name.startswith(".")} - {"lock", "probe"}


def discard(job: JobDir) -> None:
    """Remove a job directory that this run made for nothing."""
    if job.made_here:
        shutil.rmtree(job.path, ignore_errors=True)


def saved_config(path: Path) -> JobConfig:
    """The job that a directory was made for. Raises InputError when it is none."""
    if not path.is_dir():
        raise InputError(f"{path}: no such job directory")
    return job_config(_read_job(path)["config"], f"{path}/job.json")


def bounds_for(job: JobDir, inputs: Inputs, config: JobConfig, num_workers: int) -> Bounds:
    """Where this job is cut: as before when the question is the same, so that finished chunks fit; else chosen anew."""
    asked = {
        "chunk_frames": config.run.chunk_frames,
        "clip_frames": len(inputs.clip.index),
        "ref_frames": len(inputs.ref.index),
    }
    saved = _read_json(job.store.read("plan.json"))
    if saved and saved.get("asked") == asked:
        return Bounds(**{key: tuple(value) for key, value in saved["bounds"].items()})
    bounds = choose_bounds(inputs.clip.index, inputs.ref.index, config.run.chunk_frames, num_workers)
    job.store.replace("plan.json", _json({"asked": asked, "bounds": asdict(bounds)}))
    return bounds


def _absolute(config: JobConfig) -> dict[str, Any]:
    """The settings with absolute paths, so that ``resume`` works from any folder."""
    values = config.model_dump(mode="json")
    for table, key in path_fields(values):
        if table[key]:
            table[key] = os.path.abspath(table[key])
    return values


def _read_job(path: Path) -> dict[str, Any]:
    job = _read_json((path / "job.json").read_bytes() if (path / "job.json").is_file() else None)
    if job is None or not {"clip", "ref", "config"} <= job.keys():
        raise InputError(f"{path} is no job directory (no readable job.json in it); --job names another one")
    if job.get("schema_version") != JOB_SCHEMA:
        raise InputError(f"{path}: job schema {job.get('schema_version')}; this version reads {JOB_SCHEMA}")
    return job


def _read_json(data: bytes | None) -> dict[str, Any] | None:
    try:
        value = json.loads(data or b"")
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _json(value: object) -> bytes:
    return (json.dumps(value, indent=1) + "\n").encode()

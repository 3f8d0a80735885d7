"""The job directory as a whole: whose job it is, its settings, its cuts; opened once per run."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from typing import Any

from orchestrator.config import JOB_SCHEMA, JobConfig, job_config, path_fields
from orchestrator.inputs import Inputs
from orchestrator.lease import held
from orchestrator.plan import Bounds, choose_bounds
from orchestrator.stopping import StopRequest
from tasks.errors import StorageError
from tasks.location import absolute, is_remote, join, name
from tasks.messages import Probe, Role
from tasks.outfile import check_writable
from tasks.sources import write_probe
from tasks.store import JobStore, json_object, open_store
from vsalign.errors import InputError, VsalignError

#: What a job killed while it began may have left.
_BEGINNINGS = {"lease.json", "probe"}


@dataclass(frozen=True, slots=True)
class JobDir:
    """An opened job directory; ``made_here`` when this run created it."""

    store: JobStore
    made_here: bool

    @property
    def location(self) -> str:
        """Where it is, for all machines: an absolute path, or an address."""
        return self.store.location


def is_begun(config: JobConfig) -> bool:
    """The job directory exists. Raises StorageError."""
    return bool(open_store(config.job_location).entries())


def check_job_dir(config: JobConfig, inputs: Inputs) -> tuple[str, ...]:
    """The job directory is absent, empty, or of this very job; a line for each source in whose place another file lies by now.

    Raises InputError; writes nothing.
    """
    location, store = config.job_location, _store(config.job_location)
    if _is_fresh(store):
        return ()
    job, now = _read_job(location, store), _absolute(config)
    changed = []
    for what, found, ours in (
        ("clip", job["clip"], inputs.clip.info.identity),
        ("ref", job["ref"], inputs.ref.info.identity),
        ("output", job["config"]["out"], now["out"]),
    ):
        if found != ours and what != "output" and job["config"].get(what) == now[what]:
            changed.append(f"{now[what]} is another file than this job had for its {what}: what was made from it is made again")
        elif found != ours:
            raise InputError(
                f"{location} is the job directory of another job (its {what} differs); --job names another directory"
            )
    return tuple(changed)


@contextmanager
def open_job(config: JobConfig, inputs: Inputs, stop: StopRequest, say: Callable[[str], None]) -> Iterator[JobDir]:
    """Create or reopen the job directory, with the job as submitted and the probes of its sources in it.

    It is ours until the block is left, or until another run takes it over, which ``stop`` is told. Raises InputError when one
    is at work on it, when its store refuses or does not keep what it promises, and when OUT's store refuses.
    """
    check_job_dir(config, inputs)
    store = _store(config.job_location)
    made_here = not (store.entries() if is_remote(store.location) else os.path.exists(store.location))
    store.self_test()
    check_writable(config.out)
    with held(store, config.run.steal, say) as lease:
        stop.is_lost = lambda: lease.lost
        yield _prepare(store, made_here, config, inputs)


def _prepare(store: JobStore, made_here: bool, config: JobConfig, inputs: Inputs) -> JobDir:
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
    return JobDir(store, made_here)


def _is_fresh(store: JobStore) -> bool:
    """Nothing is there, or only what a job killed while it began has left."""
    return not {name for name in store.entries() if not name.startswith(".")} - _BEGINNINGS


def discard(job: JobDir) -> None:
    """Remove a job directory that this run made for nothing."""
    if job.made_here:
        with suppress(VsalignError, OSError):
            job.store.drop()


def saved_config(location: str) -> JobConfig:
    """The job that a directory was made for. Raises InputError when it is none."""
    store = _store(location)
    if not is_remote(location) and not os.path.isdir(location):
        raise InputError(f"{location}: no such job directory")
    return job_config(_read_job(location, store)["config"], f"{join(location, 'job.json')}")


def bounds_for(job: JobDir, inputs: Inputs, config: JobConfig, num_workers: int) -> Bounds:
    """Where this job is cut: as before when the question is the same, so that finished chunks fit; else chosen anew."""
    asked = {
        "chunk_frames": config.run.chunk_frames,
        "clip_frames": len(inputs.clip.index),
        "ref_frames": len(inputs.ref.index),
    }
    saved = json_object(job.store.read("plan.json"))
    if saved and saved.get("asked") == asked:
        return Bounds(**{key: tuple(value) for key, value in saved["bounds"].items()})
    bounds = choose_bounds(inputs.clip.index, inputs.ref.index, config.run.chunk_frames, num_workers)
    job.store.replace("plan.json", _json({"asked": asked, "bounds": asdict(bounds)}))
    return bounds


def _absolute(config: JobConfig) -> dict[str, Any]:
    """The settings with absolute paths, so that ``resume`` works from any folder."""
    values = config.model_dump(mode="json")
    for table, key in path_fields(values):
        table[key] = absolute(table[key])
    return values


def _store(location: str) -> JobStore:
    """The store, seen to answer. Raises InputError of one line when it does not."""
    store = open_store(location)
    if is_remote(location) and not name(location):
        raise InputError(f"{location}: a whole bucket is no job directory; accepted: {location.rstrip('/')}/FOLDER")
    try:
        store.entries()
    except StorageError as error:
        raise InputError(str(error)) from error
    return store


def _read_job(location: str, store: JobStore) -> dict[str, Any]:
    job = json_object(store.read("job.json"))
    if job is None or not {"clip", "ref", "config"} <= job.keys():
        raise InputError(f"{location} is no job directory (no readable job.json in it); --job names another one")
    if job.get("schema_version") != JOB_SCHEMA:
        raise InputError(f"{location}: job schema {job.get('schema_version')}; this version reads {JOB_SCHEMA}")
    return job


def _json(value: object) -> bytes:
    return (json.dumps(value, indent=1) + "\n").encode()

"""What every worker of a run has to see, from the run's own settings and sources."""

from __future__ import annotations

import os

from orchestrator.config import JobConfig
from orchestrator.finish import out_location
from orchestrator.inputs import Inputs
from tasks.location import is_remote
from tasks.sight import Sight, job_sha256, own_version
from tasks.store import JobStore


def sight_of(config: JobConfig, inputs: Inputs, store: JobStore, publishes: bool = True) -> Sight:
    """What a worker of this job has to see, the job directory ``store`` being open; ``publishes``: it may join the film.

    Raises StorageError, OSError.
    """
    probes = [probe.info for probe in (inputs.clip, inputs.ref, inputs.fallback, inputs.mask) if probe is not None]
    files = [(info.source.path, info.size_bytes) for info in probes if not is_remote(info.source.path)]
    if inputs.weights:
        files.append((inputs.weights, os.path.getsize(inputs.weights)))
    out = out_location(config) if publishes else ""
    return Sight(store.location, job_sha256(store), out, tuple(files), own_version())

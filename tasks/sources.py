"""The probes of a job's sources, saved once in its directory and read by every worker."""

from __future__ import annotations

from tasks.messages import Probe, Role, Source
from tasks.probefile import load_probe, save_probe
from tasks.store import JobStore


def write_probe(store: JobStore, role: Role, probe: Probe) -> None:
    """Save ``probe`` as probe/<role>.json and .npz; the array first, so that the description never stands alone."""
    description, arrays = save_probe(probe)
    store.replace(f"probe/{role}.npz", arrays)
    store.replace(f"probe/{role}.json", description)


def read_probe(store: JobStore, role: Role) -> Probe:
    """The probe of ``role``. Raises FileNotFoundError when the job has none."""
    description, arrays = store.read(f"probe/{role}.json"), store.read(f"probe/{role}.npz")
    if description is None or arrays is None:
        raise FileNotFoundError(f"the job directory has no probe of its {role}")
    return load_probe(description, arrays)


def find_probe(store: JobStore, role: Role, source: Source, version: str, size: int) -> Probe | None:
    """The job's probe of ``role`` if it was made of this very remote film: same address, stream, version and size.

    None for local films too, whose ``version`` is "": nothing tells at once that one was written over. Raises what reading the
    store raises, ValueError and KeyError for a damaged probe.
    """
    if not version or store.read("job.json") is None:  # a probe without a job may be of a job that was never begun
        return None
    try:
        found = read_probe(store, role)
    except FileNotFoundError:
        return None
    info = found.info
    return found if (info.source, info.version, info.size_bytes) == (source, version, size) else None

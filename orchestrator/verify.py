"""Check a published output against the job that made it, any time later."""

from __future__ import annotations

from orchestrator.jobdir import saved_config
from tasks import location
from tasks.errors import StorageError
from tasks.final import read_final
from tasks.sources import read_probe
from tasks.stitch import verify
from tasks.store import file_sha256, open_store
from vsalign.errors import InputError


def check_output_file(out: str, job_dir: str) -> list[str]:
    """What differs from the plan, one line each; empty when all is well. Both may be paths or addresses.

    Raises InputError without output or job.
    """
    beside = open_store(location.parent(out))
    try:
        path = beside.fetch(location.name(out))
    except (FileNotFoundError, IsADirectoryError):
        raise InputError(f"{out}: no such file") from None
    except StorageError as error:
        raise InputError(str(error)) from None
    saved_config(job_dir)
    store = open_store(job_dir)
    final = read_final(store)
    if final is None:
        raise InputError(f"{job_dir} has not published an output yet")
    problems = []
    if final.sha256 != file_sha256(path):
        problems.append("its bytes are not those that were published")
    ref = read_probe(store, "ref").index
    found = verify(str(path.absolute()), ref.pts, ref.time_base, final.has_audio).problems
    # Of an object a copy was read, whose name tells nobody anything.
    return problems + [line.replace(str(path.absolute()), out) for line in found]

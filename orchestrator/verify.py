"""Check a published output against the job that made it, any time later."""

from __future__ import annotations

from pathlib import Path

from orchestrator.finish import read_final
from orchestrator.jobdir import saved_config
from tasks.sources import read_probe
from tasks.stitch import verify
from tasks.store import file_sha256, open_store
from vsalign.errors import InputError


def check_output_file(out: Path, job_dir: Path) -> list[str]:
    """What differs from the plan, one line each; empty when all is well. Raises InputError without output or job."""
    if not out.is_file():
        raise InputError(f"{out}: no such file")
    saved_config(job_dir)
    store = open_store(str(job_dir))
    final = read_final(store)
    if final is None:
        raise InputError(f"{job_dir} has not published an output yet")
    problems = []
    if final.sha256 != file_sha256(out):
        problems.append("its bytes are not those that were published")
    ref = read_probe(store, "ref").index
    return problems + list(verify(str(out.absolute()), ref.pts, ref.time_base, final.has_audio).problems)

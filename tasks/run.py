"""One attempt at one unit of work: the same function for the in-process pool and for Ray actors."""

from __future__ import annotations

import shutil
import traceback
from pathlib import Path
from time import perf_counter

from tasks.commit import commit, find_record
from tasks.device import resolve_device
from tasks.progress import OnFrame
from tasks.store import JobStore, open_store
from tasks.work import ChooseWork, CompareWork, Record, RenderWork, ScanWork, SolveWork, Work

Facts = dict[str, float | int | str]


def perform(work: Work, attempt: int, on_frame: OnFrame) -> Record:
    """Do ``work`` and commit its result; a result that is already committed is returned as it is.

    On failure the traceback is left in the job directory's logs/ and the exception goes on to the caller.
    """
    store = open_store(work.job_dir)
    done = find_record(store, work)
    if done is not None:
        return done
    folder, started = store.scratch(), perf_counter()
    try:
        device = resolve_device(work.device) if isinstance(work, CompareWork | RenderWork) else "cpu"
        made, blob_folder, facts = _make(work, store, folder, on_frame, device)
        seconds = perf_counter() - started
        return commit(store, work, made, folder=blob_folder, attempt=attempt, seconds=seconds, device=device, facts=facts)
    except Exception:
        store.append(f"logs/{work.name}.log", f"attempt {attempt}\n{traceback.format_exc()}")
        raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _make(work: Work, store: JobStore, folder: Path, on_frame: OnFrame, device: str) -> tuple[Path, str, Facts]:
    """The file made in ``folder``, the job directory's folder for it, and facts for its record."""
    if isinstance(work, ScanWork):
        from tasks.scan import scan_chunk

        return scan_chunk(work, store, folder, on_frame), "scan", {}
    if isinstance(work, SolveWork):
        from tasks.solve import solve_film

        made, facts = solve_film(work, store, folder)
        return made, "map", facts
    if isinstance(work, CompareWork):
        from tasks.compare import compare_chunk

        return compare_chunk(work, store, folder, on_frame, device), "costs", {}
    if isinstance(work, ChooseWork):
        from tasks.choose import choose_film

        return choose_film(work, store, folder), "map", {}
    if isinstance(work, RenderWork):
        from tasks.render import render_chunk

        made, facts = render_chunk(work, store, folder, on_frame, device)
        return made, "seg", facts
    raise TypeError(f"no such work: {type(work).__name__}")

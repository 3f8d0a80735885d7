"""One attempt at one unit of work: the same function for the in-process pool and for Ray actors."""

from __future__ import annotations

import shutil
import traceback
from time import perf_counter

from tasks.commit import commit, find_record
from tasks.device import resolve_device
from tasks.progress import OnFrame
from tasks.store import open_store
from tasks.work import Record, RenderWork, ScanWork, SolveWork, Work


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
        facts: dict[str, float | int | str] = {}
        device = "cpu"
        if isinstance(work, ScanWork):
            from tasks.scan import scan_chunk

            made, blob_folder = scan_chunk(work, store, folder, on_frame), "scan"
        elif isinstance(work, SolveWork):
            from tasks.solve import solve_film

            made, facts = solve_film(work, store, folder)
            blob_folder = "map"
        elif isinstance(work, RenderWork):
            from tasks.render import render_chunk

            device = resolve_device(work.device)
            made, facts = render_chunk(work, store, folder, on_frame, device)
            blob_folder = "seg"
        else:
            raise TypeError(f"no such work: {type(work).__name__}")
        seconds = perf_counter() - started
        return commit(store, work, made, folder=blob_folder, attempt=attempt, seconds=seconds, device=device, facts=facts)
    except Exception:
        store.append(f"logs/{work.name}.log", f"attempt {attempt}\n{traceback.format_exc()}")
        raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)

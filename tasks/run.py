"""One attempt at one unit of work: the same function for the in-process pool and for Ray actors."""

from __future__ import annotations

import gc
import shutil
import traceback
from pathlib import Path
from time import perf_counter

from tasks.attemptlog import AttemptLog
from tasks.commit import commit, find_record
from tasks.device import resolve_device
from tasks.errors import OutOfMemory
from tasks.memory import begin_peak, peak_facts, shortage_of
from tasks.progress import OnFrame
from tasks.refusal import refusals_told
from tasks.sight import open_job_store
from tasks.store import JobStore
from tasks.thrift import LEVELS, Thrift, give_back_at_once
from tasks.work import (
    Attempt,
    ChooseWork,
    CompareWork,
    Record,
    RenderWork,
    ScanWork,
    SolveWork,
    SoundWork,
    StitchWork,
    Work,
)

Facts = dict[str, float | int | str]

#: The level of thrift that the last unit of a kind needed in this process: where the next one of the kind begins.
_needed: dict[type[Work], int] = {}


def perform(work: Work, attempt: Attempt, on_frame: OnFrame) -> Record:
    """Do ``work`` and commit its result; a result that is already committed is returned as it is.

    Where memory does not suffice the unit begins anew at the next level of thrift. What happened is left in the job directory's
    logs/. Raises StorageError when a disk or store refuses, OutOfMemory when the last level fails, and what the work raises.
    """
    store = open_job_store(work.job_dir)
    done = find_record(store, work)
    if done is not None:
        return done
    begin_peak()
    with AttemptLog(store, work, attempt) as log:
        try:
            return _attempt(work, attempt, store, log, log.counting(on_frame))
        except Exception:
            log.line(traceback.format_exc())
            raise


def _attempt(work: Work, attempt: Attempt, store: JobStore, log: AttemptLog, on_frame: OnFrame) -> Record:
    levels = _levels_of(work)
    level = min(max(attempt.thrift, _needed.get(type(work), 0)), levels - 1)
    while True:
        if LEVELS[level].gives_back:
            give_back_at_once()
        try:
            record = _try(work, attempt, store, log, on_frame, level)
            _needed[type(work)] = max(level, _needed.get(type(work), 0))
            return record
        except Exception as error:
            short = shortage_of(error)
            if short is None:
                raise
            why = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
            if level + 1 == levels:
                raise OutOfMemory(work.name, short, why) from None
            # The frames of the traceback hold what has to go.
            traceback.clear_frames(error.__traceback__)
        level += 1
        log.again(f"out of {short} memory ({why}): again with {LEVELS[level]}")
        gc.collect()


def _try(work: Work, attempt: Attempt, store: JobStore, log: AttemptLog, on_frame: OnFrame, level: int) -> Record:
    """The unit at one level of thrift."""
    started, fetched = perf_counter(), _bytes_fetched()
    if isinstance(work, StitchWork):
        from tasks.join import join_film

        return join_film(work, attempt, store, on_frame)
    folder = store.scratch()
    try:
        with refusals_told(folder, work.job_dir):
            device = resolve_device(work.device) if isinstance(work, CompareWork | RenderWork) else "cpu"
            log.line(f"device {device}, {LEVELS[level]}")
            made, blob_folder, facts = _make(work, store, folder, on_frame, device, LEVELS[level])
            facts |= {"thrift": level, "fetched_bytes": _bytes_fetched() - fetched, **peak_facts()}
            seconds = perf_counter() - started
            return commit(
                store, work, made, folder=blob_folder, attempt=attempt.number, seconds=seconds, device=device, facts=facts
            )
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _levels_of(work: Work) -> int:
    """How many levels of thrift make a difference to a unit of this kind."""
    if isinstance(work, RenderWork):
        return len(LEVELS)
    return 2 if isinstance(work, CompareWork) else 1


def _bytes_fetched() -> int:
    """Bytes that this process has read of sources that lie in an object store."""
    from tasks.remote import bytes_fetched

    return bytes_fetched()


def _make(work: Work, store: JobStore, folder: Path, on_frame: OnFrame, device: str, thrift: Thrift) -> tuple[Path, str, Facts]:
    """The file made in ``folder``, the job directory's folder for it, and facts for its record."""
    if isinstance(work, ScanWork):
        from tasks.scan import scan_chunk

        made, facts = scan_chunk(work, store, folder, on_frame)
        return made, "scan", facts
    if isinstance(work, SolveWork):
        from tasks.solve import solve_film

        made, facts = solve_film(work, store, folder)
        return made, "map", facts
    if isinstance(work, CompareWork):
        from tasks.compare import compare_chunk

        made, facts = compare_chunk(work, store, folder, on_frame, device, thrift)
        return made, "costs", facts
    if isinstance(work, ChooseWork):
        from tasks.choose import choose_film

        return choose_film(work, store, folder), "map", {}
    if isinstance(work, RenderWork):
        from tasks.render import render_chunk

        made, facts = render_chunk(work, store, folder, on_frame, device, thrift)
        return made, "seg", facts
    if isinstance(work, SoundWork):
        from tasks.conformed import conform_film

        return conform_film(work, folder, on_frame), "sound", {}
    raise TypeError(f"no such work: {type(work).__name__}")

"""Calls in processes of their own, forked from one that has read the program and started nothing: a crash, a hang or a process
limit there is the call's alone, and no thread of the tests' own process is in the way."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable
from multiprocessing import forkserver
from pathlib import Path
from typing import Any
from unittest import mock

_ROOT = str(Path(__file__).parent.parent)


def call_apart(call: Callable[..., None], *arguments: Any, timeout_s: float = 100.0) -> int:
    """Exit status of ``call(*arguments)``, below zero the signal that ended it; -9 too where it had to be killed in the end."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.apart_preload"])
    with mock.patch.dict(os.environ, PYTHONPATH=_ROOT):
        forkserver.ensure_running()  # where it is not told where to look, it skips what it should have read
    child = context.Process(target=call, args=arguments)
    child.start()
    child.join(timeout_s)
    if child.exitcode is None:
        child.kill()
        child.join()
    assert child.exitcode is not None
    return child.exitcode

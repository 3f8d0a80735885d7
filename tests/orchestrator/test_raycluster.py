"""Joining and starting a Ray: what fails is one line, and a signal on the way is a request to stop, whoever hears it."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable

import pytest
import ray

from orchestrator.errors import PoolError
from orchestrator.raycluster import ray_cluster
from orchestrator.stopping import stop_on_signals


@pytest.fixture
def shutdowns(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A line for each time that Ray is left."""
    calls: list[str] = []
    monkeypatch.setattr(ray, "shutdown", lambda: calls.append("shutdown"))
    return calls


def init_that(monkeypatch: pytest.MonkeyPatch, act: Callable[[], None]) -> None:
    """A ``ray.init`` that puts its own SIGTERM handler in place, as the real one does, and then does ``act``."""

    def init(**_: object) -> None:
        signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(number))
        act()

    monkeypatch.setattr(ray, "init", init)


@pytest.mark.parametrize(
    "error",
    [RuntimeError("no\nmore"), ConnectionError("no"), OSError(28, "No space left on device"), Exception("no node came up")],
)
def test_a_ray_that_cannot_start_here_is_one_line(monkeypatch, shutdowns, error):
    def fail() -> None:
        raise error

    init_that(monkeypatch, fail)
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(PoolError) as refused, ray_cluster(None, 1):
        pass
    assert len(str(refused.value).splitlines()) == 1 and str(error).splitlines()[0] in str(refused.value)
    assert signal.getsignal(signal.SIGTERM) is before and shutdowns == ["shutdown"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_while_ray_starts_interrupts_the_run(monkeypatch, shutdowns, number):
    init_that(monkeypatch, lambda: os.kill(os.getpid(), number))
    with stop_on_signals():
        ours = signal.getsignal(signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt), ray_cluster(None, 1):
            pass
        assert signal.getsignal(signal.SIGTERM) is ours and shutdowns == ["shutdown"]


def test_while_a_cluster_is_there_our_own_handler_hears_sigterm(monkeypatch, shutdowns):
    init_that(monkeypatch, lambda: None)
    with stop_on_signals() as stop, stop.heeded(), ray_cluster(None, 1):
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.drain and not shutdowns
    assert shutdowns == ["shutdown"]


def test_the_exit_status_of_whoever_ends_the_program_is_kept(monkeypatch, shutdowns):
    init_that(monkeypatch, lambda: sys.exit(7))
    with pytest.raises(SystemExit) as ended, ray_cluster(None, 1):
        pass
    assert ended.value.code == 7 and shutdowns == ["shutdown"]

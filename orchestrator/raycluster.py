"""Joining a Ray cluster, or running a Ray of our own on this machine."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ray
from ray.exceptions import AuthenticationError

from orchestrator.errors import PoolError
from vsalign.errors import InputError

#: Frames never cross Ray, so the object store is kept small.
OBJECT_STORE_BYTES = 100 * 1024 * 1024
CONNECT_TIMEOUT_S = 5.0


@contextmanager
def ray_cluster(address: str | None, num_cpus: int | None = None) -> Iterator[None]:
    """Join the cluster at ``address``, or run a Ray of our own on this machine until the block is left.

    Raises InputError when nothing answers at ``address``, PoolError when this machine can't run a Ray, and KeyboardInterrupt
    when a signal came in between, whichever of the handlers it met.
    """
    on_sigterm = signal.getsignal(signal.SIGTERM)
    try:
        try:
            _connect(address, num_cpus)
            signal.signal(signal.SIGTERM, on_sigterm)
        except SystemExit as error:
            # By the SIGTERM handler that ray.init puts in place of ours.
            if error.code != signal.SIGTERM:
                raise
            raise KeyboardInterrupt from None
        yield
    finally:
        signal.signal(signal.SIGTERM, on_sigterm)
        ray.shutdown()


def _connect(address: str | None, num_cpus: int | None) -> None:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
    quiet: dict[str, Any] = {"logging_level": "ERROR", "log_to_driver": False}
    if address is not None:
        _check_address(address)
        try:
            ray.init(address=address, **quiet)
        except (AuthenticationError, ConnectionError, RuntimeError, ValueError) as error:
            raise InputError(f"--address {address}: {_refusal(error)}") from None
        return
    own: dict[str, Any] = {"num_cpus": num_cpus, "include_dashboard": False, "object_store_memory": OBJECT_STORE_BYTES}
    try:
        ray.init(address="local", **own, **quiet)
    except Exception as error:
        # Ray raises bare Exception too, for a node that does not come up.
        raise PoolError(f"Ray can't be started on this machine ({first_line(error)}); --pool local does without") from None


def _check_address(address: str) -> None:
    """Ray itself tries a silent address for minutes; a refused or unanswered connection is known in seconds."""
    if address == "auto":
        return
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdigit() or "/" in address:
        raise InputError(f"--address {address}: accepted: auto, or HOST:PORT of the cluster's head, from a node of the cluster")
    try:
        socket.create_connection((host, int(port)), timeout=CONNECT_TIMEOUT_S).close()
    except OSError as error:
        raise InputError(f"--address {address}: no Ray cluster answers there ({error})") from None


def _refusal(error: Exception) -> str:
    """Ray takes a token by itself only for the address "auto"; workers without it could not talk to a driver with it."""
    if isinstance(error, AuthenticationError) or "InvalidAuthToken" in str(error):
        return "the cluster wants a token; accepted: its ~/.ray/auth_token on this machine, and RAY_AUTH_MODE=token"
    return f"no Ray cluster answers there ({first_line(error)})"


def first_line(error: BaseException) -> str:
    """The first line of an error's text, or its type's name."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]

"""What tests of every kind use: a bucket of a real S3 interface on this machine, and folders of a test's own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

# A token that some program has left in the home must not make clusters of tests ask for it.
os.environ.setdefault("RAY_AUTH_MODE", "disabled")
# Threads that spin while they wait for each other take fifteen times as long on a machine that has other things to do.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

from tests.s3 import S3Bucket, S3Server, new_bucket, s3_server, set_environment


@pytest.fixture(scope="session")
def s3_session() -> Iterator[S3Server]:
    """One server for all tests: it takes seconds to start."""
    pytest.importorskip("moto.server")
    pytest.importorskip("s3fs")
    with s3_server() as server:
        yield server


@pytest.fixture
def s3(s3_session: S3Server, node_cache_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Bucket]:
    """A fresh bucket, and the environment that leads to it, for this process and those it starts."""
    set_environment(monkeypatch, s3_session.url)
    s3_session.requests.clear()
    yield S3Bucket(new_bucket(), s3_session)
    s3_session.spoil = None


@pytest.fixture
def node_cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of this machine's copies of objects, empty and for this test alone."""
    folder = tmp_path / "node-cache"
    monkeypatch.setenv("VSALIGN_CACHE", str(folder))
    return folder

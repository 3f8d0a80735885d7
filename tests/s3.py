"""A real S3 interface on this machine: moto's server, in a thread, with writes one after the other as S3 does them."""

from __future__ import annotations

import logging
import os
import secrets
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

#: As it would stand in a user's environment; found in a job directory or a message, it has leaked.
SECRET = "s3cr3t-do-not-tell-7Qx9"
KEY_ID = "AKIDLOOPBACK42"
Environ = dict[str, Any]
App = Callable[[Environ, Any], Iterable[bytes]]


@dataclass
class S3Server:
    """``url`` of a running server; ``requests``: (method, path) of all that came; ``spoil``: looks at each before S3 does."""

    url: str
    requests: list[tuple[str, str]] = field(default_factory=list)
    spoil: Callable[[Environ], int | None] | None = None

    def answer(self, app: App, writes: threading.Lock, environ: Environ, start: Any) -> Iterable[bytes]:
        """``spoil`` may change a request, give an HTTP status to refuse it with, or set "vsalign.lose": done, but not told."""
        self.requests.append((environ["REQUEST_METHOD"], environ["PATH_INFO"]))
        status = self.spoil(environ) if self.spoil else None
        if status is not None:
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            body = refuse(status, start)
            return [] if environ["REQUEST_METHOD"] == "HEAD" else body  # where no body belongs clients stumble over one
        if environ["REQUEST_METHOD"] in {"GET", "HEAD"}:
            return app(environ, start)
        lost = bool(environ.get("vsalign.lose"))
        with writes:  # moto looks and then writes; S3 does both at once
            answer = list(app(environ, (lambda *_: None) if lost else start))
        return refuse(500, start) if lost else answer


def refuse(status: int, start: Any) -> list[bytes]:
    """An answer of S3's that says no."""
    code = {403: "AccessDenied", 409: "ConditionalRequestConflict", 507: "InsufficientStorage"}.get(status, "InternalError")
    body = f"<Error><Code>{code}</Code><Message>refused by the test</Message></Error>".encode()
    start(f"{status} Refused", [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))])
    return [body]


@dataclass(frozen=True)
class S3Bucket:
    """A bucket of the server's."""

    name: str
    server: S3Server

    @property
    def address(self) -> str:
        return f"s3://{self.name}"


@contextmanager
def s3_server() -> Iterator[S3Server]:
    """The server, for as long as the block lasts."""
    from moto.server import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = S3Server("")
    app, writes = DomainDispatcherApplication(create_backend_app), threading.Lock()
    made = make_server("127.0.0.1", 0, lambda environ, start: server.answer(app, writes, environ, start), threaded=True)
    server.url = f"http://127.0.0.1:{made.server_port}"
    thread = threading.Thread(target=made.serve_forever, daemon=True)
    thread.start()
    yield server
    made.shutdown()
    thread.join()


def set_environment(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """The store's own environment, and nothing of this machine's."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in {
        "AWS_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": KEY_ID,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_MAX_ATTEMPTS": "2",
    }.items():
        monkeypatch.setenv(name, value)


def new_bucket() -> str:
    """The name of a fresh bucket at the endpoint of the environment."""
    from tasks.objectclients import file_system

    name = f"films-{secrets.token_hex(4)}"
    file_system("s3").call_s3("create_bucket", Bucket=name)
    return name

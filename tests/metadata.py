"""A cloud's metadata service on loopback, which speaks as AWS's and GCP's do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import ClassVar


@dataclass
class Cloud:
    """``answers``: path -> text of what is there now. ``asked``: paths in the order of the requests."""

    answers: dict[str, str] = field(default_factory=dict)
    token: str = "first-token"
    aws: bool = True
    asked: list[str] = field(default_factory=list)
    url: str = ""


@contextmanager
def metadata_service(cloud: Cloud) -> Iterator[Cloud]:
    """Serve ``cloud`` until the block is left; its ``url`` says where."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version: ClassVar[str] = "HTTP/1.0"

        def do_PUT(self) -> None:
            cloud.asked.append(self.path)
            known = cloud.aws and self.path == "/latest/api/token"
            self._answer(cloud.token if known and self.headers.get("X-aws-ec2-metadata-token-ttl-seconds") else None)

        def do_GET(self) -> None:
            cloud.asked.append(self.path)
            if self.path.startswith("/latest/"):
                if self.headers.get("X-aws-ec2-metadata-token") != cloud.token:
                    self._answer(None, 401)
                    return
            elif self.headers.get("Metadata-Flavor") != "Google":
                self._answer(None, 403)
                return
            self._answer(cloud.answers.get(self.path))

        def _answer(self, text: str | None, otherwise: int = 404) -> None:
            self.send_response(200 if text is not None else otherwise)
            self.end_headers()
            self.wfile.write((text or "").encode())

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    cloud.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield cloud
    finally:
        server.shutdown()
        server.server_close()

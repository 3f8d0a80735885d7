"""As much of Google Cloud Storage's JSON interface as a job directory uses, in memory on this machine.

No real one and no emulator of others' making is at hand: this shows which requests are made (the preconditions above all), and
that the store works if Google answers as its documentation says.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

Query = dict[str, str]


@dataclass
class Stored:
    data: bytes
    generation: int
    metadata: dict[str, str]


@dataclass
class Bucket:
    """All objects of one bucket; ``queries``: of the uploads that came."""

    objects: dict[str, Stored] = field(default_factory=dict)
    uploads: dict[str, tuple[dict[str, Any], bytearray]] = field(default_factory=dict)
    queries: list[Query] = field(default_factory=list)
    lock: threading.RLock = field(default_factory=threading.RLock)
    generation: int = 1000

    def put(self, about: dict[str, Any], data: bytes, query: Query) -> tuple[int, Any]:
        name, wanted = about["name"], query.get("ifGenerationMatch")
        with self.lock:
            found = self.objects.get(name)
            if wanted is not None and wanted != str(found.generation if found else 0):
                return 412, error("conditionNotMet")
            self.generation += 1
            self.objects[name] = Stored(bytes(data), self.generation, about.get("metadata") or {})
            return 200, self.about(name)

    def about(self, name: str) -> dict[str, Any]:
        found = self.objects[name]
        about = {"name": name, "size": str(len(found.data)), "generation": str(found.generation)}
        return {**about, "metadata": found.metadata} if found.metadata else about

    def listing(self, query: Query) -> dict[str, Any]:
        prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
        items, prefixes = [], set()
        for name in sorted(self.objects):
            rest = name[len(prefix) :]
            if not name.startswith(prefix):
                continue
            if delimiter and delimiter in rest:
                prefixes.add(prefix + rest.partition(delimiter)[0] + delimiter)
            else:
                items.append(self.about(name))
        start = int(query.get("pageToken", 0))  # pages of three, so that paging is needed
        more = {"nextPageToken": str(start + 3)} if len(items) > start + 3 else {}
        return {"items": items[start : start + 3], "prefixes": sorted(prefixes) if not start else [], **more}


def error(message: str) -> dict[str, Any]:
    return {"error": {"code": 0, "message": message}}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    buckets: dict[str, Bucket]

    def log_message(self, *args: object) -> None:
        pass

    def handle_any(self) -> None:
        url = urlsplit(self.path)
        query = {key: values[0] for key, values in parse_qs(url.query).items()}
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        found = re.fullmatch(
            r"/(upload/|download/)?storage/v1/b/([^/]+)/o(?:/([^/]+))?(?:/rewriteTo/b/([^/]+)/o/(.+))?", url.path
        )
        if found is None or unquote(found[2]) not in self.buckets:
            return self.reply(404, error("no such bucket"))
        bucket, name = self.buckets[unquote(found[2])], unquote(found[3] or "")
        if found[1] == "upload/":
            return self.upload(bucket, query, body)
        with bucket.lock:
            self.on_object(bucket, name, query, unquote(found[5] or ""))

    def on_object(self, bucket: Bucket, name: str, query: Query, copy_to: str) -> None:  # noqa: PLR0911
        if not name:
            return self.reply(200, bucket.listing(query))
        if name not in bucket.objects:
            return self.reply(404, error("no such object"))
        if copy_to:
            bucket.put({"name": copy_to}, bucket.objects[name].data, {})
            return self.reply(200, {"done": True})
        if self.command == "DELETE":
            del bucket.objects[name]
            return self.reply(204, b"")
        stored = bucket.objects[name]
        if query.get("generation", str(stored.generation)) != str(stored.generation):
            return self.reply(404, error("no such generation"))
        headers = {"X-Goog-Generation": str(stored.generation)}
        if query.get("alt") != "media":
            return self.reply(200, bucket.about(name), headers)
        if (wanted := re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))) is None:
            return self.reply(200, stored.data, headers)
        return self.reply(206, stored.data[int(wanted[1]) : int(wanted[2]) + 1], headers)

    do_GET = do_POST = do_PUT = do_DELETE = handle_any  # noqa: N815

    def upload(self, bucket: Bucket, query: Query, body: bytes) -> None:
        if "upload_id" in query:
            about, data = bucket.uploads[query["upload_id"]]
            data += body
            total = int(self.headers["Content-Range"].rpartition("/")[2])
            if len(data) < total:
                return self.reply(308, b"", {"Range": f"bytes=0-{len(data) - 1}"})
            return self.reply(*bucket.put(about, bytes(data), query))
        bucket.queries.append(query)
        if query["uploadType"] == "resumable":
            upload_id = f"upload-{len(bucket.uploads)}"
            bucket.uploads[upload_id] = (json.loads(body), bytearray())
            place = f"http://{self.headers['Host']}{urlsplit(self.path).path}?upload_id={upload_id}"
            return self.reply(200, {}, {"Location": place})
        boundary = self.headers["Content-Type"].partition("boundary=")[2].strip('"').encode()
        end = b"\r\n" if b"\r\n--" + boundary in body else b"\n"
        about, data = (part.partition(2 * end)[2][: -len(end)] for part in body.split(b"--" + boundary)[1:3])
        return self.reply(*bucket.put(json.loads(about), data, query))

    def reply(self, status: int, content: Any, headers: dict[str, str] | None = None) -> None:
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(data)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)


class Server(ThreadingHTTPServer):
    request_queue_size = 64

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up early is no fault."""


@contextmanager
def gcs_server(monkeypatch: pytest.MonkeyPatch, buckets: dict[str, Bucket]) -> Iterator[str]:
    """The server for these buckets, and the environment that leads to it; its url."""
    server = Server(("127.0.0.1", 0), type("OfThese", (Handler,), {"buckets": buckets}))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", url)
    yield url
    server.shutdown()
    server.server_close()

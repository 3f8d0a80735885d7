"""Put on PYTHONPATH by the chaos tests: lets every process of a run stop at a chosen point, so that a test can kill something.

$VSALIGN_FAULTS is a folder. ``armed`` in it names a point; the first process that reaches it writes ``reached`` (its process
number and its parent's) and waits there until ``go`` exists. Every chunk that is begun leaves a line in ``rendered``. A worker
that begins a chunk named in ``poison`` dies; one that begins the chunk named in ``frozen`` stands still, the first time.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import os
import signal
import sys
import time
from pathlib import Path

FOLDER = Path(os.environ.get("VSALIGN_FAULTS", "/nonexistent"))
#: The chunk at which points of rendering are: not the first, so that something is done by then.
CHUNK = "render-00003"
MID_WRITE_FRAME, MID_STITCH_PACKET = 7, 60


def reach(point: str) -> None:
    try:
        if (FOLDER / "armed").read_text() != point:
            return
        with (FOLDER / "reached.part").open("x") as note:
            note.write(f"{os.getpid()} {os.getppid()}")
    except OSError:
        return
    (FOLDER / "reached.part").rename(FOLDER / "reached")
    (FOLDER / "armed").write_text("")
    deadline = time.monotonic() + 300
    while not (FOLDER / "go").exists() and time.monotonic() < deadline:
        time.sleep(0.02)


def noted(name: str) -> list[str]:
    try:
        return (FOLDER / name).read_text().split()
    except OSError:
        return []


def patch_render(module) -> None:
    original, write = module.render_chunk, module.SegmentWriter.write
    at: dict[str, str] = {}

    def render_chunk(work, *rest, **named):
        at["chunk"] = work.name
        with (FOLDER / "rendered").open("a") as log:
            log.write(f"{work.name} {os.getpid()}\n")
        if work.name in noted("poison"):
            os.kill(os.getpid(), signal.SIGKILL)
        if work.name in noted("frozen"):
            (FOLDER / "frozen").unlink()
            os.kill(os.getpid(), signal.SIGSTOP)
        if work.name == CHUNK:
            reach("before segment")
        return original(work, *rest, **named)

    def write_frame(self, picture):
        if at.get("chunk") == CHUNK and self._written == MID_WRITE_FRAME:
            reach("mid-write")
        return write(self, picture)

    module.render_chunk, module.SegmentWriter.write = render_chunk, write_frame


def patch_store(module) -> None:
    create = module.LocalStore.create

    def created(self, name, data):
        about = name.startswith(f"done/{CHUNK}")
        if about:
            reach("before record")
        done = create(self, name, data)
        if about:
            reach("before reply")
        return done

    module.LocalStore.create = created


def patch_timing(module) -> None:
    dts = module.DecodeClock.dts

    def decode_time(self, position, frame):
        if position == MID_STITCH_PACKET:
            reach("stitch")
        return dts(self, position, frame)

    module.DecodeClock.dts = decode_time


def patch_outfile(module) -> None:
    publish = module.publish_out

    def publish_out(local, location, *rest):
        reach("publish")
        publish(local, location, *rest)

    module.publish_out = publish_out


PATCHES = {
    "tasks.render": patch_render,
    "tasks.localstore": patch_store,
    "tasks.timing": patch_timing,
    "tasks.outfile": patch_outfile,
}


class _Loader(importlib.abc.Loader):
    def __init__(self, loader: importlib.abc.Loader, patch) -> None:
        self._loader, self._patch = loader, patch

    def create_module(self, spec):
        return self._loader.create_module(spec)

    def exec_module(self, module) -> None:
        self._loader.exec_module(module)
        self._patch(module)


class _Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name not in PATCHES:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader, PATCHES[name])
        return spec


if FOLDER.is_dir():
    sys.meta_path.insert(0, _Finder())

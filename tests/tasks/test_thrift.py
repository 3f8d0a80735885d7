"""Thrift: less memory, the same bytes; and what an attempt does when memory does not suffice."""

from __future__ import annotations

import itertools
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch

import tasks.render
import tasks.run
from tasks.align import observe_pair, parked, settled_warp, without_detail
from tasks.errors import OutOfMemory
from tasks.gather import pairs_of
from tasks.localstore import LocalStore
from tasks.memory import shortage_of
from tasks.messages import AlignSettings, EncodeSettings, Role, VideoFormat
from tasks.probe import parse_source, probe
from tasks.reading import Readers
from tasks.render import render_chunk
from tasks.run import perform
from tasks.sources import write_probe
from tasks.thrift import LEVELS, MOST_THRIFT, Turns
from tasks.work import SAME_PICTURE, Attempt, RenderWork
from tests.films import film, graded, write_film
from vsalign.frames import FrameRange
from vsalign.picture import ColourTags
from vsalign.steady import Observation

NUM, WIDTH, HEIGHT = 12, 160, 96


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A job directory with a textured pair, the clip moved and in another look with a caption of its own, and a mask."""
    folder = tmp_path_factory.mktemp("job")
    frames = film(NUM, WIDTH, HEIGHT)
    clip = graded(frames)
    clip[:, 70:80, 20:100] = 235
    mask = np.zeros((NUM, HEIGHT, WIDTH), np.uint8)
    mask[:, :20, :30] = 255
    store = LocalStore(folder / "store")
    roles: tuple[tuple[Role, np.ndarray], ...] = (("clip", clip), ("ref", frames), ("mask", mask))
    for role, samples in roles:
        path = write_film(folder / f"{role}.mkv", np.ascontiguousarray(samples), codec="ffv1", crf=None)
        write_probe(store, role, probe(parse_source(str(path))))
    return folder / "store"


def work_of(job: Path, name: str = "render-00000", **changes: object) -> RenderWork:
    """Frames [2, 10) of the film with their neighbours; frame 5 has no counterpart and holds frame 4."""
    rows = [(n if n != 5 else 4, n if n != 5 else 4) for n in range(2, 10)]
    pairs = tuple((n, n) for n in range(NUM) if n != 5)
    work = RenderWork(
        name=name,
        job_dir=str(job),
        inputs={"name": name},
        num_frames=len(rows),
        ref_frames=FrameRange(2, 10),
        aligned_to=tuple(ref for ref, _ in rows),
        clip_frames=tuple(clip for _, clip in rows),
        pairs=pairs,
        film_geometry=SAME_PICTURE,
        align=AlignSettings(smooth_time=2, precision=2),
        encode=EncodeSettings(codec="ffv1"),
        video=VideoFormat(WIDTH, HEIGHT, Fraction(24), Fraction(1), ColourTags()),
        pixel_format="yuv420p",
    )
    return replace(work, **changes)


@pytest.mark.parametrize("encode", [EncodeSettings(codec="ffv1"), EncodeSettings()], ids=["ffv1", "libx264"])
@pytest.mark.parametrize(
    ("align", "masked"),
    [
        (AlignSettings(smooth_time=2, precision=2), False),
        (AlignSettings(smooth_time=2, precision=1, mismatch="ref"), True),
        (AlignSettings(smooth_time=1, precision=1, wide_search=True, unmatched="black"), False),
        (AlignSettings(warp=False), False),
    ],
    ids=["plain", "mismatch and mask", "wide and black", "no warp"],
)
def test_every_level_gives_the_same_bytes(
    job: Path, tmp_path: Path, encode: EncodeSettings, align: AlignSettings, masked: bool
):
    smaller = VideoFormat(WIDTH - 32, HEIGHT - 24, Fraction(24), Fraction(1), ColourTags())
    # Half as a change of size where nothing is warped; the tiles of the last level are lower than the picture here.
    work = work_of(job, align=align, encode=encode, masked=masked, video=smaller if not align.warp else work_of(job).video)
    if align.unmatched == "black":
        clips = tuple(-1 if n == 3 else clip for n, clip in enumerate(work.clip_frames))
        work = replace(work, clip_frames=clips, aligned_to=tuple(range(2, 10)))
        work = replace(work, clip_frames=tuple(c if c < 0 else r for c, r in zip(clips, work.aligned_to, strict=True)))
    found = []
    for number, level in enumerate([*LEVELS, replace(LEVELS[-1], tile_rows=7)]):
        folder = tmp_path / str(number)
        folder.mkdir()
        path, _ = render_chunk(work, LocalStore(job), folder, lambda: None, "cpu", level)
        found.append(path.read_bytes())
    assert all(made == found[0] for made in found)


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process in which nothing has run short of memory yet."""
    monkeypatch.setattr(tasks.run, "_needed", {})
    # The choice would hold for all tests to come.
    monkeypatch.setattr(tasks.run, "give_back_at_once", lambda: None)


def failing(below: int, error: Callable[[], BaseException], monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """From now on chunks at levels lower than ``below`` fail with ``error`` at their third observation; the levels tried."""
    tried: list[int] = []
    real_render, real_observe = tasks.render.render_chunk, tasks.render.observe_pair
    seen = [0]

    def observe(*arguments):
        seen[0] += 1
        if tried[-1] < below and seen[0] == 3:
            raise error()
        return real_observe(*arguments)

    def render(work, store, folder, on_frame, device, thrift):
        tried.append(LEVELS.index(thrift))
        seen[0] = 0
        return real_render(work, store, folder, on_frame, device, thrift)

    monkeypatch.setattr(tasks.render, "observe_pair", observe)
    monkeypatch.setattr(tasks.render, "render_chunk", render)
    return tried


def calm(job: Path, tmp_path: Path, **changes: object) -> bytes:
    path, _ = render_chunk(work_of(job, **changes), LocalStore(job), tmp_path, lambda: None)
    return path.read_bytes()


@pytest.mark.usefixtures("fresh")
@pytest.mark.parametrize("error", [lambda: torch.OutOfMemoryError("CUDA out of memory. Tried to allocate"), MemoryError])
def test_a_chunk_that_runs_short_finishes_at_the_next_level_and_the_next_chunk_begins_there(
    job: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Callable[[], BaseException]
):
    expected, told = calm(job, tmp_path), []
    tried = failing(1, error, monkeypatch)
    store, name = LocalStore(job), f"render-{error.__name__}"
    record = perform(work_of(job, name), Attempt(), lambda: told.append(1))
    assert tried == [0, 1] and record.facts["thrift"] == 1
    assert store.fetch(record.blob).read_bytes() == expected
    assert record.facts["peak_rss_bytes"] > 50e6
    again = perform(work_of(job, name + "-2"), Attempt(), lambda: None)
    assert tried == [0, 1, 1] and again.facts["thrift"] == 1
    log = (job / f"logs/{name}-1.log").read_text()
    assert "again with" in log and "8 frames" in log and "process" in log


@pytest.mark.usefixtures("fresh")
def test_where_the_last_level_fails_too_the_chunk_is_out_of_memory_and_nothing_is_left(job: Path, monkeypatch):
    tried = failing(len(LEVELS), MemoryError, monkeypatch)
    work = work_of(job, "render-hopeless")
    with pytest.raises(OutOfMemory, match="render-hopeless: out of memory, at the thriftiest setting too"):
        perform(work, Attempt(), lambda: None)
    assert tried == list(range(len(LEVELS)))
    assert LocalStore(job).read(work.record_name) is None and not list((job / ".vsalign-scratch").iterdir())
    assert "MemoryError" in (job / "logs/render-hopeless-1.log").read_text()


@pytest.mark.usefixtures("fresh")
def test_an_attempt_begins_at_the_level_it_is_given(job: Path, monkeypatch):
    tried = failing(0, MemoryError, monkeypatch)
    assert perform(work_of(job, "render-given"), Attempt(2, MOST_THRIFT), lambda: None).facts["thrift"] == MOST_THRIFT
    assert tried == [MOST_THRIFT]


@pytest.mark.usefixtures("fresh")
def test_other_errors_are_not_tried_at_another_level(job: Path, monkeypatch):
    tried = failing(len(LEVELS), lambda: ValueError("no"), monkeypatch)
    with pytest.raises(ValueError, match="no"):
        perform(work_of(job, "render-wrong"), Attempt(), lambda: None)
    assert tried == [0]


def allocation(kind: str) -> BaseException:
    try:
        if kind == "torch":
            torch.empty(1 << 60, dtype=torch.uint8)
        elif kind == "numpy":
            np.empty(1 << 60, np.uint8)
        raise RuntimeError("no error")
    except (RuntimeError, MemoryError) as error:
        return error


@pytest.mark.parametrize(
    ("error", "memory"),
    [
        (allocation("torch"), "host"),
        (allocation("numpy"), "host"),
        (av.error.MemoryError(12, "Cannot allocate memory"), "host"),
        (torch.OutOfMemoryError("x"), "cuda"),
        (RuntimeError("CUDA error: out of memory"), "cuda"),
        (RuntimeError("cuBLAS error: CUBLAS_STATUS_ALLOC_FAILED"), "cuda"),
        (RuntimeError("shapes do not fit"), None),
        (OSError(28, "No space left on device"), None),
    ],
)
def test_errors_that_mean_too_little_memory(error: BaseException, memory: str | None):
    assert shortage_of(error) == memory
    wrapped = ValueError("wrapped")
    wrapped.__cause__ = error
    assert shortage_of(wrapped) == memory


_IN_LIMITS = """
import resource, sys
from tasks.run import perform
from tasks.work import Attempt
from tests.tasks.test_thrift import large_work, peak_data_bytes
import tasks.render, tasks.run, tasks.thrift, torch
torch.set_num_threads(1)
job, name, level, limit = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
if limit:
    data = peak_data_bytes()
    resource.setrlimit(resource.RLIMIT_DATA, (data + limit, data + limit))
tasks.run._levels_of = lambda work: level + 1
record = perform(large_work(job, name), Attempt(1, level), lambda: None)
print(record.sha256)
"""


def peak_data_bytes() -> int:
    """Bytes of writable memory that this process has mapped."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmData:"))


def large_work(job: str, name: str) -> RenderWork:
    rows = tuple(range(6))
    work = work_of(Path(job), name, aligned_to=rows, clip_frames=rows, pairs=tuple(zip(rows, rows, strict=True)))
    video = VideoFormat(1280, 720, Fraction(24), Fraction(1), ColourTags())
    return replace(work, num_frames=6, ref_frames=FrameRange(0, 6), video=video)


def test_a_chunk_that_a_limit_stops_at_the_default_finishes_thriftier(tmp_path: Path):
    """Really: 720p takes about 280 MB beyond what is loaded at the first level, 195 at the next."""
    frames = film(6, 1280, 720)
    store = LocalStore(tmp_path / "store")
    roles: tuple[tuple[Role, np.ndarray], ...] = (("clip", graded(frames)), ("ref", frames))
    for role, samples in roles:
        write_probe(store, role, probe(parse_source(str(write_film(tmp_path / f"{role}.mkv", samples)))))

    def tried(name: str, level: int, limit: int) -> subprocess.CompletedProcess[str]:
        arguments = [sys.executable, "-c", _IN_LIMITS, str(tmp_path / "store"), name, str(level), str(limit)]
        return subprocess.run(arguments, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False)

    free = tried("free", 0, 0)
    limit = 230_000_000
    short = tried("short", 0, limit)
    assert short.returncode != 0 and "OutOfMemory" in short.stderr
    thrifty = tried("short", 1, limit)
    assert thrifty.returncode == 0, thrifty.stderr
    assert thrifty.stdout == free.stdout != ""


def test_out_of_memory_and_its_like_cross_processes(tmp_path: Path):
    import pickle

    from tasks.errors import DamagedResults, StorageError

    for error in (OutOfMemory("render-1", "cuda", "x"), StorageError("/job", "full", "y"), DamagedResults(["a", "b"])):
        again = pickle.loads(pickle.dumps(error))
        assert str(again) == str(error) and type(again) is type(error) and "\n" not in str(error)


def test_a_window_needs_no_detail_of_neighbours_and_a_parked_observation_gives_the_same_warp(job: Path):
    """As with the network, whose observations keep a whole frame's displacement."""
    work, store = work_of(job), LocalStore(job)
    with Readers() as readers:
        pairs = list(itertools.islice(pairs_of(work, store, readers), 3))
    details = [torch.rand(1, 2, HEIGHT, WIDTH) for _ in pairs]
    window = [
        replace(found, detail=detail)
        for found, detail in zip((observe_pair(pair, work.align) for pair in pairs), details, strict=True)
        if found is not None
    ]

    def positions(seen: list[Observation]) -> torch.Tensor:
        return settled_warp(seen, 1, SAME_PICTURE, pairs[1].clip, work.video).clip_from_ref

    expected = positions(window)
    bare = [without_detail(window[0]), parked(window[1]), without_detail(window[2])]
    assert torch.equal(positions(bare), expected)
    assert not torch.equal(positions([without_detail(seen) for seen in window]), expected)
    assert isinstance(bare[0].detail, float) and parked(bare[0]) is bare[0]


def test_steps_take_turns_only_where_asked():
    """At most one of many threads is inside at once; at the first level all may be."""

    def most_inside(turns: Turns) -> int:
        inside, most, lock, barrier = 0, 0, threading.Lock(), threading.Barrier(4)

        def step() -> None:
            nonlocal inside, most
            barrier.wait()
            with turns.turn():
                with lock:
                    inside += 1
                    most = max(most, inside)
                time.sleep(0.05)
                with lock:
                    inside -= 1

        threads = [threading.Thread(target=step) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return most

    assert most_inside(Turns(LEVELS[0])) > 1 and most_inside(Turns(LEVELS[1])) == 1

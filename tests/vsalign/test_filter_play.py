"""How ``vsalign.spatial`` is played: in any order, on any number of threads, for ever; and in scripts."""

import gc
import os
import random
import subprocess
import sys
import threading
import time
import weakref
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import vapoursynth as vs

import vsalign
from tests.films import film, graded, write_pair
from tests.vsalign.vsnodes import (
    Seen,
    core,
    node_of,
    noise_node,
    num_threads,
    number_in,
    numbered,
    plain,
    planes_of,
    same_planes,
)
from vsalign import vswarp
from vsalign.settings import DEFAULT_SMOOTH_TIME
from vsalign.warp import Warp

ROOT = Path(__file__).parent.parent.parent
EXAMPLE = ROOT / "examples" / "align.vpy"


class Recorder:
    """Fake estimation on ``numbered`` films: counts observations and live ones, and the confidence tells the window used."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, seconds: float = 0.0) -> None:
        self.asked: Counter[int] = Counter()
        self.live: weakref.WeakSet[Seen] = weakref.WeakSet()
        self.most_live = self.most_at_work = self._at_work = 0
        self.seconds = seconds
        self._lock = threading.Lock()
        monkeypatch.setattr(vswarp, "observe", self.observe)
        monkeypatch.setattr(vswarp, "settle", self.settle)

    def observe(self, clip: Any, ref: Any, settings: Any, mask: Any = None) -> Seen:
        found = Seen(clip, ref, mask)
        with self._lock:
            self.asked[number_in(ref)] += 1
            self.live.add(found)
            self.most_live = max(self.most_live, len(self.live))
            self._at_work += 1
            self.most_at_work = max(self.most_at_work, self._at_work)
        time.sleep(self.seconds)
        with self._lock:
            self._at_work -= 1
        return found

    def settle(self, window: Sequence[Seen], at: int = 0) -> Warp:
        warp = plain(window, at)
        first, own, last = (number_in(window[k].ref) for k in (0, at, -1))
        assert [number_in(w.ref) for w in window] == list(range(first, last + 1))
        assert all(number_in(w.clip) == number_in(w.ref) for w in window)
        return Warp(warp.clip_from_ref, torch.full_like(warp.confidence, first * 1e4 + own * 1e2 + last))


@pytest.mark.parametrize("radius", [0, 2, 40])
def test_a_frame_is_settled_from_its_neighbours_within_the_film(monkeypatch: pytest.MonkeyPatch, radius: int) -> None:
    Recorder(monkeypatch)
    out = vsalign.spatial(numbered(9), numbered(9), smooth_time=radius)
    told = [f.props["_VsalignConfidence"] for f in out.frames()]
    assert told == [max(0, n - radius) * 1e4 + n * 1e2 + min(8, n + radius) for n in range(9)]


@pytest.mark.parametrize("threads", [1, 4])
def test_playing_from_start_to_end_observes_and_reads_every_frame_once(monkeypatch: pytest.MonkeyPatch, threads: int) -> None:
    recorder, decoded = Recorder(monkeypatch), Counter[int]()
    source, counting = numbered(120), threading.Lock()

    def decode(n: int, f: Any) -> Any:
        with counting:
            decoded[n] += 1
        return f

    with num_threads(threads):
        clip = core.std.ModifyFrame(source, source, decode)
        out = vsalign.spatial(clip, source)
        for n, f in enumerate(out.frames(close=True)):
            assert number_in(planes_of(f)[0]) == n
    assert recorder.asked == Counter(range(120))
    assert decoded == Counter(range(120))


def test_only_frames_not_yet_observed_are_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    Recorder(monkeypatch)
    fetched: list[list[int]] = []
    plan = vswarp.FrameWarper.plan

    def watched(self: vswarp.FrameWarper, n: int) -> vswarp.Plan:
        made = plan(self, n)
        fetched.append(list(made.missing))
        return made

    monkeypatch.setattr(vswarp.FrameWarper, "plan", watched)
    out = vsalign.spatial(numbered(9), numbered(9), smooth_time=2)
    for n in (0, 1, 2, 7, 3):
        out.get_frame(n).close()
    assert fetched == [[0, 1, 2], [3], [4], [5, 6, 7, 8], []]


def test_memory_stays_bounded_over_a_thousand_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = Recorder(monkeypatch)
    with num_threads(4):
        out = vsalign.spatial(numbered(1000), numbered(1000))
        for _ in out.frames(close=True):
            pass
    assert recorder.asked == Counter(range(1000))
    # A window, two more for each thread, and what frames under way still hold.
    assert recorder.most_live <= 2 * DEFAULT_SMOOTH_TIME + 1 + 4 * 4
    del out
    gc.collect()
    assert len(recorder.live) == 0


def test_any_order_of_requests_gives_the_same_frames() -> None:
    frames = film(10, 96, 64, shot=6)
    ref, clip = node_of([[f] for f in frames], vs.GRAY8), node_of([[f] for f in graded(frames)], vs.GRAY8)
    in_order = [f.copy() for f in vsalign.spatial(clip, ref, smooth_time=2).frames()]
    assert not same_planes(in_order[3], clip.get_frame(3))
    for seed in range(3):
        order = random.Random(seed).sample(range(10), 10)
        node = vsalign.spatial(clip, ref, smooth_time=2)
        futures = {n: node.get_frame_async(n) for n in order}
        for n, future in futures.items():
            f = future.result(60)
            assert same_planes(f, in_order[n])
            assert dict(f.props) == dict(in_order[n].props)


def test_frames_are_worked_on_at_the_same_time(monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = Recorder(monkeypatch, seconds=0.02)
    with num_threads(4):
        out = vsalign.spatial(numbered(40), numbered(40))
        assert len(list(out.frames())) == 40
    assert recorder.most_at_work > 2


def test_one_thread_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    Recorder(monkeypatch)
    with num_threads(1):
        out = vsalign.spatial(numbered(30), numbered(30), numbered(3), alpha=True)
        futures = [out.get_frame_async(n) for n in reversed(range(30))]
        assert [number_in(planes_of(f.result(30))[0]) for f in futures] == list(reversed(range(30)))


def test_a_frame_that_fails_says_why_and_the_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = Recorder(monkeypatch)

    def observe(clip: Any, ref: Any, settings: Any, mask: Any = None) -> Seen:
        if number_in(ref) == 5:
            raise RuntimeError("no memory left for frame 5")
        return recorder.observe(clip, ref, settings, mask)

    monkeypatch.setattr(vswarp, "observe", observe)
    out = vsalign.spatial(numbered(12), numbered(12), smooth_time=1)
    futures = [out.get_frame_async(n) for n in range(12)]
    for n, future in enumerate(futures):
        if n in (4, 5, 6):
            with pytest.raises(vs.Error, match="no memory left for frame 5"):
                future.result(30)
        else:
            assert number_in(planes_of(future.result(30))[0]) == n


def test_what_was_remembered_goes_with_the_core() -> None:
    done = subprocess.run([sys.executable, "-c", _TWO_CORES], capture_output=True, text=True, cwd=ROOT, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["some", "none", "some", "none"]


#: A previewer reloads a script twice: each time in a core of its own, which is destroyed while the script's names still live.
_TWO_CORES = """
import gc, weakref
import vapoursynth as vs

class Policy(vs.EnvironmentPolicy):
    current = None
    def on_policy_registered(self, api): self.api = api
    def on_policy_cleared(self): pass
    def get_current_environment(self): return self.current
    def set_environment(self, environment): before, self.current = self.current, environment; return before
    def is_alive(self, environment): return environment is not None

policy = Policy()
vs.register_policy(policy)
import vsalign
from vsalign import filters, vswarp
warpers, make = [], filters.FrameWarper  # held, as a traceback or a frame in flight may hold one
filters.FrameWarper = lambda *a: warpers.append(make(*a)) or warpers[-1]
live, observe = weakref.WeakSet(), vswarp.observe
class Kept:
    def __init__(self, real): self.real = real
def watched(*a):
    kept = Kept(observe(*a)); live.add(kept); return kept
settle = vswarp.settle
vswarp.observe, vswarp.settle = watched, lambda window, at: settle([k.real for k in window], at)
for _ in range(2):
    policy.current = policy.api.create_environment()
    node = vs.core.std.BlankClip(format=vs.GRAY8, width=64, height=48, length=4)
    out = vsalign.spatial(node, node)
    out.get_frame(1).close()
    print("some" if live else "none")
    policy.api.destroy_environment(policy.current)
    policy.current = None
    gc.collect()
    print("some" if live else "none")
"""


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """(clip, ref): two files of one film, the clip moved by (1.5, -0.75) px and graded."""
    return write_pair(tmp_path_factory.mktemp("films"), num_frames=12, offset=0)


def test_two_sources_are_aligned_as_the_readme_says(pair: tuple[Path, Path]) -> None:
    clip, ref = (core.bs.VideoSource(str(path), cachemode=0) for path in pair)
    out = vsalign.spatial(clip, ref, precision=3)
    assert (out.num_frames, out.format.id, out.fps) == (12, vs.YUV420P8, ref.fps)
    still, shown = film(12)[6], planes_of(out.get_frame(6))[0].astype(float)
    inner = (slice(8, -8), slice(8, -8))
    before = planes_of(clip.get_frame(6))[0].astype(float)
    alike = [np.corrcoef(still[inner].ravel(), picture[inner].ravel())[0, 1] for picture in (before, shown)]
    assert 1 - alike[1] < (1 - alike[0]) / 4
    assert out.get_frame(6).props["_VsalignDisplacement"] == pytest.approx(np.hypot(1.5, 0.75), abs=0.15)


def test_rgb_sources_align_too_with_the_arguments_of_older_scripts(pair: tuple[Path, Path]) -> None:
    clip, ref = (core.bs.VideoSource(str(p), cachemode=0).resize.Bicubic(format=vs.RGBS, matrix_in=1) for p in pair)
    out = vsalign.spatial(clip, ref, None, 2, iterations=1, lq_input=True, device=vsalign.Device.CPU)
    assert out.get_frame(6).props["_VsalignDisplacement"] == pytest.approx(np.hypot(1.5, 0.75), abs=0.2)


def play_example(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """``vspipe examples/align.vpy`` -> folder/aligned.y4m; vspipe looks for its Python on the path, and notes it under HOME."""
    programs = Path(sys.executable).parent
    path = f"{programs}{os.pathsep}{os.environ.get('PATH', '')}"
    return subprocess.run(
        [programs / "vspipe", EXAMPLE, folder / "aligned.y4m", "-c", "y4m", *arguments],
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), "HOME": str(folder), "XDG_CONFIG_HOME": str(folder)},
        timeout=200,
    )


def test_the_example_script_pipes_an_aligned_film(pair: tuple[Path, Path], tmp_path: Path) -> None:
    done = play_example(tmp_path, "-a", f"clip={pair[0]}", "-a", f"ref={pair[1]}", "-a", "precision=1")
    assert done.returncode == 0, done.stderr
    written = (tmp_path / "aligned.y4m").read_bytes()
    assert written.startswith(b"YUV4MPEG2 C420")
    assert b" W96 H64 " in written[:80]
    assert written.count(b"FRAME\n") == 12
    assert len(written) > 12 * 96 * 64 * 3 // 2


def test_the_example_script_asks_for_its_films(tmp_path: Path) -> None:
    done = play_example(tmp_path)
    assert done.returncode != 0
    assert "pass the films" in done.stderr + done.stdout


def test_noise_is_aligned_to_nothing_and_told_so() -> None:
    out = vsalign.spatial(noise_node(vs.GRAY8, 1, 96, 64), noise_node(vs.GRAY8, 1, 96, 64, seed=9))
    props = out.get_frame(0).props
    assert props["_VsalignConfidence"] < 0.1
    assert props["_VsalignDisplacement"] < 0.5

"""How ``vsalign.temporal`` is played: in any order, on any number of threads; scanned once; in scripts."""

import gc
import os
import random
import subprocess
import sys
import threading
import weakref
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import vapoursynth as vs

import vsalign
from tests.films import film, write_pair
from tests.vsalign.vsnodes import core, node_of, num_threads, same_planes
from vsalign import temporalfilter, vscosts, vsscan
from vsalign.picture import Picture
from vsalign.planestats import PlaneStats

ROOT = Path(__file__).parent.parent.parent
EXAMPLE = ROOT / "examples" / "sync.vpy"
FRAMES = film(60, 96, 64)
WAYS: list[dict[str, Any]] = [{}, {"select": "path"}, {"precision": 4}]
if any(hasattr(core, name) for name in ("julek", "vship", "vszip")):
    WAYS += [{"precision": 2}, {"precision": 2, "select": "path"}]


def gray(frames: Any) -> Any:
    return node_of([[f] for f in frames], vs.GRAY8)


def counted(node: Any, decoded: Counter[int]) -> Any:
    """``node``, whose frames are counted as they are made; nothing of it is cached."""
    lock = threading.Lock()

    def decode(n: int, f: Any) -> Any:
        with lock:
            decoded[n] += 1
        return f

    return core.std.ModifyFrame(node, node, decode)


@pytest.mark.parametrize("threads", [1, 4])
@pytest.mark.parametrize("way", WAYS, ids=str)
def test_any_order_of_requests_on_any_number_of_threads_gives_the_same(way: dict[str, Any], threads: int) -> None:
    clip, ref = gray(FRAMES), gray(FRAMES[5:35])
    in_order = [f.copy() for f in vsalign.temporal(clip, ref, tr=7, **way).frames()]
    assert [f.props["_VsalignClipFrame"] for f in in_order] == list(range(5, 35))
    with num_threads(threads):
        node = vsalign.temporal(clip, ref, tr=7, **way)
        order = random.Random(threads).sample(range(30), 30)
        futures = {n: node.get_frame_async(n) for n in order}
        for n, future in futures.items():
            f = future.result(60)
            assert same_planes(f, in_order[n])
            assert dict(f.props) == dict(in_order[n].props)


@pytest.mark.parametrize("threads", [1, 4])
def test_played_from_start_to_end_each_frame_is_decoded_and_described_once(
    monkeypatch: pytest.MonkeyPatch, threads: int
) -> None:
    described = Counter[int]()
    lock = threading.Lock()

    class Watched(PlaneStats):
        def features(self, picture: Picture) -> Any:
            with lock:
                described[hash(picture.planes[0].tobytes())] += 1
            return super().features(picture)

    monkeypatch.setattr(vscosts, "PlaneStats", Watched)
    frames = film(160, 96, 64)
    clip, ref = Counter[int](), Counter[int]()
    with num_threads(threads):
        out = vsalign.temporal(counted(gray(frames), clip), counted(gray(255 - frames), ref), tr=6)
        for _ in out.frames(close=True):
            pass
    assert set(clip) == set(range(160))
    assert sum(clip.values()) <= 162  # the chosen frame comes from the core's cache, which is its own master
    assert ref == Counter(range(160))
    assert set(described.values()) == {1}
    assert len(described) == 320


@pytest.mark.parametrize("way", [{"precision": 4}, {"select": "path"}], ids=str)
@pytest.mark.parametrize("threads", [1, 3])
def test_films_are_scanned_once_on_first_use_and_not_before(way: dict[str, Any], threads: int) -> None:
    decoded = Counter[int]()
    with num_threads(threads):
        clip = counted(gray(FRAMES), decoded)
        scanned = vsalign.temporal(clip, gray(FRAMES[:40]), out=gray(FRAMES), tr=4, **way)
        assert not decoded
        futures = [scanned.get_frame_async(n) for n in (30, 2, 17, 3)]
        assert [f.result(60).props["_VsalignClipFrame"] for f in futures] == [30, 2, 17, 3]
        assert set(decoded.values()) == {1}
        for _ in scanned.frames(close=True):
            pass
        assert set(decoded.values()) == {1}


def test_a_path_sees_all_costs_not_only_the_two_least(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[int] = []

    class Watched(PlaneStats):
        def costs(self, pairs: Sequence[Any]) -> Any:
            compared.append(len(pairs))
            return super().costs(pairs)

    monkeypatch.setattr(vscosts, "PlaneStats", Watched)
    out = vsalign.temporal(gray(FRAMES), gray(FRAMES[:12]), tr=2, select="path")
    out.get_frame(5).close()
    assert sorted(compared) == [3, 4, *[5] * 10]


def test_a_scan_goes_through_long_films_in_blocks(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(vsscan, "_MOST_FRAMES", 8)
    monkeypatch.setattr(vsscan, "_TELL_SECONDS", 0.0)
    taken: list[int] = []
    blank = core.std.BlankClip(format=vs.GRAY8, width=1, height=1, length=1)
    film = core.std.BlankClip(blank, length=5000)
    ended: list[int] = []
    passes = [vsscan.Pass("looking", film, lambda n, f: taken.append(n))]
    gate = vsscan.Gate(blank, passes, lambda: ended.append(len(taken)), [film])
    with num_threads(1):
        for _ in range(3):
            gate.node.get_frame(0).close()
    assert taken == list(range(5000))
    assert ended == [5000]
    assert "vsalign: looking, frame 8 of 5000" in capfd.readouterr().err


def test_a_scan_that_failed_goes_on_where_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vsscan, "_MOST_FRAMES", 10)
    decoded = Counter[int]()
    broken = [True]

    def decode(n: int, f: Any) -> Any:
        decoded[n] += 1
        if n == 25 and broken[0]:
            raise RuntimeError("the disk is gone")
        return f

    source = gray(FRAMES)
    clip = core.std.ModifyFrame(source, source, decode)
    out = vsalign.temporal(clip, gray(FRAMES[:40]), out=source, precision=4)
    with pytest.raises(vs.Error, match="the disk is gone"):
        out.get_frame(0)
    broken[0] = False
    assert out.get_frame(3).props["_VsalignClipFrame"] == 3
    assert {decoded[n] for n in range(20)} == {1}


def test_memory_stays_bounded_and_goes_with_the_filter(monkeypatch: pytest.MonkeyPatch) -> None:
    class Kept:
        def __init__(self, real: Any) -> None:
            self.real = real

    live: weakref.WeakSet[Kept] = weakref.WeakSet()
    most = [0]

    class Watched(PlaneStats):
        def features(self, picture: Picture) -> Any:
            kept = Kept(super().features(picture))
            live.add(kept)
            most[0] = max(most[0], len(live))
            return kept

        def least_costs(self, ref: Any, candidates: Sequence[Any]) -> Any:
            return super().least_costs(ref.real, [c.real for c in candidates])

    monkeypatch.setattr(vscosts, "PlaneStats", Watched)
    with num_threads(4):
        long = gray(FRAMES).std.Loop(10)
        out = vsalign.temporal(long, long, tr=5)
        for _ in out.frames(close=True):
            pass
    assert 11 <= most[0] <= 11 + 8 * 4
    del out
    gc.collect()
    assert len(live) == 0


def test_the_network_sees_the_ranked_few_and_its_choice_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[int] = []

    class Network(PlaneStats):
        def costs(self, pairs: Sequence[Any]) -> Any:
            compared.append(len(pairs))
            return super().costs(pairs)

        def least_costs(self, ref: Any, candidates: Sequence[Any]) -> Any:
            return super().costs([(ref, c) for c in candidates])

    class Unbounded:
        features, costs = Network().features, Network().costs

    monkeypatch.setattr(temporalfilter, "_network", lambda *given: Unbounded())
    out = vsalign.temporal(gray(FRAMES), gray(FRAMES[9:39]), precision=3, tr=15)
    told = [f.props["_VsalignClipFrame"] for f in out.frames()]
    assert told == list(range(9, 39))
    assert max(compared) < 31
    compared.clear()
    full = vsalign.temporal(gray(FRAMES), gray(FRAMES[9:39]), precision=3, tr=15, prune=False)
    assert full.get_frame(20).props["_VsalignClipFrame"] == 29
    assert compared == [31]


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
from vsalign import vscosts
rows, live = [], weakref.WeakSet()
class Held(vscosts.FeatureRows):
    def __init__(self, *a): super().__init__(*a); rows.append(self)
class Kept(vscosts.PlaneStats):
    def features(self, picture): made = super().features(picture); live.add(made); return made
vscosts.FeatureRows, vscosts.PlaneStats = Held, Kept
for _ in range(2):
    policy.current = policy.api.create_environment()
    node = vs.core.std.BlankClip(format=vs.GRAY8, width=64, height=48, length=4)
    out = vsalign.temporal(node, node)
    out.get_frame(1).close()
    print("some" if live else "none")
    policy.api.destroy_environment(policy.current)
    policy.current = None
    gc.collect()
    print("some" if live else "none")
"""


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """(clip, ref): two files of one film, the clip graded, moved a little and begun earlier."""
    return write_pair(tmp_path_factory.mktemp("films"), num_frames=60, offset=0)


@pytest.mark.parametrize("given", [["-a", "align=no"], ["-a", "align=no", "-a", "precision=1", "-a", "tr=3"]], ids=str)
def test_the_example_script_pipes_a_synced_film(pair: tuple[Path, Path], tmp_path: Path, given: list[str]) -> None:
    programs = Path(sys.executable).parent
    films = ["-a", f"clip={pair[0]}", "-a", f"ref={pair[1]}"]
    environment = {"PATH": f"{programs}{os.pathsep}{os.environ.get('PATH', '')}", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [programs / "vspipe", EXAMPLE, tmp_path / "synced.y4m", "-c", "y4m", *films, *given],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, **environment, "HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)},
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    written = (tmp_path / "synced.y4m").read_bytes()
    assert written.startswith(b"YUV4MPEG2 C420")
    assert written.count(b"FRAME\n") == core.bs.VideoSource(str(pair[1]), cachemode=0).num_frames


def test_two_sources_are_matched_at_any_precision(pair: tuple[Path, Path]) -> None:
    clip, ref = (core.bs.VideoSource(str(path), cachemode=0) for path in pair)
    for way in WAYS:
        out = vsalign.temporal(clip[3:], ref, **way)
        told = [f.props["_VsalignClipFrame"] + 3 for f in out.frames()]
        assert np.median(np.abs(np.array(told[5:]) - np.arange(5, ref.num_frames))) <= 1

"""``vsalign.temporal`` with the plugins of precision 2: films whose frames fail or are odd, and what is kept of them."""

import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import vapoursynth as vs

import vsalign
from tests.films import film
from tests.vsalign.vsnodes import core, node_of, num_threads
from vsalign import pluginmetric, temporalfilter, vscosts

ROOT = Path(__file__).parent.parent.parent
FRAMES = film(60, 96, 64)
pytestmark = pytest.mark.skipif(not any(hasattr(core, name) for name in ("julek", "vship", "vszip")), reason="no plugin")


def gray(frames: Any) -> Any:
    return node_of([[f] for f in frames], vs.GRAY8)


def counted(node: Any, made: Counter[int]) -> Any:
    """``node``, whose frames are counted as they are made."""
    lock = threading.Lock()

    def make(n: int, f: Any) -> Any:
        with lock:
            made[n] += 1
        return f

    return core.std.ModifyFrame(node, node, make)


@pytest.mark.parametrize("mode", ["fails", "fails in ref", "no such matrix"])
@pytest.mark.parametrize("threads", [1, 4])
def test_a_frame_that_fails_is_an_error_of_precision_2_not_the_end_of_the_process(mode: str, threads: int) -> None:
    given = [sys.executable, "-c", _BROKEN_FILM, mode, str(threads)]
    done = subprocess.run(given, capture_output=True, text=True, cwd=ROOT, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n") == ["refused", "refused", ""]


_BROKEN_FILM = """
import sys
import vapoursynth as vs
import vsalign
core = vs.core
core.num_threads = int(sys.argv[2])
good = core.std.BlankClip(format=vs.RGB24, width=160, height=90, length=8)
def fail(n, f): raise RuntimeError("the disk is gone")
if sys.argv[1] == "no such matrix":
    bad = core.std.BlankClip(format=vs.YUV420P8, width=160, height=90, length=8).std.SetFrameProps(_Matrix=99)
    good = bad.std.SetFrameProps(_Matrix=1)
else:
    bad = good.std.ModifyFrame(good, fail)
clip, ref = (good, bad) if sys.argv[1] == "fails in ref" else (bad, good)
out = vsalign.temporal(clip, ref, core.std.BlankClip(clip), precision=2, tr=2)
for n in (0, 5):
    try:
        out.get_frame(n)
    except vs.Error as error:
        print("refused" if "disk is gone" in str(error) or "matrix" in str(error) else error)
"""


@pytest.mark.parametrize("matrix", [0, 3])
def test_a_matrix_that_yuv_can_not_have_counts_as_none(matrix: int) -> None:
    films = [core.resize.Bilinear(gray(FRAMES[s]), format=vs.YUV420P8) for s in (slice(0, 12), slice(3, 9))]
    plain, odd = (
        [f.props["_VsalignCost"] for f in vsalign.temporal(clip, ref, precision=2, tr=4).frames()]
        for clip, ref in (
            [film.std.RemoveFrameProps("_Matrix") for film in films],
            [film.std.SetFrameProps(_Matrix=matrix) for film in films],
        )
    )
    assert odd == plain


@pytest.mark.parametrize("threads", [1, 4])
def test_precision_2_makes_each_ref_frame_once_and_keeps_no_window_of_them(
    monkeypatch: pytest.MonkeyPatch, threads: int
) -> None:
    held: list[Any] = []
    hold = temporalfilter._held

    def watched_hold(node: Any, frames: int) -> Any:
        held.append(node)
        return hold(node, frames)

    made = Counter[int]()
    clip, ref = gray(FRAMES), gray(FRAMES[5:35])

    def watched_rgb(node: Any) -> Any:
        return counted(pluginmetric.rgb(node), made) if node is ref else pluginmetric.rgb(node)

    monkeypatch.setattr(temporalfilter, "_held", watched_hold)
    monkeypatch.setattr(vscosts, "rgb", watched_rgb)
    with num_threads(threads):
        for _ in vsalign.temporal(clip, ref, precision=2, tr=7).frames(close=True):
            pass
    assert made == Counter(range(30))
    assert [node.num_frames for node in held] == [60, 60]  # the clip as it is and as RGB

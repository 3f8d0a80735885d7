"""Arguments of ``vsalign.temporal`` that can't be are refused at the call: name, value seen, values accepted."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import vapoursynth as vs

import vsalign
from tests.vsalign.vsnodes import core, noise_node
from vsalign.framemap import FrameMap

NODE = noise_node(vs.GRAY8, 4)
RGB = noise_node(vs.RGB24, 4)
GRAY32 = core.std.BlankClip(format=vs.GRAY32, width=64, height=48, length=4)
OTHER_SIZE = core.std.Splice([NODE, noise_node(vs.GRAY8, 3, 96)], mismatch=True)
RATES = {"clip_num": 50, "clip_den": 1, "ref_num": 25, "ref_den": 1}

REFUSED: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"clip": None}, TypeError, "clip is None, accepted is a VapourSynth video node"),
    ({"ref": "ref.mkv"}, TypeError, "ref is 'ref.mkv', accepted"),
    ({"ref": core.std.BlankAudio()}, TypeError, "ref is .* accepted is a VapourSynth video node"),
    ({"clip": OTHER_SIZE}, TypeError, "clip changes its size or format"),
    ({"out": OTHER_SIZE}, TypeError, "out changes its size or format"),
    ({"fallback": 3}, TypeError, "fallback is 3, accepted"),
    ({"clip": GRAY32, "ref": GRAY32}, ValueError, "clip is Gray32, accepted"),
    ({"ref": RGB}, ValueError, "ref is 64x48 RGB24 and clip 64x48 Gray8, accepted is one size and format .* resize"),
    ({"ref": noise_node(vs.GRAY8, 4, 96)}, ValueError, "ref is 96x48 Gray8 and clip 64x48 Gray8, accepted is one size"),
    ({"out": RGB[:3]}, ValueError, "out has 3 frames, accepted is the clip's length, 4"),
    ({"fallback": RGB}, ValueError, "fallback is 64x48 RGB24, accepted is .* 64x48 Gray8"),
    ({"fallback": NODE, "out": RGB}, ValueError, "fallback is 64x48 Gray8, accepted is .* 64x48 RGB24"),
    ({"fallback": NODE[:3]}, ValueError, "fallback has 3 frames, accepted is the ref's length, 4"),
    ({"precision": 0}, ValueError, "precision is 0, accepted is a whole number from 1 to 4"),
    ({"precision": 5}, ValueError, "precision is 5, accepted"),
    ({"precision": True}, TypeError, "precision is True, accepted"),
    ({"precision": 1.0}, TypeError, "precision is 1.0, accepted"),
    ({"precision": "1"}, TypeError, "precision is '1', accepted"),
    ({"tr": -1}, ValueError, "tr is -1, accepted is a whole number from 0"),
    ({"tr": 2.0}, TypeError, "tr is 2.0, accepted"),
    ({"tr": True}, TypeError, "tr is True, accepted"),
    ({"thresh": "0.1"}, TypeError, "thresh is '0.1', accepted is None or a number from 0"),
    ({"thresh": True}, TypeError, "thresh is True, accepted"),
    ({"thresh": -0.5}, ValueError, "thresh is -0.5, accepted"),
    ({"thresh": float("nan")}, ValueError, "thresh is nan, accepted"),
    ({"clip_num": 50}, ValueError, "clip_den is None and clip_num is 50, accepted are all of clip_num, .*, or none"),
    ({**RATES, "ref_den": None}, ValueError, "ref_den is None and clip_num is 50"),
    ({**RATES, "ref_num": 0}, ValueError, "ref_num is 0, accepted is a whole number from 1"),
    ({**RATES, "ref_num": 23.976}, TypeError, "ref_num is 23.976, accepted"),
    ({"backend": "gpu"}, ValueError, "backend is 'gpu', accepted are 'cpu', 'cuda'"),
    ({"device": 0}, TypeError, "device is 0, accepted are 'cpu', 'cuda'"),
    ({"backend": "cpu", "device": "cuda"}, ValueError, "backend is 'cpu' and device is 'cuda', accepted is one of them"),
    ({"batch_size": 0}, ValueError, "batch_size is 0, accepted is None or a whole number from 1"),
    ({"batch_size": 1.5}, TypeError, "batch_size is 1.5, accepted"),
    ({"debug": 1}, TypeError, "debug is 1, accepted are True and False"),
    (
        {"clip": noise_node(vs.GRAY8, 4, 32, 32), "ref": noise_node(vs.GRAY8, 4, 32, 32), "debug": True},
        ValueError,
        "debug is True",
    ),
    ({"prune": None}, TypeError, "prune is None, accepted are True and False"),
    ({"select": "best"}, ValueError, "select is 'best', accepted are 'argmin' and 'path'"),
    ({"select": 1}, TypeError, "select is 1, accepted"),
    ({"weights": 3}, TypeError, "weights is 3, accepted"),
    ({"frame_map": 3}, TypeError, "frame_map is 3, accepted is a FrameMap or the path of its CSV, of 4 ref frames"),
    ({"frame_map": ""}, ValueError, "^frame_map is '', accepted is a FrameMap or the path of its CSV, .*, or None$"),
    ({"frame_map": "/not/there.csv", "precision": 4}, ValueError, "frame_map is '/not/there.csv', which can't be read"),
    ({"frame_map": FrameMap.identity(3, 4)}, ValueError, "frame_map is .*3 ref frames.* of 4 ref frames and 4 clip frames"),
    ({"frame_map": FrameMap.of_clip_frames(np.full(4, 9), 10)}, ValueError, "frame_map is .* with clip frames up to 9"),
    ({"precision": 3, "weights": "/not/there.pth"}, ValueError, "precision is 3 and weights is '/not/there.pth'"),
]


@pytest.mark.parametrize(("given", "error", "message"), REFUSED, ids=[str(k)[:60] for k, *_ in REFUSED])
def test_what_can_not_be_is_refused_at_the_call(given: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        vsalign.temporal(**{"clip": NODE, "ref": NODE, **given})


def test_positions_are_those_of_the_peers_code() -> None:
    out = vsalign.temporal(NODE, NODE, RGB, 1, 2, RGB, 0.5, 24, 1, 24, 1, "cpu", None, False)
    assert (out.format.id, out.num_frames) == (vs.RGB24, 4)
    assert [f.props["_VsalignClipFrame"] for f in out.frames()] == [0, 1, 2, 3]


def test_sizes_and_formats_may_differ_where_signatures_are_compared(tmp_path: Path) -> None:
    assert vsalign.temporal(RGB, noise_node(vs.YUV420P10, 4, 96), precision=4).num_frames == 4
    bad = tmp_path / "map.csv"
    bad.write_text("ref_frame,clip_frame\n0,7\n")
    with pytest.raises(ValueError, match=r"frame_map is .*map.csv': frame map line 2: clip_frame is '7'; accepted is 0 to 3"):
        vsalign.temporal(NODE, NODE, precision=4, frame_map=bad)


def test_a_device_that_is_not_there_matters_to_the_network_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert vsalign.temporal(NODE, NODE, backend="cuda").num_frames == 4
    with pytest.raises(ValueError, match="backend is 'cuda' and there is no CUDA device here, accepted is 'cpu'"):
        vsalign.temporal(NODE, NODE, precision=3, backend="cuda")


def test_missing_weights_say_how_to_get_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"precision is 3 .* vsalign weights get topiq"):
        vsalign.temporal(NODE, NODE, precision=3)


def test_the_enum_stands_for_the_numbers() -> None:
    assert [p.value for p in vsalign.TemporalPrecision] == [1, 2, 3, 4]
    assert vsalign.TemporalPrecision["SIGNATURE"] == 4
    assert vsalign.temporal(NODE, NODE, precision=vsalign.TemporalPrecision.PLANESTATS).num_frames == 4

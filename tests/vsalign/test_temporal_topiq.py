"""``vsalign.temporal`` with TOPIQ itself, whose random weights see differences well enough."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
import vapoursynth as vs

import vsalign
from tests.films import film
from tests.vsalign.randomnet import random_weights
from tests.vsalign.vsnodes import core, node_of, num_threads
from vsalign import topiq
from vsalign.cfanet import build_cfanet
from vsalign.vspicture import picture_of


@pytest.fixture(scope="module")
def network() -> Iterator[Any]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield build_cfanet(random_weights()).eval().requires_grad_(False)
    torch.set_num_threads(threads)


@pytest.mark.parametrize(
    "format", [vs.GRAY8, vs.YUV420P10, vs.RGBH, vs.YUV444PS], ids=lambda f: vs.core.get_video_format(f).name
)
def test_costs_of_frames_in_any_format_are_topiqs(monkeypatch: pytest.MonkeyPatch, network: Any, format: int) -> None:
    monkeypatch.setattr(topiq, "shared_network", lambda *_: network)
    frames = film(14, 64, 64, shot=14)
    node = node_of([[f] for f in frames], vs.GRAY8)
    if format != vs.GRAY8:
        node = core.resize.Bilinear(node, format=format, **({} if format == vs.RGBH else {"matrix": 1}))
    with num_threads(2):
        out = vsalign.temporal(node, node[3:9], precision=3, tr=5, backend="cpu", select="argmin")
        told = [dict(f.props) for f in out.frames()]
    metric = topiq.Topiq(device="cpu", half_storage=True)
    described = [metric.features(picture_of(f)) for f in node.frames()]
    for n, props in enumerate(told):
        near = range(max(0, n - 5), min(14, n + 6))
        costs = metric.costs([(described[n + 3], described[c]) for c in near])
        assert props["_VsalignCost"] == pytest.approx(float(costs[props["_VsalignClipFrame"] - near.start]), abs=1e-5)
    assert np.isfinite([props["_VsalignCost"] for props in told]).all()
